//! How a service answers requests, as one value.

use std::sync::Arc;

use ::http::{Request, Response, request};
use futures_lite::future::Boxed;

use super::answer::Answer;
use super::body::Body;
use super::bridge;
use super::respond::unrouted;
use crate::access::{Forbidden, Judge};
use crate::net::Arrival;

/// How a service answers: its application, and for speed the answers that need not go through it.
pub struct Routes {
    answer: Box<dyn Fn(Box<Request<Body>>) -> Boxed<Answer> + Send + Sync>,
    express: Box<dyn Express>,
    asked: AccessCheck,
    passed_on: &'static str,
    release: Box<dyn Fn() + Send + Sync>,
    reload: Vec<Box<dyn Fn() -> Boxed<()> + Send + Sync>>,
}

/// Checks whether a client may send a request.
#[derive(Clone, Copy)]
struct AccessCheck(fn(&request::Parts, &Judge<'_>) -> Result<(), Forbidden>);

trait Express: Fn(&request::Parts, Arrival) -> Option<Response<Body>> + Send + Sync {}

impl<F> Express for F where F: Fn(&request::Parts, Arrival) -> Option<Response<Body>> + Send + Sync {}

impl Routes {
    /// The routes of `app`. The paths below one of `prefixes`, which end with a slash, all lead to
    /// its route [`BELOW`](super::BELOW), and no other path does. tide's own answers, 404 and 405,
    /// get a text.
    pub fn new<S>(app: tide::Server<S>, prefixes: &'static [&'static str]) -> Self
    where
        S: Clone + Send + Sync + 'static,
    {
        let app = Arc::new(app);
        Self {
            answer: Box::new(move |request| {
                Box::pin(bridge::respond(Arc::clone(&app), prefixes, request, unrouted))
            }),
            express: Box::new(|_, _| None),
            asked: AccessCheck(|_, _| Ok(())),
            passed_on: "",
            release: Box::new(|| {}),
            reload: Vec::new(),
        }
    }

    /// The same, with express answers: to requests without a body that can be answered without
    /// waiting, equal to those of the application. `None` leaves a request to the application.
    #[must_use]
    pub fn with_express_answers(
        self,
        express: impl Fn(&request::Parts, Arrival) -> Option<Response<Body>> + Send + Sync + 'static,
    ) -> Self {
        Self { express: Box::new(express), ..self }
    }

    /// The same, with a check whether a client may send a request, by its head. It is called only
    /// if there are rules, and then before any other way to answer.
    #[must_use]
    pub fn with_access(
        self,
        asked: fn(&request::Parts, &Judge<'_>) -> Result<(), Forbidden>,
    ) -> Self {
        Self { asked: AccessCheck(asked), ..self }
    }

    /// The same, with the path where, and below which, answers come from another server. Such an
    /// exchange ends when its client closes the connection, or only its sending half.
    #[must_use]
    pub fn with_passed_on(self, path: &'static str) -> Self {
        Self { passed_on: path, ..self }
    }

    /// The same, with a function that frees what was kept for speed. It is called when connections
    /// have been idle for a moment.
    #[must_use]
    pub fn with_release(self, release: impl Fn() + Send + Sync + 'static) -> Self {
        Self { release: Box::new(release), ..self }
    }

    /// The same, with a function that reads the application's files again. It is called on SIGHUP.
    #[must_use]
    pub fn with_reload(mut self, reload: impl Fn() -> Boxed<()> + Send + Sync + 'static) -> Self {
        self.reload.push(Box::new(reload));
        self
    }

    /// Has the application answer a request.
    pub fn answer(&self, request: Request<Body>) -> Boxed<Answer> {
        (self.answer)(Box::new(request))
    }

    /// The express answer to a request without a body, if it has one. The request began to arrive
    /// before `arrival`.
    pub fn express(&self, head: &request::Parts, arrival: Arrival) -> Option<Response<Body>> {
        (self.express)(head, arrival)
    }

    /// Whether the answer to this request comes from another server.
    pub(crate) fn is_passed_on(&self, head: &request::Parts) -> bool {
        !self.passed_on.is_empty() && head.uri.path().starts_with(self.passed_on)
    }

    /// Whether a client may send this request.
    ///
    /// # Errors
    ///
    /// No rule allows it.
    pub fn judge(&self, head: &request::Parts, judge: &Judge<'_>) -> Result<(), Forbidden> {
        self.asked.0(head, judge)
    }

    /// Whether the application has files that it reads again.
    pub(crate) fn has_files(&self) -> bool {
        !self.reload.is_empty()
    }

    pub(crate) async fn reload(&self) {
        for reload in &self.reload {
            reload().await;
        }
    }

    pub(crate) fn release(&self) {
        (self.release)();
    }
}
