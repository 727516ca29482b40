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
    let spare = |at: u64| {
        places.lock().spare(1, begin + at, 4 * SECOND);
        asked(&states)
    };
    assert_eq!(spare(SECOND), [2]);
    assert_eq!(spare(SECOND), [2, 3]);
    assert_eq!(spare(SECOND), [1, 2, 3]);
    assert_eq!(spare(3 * SECOND), [1, 2, 3], "it may be about to move");
    assert_eq!(spare(5 * SECOND), [0, 1, 2, 3]);
}

#[test]
fn silent_ones_go_one_at_a_time_and_of_whoever_has_most() {
    let (places, states) = taken(&[1, 2, 2, 2]);
    let begin = now();
    let spare = |needed, at: u64| {
        places.lock().spare(needed, begin + at, 4 * SECOND);
        asked(&states)
    };
    assert_eq!(spare(4, SECOND), [1]);
    assert_eq!(spare(4, SECOND + 1000), [1], "one in 20 ms");
    assert_eq!(spare(4, SECOND + 30_000), [1, 2]);
    assert_eq!(spare(4, 5 * SECOND), [1, 2, 3]);
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
        open.look_at_pace(begin + second * SECOND, Pace::of(4, 0, 0));
    }
    // Between two looks: a byte is good for 2 ms.
    let at = begin + 7 * SECOND + SECOND / 10;
    open.spare(1, at, 4 * SECOND);
    assert_eq!(asked(&states).len(), 1);
    assert!(states[2].is_closing() || states[3].is_closing());
    open.spare(4, at, 4 * SECOND);
    assert_eq!(asked(&states), [2, 3], "somebody with a single connection is not one of a crowd");
}

#[test]
fn peers_that_drip_from_an_address_each_are_spared_by_nobody_who_has_more() {
    let (places, states) = taken(&[1, 1, 2, 3]);
    states[2..].iter().for_each(|state| upload(state));
    states[..2].iter().for_each(|state| state.begin_exchange());
    let later = now() + 5 * SECOND;
    places.lock().spare(4, later, 3 * SECOND);
    assert_eq!(asked(&states), [2, 3]);
}

#[test]
fn whoever_has_more_than_half_makes_room_for_another() {
    let (places, states) = taken(&[1, 1, 1, 2]);
    states.iter().for_each(|state| upload(state));
    let cut = |most, host| {
        places.lock().cut_the_largest(most, now(), SECOND, |seat| seat.address != address(host));
        asked(&states).len()
    };
    assert_eq!(cut(4, 1), 0, "nobody else waits");
    assert_eq!(cut(6, 3), 0, "three of six are not more than half");
    assert_eq!(cut(4, 3), 1);
    assert!(!states[3].is_closing());
}

#[test]
fn what_is_quiet_is_not_cut_and_beyond_its_share_it_is_refused() {
    let (places, states) = taken(&[1; 4]);
    states.iter().for_each(|state| state.begin_exchange());
    let later = now() + 30 * SECOND;
    let open = places.lock();
    assert!(!open.refuse_quiet(4, later, SECOND));
    open.cut_the_largest(4, later, SECOND, |_| true);
    assert_eq!(asked(&states), [0; 0]);
    assert!(open.refuse_quiet(3, later, SECOND));
    let refused = states.iter().filter(|state| state.order() == Order::Refuse);
    assert_eq!(refused.count(), 1);
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
