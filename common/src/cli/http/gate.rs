//! Holds a request's content back until the service answers `100 Continue`: over plain HTTP it may
//! answer with a redirect to HTTPS instead, and then the content is sent there.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use async_io::Timer;
use http::{Request, StatusCode};

use crate::http::{Body, BodyError};

/// How long a service may take to say that the content may come.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Closed until the service asks for the content. Open by default.
#[derive(Default)]
pub(super) struct Gate(Option<(Arc<Mutex<GateState>>, Timer)>);

#[derive(Default)]
struct GateState {
    is_open: bool,
    waker: Option<Waker>,
}

impl Gate {
    /// Opened by the `100 Continue` to this request.
    pub(super) fn closed(request: &mut Request<Body>) -> Self {
        let state = Arc::new(Mutex::new(GateState::default()));
        let opened = Arc::clone(&state);
        hyper::ext::on_informational(request, move |answer| {
            if answer.status() == StatusCode::CONTINUE {
                let mut state = opened.lock().unwrap_or_else(PoisonError::into_inner);
                state.is_open = true;
                if let Some(waker) = state.waker.take() {
                    waker.wake();
                }
            }
        });
        Self(Some((state, Timer::after(TIMEOUT))))
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let Some((state, late)) = &mut self.0 else { return Poll::Ready(Ok(())) };
        let mut open = state.lock().unwrap_or_else(PoisonError::into_inner);
        if !open.is_open {
            open.waker = Some(cx.waker().clone());
            drop(open);
            ready!(Pin::new(late).poll(cx));
            return Poll::Ready(Err(
                "the service has not said 100 Continue within 60 seconds".into()
            ));
        }
        drop(open);
        self.0 = None;
        Poll::Ready(Ok(()))
    }
}
