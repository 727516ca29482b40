//! When a token is fetched, used and waited for, with a clock that the test plays.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

fn value() -> HeaderValue {
    HeaderValue::from_static("Bearer t")
}

fn failure() -> Error {
    Error::Late { limit: 20, waiting: "nothing".to_owned() }
}

/// A cache that has been given its first token, good for `life`.
fn with_token(life: Option<Duration>, now: Instant) -> TokenCache {
    let mut cache = TokenCache::new(Timing::default());
    assert!(cache.decide(now).fetch.is_some());
    cache.fetched(value(), life, false, now).unwrap();
    cache
}

fn number(decision: &Decision) -> Option<u64> {
    match &decision.action {
        Action::Use(grant) => Some(grant.number()),
        _ => None,
    }
}

#[test]
fn fetches_once_for_all_who_wait() {
    let now = Instant::now();
    let mut cache = TokenCache::new(Timing::default());
    let first = cache.decide(now);
    assert_eq!(first.fetch.as_ref().unwrap().not_before, now);
    let second = cache.decide(now + SECOND);
    assert!(second.fetch.is_none());
    let (Action::Wait(one), Action::Wait(other)) = (first.action, second.action) else {
        panic!("both have to wait");
    };
    assert!(Arc::ptr_eq(&one, &other));
}

#[test]
fn renews_a_minute_ahead_while_the_old_one_is_used() {
    let now = Instant::now();
    let mut cache = with_token(Some(HOUR), now);
    let early = cache.decide(now + HOUR - 61 * SECOND);
    assert!(early.fetch.is_none() && number(&early) == Some(1));
    let due = cache.decide(now + HOUR - 60 * SECOND);
    assert!(due.fetch.is_some() && number(&due) == Some(1));
    let again = cache.decide(now + HOUR - 59 * SECOND);
    assert!(again.fetch.is_none() && number(&again) == Some(1));
    cache.fetched(value(), Some(HOUR), false, now + HOUR).unwrap();
    assert_eq!(number(&cache.decide(now + HOUR)), Some(2));
}

#[test]
fn a_failed_renewal_leaves_the_old_one_until_its_end() {
    let now = Instant::now();
    let mut cache = with_token(Some(HOUR), now);
    let due = now + HOUR - 30 * SECOND;
    assert!(cache.decide(due).fetch.is_some());
    cache.failed(failure()).unwrap_err();
    let soon = cache.decide(due + SECOND);
    assert!(soon.fetch.is_none() && number(&soon) == Some(1));
    let later = cache.decide(due + 10 * SECOND);
    assert!(later.fetch.is_some() && number(&later) == Some(1));
    let dead = cache.decide(now + HOUR);
    assert!(matches!(dead.action, Action::Wait(_)));
}

#[test]
fn a_failure_is_everybodys_for_ten_seconds() {
    let now = Instant::now();
    let mut cache = TokenCache::new(Timing::default());
    cache.decide(now);
    cache.failed(failure()).unwrap_err();
    let soon = cache.decide(now + 9 * SECOND);
    assert!(soon.fetch.is_none() && matches!(soon.action, Action::Fail(_)));
    assert!(cache.decide(now + 10 * SECOND).fetch.is_some());
}

#[test]
fn a_token_that_dies_at_once_is_not_asked_for_in_a_loop() {
    let now = Instant::now();
    let mut cache = with_token(Some(SECOND), now);
    let decision = cache.decide(now + 2 * SECOND);
    assert_eq!(decision.fetch.unwrap().not_before, now + 10 * SECOND);
    assert!(matches!(decision.action, Action::Wait(_)));
}

#[test]
fn many_refusals_of_one_token_make_one_fetch() {
    let now = Instant::now();
    let mut cache = with_token(None, now);
    let first = cache.refused(1, now + SECOND);
    assert_eq!(first.fetch.unwrap().not_before, now + SECOND, "a 401 does not wait");
    assert!(cache.refused(1, now + SECOND).fetch.is_none());
    cache.fetched(value(), None, false, now + 2 * SECOND).unwrap();
    let late = cache.refused(1, now + 3 * SECOND);
    assert!(late.fetch.is_none() && number(&late) == Some(2));
    assert!(cache.refused(2, now + 3 * SECOND).fetch.is_some());
}

#[test]
fn a_refusal_whose_fetch_failed_does_not_ask_again_at_once() {
    let now = Instant::now();
    let mut cache = with_token(None, now);
    assert!(cache.refused(1, now).fetch.is_some());
    cache.failed(failure()).unwrap_err();
    assert!(matches!(cache.refused(1, now + SECOND).action, Action::Fail(_)));
}

#[test]
fn a_renewal_ahead_that_failed_keeps_no_refused_request_from_a_fetch() {
    let now = Instant::now();
    let mut cache = with_token(Some(HOUR), now);
    let due = now + HOUR - 60 * SECOND;
    assert!(cache.decide(due).fetch.is_some());
    cache.failed(failure()).unwrap_err();
    let refused = cache.refused(1, due + SECOND);
    assert_eq!(wait_ends(&refused), Some(due + 9 * SECOND));
    assert_eq!(refused.fetch.unwrap().not_before, due + SECOND, "a 401 does not wait");
    cache.failed(failure()).unwrap_err();
    assert!(matches!(cache.refused(1, due + 2 * SECOND).action, Action::Fail(_)));
}

fn wait_ends(decision: &Decision) -> Option<Instant> {
    match &decision.action {
        Action::WaitUntil(_, until) => Some(*until),
        _ => None,
    }
}

#[test]
fn a_refused_token_is_used_until_another_one_comes() {
    let now = Instant::now();
    let mut cache = with_token(Some(HOUR), now);
    cache.accepted(1, now);
    assert!(cache.refused(1, now).fetch.is_some());
    assert!(!cache.is_valid(now) && !cache.is_proved(1, now));
    assert_eq!(number(&cache.decide(now)), Some(1), "others are not kept waiting");
    cache.failed(failure()).unwrap_err();
    assert_eq!(number(&cache.decide(now)), Some(1));
    assert!(matches!(cache.decide(now + HOUR).action, Action::Wait(_)), "it has run out");
    cache.fetched(value(), None, false, now + HOUR).unwrap();
    assert_eq!(number(&cache.decide(now + HOUR)), Some(2));
}

#[test]
fn all_who_were_refused_wait_eight_seconds_together() {
    let now = Instant::now();
    let mut cache = with_token(Some(HOUR), now - HOUR + SECOND);
    for seconds in [0, 1, 4, 7, 19] {
        let decision = cache.refused(1, now + seconds * SECOND);
        assert_eq!(wait_ends(&decision), Some(now + 8 * SECOND), "after {seconds} s");
    }
    // The renewal ahead of the end was under way for long when the 401 came.
    let mut cache = with_token(Some(HOUR), now);
    let due = now + HOUR - 60 * SECOND;
    assert!(cache.decide(due).fetch.is_some());
    assert_eq!(wait_ends(&cache.refused(1, due + 7 * SECOND)), Some(due + 8 * SECOND));
}

#[test]
fn nobody_waits_while_no_tokens_come() {
    let now = Instant::now();
    let mut cache = with_token(None, now);
    let mut at = now;
    for _ in 0..10 {
        assert!(cache.refused(1, at).fetch.is_some());
        cache.failed(failure()).unwrap_err();
        at += 20 * SECOND;
        let again = cache.refused(1, at);
        assert!(again.fetch.is_some() && matches!(again.action, Action::Fail(_)));
        cache.failed(failure()).unwrap_err();
    }
    // The failure was long ago: the broker may be back.
    assert!(wait_ends(&cache.refused(1, at + 60 * SECOND)).is_some());
}

#[test]
fn a_new_token_that_is_refused_as_well_is_not_replaced_in_a_loop() {
    let now = Instant::now();
    let mut cache = with_token(None, now - SECOND);
    assert_eq!(cache.refused(1, now).fetch.unwrap().not_before, now);
    cache.fetched(value(), None, false, now).unwrap();
    let second = cache.refused(2, now + SECOND);
    assert_eq!(wait_ends(&second), Some(now + SECOND), "nothing to wait for");
    assert_eq!(second.fetch.unwrap().not_before, now + 10 * SECOND);
    // One that was accepted before is replaced as soon as it is refused.
    cache.fetched(value(), None, false, now + 10 * SECOND).unwrap();
    cache.accepted(3, now + 11 * SECOND);
    let third = cache.refused(3, now + 12 * SECOND);
    assert_eq!(third.fetch.unwrap().not_before, now + 12 * SECOND);
}

#[test]
fn what_upstream_accepts_meanwhile_makes_a_refusal_no_reason_to_ask_in_a_loop() {
    let now = Instant::now();
    let mut cache = with_token(None, now - HOUR);
    cache.refused(1, now);
    cache.failed(failure()).unwrap_err();
    cache.accepted(1, now + SECOND);
    assert!(cache.is_valid(now + SECOND));
    let again = cache.refused(1, now + 2 * SECOND);
    assert_eq!(again.fetch.unwrap().not_before, now + 10 * SECOND);
    assert!(matches!(again.action, Action::Fail(_)));
}

#[test]
fn an_expired_token_is_valid_only_after_upstream_accepted_it() {
    let now = Instant::now();
    let mut cache = TokenCache::new(Timing::default());
    cache.decide(now);
    cache.fetched(value(), None, true, now).unwrap();
    assert!(!cache.is_valid(now));
    assert!(matches!(cache.decide(now).action, Action::Use(_)), "the clock may be wrong");
    cache.accepted(1, now);
    assert!(cache.is_valid(now));
}

#[test]
fn a_life_that_cannot_be_read_lasts_until_a_refusal() {
    let now = Instant::now();
    let mut cache = with_token(None, now);
    let decision = cache.decide(now + 10_000 * HOUR);
    assert!(decision.fetch.is_none() && number(&decision) == Some(1));
    let endless = with_token(Some(Duration::MAX), now);
    assert!(endless.is_valid(now + 10_000 * HOUR));
}

#[test]
fn an_answer_proves_a_token_for_a_minute() {
    let now = Instant::now();
    let mut cache = with_token(None, now);
    assert!(!cache.is_proved(1, now));
    cache.accepted(1, now);
    assert!(cache.is_proved(1, now + 59 * SECOND));
    assert!(!cache.is_proved(1, now + 60 * SECOND));
    cache.accepted(7, now);
    assert!(!cache.is_proved(7, now));
}
