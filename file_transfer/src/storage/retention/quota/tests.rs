//! Reservations, the room that uploads take, and the corrections by sweeps.

use super::*;

fn quota(limit: u64, make_room: bool, stored: &[u64]) -> Arc<Quota> {
    let quota = Quota::new(Some(limit), make_room);
    let sum = Sum { files: stored.len() as u64, bytes: stored.iter().sum() };
    quota.begin_sweep();
    quota.end_sweep(sum, [5].into(), true, true);
    Arc::new(quota)
}

fn file(inode: u64, bytes: u64) -> Seen {
    Seen { inode, directory: Some(5), bytes, links: 1, changed: 0 }
}

/// A file that was stored now.
fn new(bytes: u64) -> Seen {
    Seen { changed: i128::MAX, ..file(1000, bytes) }
}

#[test]
fn uploads_at_the_same_time_reserve_what_they_will_take() {
    let quota = quota(100, false, &[10]);
    let reservations: Vec<_> = (0..100).filter_map(|_| quota.reserve(9, None).ok()).collect();
    assert_eq!(reservations.len(), 10);
    for reservation in &reservations {
        assert_eq!((reservation.receive(9), reservation.check(None, 9)), (Ok(0), Ok(())));
        reservation.commit(None, &new(9));
    }
    drop(reservations);
    assert_eq!(quota.stored(), Sum { files: 11, bytes: 100 });
    assert!(quota.reserve(0, None).is_ok());
    assert_eq!(quota.reserve(1, None).err(), Some(NoRoom { limit: 100 }));
    let usage = quota.lock();
    assert_eq!((usage.reserved, usage.received), (0, 0));
}

#[test]
fn an_upload_without_a_length_reserves_as_it_comes() {
    let quota = quota(100, false, &[]);
    let (first, second) = (quota.reserve(0, None).unwrap(), quota.reserve(60, None).unwrap());
    assert_eq!(first.receive(40), Ok(0));
    assert_eq!(first.receive(41), Err(NoRoom { limit: 100 }));
    drop(second);
    assert_eq!(first.receive(100), Ok(0));
    assert_eq!(first.receive(101), Err(NoRoom { limit: 100 }));
}

#[test]
fn only_what_exceeds_the_replaced_file_counts() {
    let quota = quota(100, false, &[60, 40]);
    let upload = quota.reserve(60, Some(file(1, 60))).unwrap();
    assert_eq!(upload.receive(60), Ok(0));
    assert!(quota.reserve(1, None).is_err() && quota.reserve(61, Some(file(1, 60))).is_err());
    assert!(quota.is_replaced(1) && !quota.is_replaced(2));
    upload.commit(Some(&file(1, 60)), &new(60));
    drop(upload);
    assert!(!quota.is_replaced(1));
    assert_eq!(quota.stored(), Sum { files: 2, bytes: 100 });
    // Somebody deleted it meanwhile.
    let upload = quota.reserve(60, Some(file(1, 60))).unwrap();
    quota.removed(&file(1, 60));
    let other = quota.reserve(60, None).unwrap();
    other.commit(None, &new(60));
    assert_eq!(upload.check(None, 60), Err(NoRoom { limit: 100 }));
}

#[test]
fn what_already_exceeds_the_limit_may_shrink() {
    let quota = quota(100, false, &[150]);
    let upload = quota.reserve(120, Some(file(1, 150))).unwrap();
    assert_eq!((upload.receive(120), upload.check(Some(&file(1, 150)), 120)), (Ok(0), Ok(())));
    assert!(quota.reserve(151, Some(file(1, 150))).is_err());
}

#[test]
fn room_is_made_for_what_has_come_and_could_fit() {
    let quota = quota(100, true, &[60, 30]);
    assert!(quota.reserve(101, None).is_err());
    let upload = quota.reserve(90, None).unwrap();
    assert!(quota.reserve(11, None).is_err());
    // Another one takes what is free, and no more than it needs.
    let small = quota.reserve(5, None).unwrap();
    assert_eq!((small.receive(5), upload.receive(15)), (Ok(0), Ok(10)));
    quota.removed(&file(1, 4));
    assert_eq!(upload.receive(15), Ok(6));
    drop(small);
    quota.removed(&file(1, 26));
    assert_eq!((upload.receive(15), quota.lock().received), (Ok(0), 15));
    // What is being replaced stays, so there is less room for others.
    drop(upload);
    let replacing = quota.reserve(60, Some(file(1, 60))).unwrap();
    assert!(quota.reserve(41, None).is_err() && quota.reserve(40, None).is_ok());
    assert_eq!((replacing.receive(60), quota.lock().received), (Ok(0), 0));
}

#[test]
fn a_sweep_corrects_only_what_changes_do_not_explain() {
    let sum = |files, bytes| Sum { files, bytes };
    let quota = quota(1000, false, &[10, 10]);
    quota.begin_sweep();
    quota.end_sweep(sum(5, 70), [5].into(), false, true);
    assert_eq!(quota.stored(), sum(5, 70));
    // Stored and deleted meanwhile, and seen or not.
    for seen in [sum(4, 50), sum(5, 70), sum(5, 60), sum(6, 80)] {
        quota.begin_sweep();
        quota.reserve(10, None).unwrap().commit(None, &new(10));
        quota.removed(&file(1, 20));
        quota.end_sweep(seen, [5].into(), false, true);
        quota.reserve(10, None).unwrap().commit(None, &new(10));
        assert_eq!(quota.stored(), sum(6, 70), "{seen:?}");
        quota.removed(&file(1, 0));
    }
    quota.begin_sweep();
    quota.end_sweep(sum(1, 1), [5].into(), false, false);
    assert_eq!(quota.stored(), sum(5, 70));
    quota.end_sweep(sum(1, 1), [5].into(), true, true);
    assert_eq!(quota.stored(), sum(1, 1));
}
