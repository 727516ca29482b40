//! When to use the token that is here, when to fetch another, and who has to wait for it.
//!
//! All decisions and none of their execution: time comes in as an argument, and what is to be
//! done goes out as a [`Step`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;

use super::flight::Flight;
use super::{Error, Grant};

/// The times that credentials keep to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// A fetch takes this long at most.
    pub(super) limit: Duration,
    /// From the beginning of one fetch to that of the next, unless a 401 calls for it.
    pub(super) spacing: Duration,
    /// A token is renewed this long before its end.
    pub(super) ahead: Duration,
    /// An answer proves a token for this long.
    pub(super) proof: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            limit: Duration::from_secs(20),
            spacing: Duration::from_secs(10),
            ahead: Duration::from_secs(60),
            proof: Duration::from_secs(60),
        }
    }
}

/// What to do for one who asks.
#[derive(Debug)]
pub(super) struct Step {
    /// A fetch to begin.
    pub(super) launch: Option<Launch>,
    /// What the one who asks gets.
    pub(super) then: Then,
}

/// A fetch to begin, not before its time.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) flight: Arc<Flight>,
    pub(super) not_before: Instant,
}

/// What one who asks gets.
#[derive(Debug)]
pub(super) enum Then {
    Use(Grant),
    Wait(Arc<Flight>),
    Fail(Error),
}

/// The token, the fetch under way, and how the last one went.
#[derive(Debug)]
pub(super) struct Cache {
    pace: Pace,
    token: Option<Token>,
    number: u64,
    flight: Option<Arc<Flight>>,
    began: Option<Instant>,
    failure: Option<Error>,
}

#[derive(Debug)]
struct Token {
    grant: Grant,
    /// Where that is known; else it is good until somebody is refused.
    end: Option<Instant>,
    proved: Option<Instant>,
}

impl Cache {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, token: None, number: 0, flight: None, began: None, failure: None }
    }

    /// Somebody wants a token.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        let Some(token) = self.token.as_ref().filter(|token| token.is_alive(now)) else {
            return self.wait(now);
        };
        let grant = token.grant.clone();
        let due = token.end.is_some_and(|end| now + self.pace.ahead >= end);
        let launch = if due && self.flight.is_none() && self.next_fetch(now) <= now {
            Some(self.launch(now))
        } else {
            None
        };
        Step { launch, then: Then::Use(grant) }
    }

    /// Somebody was answered by 401 to the token of this number.
    pub(super) fn refused(&mut self, number: u64, now: Instant) -> Step {
        if self.token.as_ref().is_some_and(|token| token.grant.number == number) {
            self.token = None;
            self.began = None;
            self.failure = None;
        }
        self.step(now)
    }

    fn wait(&mut self, now: Instant) -> Step {
        if let Some(flight) = &self.flight {
            return Step { launch: None, then: Then::Wait(Arc::clone(flight)) };
        }
        let next = self.next_fetch(now);
        if let Some(failure) = self.failure.as_ref().filter(|_| now < next) {
            return Step { launch: None, then: Then::Fail(failure.clone()) };
        }
        let launch = self.launch(next);
        let then = Then::Wait(Arc::clone(&launch.flight));
        Step { launch: Some(launch), then }
    }

    fn next_fetch(&self, now: Instant) -> Instant {
        self.began.map_or(now, |began| now.max(began + self.pace.spacing))
    }

    fn launch(&mut self, not_before: Instant) -> Launch {
        let flight = Arc::new(Flight::default());
        self.flight = Some(Arc::clone(&flight));
        self.began = Some(not_before);
        Launch { flight, not_before }
    }

    /// The fetch brought this token.
    pub(super) fn landed(
        &mut self,
        value: HeaderValue,
        life: Option<Duration>,
        now: Instant,
    ) -> Result<Grant, Error> {
        self.number += 1;
        let grant = Grant { value, number: self.number };
        let end = life.and_then(|life| now.checked_add(life));
        self.token = Some(Token { grant: grant.clone(), end, proved: None });
        self.flight = None;
        self.failure = None;
        Ok(grant)
    }

    /// The fetch brought nothing. A token that is still good stays.
    pub(super) fn failed(&mut self, error: Error) -> Result<Grant, Error> {
        self.flight = None;
        self.failure = Some(error.clone());
        Err(error)
    }

    /// Upstream took the token of this number.
    pub(super) fn accepted(&mut self, number: u64, now: Instant) {
        if let Some(token) = self.token.as_mut().filter(|token| token.grant.number == number) {
            token.proved = Some(now);
        }
    }

    pub(super) fn is_proved(&self, number: u64, now: Instant) -> bool {
        self.token
            .as_ref()
            .filter(|token| token.grant.number == number)
            .is_some_and(|token| token.proved.is_some_and(|proved| now < proved + self.pace.proof))
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
        let mut cache = Cache::new(Pace::default());
        assert!(cache.step(now).launch.is_some());
        cache.landed(value(), life, now).unwrap();
        cache
    }

    fn number(step: &Step) -> Option<u64> {
        match &step.then {
            Then::Use(grant) => Some(grant.number),
            _ => None,
        }
    }

    #[test]
    fn fetches_once_for_all_who_wait() {
        let now = Instant::now();
        let mut cache = Cache::new(Pace::default());
        let first = cache.step(now);
        assert_eq!(first.launch.as_ref().unwrap().not_before, now);
        let second = cache.step(now + SECOND);
        assert!(second.launch.is_none());
        let (Then::Wait(one), Then::Wait(other)) = (first.then, second.then) else {
            panic!("both have to wait");
        };
        assert!(Arc::ptr_eq(&one, &other));
    }

    #[test]
    fn renews_a_minute_ahead_while_the_old_one_is_used() {
        let now = Instant::now();
        let mut cache = with_token(Some(HOUR), now);
        let early = cache.step(now + HOUR - 61 * SECOND);
        assert!(early.launch.is_none() && number(&early) == Some(1));
        let due = cache.step(now + HOUR - 60 * SECOND);
        assert!(due.launch.is_some() && number(&due) == Some(1));
        let again = cache.step(now + HOUR - 59 * SECOND);
        assert!(again.launch.is_none() && number(&again) == Some(1));
        cache.landed(value(), Some(HOUR), now + HOUR).unwrap();
        assert_eq!(number(&cache.step(now + HOUR)), Some(2));
    }

    #[test]
    fn a_failed_renewal_leaves_the_old_one_until_its_end() {
        let now = Instant::now();
        let mut cache = with_token(Some(HOUR), now);
        let due = now + HOUR - 30 * SECOND;
        assert!(cache.step(due).launch.is_some());
        cache.failed(failure()).unwrap_err();
        let soon = cache.step(due + SECOND);
        assert!(soon.launch.is_none() && number(&soon) == Some(1));
        let later = cache.step(due + 10 * SECOND);
        assert!(later.launch.is_some() && number(&later) == Some(1));
        let dead = cache.step(now + HOUR);
        assert!(matches!(dead.then, Then::Wait(_)));
    }

    #[test]
    fn a_failure_is_everybodys_for_ten_seconds() {
        let now = Instant::now();
        let mut cache = Cache::new(Pace::default());
        cache.step(now);
        cache.failed(failure()).unwrap_err();
        let soon = cache.step(now + 9 * SECOND);
        assert!(soon.launch.is_none() && matches!(soon.then, Then::Fail(_)));
        assert!(cache.step(now + 10 * SECOND).launch.is_some());
    }

    #[test]
    fn a_token_that_dies_at_once_is_not_asked_for_in_a_loop() {
        let now = Instant::now();
        let mut cache = with_token(Some(SECOND), now);
        let step = cache.step(now + 2 * SECOND);
        assert_eq!(step.launch.unwrap().not_before, now + 10 * SECOND);
        assert!(matches!(step.then, Then::Wait(_)));
    }

    #[test]
    fn many_refusals_of_one_token_make_one_fetch() {
        let now = Instant::now();
        let mut cache = with_token(None, now);
        let first = cache.refused(1, now + SECOND);
        assert_eq!(first.launch.unwrap().not_before, now + SECOND, "a 401 does not wait");
        assert!(cache.refused(1, now + SECOND).launch.is_none());
        cache.landed(value(), None, now + 2 * SECOND).unwrap();
        let late = cache.refused(1, now + 3 * SECOND);
        assert!(late.launch.is_none() && number(&late) == Some(2));
        assert!(cache.refused(2, now + 3 * SECOND).launch.is_some());
    }

    #[test]
    fn a_refusal_whose_fetch_failed_does_not_ask_again_at_once() {
        let now = Instant::now();
        let mut cache = with_token(None, now);
        assert!(cache.refused(1, now).launch.is_some());
        cache.failed(failure()).unwrap_err();
        assert!(matches!(cache.refused(1, now + SECOND).then, Then::Fail(_)));
    }

    #[test]
    fn a_life_that_cannot_be_read_lasts_until_a_refusal() {
        let now = Instant::now();
        let mut cache = with_token(None, now);
        let step = cache.step(now + 10_000 * HOUR);
        assert!(step.launch.is_none() && number(&step) == Some(1));
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
