//! When to use the token that is here, when to fetch another, and who has to wait for it.
//!
//! It decides and does nothing: the time comes in as an argument, and what is to be done goes out
//! as a [`Decision`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::net::SharedFetch;
use http::HeaderValue;

use super::error::Error;
use super::grant::Grant;

/// The time limits of tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// A fetch takes this long at most.
    pub(super) limit: Duration,
    /// From the beginning of one fetch to that of the next, unless a 401 calls for it.
    pub(super) spacing: Duration,
    /// A token is renewed this long before its end.
    pub(super) ahead: Duration,
    /// An answer proves a token for this long.
    pub(super) proof: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            limit: Duration::from_secs(20),
            spacing: Duration::from_secs(10),
            ahead: Duration::from_secs(60),
            proof: Duration::from_secs(60),
        }
    }
}

/// What to do for a request that needs a token.
#[derive(Debug)]
pub(super) struct Decision {
    /// A fetch to begin.
    pub(super) fetch: Option<Fetch>,
    /// What the request gets.
    pub(super) answer: Answer,
}

/// A fetch to begin, not before its time.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) shared: Arc<SharedFetch<Grant, Error>>,
    pub(super) not_before: Instant,
}

/// What a request gets.
#[derive(Debug)]
pub(super) enum Answer {
    Use(Grant),
    Wait(Arc<SharedFetch<Grant, Error>>),
    Fail(Error),
}

/// The token, the fetch under way, and how the last one went.
#[derive(Debug)]
pub(super) struct Cache {
    timing: Timing,
    token: Option<Token>,
    number: u64,
    under_way: Option<Arc<SharedFetch<Grant, Error>>>,
    began: Option<Instant>,
    failure: Option<Error>,
}

#[derive(Debug)]
struct Token {
    grant: Grant,
    /// Where that is known; else it is used until a 401.
    end: Option<Instant>,
    proved: Option<Instant>,
}

impl Cache {
    pub(super) fn new(timing: Timing) -> Self {
        Self { timing, token: None, number: 0, under_way: None, began: None, failure: None }
    }

    /// A request needs a token.
    pub(super) fn decide(&mut self, now: Instant) -> Decision {
        let Some(token) = self.token.as_ref().filter(|token| token.is_alive(now)) else {
            return self.wait(now);
        };
        let grant = token.grant.clone();
        let due = token.end.is_some_and(|end| now + self.timing.ahead >= end);
        let may_fetch = due && self.under_way.is_none() && self.next_fetch(now) <= now;
        let fetch = may_fetch.then(|| self.begin(now));
        Decision { fetch, answer: Answer::Use(grant) }
    }

    /// A request was answered by 401 to the token of this number.
    pub(super) fn refused(&mut self, number: u64, now: Instant) -> Decision {
        if self.token.as_ref().is_some_and(|token| token.grant.number() == number) {
            self.token = None;
            self.began = None;
            self.failure = None;
        }
        self.decide(now)
    }

    fn wait(&mut self, now: Instant) -> Decision {
        if let Some(fetch) = &self.under_way {
            return Decision { fetch: None, answer: Answer::Wait(Arc::clone(fetch)) };
        }
        let next = self.next_fetch(now);
        if let Some(failure) = self.failure.as_ref().filter(|_| now < next) {
            return Decision { fetch: None, answer: Answer::Fail(failure.clone()) };
        }
        let fetch = self.begin(next);
        let answer = Answer::Wait(Arc::clone(&fetch.shared));
        Decision { fetch: Some(fetch), answer }
    }

    fn next_fetch(&self, now: Instant) -> Instant {
        self.began.map_or(now, |began| now.max(began + self.timing.spacing))
    }

    fn begin(&mut self, not_before: Instant) -> Fetch {
        let shared = Arc::new(SharedFetch::default());
        self.under_way = Some(Arc::clone(&shared));
        self.began = Some(not_before);
        Fetch { shared, not_before }
    }

    /// The fetch brought this token.
    pub(super) fn fetched(
        &mut self,
        value: HeaderValue,
        life: Option<Duration>,
        now: Instant,
    ) -> Result<Grant, Error> {
        self.number += 1;
        let grant = Grant::new(value, self.number);
        let end = life.and_then(|life| now.checked_add(life));
        self.token = Some(Token { grant: grant.clone(), end, proved: None });
        self.under_way = None;
        self.failure = None;
        Ok(grant)
    }

    /// The fetch brought nothing. A token that is still good stays.
    pub(super) fn failed(&mut self, error: Error) -> Result<Grant, Error> {
        self.under_way = None;
        self.failure = Some(error.clone());
        Err(error)
    }

    /// Upstream accepted the token of this number.
    pub(super) fn accepted(&mut self, number: u64, now: Instant) {
        if let Some(token) = self.token.as_mut().filter(|token| token.grant.number() == number) {
            token.proved = Some(now);
        }
    }

    pub(super) fn is_proved(&self, number: u64, now: Instant) -> bool {
        self.token.as_ref().filter(|token| token.grant.number() == number).is_some_and(|token| {
            token.proved.is_some_and(|proved| now < proved + self.timing.proof)
        })
    }

    pub(super) fn is_alive(&self, now: Instant) -> bool {
        self.token.as_ref().is_some_and(|token| token.is_alive(now))
    }
}

impl Token {
    fn is_alive(&self, now: Instant) -> bool {
        self.end.is_none_or(|end| now < end)
    }
}

#[cfg(test)]
mod tests {
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
    fn with_token(life: Option<Duration>, now: Instant) -> Cache {
        let mut cache = Cache::new(Timing::default());
        assert!(cache.decide(now).fetch.is_some());
        cache.fetched(value(), life, now).unwrap();
        cache
    }

    fn number(decision: &Decision) -> Option<u64> {
        match &decision.answer {
            Answer::Use(grant) => Some(grant.number()),
            _ => None,
        }
    }

    #[test]
    fn fetches_once_for_all_who_wait() {
        let now = Instant::now();
        let mut cache = Cache::new(Timing::default());
        let first = cache.decide(now);
        assert_eq!(first.fetch.as_ref().unwrap().not_before, now);
        let second = cache.decide(now + SECOND);
        assert!(second.fetch.is_none());
        let (Answer::Wait(one), Answer::Wait(other)) = (first.answer, second.answer) else {
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
        cache.fetched(value(), Some(HOUR), now + HOUR).unwrap();
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
        assert!(matches!(dead.answer, Answer::Wait(_)));
    }

    #[test]
    fn a_failure_is_everybodys_for_ten_seconds() {
        let now = Instant::now();
        let mut cache = Cache::new(Timing::default());
        cache.decide(now);
        cache.failed(failure()).unwrap_err();
        let soon = cache.decide(now + 9 * SECOND);
        assert!(soon.fetch.is_none() && matches!(soon.answer, Answer::Fail(_)));
        assert!(cache.decide(now + 10 * SECOND).fetch.is_some());
    }

    #[test]
    fn a_token_that_dies_at_once_is_not_asked_for_in_a_loop() {
        let now = Instant::now();
        let mut cache = with_token(Some(SECOND), now);
        let decision = cache.decide(now + 2 * SECOND);
        assert_eq!(decision.fetch.unwrap().not_before, now + 10 * SECOND);
        assert!(matches!(decision.answer, Answer::Wait(_)));
    }

    #[test]
    fn many_refusals_of_one_token_make_one_fetch() {
        let now = Instant::now();
        let mut cache = with_token(None, now);
        let first = cache.refused(1, now + SECOND);
        assert_eq!(first.fetch.unwrap().not_before, now + SECOND, "a 401 does not wait");
        assert!(cache.refused(1, now + SECOND).fetch.is_none());
        cache.fetched(value(), None, now + 2 * SECOND).unwrap();
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
        assert!(matches!(cache.refused(1, now + SECOND).answer, Answer::Fail(_)));
    }

    #[test]
    fn a_life_that_cannot_be_read_lasts_until_a_refusal() {
        let now = Instant::now();
        let mut cache = with_token(None, now);
        let decision = cache.decide(now + 10_000 * HOUR);
        assert!(decision.fetch.is_none() && number(&decision) == Some(1));
        let endless = with_token(Some(Duration::MAX), now);
        assert!(endless.is_alive(now + 10_000 * HOUR));
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
}
