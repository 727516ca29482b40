//! How a service answers requests, as one value.

use std::sync::Arc;

use ::http::{Request, Response, request};
use futures_lite::future::Boxed;

use super::answer::Answer;
use super::body::Body;
use super::bridge;
use crate::access::{Judge, Refusal};

/// How a service answers: its application, and for speed what need not go through it.
pub struct Routes {
    answer: Box<dyn Fn(Request<Body>) -> Boxed<Answer> + Send + Sync>,
    express: Box<dyn Express>,
    asked: Asked,
    release: Box<dyn Fn() + Send + Sync>,
    reload: Box<dyn Fn() -> Boxed<()> + Send + Sync>,
}

/// Asks whether a client may send a request.
#[derive(Clone, Copy)]
struct Asked(fn(&request::Parts, &Judge<'_>) -> Result<(), Refusal>);

trait Express: Fn(&request::Parts) -> Option<Response<Body>> + Send + Sync {}

impl<F: Fn(&request::Parts) -> Option<Response<Body>> + Send + Sync> Express for F {}

impl Routes {
    /// The routes of `app`. The paths below one of `prefixes`, which end with a slash, all lead to
    /// its route [`BELOW`](super::BELOW), and no other path does.
    ///
    /// The application is expected to have [`super::respond::Respond`] among its middleware, which
    /// turns errors and what tide says by itself into answers; without it they are bare.
    pub fn new<S>(app: tide::Server<S>, prefixes: &'static [&'static str]) -> Self
    where
        S: Clone + Send + Sync + 'static,
    {
        let app = Arc::new(app);
        Self {
            answer: Box::new(move |request| {
                let app = Arc::clone(&app);
                Box::pin(async move { bridge::respond(&app, prefixes, request).await })
            }),
            express: Box::new(|_| None),
            asked: Asked(|_, _| Ok(())),
            release: Box::new(|| {}),
            reload: Box::new(|| Box::pin(std::future::ready(()))),
        }
    }

    /// The same, with express answers: to requests without a body that can be answered without
    /// waiting, as the application would answer them. `None` leaves a request to the application.
    #[must_use]
    pub fn with_express_answers(
        self,
        express: impl Fn(&request::Parts) -> Option<Response<Body>> + Send + Sync + 'static,
    ) -> Self {
        Self { express: Box::new(express), ..self }
    }

    /// The same, with what asks whether a client may do what the head of a request says. It is not
    /// called without rules, and before every other way to answer with them.
    #[must_use]
    pub fn with_access(
        self,
        asked: fn(&request::Parts, &Judge<'_>) -> Result<(), Refusal>,
    ) -> Self {
        Self { asked: Asked(asked), ..self }
    }

    /// The same, with what gives back that was kept for speed. It is called when connections have
    /// been idle for a moment.
    #[must_use]
    pub fn with_release(self, release: impl Fn() + Send + Sync + 'static) -> Self {
        Self { release: Box::new(release), ..self }
    }

    /// The same, with what reads again the files of the application. It is called on SIGHUP.
    #[must_use]
    pub fn with_reload(self, reload: impl Fn() -> Boxed<()> + Send + Sync + 'static) -> Self {
        Self { reload: Box::new(reload), ..self }
    }

    /// Has the application answer a request.
    pub fn answer(&self, request: Request<Body>) -> Boxed<Answer> {
        (self.answer)(request)
    }

    /// The express answer to a request without a body, if it has one.
    pub fn express(&self, head: &request::Parts) -> Option<Response<Body>> {
        (self.express)(head)
    }

    /// Whether a client may send this request.
    ///
    /// # Errors
    ///
    /// No rule allows it.
    pub fn judge(&self, head: &request::Parts, judge: &Judge<'_>) -> Result<(), Refusal> {
        self.asked.0(head, judge)
    }

    pub(crate) async fn reload(&self) {
        (self.reload)().await;
    }

    pub(crate) fn release(&self) {
        (self.release)();
    }
}
