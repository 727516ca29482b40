//! What holds a connection back.

use std::task::Waker;

use super::super::turns::TURNS;
use super::*;

#[test]
fn when_many_are_busy_each_body_waits_for_the_side_that_is_behind() {
    let busy: Vec<_> = (0..5).map(|_| ConnectionState::new()).collect();
    busy.iter().for_each(ConnectionState::begin_exchange);
    let state = &busy[0];
    let cx = Context::from_waker(Waker::noop());
    state.fill(true);
    assert!(state.holds_reads(true, &cx), "the route has something to work on");
    state.fill(false);
    assert!(!state.holds_reads(true, &cx));

    state.waits_to_write(true);
    assert!(state.hold(), "TLS has not sent what it has");
    assert!(!state.sent(0));
    state.waits_to_write(false);
    assert!(state.sent(0), "the body is asked again");
    assert!(!state.hold());
}

#[test]
fn an_upload_that_waits_for_its_turn_has_no_time_limit() {
    let cx = Context::from_waker(Waker::noop());
    let uploads: Vec<_> = (0..=TURNS).map(|_| ConnectionState::new()).collect();
    for upload in &uploads {
        upload.begin_exchange();
        upload.begin_body();
        upload.reading(true);
    }
    let (last, others) = uploads.split_last().unwrap();
    assert!(others.iter().all(|other| !other.holds_reads(true, &cx)));
    assert!(last.deadline() < u64::MAX);
    assert!(last.holds_reads(true, &cx));
    assert_eq!(last.deadline(), u64::MAX);
    others[0].waits_to_read();
    assert!(!last.holds_reads(true, &cx));
    assert!(last.deadline() >= now() + micros(PROGRESS) / 2);
}

#[test]
fn a_connection_keeps_its_buffers_for_a_moment_if_its_last_request_came_soon() {
    let state = ConnectionState::new();
    for is_quick in [false, true, true] {
        state.received();
        state.begin_exchange();
        assert_eq!(state.doze_at(), u64::MAX);
        state.enter(Phase::Idle);
        assert_eq!(state.doze_at() > now(), is_quick);
    }
}
