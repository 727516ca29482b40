//! Decides when to use the current token, when to fetch another, and which requests wait for it.
//!
//! It has no side effects: the time is an argument, and the action is returned as a [`Decision`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::net::SharedFetch;
use http::HeaderValue;

use super::error::Error;
use super::grant::Grant;

/// After a failed fetch, requests that were answered by 401 do not wait for a token for this long.
const FAILURE_COUNTS: Duration = Duration::from_secs(60);

/// The time limits of tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// The maximum duration of a fetch.
    pub(super) limit: Duration,
    /// The minimum time between the beginnings of two fetches, except after a 401.
    pub(super) spacing: Duration,
    /// A token is renewed this long before its end.
    pub(super) ahead: Duration,
    /// For how long an accepted request shows that a token is good.
    pub(super) proof: Duration,
    /// How long requests that were answered by 401 wait, from the beginning of a fetch.
    pub(super) patience: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            limit: Duration::from_secs(20),
            spacing: Duration::from_secs(10),
            ahead: Duration::from_secs(60),
            proof: Duration::from_secs(60),
            patience: Duration::from_secs(8),
        }
    }
}

/// The decision for a request that needs a token.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) fetch: Option<Fetch>,
    /// What the request gets.
    pub(super) action: Action,
}

/// A fetch to begin, and the earliest time for it.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) shared: Arc<SharedFetch<Grant, Error>>,
    pub(super) not_before: Instant,
}

/// The token for a request.
#[derive(Debug)]
pub(super) enum Action {
    Use(Grant),
    Wait(Arc<SharedFetch<Grant, Error>>),
    /// Wait, at most for this long.
    WaitUntil(Arc<SharedFetch<Grant, Error>>, Instant),
    Fail(Error),
}

/// The token, the fetch in progress, and the result of the last one.
#[derive(Debug)]
pub(super) struct TokenCache {
    timing: Timing,
    token: Option<Token>,
    number: u64,
    under_way: Option<Arc<SharedFetch<Grant, Error>>>,
    began: Option<Instant>,
    failure: Option<Error>,
    /// Whether a request needs the token of the fetch in progress. Otherwise the fetch renews a
    /// good token in advance, and if it fails, a refused request may still begin its own.
    is_wanted: bool,
}

#[derive(Debug)]
struct Token {
    grant: Grant,
    /// The end of the token, if known. If not, it is used until a 401.
    end: Option<Instant>,
    proved: Option<Instant>,
    /// By this device's clock, which may be wrong, it had expired when it arrived.
    is_expired: bool,
    /// Upstream answered 401 to this token. It is used until there is another, since upstream may
    /// refuse one request and accept others.
    refused: bool,
    /// It replaces a refused token, and upstream has not accepted it yet.
    on_trial: bool,
}

impl TokenCache {
    pub(super) fn new(timing: Timing) -> Self {
        Self {
            timing,
            token: None,
            number: 0,
            under_way: None,
            began: None,
            failure: None,
            is_wanted: false,
        }
    }

    /// A request needs a token.
    pub(super) fn decide(&mut self, now: Instant) -> Decision {
        let Some(token) = self.token.as_ref().filter(|token| token.is_alive(now)) else {
            return self.wait(now);
        };
        let grant = token.grant.clone();
        let due = token.end.is_some_and(|end| now + self.timing.ahead >= end);
        let may_fetch = due && self.under_way.is_none() && self.next_fetch(now) <= now;
        let fetch = may_fetch.then(|| {
            self.is_wanted = false;
            self.begin(now)
        });
        Decision { fetch, action: Action::Use(grant) }
    }

    /// A request was answered by 401 to the token of this number. It waits for another token while
    /// the fetch is new, but not if the fetch before failed within the last minute: while no tokens
    /// arrive, a 401 is passed on soon.
    pub(super) fn refused(&mut self, number: u64, now: Instant) -> Decision {
        if self.began.is_some_and(|began| began + FAILURE_COUNTS <= now) {
            self.failure = None;
        }
        let mut is_urgent = false;
        match &mut self.token {
            Some(token) if token.grant.number() == number => {
                is_urgent = self.failure.is_none() && !token.refused && !token.on_trial;
                token.refused = true;
                token.proved = None;
            }
            Some(token) if token.is_alive(now) => return self.decide(now),
            _ => {}
        }
        self.is_wanted = true;
        let not_before = if is_urgent { now } else { self.next_fetch(now) };
        let (fetch, shared) = match &self.under_way {
            Some(shared) => (None, Arc::clone(shared)),
            None => {
                let fetch = self.begin(not_before);
                let shared = Arc::clone(&fetch.shared);
                (Some(fetch), shared)
            }
        };
        let began = self.began.filter(|began| *began <= now);
        let action = match &self.failure {
            Some(failure) => Action::Fail(failure.clone()),
            None => {
                let until = began.map_or(now, |began| began + self.timing.patience);
                Action::WaitUntil(shared, until)
            }
        };
        Decision { fetch, action }
    }

    fn wait(&mut self, now: Instant) -> Decision {
        self.is_wanted = true;
        if let Some(fetch) = &self.under_way {
            return Decision { fetch: None, action: Action::Wait(Arc::clone(fetch)) };
        }
        let next = self.next_fetch(now);
        if let Some(failure) = self.failure.as_ref().filter(|_| now < next) {
            return Decision { fetch: None, action: Action::Fail(failure.clone()) };
        }
        let fetch = self.begin(next);
        let action = Action::Wait(Arc::clone(&fetch.shared));
        Decision { fetch: Some(fetch), action }
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

    /// The fetch returned this token.
    pub(super) fn fetched(
        &mut self,
        value: HeaderValue,
        life: Option<Duration>,
        is_expired: bool,
        now: Instant,
    ) -> Result<Grant, Error> {
        self.number += 1;
        let grant = Grant::new(value, self.number);
        let end = life.and_then(|life| now.checked_add(life));
        let on_trial = self.token.as_ref().is_some_and(|token| token.refused);
        let token =
            Token { grant: grant.clone(), end, proved: None, is_expired, refused: false, on_trial };
        self.token = Some(token);
        self.under_way = None;
        self.failure = None;
        Ok(grant)
    }

    /// The fetch failed. A token that is still good stays.
    pub(super) fn failed(&mut self, error: Error) -> Result<Grant, Error> {
        self.under_way = None;
        if self.is_wanted {
            self.failure = Some(error.clone());
        }
        Err(error)
    }

    /// Upstream accepted the token of this number.
    pub(super) fn accepted(&mut self, number: u64, now: Instant) {
        if let Some(token) = self.token.as_mut().filter(|token| token.grant.number() == number) {
            token.proved = Some(now);
            token.is_expired = false;
            token.refused = false;
            token.on_trial = false;
        }
    }

    pub(super) fn is_proved(&self, number: u64, now: Instant) -> bool {
        self.token.as_ref().filter(|token| token.grant.number() == number).is_some_and(|token| {
            token.proved.is_some_and(|proved| now < proved + self.timing.proof)
        })
    }

    /// Whether there is a token that upstream accepts, as far as known.
    pub(super) fn is_valid(&self, now: Instant) -> bool {
        let is_good = |token: &Token| token.is_alive(now) && !token.refused && !token.is_expired;
        self.token.as_ref().is_some_and(is_good)
    }
}

impl Token {
    fn is_alive(&self, now: Instant) -> bool {
        self.end.is_none_or(|end| now < end)
    }
}

#[cfg(test)]
mod tests;
