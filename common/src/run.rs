//! The life of a service: arguments, settings, bind, ready, serve, signal, drain, exit code.
//!
//! Each service is a [`Service`], which defines what it serves. Only this module and [`cli`] print
//! or end the process.

mod arguments;
mod life;
mod memory;
mod reload;
mod systemd;

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_executor::Executor;

use crate::error::Error;
use crate::http::Routes;
use crate::server::{BrowserRules, RulesFile};
use crate::settings::{self, Settings};
use crate::tasks::limit_threads;
use crate::tls::ServerFiles;
use crate::{cli, journal, staging};
use arguments::{Action, Arguments};
pub use arguments::{OPTIONS, PROFILE};
pub use memory::give_back as give_back_memory;

/// One of the services.
pub trait Service: 'static {
    /// The name of the program and of its unit.
    const PROGRAM: &'static str;
    /// Its purpose, in a few words.
    const SUMMARY: &'static str;
    /// Whether a peer that has shut down its sending half still gets its answer. If not, a client
    /// that closes its connection is noticed immediately.
    const HALF_CLOSE: bool;

    /// How many threads may wait for disks and name servers at the same time.
    const POOL: usize;

    /// Whether it runs once for each cloud profile.
    const PROFILES: bool = false;

    /// How it fetches a token for the cloud, if it does.
    const FETCH_TOKEN: Option<cli::TokenFetcher> = None;

    /// How it reads its cache, if it has one.
    const CACHE: Option<cli::CacheFiles> = None;

    /// Its address and limits, from these settings.
    fn listen(settings: &Settings) -> Listen;

    /// Reports every fault that can be found without serving. `--check` calls this.
    ///
    /// # Errors
    ///
    /// The fault that must be corrected before the service can start.
    fn check(settings: &Settings, config_dir: &Path) -> Result<(), Error>;

    /// The routes of the service.
    ///
    /// # Errors
    ///
    /// The fault that prevents the start.
    fn routes(settings: &Settings, context: &Context) -> Result<Routes, Error>;
}

/// Where and how a service listens.
pub struct Listen {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// The certificate, key, authorities and revocation lists.
    pub tls: ServerFiles,
    /// Which web pages may send requests, and under which host names.
    pub browsers: BrowserRules,
    /// The file of the access rules.
    pub access: RulesFile,
    /// The maximum number of open connections.
    pub connections: usize,
    /// The descriptors that each connection may need, including its own.
    pub descriptors: usize,
}

/// The parts of the process that an application may use.
pub struct Context {
    /// Where to spawn tasks that outlive a request.
    pub executor: Arc<Executor<'static>>,
    /// True after the first signal to stop.
    pub draining: Arc<AtomicBool>,
    /// The directory of the settings.
    pub config_dir: PathBuf,
}

/// The complete `main` of a service. It is also the command `tedge`, if `argv[0]` or the first
/// argument is `tedge`.
pub fn main<S: Service>() -> ExitCode {
    memory::settle();
    limit_threads(S::POOL);
    let mut arguments: Vec<_> = std::env::args_os().collect();
    let is_tedge = |name: &OsString| Path::new(name).file_name() == Some("tedge".as_ref());
    if arguments.first().is_some_and(is_tedge) {
        return cli::main(arguments.drain(1..), S::FETCH_TOKEN, S::CACHE);
    }
    if arguments.get(1).is_some_and(|first| first == "tedge") {
        return cli::main(arguments.drain(2..), S::FETCH_TOKEN, S::CACHE);
    }
    match start::<S>(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(S::PROGRAM, &error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn start<S: Service>(arguments: Vec<OsString>) -> Result<(), Error> {
    let arguments = match Arguments::parse(arguments, S::PROFILES)? {
        Action::Help => {
            return say(&arguments::help(S::PROGRAM, S::SUMMARY, S::PROFILES));
        }
        Action::Version => {
            return say(&format!("{} {}\n", S::PROGRAM, env!("CARGO_PKG_VERSION")));
        }
        Action::Run(arguments) => arguments,
    };
    journal::start(arguments.level());
    let config_dir = settings::config_dir(arguments.config_dir.clone());
    if arguments.stage {
        return staging::stage(S::PROGRAM, &config_dir);
    }
    let loaded = Settings::load(&config_dir, arguments.environment(), &[])?;
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    if arguments.check {
        return life::check::<S>(&loaded, &config_dir);
    }
    life::live::<S>(&loaded.settings, config_dir)
}

/// Writes to stdout. A closed pipe is not an error.
fn say(text: &str) -> Result<(), Error> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::Failed(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

fn complain(program: &str, error: &Error) {
    if log::log_enabled!(log::Level::Error) {
        log::error!("{error}");
    } else {
        eprintln!("{program}: {error}");
    }
}
