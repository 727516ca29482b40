//! A token from the broker, or from Cumulocity itself if the broker gives none in time.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use async_io::Timer;
use common::journal::complain;
use futures_lite::future;

use super::error::Error;
use super::https::Https;
use super::mqtt::Mqtt;
use super::tokens::TokenSource;

/// How long to wait for the broker before Cumulocity is asked as well.
const PATIENCE: Duration = Duration::from_secs(5);

/// Both token sources, and the one that gave the last token.
pub(super) struct Either {
    mqtt: Mqtt,
    https: Https,
    is_over_https: AtomicBool,
}

impl Either {
    pub(super) fn new(mqtt: Mqtt, https: Https) -> Self {
        Self { mqtt, https, is_over_https: AtomicBool::new(false) }
    }

    /// Asks the broker continuously, and Cumulocity once.
    async fn ask(&self) -> Result<String, Error> {
        let mut by_broker = pin!(self.mqtt.fetch());
        let mut over_https = pin!(async {
            // If the broker was not available for the last token and still is not, there is no
            // wait.
            if self.mqtt.is_connected() || !self.is_over_https.load(Relaxed) {
                Timer::after(PATIENCE).await;
            }
            self.https.fetch().await
        });
        let mut failed = [false; 2];
        let (token, is_over_https) = future::poll_fn(|cx| {
            let sources: [Pin<&mut dyn Future<Output = _>>; 2] =
                [by_broker.as_mut(), over_https.as_mut()];
            for (index, source) in sources.into_iter().enumerate() {
                if failed[index] {
                    continue;
                }
                match source.poll(cx) {
                    Poll::Ready(Ok(token)) => return Poll::Ready(Ok((token, index == 1))),
                    Poll::Ready(Err(error)) if failed[1 - index] => return Poll::Ready(Err(error)),
                    Poll::Ready(Err(error)) => {
                        complain(&error.to_string(), &"credentials");
                        failed[index] = true;
                    }
                    Poll::Pending => {}
                }
            }
            Poll::Pending
        })
        .await?;
        if self.is_over_https.swap(is_over_https, Relaxed) != is_over_https {
            let why = self.mqtt.waiting();
            match is_over_https {
                true => log::warn!("the token comes from {} now: {why}", self.https.name()),
                false => log::info!("the token comes from the broker again"),
            }
        }
        Ok(token)
    }
}

impl TokenSource for Either {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<String, Error>> + Send + '_>> {
        Box::pin(self.ask())
    }

    fn waiting(&self) -> String {
        format!("{}; over HTTPS: {}", self.mqtt.waiting(), self.https.waiting())
    }

    fn name(&self) -> String {
        if self.is_over_https.load(Relaxed) { self.https.name() } else { self.mqtt.name() }
    }

    fn broker(&self) -> &'static str {
        self.mqtt.broker()
    }
}
