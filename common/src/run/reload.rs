//! Reads certificates, lists and rules again, on a signal or after they have changed. If
//! descriptors or memory have run out, it tries again until it succeeds.

use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use event_listener::{Event, listener};
use futures_lite::FutureExt;

use super::systemd::Systemd;
use crate::error::Error;
use crate::server::{ReloadingRules, Server};
use crate::tasks::unblock;
use crate::{journal, staging, tls};

/// How often certificates and rules are checked for changes.
const LOOK: Duration = Duration::from_secs(60);
/// The pause after a reload for which descriptors or memory were missing.
const AGAIN: Duration = Duration::from_secs(1);

/// The files that a running server reads again.
pub(super) struct Reload {
    server: Arc<Server>,
    systemd: Arc<Systemd>,
    /// Notified when a reload has to be tried again.
    again: Event,
}

impl Reload {
    pub(super) fn new(server: Arc<Server>, systemd: Arc<Systemd>) -> Self {
        Self { server, systemd, again: Event::new() }
    }

    /// Reads the files, as a signal asks for it.
    pub(super) async fn reload(&self) {
        if !self.read().await {
            self.again.notify(1);
        }
    }

    /// Reads the files whenever they have changed.
    pub(super) async fn watch(&self) {
        let Server { places, tls, access, .. } = &*self.server;
        let mut pause = LOOK;
        while tls.is_some() || access.is_some() {
            listener!(self.again => again);
            let look = async {
                Timer::after(pause).await;
                false
            };
            let has_failed = async {
                again.await;
                true
            };
            if has_failed.or(look).await {
                pause = AGAIN;
                continue;
            }
            // A certificate may have expired since.
            places.judge_upgraded(tls.as_ref());
            let is_read = !self.has_changed().await || self.read().await;
            pause = if is_read { LOOK } else { AGAIN };
        }
    }

    /// Whether files have changed, and root does not copy them for this service first.
    async fn has_changed(&self) -> bool {
        let server = Arc::clone(&self.server);
        let has_changed = unblock(move || {
            let has_changed = server.tls.as_ref().is_some_and(tls::ReloadingServer::changed)
                || server.access.as_ref().is_some_and(ReloadingRules::changed);
            has_changed && !staging::renew()
        });
        has_changed.await
    }

    /// Reads the files. False: descriptors or memory have run out.
    async fn read(&self) -> bool {
        let server = Arc::clone(&self.server);
        let (certificates, rules) = unblock(move || {
            let certificates = server.tls.as_ref().map(tls::ReloadingServer::reload);
            (certificates, server.access.as_ref().map(ReloadingRules::reload))
        })
        .await;
        let Server { places, tls, changed, routes, .. } = &*self.server;
        if certificates.is_none() && rules.is_none() && !routes.has_files() {
            log::info!("nothing to reload: neither certificates nor rules are configured");
        }
        let mut errors = Vec::new();
        match rules {
            Some(Ok(rules)) => log::info!("reloaded: {} access rules", rules.count()),
            Some(Err(error)) => errors.push(("rules", error)),
            None => {}
        }
        match certificates {
            None => {}
            Some(Ok(identity)) => {
                log::info!("reloaded: {identity}");
                for warning in &identity.warnings {
                    log::warn!("{warning}");
                }
            }
            Some(Err(error)) => errors.push(("certificates", error)),
        }
        let is_short = errors.iter().any(|(_, error)| matches!(error, Error::Failed(_)));
        for (what, error) in &errors {
            match error {
                Error::Failed(_) => journal::fail(&format!(
                    "the old {what} stay in use: {error}; trying again every second"
                )),
                _ => log::error!("the old {what} stay in use: {error}"),
            }
        }
        self.systemd.tell(match errors.as_slice() {
            [] => "STATUS=",
            _ => "STATUS=The last reload failed: see the log",
        });
        if is_short {
            places.spare_one();
        }
        places.judge_upgraded(tls.as_ref());
        changed.notify(1);
        !is_short
    }
}
