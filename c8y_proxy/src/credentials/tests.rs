//! One token for everybody, with many tasks at once and a source that the test plays.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use async_io::Timer;
use event_listener::Event;
use futures_lite::{FutureExt, future};
use http::HeaderValue;

use super::jwt::tests::token;
use super::tokens::{TokenSource, bearer};
use super::*;

/// A source that answers when it is told to, in order.
#[derive(Default)]
struct Played {
    answers: Mutex<VecDeque<Result<String, Error>>>,
    fetches: AtomicUsize,
    changed: Event,
}

impl Played {
    fn answer(&self, answer: Result<String, Error>) {
        self.answers.lock().unwrap().push_back(answer);
        self.changed.notify(usize::MAX);
    }

    fn fetches(&self) -> usize {
        self.fetches.load(SeqCst)
    }
}

impl TokenSource for Arc<Played> {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<String, Error>> + Send + '_>> {
        self.fetches.fetch_add(1, SeqCst);
        self.changed.notify(usize::MAX);
        Box::pin(async {
            loop {
                let changed = self.changed.listen();
                if let Some(answer) = self.answers.lock().unwrap().pop_front() {
                    return answer;
                }
                changed.await;
            }
        })
    }

    fn waiting(&self) -> String {
        "the test says nothing".to_owned()
    }

    fn name(&self) -> String {
        "the test".to_owned()
    }

    fn broker(&self) -> &'static str {
        "connected"
    }
}

/// Credentials over a played source, and a task for each who asks.
struct Stage {
    executor: Arc<Executor<'static>>,
    played: Arc<Played>,
    credentials: Arc<Credentials>,
}

impl Stage {
    fn new(timing: Timing) -> Self {
        let executor = Arc::new(Executor::new());
        let played = Arc::new(Played::default());
        let tokens = Tokens::new(Box::new(Arc::clone(&played)), timing, &executor);
        Self { executor, played, credentials: Arc::new(Credentials(Inner::Token(tokens))) }
    }

    /// Runs `scene` on the stage's executor, for 20 s at most.
    fn play(self, scene: impl AsyncFnOnce(&Self)) {
        let late = async {
            Timer::after(Duration::from_secs(20)).await;
            panic!("the scene does not end");
        };
        let executor = Arc::clone(&self.executor);
        future::block_on(executor.run(scene(&self).or(late)));
    }

    fn ask(&self, count: usize) -> Vec<async_executor::Task<Result<Grant, Error>>> {
        let asks = || {
            let credentials = Arc::clone(&self.credentials);
            self.executor.spawn(async move { credentials.grant().await })
        };
        (0..count).map(|_| asks()).collect()
    }

    async fn fetched(&self, count: usize) {
        loop {
            let changed = self.played.changed.listen();
            if self.played.fetches() >= count {
                return;
            }
            changed.await;
        }
    }
}

fn good() -> Result<String, Error> {
    Ok(token(r#"{"iat":1000,"exp":4600}"#))
}

fn bad() -> Result<String, Error> {
    Err(Error::Malformed { topic: "c8y/s/dat".to_owned(), fault: "it is a fish" })
}

#[test]
fn a_hundred_who_wait_share_one_failure() {
    Stage::new(Timing::default()).play(async |stage| {
        let asked = stage.ask(100);
        stage.fetched(1).await;
        stage.played.answer(bad());
        for asked in asked {
            let error = asked.await.unwrap_err();
            assert_eq!(error.to_string(), "the answer on c8y/s/dat is not a token: it is a fish");
        }
        stage.credentials.grant().await.unwrap_err();
        assert_eq!(stage.played.fetches(), 1);
        assert_eq!(stage.credentials.health(), ("none", "connected"));
    });
}

#[test]
fn one_who_gives_up_takes_nothing_from_the_others() {
    Stage::new(Timing::default()).play(async |stage| {
        let first = stage.ask(1);
        stage.fetched(1).await;
        let others = stage.ask(10);
        drop(first);
        stage.played.answer(good());
        for other in others {
            let grant = other.await.unwrap();
            assert!(grant.value() == bearer(&good().unwrap()) && grant.value().is_sensitive());
        }
        assert_eq!(stage.played.fetches(), 1);
    });
}

#[test]
fn a_401_has_no_long_wait_for_a_source_that_is_silent() {
    let timing = Timing { patience: Duration::from_millis(50), ..Timing::default() };
    Stage::new(timing).play(async |stage| {
        stage.played.answer(good());
        let old = stage.credentials.grant().await.unwrap();
        let begin = Instant::now();
        for _ in 0..100 {
            assert!(stage.credentials.other_than(&old).await.is_none());
            assert_eq!(stage.credentials.grant().await.unwrap().value(), old.value());
        }
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        assert_eq!(stage.played.fetches(), 2);
        assert_eq!(stage.credentials.health(), ("none", "connected"));
        stage.played.answer(Ok(token(r#"{"iat":2000,"exp":5600}"#)));
        while stage.credentials.grant().await.unwrap().value() == old.value() {
            future::yield_now().await;
        }
        assert_eq!(stage.credentials.health(), ("valid", "connected"));
    });
}

#[test]
fn basic_credentials_are_read_again_when_they_are_refused() {
    let value = HeaderValue::from_static("Basic dTpw");
    let credentials = Credentials::fixed(value.clone());
    future::block_on(async {
        let grant = credentials.grant().await.unwrap();
        assert_eq!(grant.value(), &value);
        assert!(credentials.other_than(&grant).await.is_none(), "the file cannot be read");
        assert_eq!(credentials.grant().await.unwrap().value(), &value);
        assert!(credentials.is_proved(&grant));
        assert_eq!(credentials.health(), ("basic", "unused"));
    });
}
