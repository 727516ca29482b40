use std::net::Ipv4Addr;

use super::*;
use crate::net::Observer;

const SECOND: u64 = 1_000_000;

/// Places, and somebody on each, of these addresses: the last byte of 127.0.0.x.
fn taken(hosts: &[u8]) -> (Arc<Places>, Vec<Arc<ConnectionState>>) {
    let places = Arc::new(Places::new(hosts.len()));
    let mut states = Vec::new();
    for (number, host) in hosts.iter().enumerate() {
        let state = Arc::new(ConnectionState::new());
        let seat = Seat::new(Arc::clone(&state), address(*host), now());
        places.lock().seats.insert(number as u64, Box::new(seat));
        states.push(state);
    }
    (places, states)
}

fn address(host: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, host).into()
}

/// How everybody stands at this time, while nobody waits.
fn survey(open: &Open, now: u64, grace: u64) -> Survey {
    Survey { now, grace, crowds: open.crowds(&WaitingRoom::new(0)) }
}

/// Has so many make room.
fn spare(open: &mut Open, needed: usize, now: u64, grace: u64) {
    let survey = survey(open, now, grace);
    open.spare(needed, &survey);
}

/// Who is asked to make room.
fn asked(states: &[Arc<ConnectionState>]) -> Vec<usize> {
    (0..states.len()).filter(|&index| states[index].is_closing()).collect()
}

fn upload(state: &ConnectionState) {
    state.begin_exchange();
    state.reading(true);
}

#[test]
fn idle_connections_make_room_first_then_silent_ones_the_oldest_first() {
    let (places, states) = taken(&[1; 4]);
    let [busy, _silent, idle, idle_too] = [0, 1, 2, 3].map(|index: usize| &states[index]);
    upload(busy);
    idle.enter(Phase::Idle);
    std::thread::sleep(Duration::from_millis(2));
    idle_too.enter(Phase::Idle);

    let begin = now();
    let spare_at = |at: u64| {
        spare(&mut places.lock(), 1, begin + at, 4 * SECOND);
        asked(&states)
    };
    assert_eq!(spare_at(SECOND), [2]);
    assert_eq!(spare_at(SECOND), [2, 3]);
    assert_eq!(spare_at(SECOND), [1, 2, 3]);
    assert_eq!(spare_at(3 * SECOND), [1, 2, 3], "it may be about to move");
    assert_eq!(spare_at(5 * SECOND), [0, 1, 2, 3]);
}

#[test]
fn silent_ones_go_one_at_a_time_and_of_whoever_has_most() {
    let (places, states) = taken(&[1, 2, 2, 2]);
    let begin = now();
    let spare_at = |needed, at: u64| {
        spare(&mut places.lock(), needed, begin + at, 4 * SECOND);
        asked(&states)
    };
    assert_eq!(spare_at(4, SECOND), [1]);
    assert_eq!(spare_at(4, SECOND + 1000), [1], "one in 20 ms");
    assert_eq!(spare_at(4, SECOND + 30_000), [1, 2]);
    assert_eq!(spare_at(4, 5 * SECOND), [1, 2, 3]);
}

#[test]
fn peers_that_drip_go_before_peers_that_move_and_of_whoever_has_most() {
    let (places, states) = taken(&[1, 2, 3, 3]);
    states.iter().for_each(|state| upload(state));
    let begin = now();
    let mut open = places.lock();
    for second in 1..8 {
        // A modem; the others drip.
        states[0].moved(2000);
        states[1..].iter().for_each(|state| state.moved(1));
        open.look_at_pace(begin + second * SECOND, micros(GRACE));
    }
    // Between two looks: a byte is good for 2 ms.
    let at = begin + 7 * SECOND + SECOND / 10;
    spare(&mut open, 1, at, 4 * SECOND);
    assert_eq!(asked(&states).len(), 1);
    assert!(states[2].is_closing() || states[3].is_closing());
    spare(&mut open, 4, at, 4 * SECOND);
    assert_eq!(asked(&states), [2, 3], "somebody with a single connection is not one of a crowd");
}

#[test]
fn peers_that_drip_from_an_address_each_are_spared_by_nobody_who_has_more() {
    let (places, states) = taken(&[1, 1, 2, 3]);
    states[2..].iter().for_each(|state| upload(state));
    states[..2].iter().for_each(|state| state.begin_exchange());
    let later = now() + 5 * SECOND;
    spare(&mut places.lock(), 4, later, 3 * SECOND);
    assert_eq!(asked(&states), [2, 3]);
}

#[test]
fn of_those_who_are_slow_the_one_that_has_moved_last_goes_last() {
    let (places, states) = taken(&[1, 2, 3]);
    states.iter().for_each(|state| upload(state));
    let begin = now();
    let mut open = places.lock();
    for quarter in 12..40 {
        // A modem, that has a gap at last.
        states[0].moved(if quarter < 32 { 500 } else { 0 });
        open.look_at_pace(begin + quarter * SECOND / 4, SECOND);
    }
    spare(&mut open, 2, begin + 19 * SECOND, SECOND);
    assert_eq!(asked(&states), [1, 2]);
}

#[test]
fn whoever_has_two_more_makes_room_for_another() {
    let (places, states) = taken(&[1, 1, 1, 2, 2, 3]);
    states.iter().for_each(|state| upload(state));
    let open = places.lock();
    let cut_for = |host| {
        open.cut_for(address(host), &survey(&open, now(), SECOND));
        asked(&states).len()
    };
    assert_eq!(cut_for(1), 0);
    assert_eq!(cut_for(2), 0, "three are not two more than two");
    assert_eq!(cut_for(3), 1);
    assert_eq!(cut_for(4), 2);
    assert!(states[3..].iter().all(|state| !state.is_closing()));
}

#[test]
fn whoever_waits_for_a_second_place_makes_room_for_the_first_of_another() {
    let (places, states) = taken(&[1, 2]);
    states.iter().for_each(|state| upload(state));
    let open = places.lock();
    let mut survey = survey(&open, now(), SECOND);
    open.cut_for(address(3), &survey);
    assert_eq!(asked(&states), [0; 0]);
    survey.crowds.insert(Holder::Address(address(2)), 2);
    open.cut_for(address(3), &survey);
    assert_eq!(asked(&states), [1]);
}

#[test]
fn what_is_quiet_is_not_cut_and_beyond_its_share_it_is_refused() {
    let (places, states) = taken(&[1, 2, 2, 3]);
    states.iter().for_each(|state| state.begin_exchange());
    let open = places.lock();
    let survey = survey(&open, now() + 30 * SECOND, SECOND);
    assert!(!open.refuse_quiet(4, &survey));
    open.cut_for(address(4), &survey);
    assert_eq!(asked(&states), [0; 0]);
    assert!(open.refuse_quiet(3, &survey));
    let refused = |state: &Arc<ConnectionState>| state.order() == Order::Refuse;
    assert!(refused(&states[1]) || refused(&states[2]));
    assert_eq!(states.iter().filter(|state| refused(state)).count(), 1);
}

#[test]
fn upgrades_take_three_quarters_of_the_places() {
    let (places, states) = taken(&[1; 4]);
    states[0].enter(Phase::Upgraded);
    states[1].begin_exchange();
    states[1].ask_for_upgrade();
    assert!(!places.are_quiet());
    states[2].begin_exchange();
    states[2].ask_for_upgrade();
    assert!(places.are_quiet());
}
