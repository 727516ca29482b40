//! From the settings to the exit: bind, ready, serve, signals, drain.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use async_executor::Executor;
use async_io::Timer;
use async_signal::{Signal, Signals};
use blocking::unblock;
use event_listener::Event;
use futures_lite::{FutureExt, StreamExt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;

use super::{Context, Service, Socket, memory, say};
use crate::error::Error;
use crate::server::listener::{self, Bound, Connections, Site};
use crate::server::state::Order;
use crate::settings::{LoadedSettings, Settings};
use crate::{staging, tls};

/// What is under way when a service is asked to stop may take this long.
const DRAIN: Duration = Duration::from_secs(30);
/// How often certificates are looked at for a change.
const LOOK: Duration = Duration::from_secs(60);

/// `--check`: everything but to serve.
pub(super) fn check<S: Service>(loaded: &LoadedSettings, config_dir: &Path) -> Result<(), Error> {
    let socket = S::socket(&loaded.settings);
    let tls = socket.tls.load()?;
    S::check(&loaded.settings, config_dir)?;
    let mut report = serving(&socket.address.to_string(), tls.as_ref());
    report.push('\n');
    for warning in tls.iter().flat_map(|identity| &identity.warnings) {
        report.push_str(&format!("warning: {warning}\n"));
    }
    for key in &loaded.unknown {
        report.push_str(&format!("not a setting of these services: {key}\n"));
    }
    say(&report)
}

/// Serves until a signal ends it.
pub(super) fn live<S: Service>(settings: &Settings, config_dir: PathBuf) -> Result<(), Error> {
    let socket = S::socket(settings);
    let identity = socket.tls.load()?;
    let connections = Arc::new(Connections::new(affordable(&socket)));
    let bound = bind(&socket)?;
    let executor = Arc::new(Executor::new());
    let draining = Arc::new(AtomicBool::new(false));
    let context =
        Context { executor: Arc::clone(&executor), draining: Arc::clone(&draining), config_dir };
    let app = S::app(settings, &context)?;
    let mut signals = Signals::new([Signal::Hup, Signal::Term, Signal::Int])
        .map_err(|error| Error::Failed(format!("cannot listen for signals: {error}")))?;

    log::info!("{}", serving(&bound.address.to_string(), identity.as_ref()));
    for warning in identity.iter().flat_map(|identity| &identity.warnings) {
        log::warn!("{warning}");
    }
    warn_of_the_network(&bound, identity.is_some());
    let site = Arc::new(Site {
        app,
        prefixes: S::PREFIXES,
        at_once: S::at_once,
        tls: identity.map(|identity| tls::ReloadingServer::new(socket.tls, &identity)),
        half_close: S::HALF_CLOSE,
        changed: Event::new(),
    });

    // A task like all others: what is given to `run` itself is asked at each turn of each of them.
    let tasks = Arc::clone(&executor);
    let life = executor.spawn(async move {
        let executor = tasks;
        let accept = executor.spawn(listener::accept(
            bound.socket,
            Arc::clone(&site),
            Arc::clone(&connections),
            Arc::clone(&executor),
        ));
        executor.spawn(watch_files(Arc::clone(&site))).detach();

        executor.spawn(give_back::<S>(Arc::clone(&site), Arc::clone(&connections))).detach();
        executor.spawn(feed_the_watchdog()).detach();
        tell_systemd(&[NotifyState::Ready]);
        memory::unmap_code();

        while let Some(signal) = signals.next().await {
            match signal {
                Ok(Signal::Hup) => {
                    reload(&site).await;
                    tell_systemd(&[NotifyState::Ready]);
                }
                Ok(_) => break,
                Err(error) => log::error!("cannot read a signal: {error}"),
            }
        }
        log::info!("stopping: what is under way has {} s to finish", DRAIN.as_secs());
        tell_systemd(&[NotifyState::Stopping]);
        draining.store(true, Relaxed);
        accept.cancel().await;
        drain(&connections, &mut signals).await;
    });
    async_io::block_on(executor.run(life));
    Ok(())
}

/// As many connections as descriptors allow, after asking for more of them.
fn affordable(socket: &Socket) -> usize {
    /// Standard streams, the reactor's, the listener, directories, the broker.
    const OWN: u64 = 32;
    let wanted = (socket.connections * socket.descriptors) as u64 + OWN;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let current = limit.maximum.map_or(wanted, |most| most.min(wanted));
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..limit });
    }
    let current = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let affordable = (current.saturating_sub(OWN) / socket.descriptors as u64).max(1) as usize;
    if affordable < socket.connections {
        log::warn!(
            "{affordable} connections at most, not {}: the limit of open files is {current} \
             (raise LimitNOFILE= or `ulimit -n`)",
            socket.connections,
        );
    }
    affordable.min(socket.connections)
}

fn bind(socket: &Socket) -> Result<Bound, Error> {
    listener::bind(socket.address).map_err(|error| {
        let prefix = socket.tls.prefix;
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "another program is using it; stop it, or choose another port with \
                 `tedge config set {prefix}.bind.port PORT`"
            ),
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need the capability CAP_NET_BIND_SERVICE".to_owned()
            }
            _ => format!("see {prefix}.bind.address and {prefix}.bind.port"),
        };
        Error::Failed(format!("cannot listen on {}: {error}: {hint}", socket.address))
    })
}

/// The line that says where and how securely.
fn serving(address: &str, identity: Option<&tls::ServerIdentity>) -> String {
    match identity {
        None => format!("Serving http://{address}"),
        Some(identity) => format!("Serving https://{address}, {identity}"),
    }
}

fn warn_of_the_network(bound: &Bound, is_encrypted: bool) {
    let address = bound.address.ip();
    if bound.is_foreign {
        log::warn!("{address} is not an address of this machine yet: waiting for it to come");
    }
    let is_local = match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => address.is_loopback(),
    };
    if !is_local && !is_encrypted {
        log::warn!("HTTP without encryption, reachable from the network at {}", bound.address);
    }
}

async fn reload<S: Send + Sync + 'static>(site: &Arc<Site<S>>) {
    let site = Arc::clone(site);
    let reloaded = unblock(move || site.tls.as_ref().map(tls::ReloadingServer::reload)).await;
    match reloaded {
        None => log::info!("nothing to reload: no certificate is configured"),
        Some(Ok(identity)) => {
            log::info!("reloaded: {identity}");
            for warning in &identity.warnings {
                log::warn!("{warning}");
            }
        }
        Some(Err(error)) => log::error!("the certificates in use stay: {error}"),
    }
}

async fn watch_files<S: Send + Sync + 'static>(site: Arc<Site<S>>) {
    while site.tls.is_some() {
        Timer::after(LOOK).await;
        let looked_at = Arc::clone(&site);
        let is_ours_to_reload = unblock(move || {
            looked_at.tls.as_ref().is_some_and(tls::ReloadingServer::changed) && !staging::renew()
        });
        if is_ours_to_reload.await {
            reload(&site).await;
        }
    }
}

/// Sleeps until connections have come or gone or fallen idle, and a little longer, since they
/// seldom do so alone; then twice, since what they leave to other threads goes later. What changes
/// meanwhile counts for the next time.
async fn give_back<S: Service>(site: Arc<Site<S::State>>, connections: Arc<Connections>) {
    const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
    let mut changed = site.changed.listen();
    loop {
        changed.await;
        changed = site.changed.listen();
        for pause in PAUSES {
            Timer::after(pause).await;
            S::rest(site.app.state());
            if connections.are_quiet() {
                memory::empty_cache();
                memory::unmap_code();
            }
            memory::give_back();
        }
    }
}

async fn feed_the_watchdog() {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    loop {
        tell_systemd(&[NotifyState::Watchdog]);
        Timer::after(period / 3).await;
    }
}

fn tell_systemd(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("cannot tell systemd ({states:?}): {error}");
    }
}

async fn drain(connections: &Connections, signals: &mut Signals) {
    connections.ask(Order::Drain);
    let late = async {
        Timer::after(DRAIN).await;
        log::warn!("stopped before all transfers were finished");
    };
    let again = poll_fn(|cx| match signals.poll_next(cx) {
        Poll::Ready(Some(Ok(Signal::Term | Signal::Int))) => Poll::Ready(()),
        Poll::Ready(_) => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        Poll::Pending => Poll::Pending,
    });
    connections.gone().or(late).or(again).await;
}
