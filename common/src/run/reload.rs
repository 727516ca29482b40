//! Reads certificates, lists and rules again, on a signal or after they have changed.

use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;

use crate::server::{ReloadingRules, Server};
use crate::tasks::unblock;
use crate::{staging, tls};

/// How often certificates and rules are checked for changes.
const LOOK: Duration = Duration::from_secs(60);

pub(super) async fn reload(server: &Arc<Server>) {
    let shared = Arc::clone(server);
    let (certificates, rules) = unblock(move || {
        let certificates = shared.tls.as_ref().map(tls::ReloadingServer::reload);
        (certificates, shared.access.as_ref().map(ReloadingRules::reload))
    })
    .await;
    if certificates.is_none() && rules.is_none() {
        log::info!("nothing to reload: neither certificates nor rules are configured");
    }
    match rules {
        Some(Ok(rules)) => log::info!("reloaded: {} rules of access", rules.count()),
        Some(Err(error)) => log::error!("the rules in use stay: {error}"),
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
        Some(Err(error)) => log::error!("the certificates in use stay: {error}"),
    }
    server.places.judge_upgraded(server.tls.as_ref());
    server.changed.notify(1);
}

pub(super) async fn watch_files(server: Arc<Server>) {
    while server.tls.is_some() || server.access.is_some() {
        Timer::after(LOOK).await;
        // A certificate may have expired since.
        server.places.judge_upgraded(server.tls.as_ref());
        let looked_at = Arc::clone(&server);
        let is_ours_to_reload = unblock(move || {
            let has_changed = looked_at.tls.as_ref().is_some_and(tls::ReloadingServer::changed)
                || looked_at.access.as_ref().is_some_and(ReloadingRules::changed);
            has_changed && !staging::renew()
        });
        if is_ours_to_reload.await {
            reload(&server).await;
        }
    }
}
