//! The promises whose time limits take long to see, all at once: see [`side_by_side`].
//!
//! Each stands with its like in its own file; this one only runs them.

use super::{
    absence, bodies, broker_tls, connections, life, network, tokens, unreachable, websocket,
};
use crate::support::wait::side_by_side;

#[test]
fn what_takes_long_keeps_its_time() {
    side_by_side(&[
        ("a silent bridge keeps all who wait for 20 seconds together", &absence::a_silent_bridge_keeps_all_who_wait_for_20_seconds_together),
        ("a broker that accepts and says nothing is as silent", &absence::a_broker_that_accepts_and_says_nothing_is_as_silent),
        ("a slow bridge is waited for", &absence::a_slow_bridge_is_waited_for),
        (
            "a question that is lost is asked again and all who wait are served",
            &absence::a_question_that_is_lost_is_asked_again_and_all_who_wait_are_served,
        ),
        ("a token that comes too late does no harm", &absence::a_token_that_comes_too_late_does_no_harm),
        ("it starts without a broker and finds it later", &absence::it_starts_without_a_broker_and_finds_it_later),
        ("it does not wait for a broker before it serves and says so once", &absence::it_does_not_wait_for_a_broker_before_it_serves_and_says_so_once),
        ("a broker that restarts is found again", &absence::a_broker_that_restarts_is_found_again),
        ("a bridge that restarts is found again", &absence::a_bridge_that_restarts_is_found_again),
        ("without a token the body is not asked for", &bodies::without_a_token_the_body_is_not_asked_for),
        ("a client certificate is shown where it is demanded", &broker_tls::a_client_certificate_is_shown_where_it_is_demanded),
        ("name and password are given", &broker_tls::name_and_password_are_given),
        ("a broker of another ca is not trusted", &broker_tls::a_broker_of_another_ca_is_not_trusted),
        ("a broker that restarts is found again over tls", &broker_tls::a_broker_that_restarts_is_found_again_over_tls),
        ("connections that nobody needs are closed in time", &connections::connections_that_nobody_needs_are_closed_in_time),
        ("a websocket does not hold the end up for ever", &life::a_websocket_does_not_hold_the_end_up_for_ever),
        ("a network that is cut is told in time and found again", &network::a_network_that_is_cut_is_told_in_time_and_found_again),
        ("a body that cannot be sent again waits for the token to be proved", &tokens::a_body_that_cannot_be_sent_again_waits_for_the_token_to_be_proved),
        ("a token is renewed before it runs out and no request fails", &tokens::a_token_is_renewed_before_it_runs_out_and_no_request_fails),
        ("an expired token is never the reason for a refusal", &tokens::an_expired_token_is_never_the_reason_for_a_refusal),
        (
            "a clock that is a year wrong keeps no token from its renewal",
            &tokens::a_clock_that_is_a_year_wrong_keeps_no_token_from_its_renewal,
        ),
        ("an idle device does not renew", &tokens::an_idle_device_does_not_renew),
        ("a handshake takes 10 seconds at most", &unreachable::a_handshake_takes_10_seconds_at_most),
        ("the first byte of an answer takes 60 seconds at most", &unreachable::the_first_byte_of_an_answer_takes_60_seconds_at_most),
        ("an answer that comes after 50 seconds is an answer", &unreachable::an_answer_that_comes_after_50_seconds_is_an_answer),
        ("a body without progress for 60 seconds is broken off and a slow one is not", &unreachable::a_body_without_progress_for_60_seconds_is_broken_off_and_a_slow_one_is_not),
        (
            "a cloud that takes no more of a body for 60 seconds is too late",
            &unreachable::a_cloud_that_takes_no_more_of_a_body_for_60_seconds_is_too_late,
        ),
        (
            "a client that sends no more of a body for 60 seconds is left",
            &unreachable::a_client_that_sends_no_more_of_a_body_for_60_seconds_is_left,
        ),
        ("two quiet minutes end nothing", &websocket::two_quiet_minutes_end_nothing),
    ]);
}
