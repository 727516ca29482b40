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
use event_listener::Event;
use futures_lite::{FutureExt, StreamExt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::reload::Reload;
use super::systemd::{Systemd, watchdog};
use super::{Context, Listen, Service, memory, say};
use crate::access::Rules;
use crate::error::Error;
use crate::server::listener::{self, Bound};
use crate::server::places::Places;
use crate::server::state::Order;
use crate::server::{ReloadingRules, RulesFile, Server};
use crate::settings::{LoadedSettings, Profile, Settings};
use crate::tasks::spawn;
use crate::{net, tls};

/// How long requests in progress may take after a signal to stop.
const DRAIN: Duration = Duration::from_secs(30);
/// `--check`: everything except serving.
pub(super) fn check<S: Service>(loaded: &LoadedSettings, config_dir: &Path) -> Result<(), Error> {
    let listen = S::listen(&loaded.settings);
    let tls = listen.tls.load()?;
    let rules = listen.access.load()?;
    S::check(&loaded.settings, config_dir)?;
    let mut report = serving(&listen.address.to_string(), tls.as_ref(), rules.as_ref());
    report.push('\n');
    for warning in tls.iter().flat_map(|identity| &identity.warnings) {
        report.push_str(&format!("warning: {warning}\n"));
    }
    for warning in rules.iter().flat_map(|rules| doubts(rules, &listen.access, tls.as_ref())) {
        report.push_str(&format!("warning: {warning}\n"));
    }
    for key in &loaded.unknown {
        report.push_str(&format!("not a setting of these services: {key}\n"));
    }
    say(&report)
}

/// Serves until a signal ends it.
pub(super) fn live<S: Service>(settings: &Settings, config_dir: PathBuf) -> Result<(), Error> {
    let listen = S::listen(settings);
    let (places, most_waiting) = affordable(&listen)?;
    let systemd =
        Arc::new(Systemd::new().map_err(|error| {
            Error::Failed(format!("cannot open a socket for systemd: {error}"))
        })?);
    let identity = listen.tls.load()?;
    let access = listen.access.clone().reloading()?;
    let places = Arc::new(Places::new(places));
    let bound = bind(&listen, settings.profile.as_ref())?;
    let executor = Arc::new(Executor::new());
    let draining = Arc::new(AtomicBool::new(false));
    let context =
        Context { executor: Arc::clone(&executor), draining: Arc::clone(&draining), config_dir };
    let routes = S::routes(settings, &context)?;
    // A handler for SIGXFSZ keeps it from ending the process: the write fails with EFBIG
    // (LimitFSIZE=, `ulimit -f`). The standard library ignores SIGPIPE.
    let mut signals = Signals::new([Signal::Hup, Signal::Term, Signal::Int, Signal::Xfsz])
        .map_err(|error| Error::Failed(format!("cannot listen for signals: {error}")))?;

    let rules = access.as_ref().map(ReloadingRules::current);
    log::info!("{}", serving(&bound.address.to_string(), identity.as_ref(), rules.as_deref()));
    for warning in identity.iter().flat_map(|identity| &identity.warnings) {
        log::warn!("{warning}");
    }
    for warning in rules.iter().flat_map(|rules| doubts(rules, &listen.access, identity.as_ref())) {
        log::warn!("{warning}");
    }
    warn_of_the_network(&bound, identity.is_some());
    let server = Arc::new(Server {
        routes,
        browsers: listen.browsers,
        access,
        tls: identity.map(|identity| tls::ReloadingServer::new(listen.tls, &identity)),
        half_close: S::HALF_CLOSE,
        places,
        changed: Event::new(),
    });

    // A separate task, since the future that is passed to `run` is polled at every turn of the
    // executor.
    let tasks = Arc::clone(&executor);
    let life = spawn(&executor, async move {
        let executor = tasks;
        let (served, spawner) = (Arc::clone(&server), Arc::clone(&executor));
        let accept =
            spawn(&executor, listener::accept(bound.socket, served, spawner, most_waiting));
        let reload = Arc::new(Reload::new(Arc::clone(&server), Arc::clone(&systemd)));
        let watching = Arc::clone(&reload);
        spawn(&executor, async move { watching.watch().await }).detach();
        spawn(&executor, give_back(Arc::clone(&server))).detach();
        spawn(&executor, feed_the_watchdog(Arc::clone(&systemd))).detach();
        systemd.tell("READY=1");

        while let Some(signal) = signals.next().await {
            match signal {
                Ok(Signal::Hup) => {
                    reload.reload().await;
                    server.routes.reload().await;
                    systemd.tell("READY=1");
                }
                Ok(Signal::Xfsz) => {}
                Ok(_) => break,
                Err(error) => log::error!("cannot read a signal: {error}"),
            }
        }
        log::info!("stopping: requests in progress have {} s to finish", DRAIN.as_secs());
        systemd.tell("STOPPING=1");
        draining.store(true, Relaxed);
        accept.cancel().await;
        drain(&server.places, &mut signals).await;
    });
    net::run(&executor, life)
}

/// How many connections the descriptors allow, after raising their limit, and how many clients may
/// wait for a place.
///
/// # Errors
///
/// A limit that leaves too few descriptors for connections.
fn affordable(listen: &Listen) -> Result<(usize, usize), Error> {
    /// Descriptors for other uses: standard streams, the reactor, the listener, directories, the
    /// broker.
    const OWN: u64 = 32;
    /// The least that is enough for a few connections, and for a few clients that wait.
    const LEAST: u64 = 2 * OWN;
    /// How many clients may wait even for few places: in the kernel's backlog, a client would wait
    /// behind all connections of another address.
    const WAITING: usize = 256;
    /// Descriptors for waiting clients, at most half of those that [`OWN`] leaves.
    const RESERVED: u64 = 64;
    let each = listen.descriptors as u64;
    let most_waiting = (4 * listen.connections).max(WAITING);
    let wanted = (listen.connections * listen.descriptors + most_waiting) as u64 + OWN;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let current = limit.maximum.map_or(wanted, |most| most.min(wanted));
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..limit });
    }
    let current = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if current < LEAST {
        return Err(Error::Configuration(format!(
            "the limit of open files is {current}, and at least {LEAST} are needed: \
             raise LimitNOFILE= or `ulimit -n`"
        )));
    }
    let spare = current - OWN;
    let affordable = ((spare - RESERVED.min(spare / 2)) / each) as usize;
    if affordable < listen.connections {
        log::warn!(
            "{affordable} connections at most, not {}: the limit of open files is {current} \
             (raise LimitNOFILE= or `ulimit -n`)",
            listen.connections,
        );
    }
    let places = affordable.min(listen.connections);
    let rest = spare - places as u64 * each;
    Ok((places, most_waiting.min(rest as usize)))
}

fn bind(listen: &Listen, profile: Option<&Profile>) -> Result<Bound, Error> {
    listener::bind(listen.address).map_err(|error| {
        let prefix = listen.tls.prefix;
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "another program is using it; stop it, or choose another port with \
                 `tedge config set {prefix}.bind.port PORT{}`",
                Profile::option(profile)
            ),
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need the capability CAP_NET_BIND_SERVICE".to_owned()
            }
            _ => format!("see {prefix}.bind.address and {prefix}.bind.port"),
        };
        Error::Failed(format!("cannot listen on {}: {error}: {hint}", listen.address))
    })
}

/// The line at start that says the address and the level of security.
fn serving(address: &str, identity: Option<&tls::ServerIdentity>, rules: Option<&Rules>) -> String {
    let mut line = match identity {
        None => format!("Serving http://{address}"),
        Some(identity) => format!("Serving https://{address}, {identity}"),
    };
    if let Some(rules) = rules {
        line.push_str(&format!(", {} access rules", rules.count()));
    }
    line
}

/// Warnings about rules that allow nothing, or hardly anything.
fn doubts(
    rules: &Rules,
    file: &RulesFile,
    identity: Option<&tls::ServerIdentity>,
) -> impl Iterator<Item = String> + use<> {
    file.doubts(rules).into_iter().chain(nameless(rules, file, identity))
}

/// A warning if rules name clients, but clients have no names.
fn nameless(
    rules: &Rules,
    file: &RulesFile,
    identity: Option<&tls::ServerIdentity>,
) -> Option<String> {
    let line = rules.first_with_name()?;
    let has_names = identity.is_some_and(|identity| identity.authorities > 0);
    (!has_names).then(|| {
        let ca_path = file.key.replace("access_path", "ca_path");
        let shown = file.path.as_deref().unwrap_or_else(|| Path::new("")).display();
        format!(
            "{}: {shown} names clients (line {line}), but without {ca_path} they have no names: \
             such a rule allows nothing",
            file.key
        )
    })
}

fn warn_of_the_network(bound: &Bound, is_encrypted: bool) {
    let address = bound.address.ip();
    if bound.is_foreign {
        log::warn!("{address} is not an address of this machine yet: waiting for it");
    }
    let is_local = match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => address.is_loopback(),
    };
    if !is_local && !is_encrypted {
        log::warn!("HTTP without encryption, reachable from the network at {}", bound.address);
    }
}

/// Returns memory to the system after the start, after a reload, and after connections were opened,
/// closed or became idle. It waits a moment, since such events come in groups. It runs twice, since
/// other threads free memory later. Events during that time cause another run.
async fn give_back(server: Arc<Server>) {
    const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
    loop {
        let changed = server.changed.listen();
        for pause in PAUSES {
            Timer::after(pause).await;
            server.routes.release();
            if server.places.are_idle() {
                memory::empty_cache();
            }
            memory::give_back();
        }
        changed.await;
    }
}

async fn feed_the_watchdog(systemd: Arc<Systemd>) {
    let Some(period) = watchdog() else { return };
    loop {
        systemd.tell("WATCHDOG=1");
        Timer::after(period / 3).await;
    }
}

async fn drain(places: &Places, signals: &mut Signals) {
    places.ask(Order::Drain);
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
    places.emptied().or(late).or(again).await;
}
