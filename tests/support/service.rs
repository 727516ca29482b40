//! The real program, started in a directory of its own and gone when the test is over.
//!
//! It knows neither of the services: the caller passes the settings.

mod watched;

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, getrlimit, pidfd_open, pidfd_send_signal, setrlimit,
};

use self::watched::{Seen, Watched};
use super::directory::Directory;
use super::memory::Memory;

/// How long a program may take to say something, or to end when it is told to.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// How long it may take to start, where a disk is busy that it has to sync.
const START: Duration = Duration::from_secs(100);

/// What systemd gives to whoever runs the tests as a service, which a program is not to take for
/// its own.
const OF_SYSTEMD: &[&str] = &[
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "JOURNAL_STREAM",
    "RUNTIME_DIRECTORY",
    "CACHE_DIRECTORY",
    "STATE_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
];

/// What a program is started with.
pub(crate) struct Setup {
    directory: Arc<Directory>,
    settings: BTreeMap<String, String>,
    own_settings: BTreeMap<String, String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
}

impl Setup {
    /// The program's own directory; its configuration is in there.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A line of `tedge.toml`: a dotted key, and a text.
    pub(crate) fn set(&mut self, key: &str, value: impl AsRef<Path>) {
        self.settings.insert(key.to_owned(), quoted(value.as_ref()));
    }

    /// A line of `tedge.toml` whose value is TOML already: a number, `true`.
    pub(crate) fn set_raw(&mut self, key: &str, value: impl ToString) {
        self.settings.insert(key.to_owned(), value.to_string());
    }

    /// A line of `tedge-http.toml`, for the keys that thin-edge.io lacks; the value is TOML.
    pub(crate) fn set_own(&mut self, key: &str, value: impl ToString) {
        self.own_settings.insert(key.to_owned(), value.to_string());
    }

    /// A path in `tedge-http.toml`.
    pub(crate) fn set_own_path(&mut self, key: &str, value: impl AsRef<Path>) {
        self.own_settings.insert(key.to_owned(), quoted(value.as_ref()));
    }

    /// One more argument for the program.
    pub(crate) fn argument(&mut self, argument: &str) {
        self.arguments.push(argument.to_owned());
    }

    /// A variable of the program's environment.
    pub(crate) fn environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// A command that becomes, or runs, the program: `strace -D …`.
    pub(crate) fn wrap(&mut self, command: &[&str]) {
        self.wrapper.extend(command.iter().map(|&word| word.to_owned()));
    }

    fn command(&self, program: &str) -> Command {
        self.write("tedge.toml", &self.settings);
        self.write("tedge-http.toml", &self.own_settings);
        // The program must not outlive a test run that is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).args(&self.wrapper).arg(program);
        command.arg("--config-dir").arg(self.directory()).args(&self.arguments);
        for (name, _) in std::env::vars_os() {
            let is_ours = name.to_str().is_some_and(|name| name.starts_with("TEDGE_"));
            if is_ours
                || name == "RUST_LOG"
                || OF_SYSTEMD.iter().any(|of_systemd| name == *of_systemd)
            {
                command.env_remove(name);
            }
        }
        // The tests are to be the same behind the HTTP proxy of whoever runs them.
        for name in ["HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        // A program that is killed leaves the socket of its MQTT client behind.
        command.env("TMPDIR", self.directory());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn write(&self, file: &str, settings: &BTreeMap<String, String>) {
        if settings.is_empty() {
            return;
        }
        let lines: String =
            settings.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        fs::write(self.directory().join(file), lines).unwrap();
    }
}

fn quoted(value: &Path) -> String {
    format!("{:?}", value.to_str().unwrap())
}

/// A program that runs.
pub(crate) struct Service {
    process: OwnedFd,
    pid: Pid,
    directory: Arc<Directory>,
    watched: Arc<Watched>,
    /// `http` or `https`, as the program says itself.
    pub(crate) scheme: String,
    /// Where to reach it: loopback where it is bound to every address.
    pub(crate) address: SocketAddr,
}

/// How a program ended, and all it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
}

impl Ended {
    /// The exit code; a panic where a signal ended the program.
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("ended by a signal: {self:?}"))
    }

    /// The number of the signal that ended the program.
    pub(crate) fn signal(&self) -> Option<i32> {
        self.status.signal()
    }
}

impl Service {
    /// Starts `program`; returns once it serves.
    pub(crate) fn start(program: &str, configure: impl FnOnce(&mut Setup)) -> Self {
        Self::start_in(&Arc::new(Directory::new()), program, configure)
    }

    /// Starts `program` in a directory that another one may have used before.
    pub(crate) fn start_in(
        directory: &Arc<Directory>,
        program: &str,
        configure: impl FnOnce(&mut Setup),
    ) -> Self {
        let mut service = Self::launch_in(directory, program, configure);
        let log = service.wait_for("Serving http", START);
        let line = log.lines().find(|line| line.contains("Serving http")).unwrap();
        let (scheme, rest) =
            line.split_once("Serving ").and_then(|(_, url)| url.split_once("://")).unwrap();
        let authority: String = rest.chars().take_while(|c| !c.is_whitespace()).collect();
        let authority = authority.trim_end_matches([',', ';', '/', ')']);
        scheme.clone_into(&mut service.scheme);
        service.address =
            reachable(authority.parse().unwrap_or_else(|_| panic!("no address in {line:?}")));
        service
    }

    /// Starts `program` without waiting for it to serve.
    pub(crate) fn launch(program: &str, configure: impl FnOnce(&mut Setup)) -> Self {
        Self::launch_in(&Arc::new(Directory::new()), program, configure)
    }

    fn launch_in(
        directory: &Arc<Directory>,
        program: &str,
        configure: impl FnOnce(&mut Setup),
    ) -> Self {
        let mut setup = Setup {
            directory: Arc::clone(directory),
            settings: BTreeMap::new(),
            own_settings: BTreeMap::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            wrapper: Vec::new(),
        };
        configure(&mut setup);
        raise_limit_of_descriptors();
        let child = setup.command(program).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let watched = Watched::follow(child);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { process, pid, directory: setup.directory, watched, scheme: String::new(), address }
    }

    /// Runs `program` until it ends by itself, which has to be soon.
    pub(crate) fn run(program: &str, configure: impl FnOnce(&mut Setup)) -> Ended {
        Self::launch(program, configure).ended(SOON)
    }

    /// The URL of a path. Over TLS the host is `localhost`, as in the certificates.
    pub(crate) fn url(&self, path: &str) -> String {
        let (scheme, address) = (&self.scheme, self.address);
        match scheme.as_str() {
            "https" => format!("https://localhost:{}{path}", address.port()),
            _ => format!("{scheme}://{address}{path}"),
        }
    }

    /// The program's own directory, with its configuration.
    pub(crate) fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// A path below the program's own directory.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.directory.path().join(relative)
    }

    /// All that the program has said up to now.
    pub(crate) fn log(&self) -> String {
        self.watched.lock().log.clone()
    }

    /// Waits until the program has said `text`; returns all that it said.
    pub(crate) fn wait_for(&self, text: &str, limit: Duration) -> String {
        self.wait_for_lines(text, 1, limit)
    }

    /// Waits until `count` lines with `text` are in the log; returns the whole log.
    pub(crate) fn wait_for_lines(&self, text: &str, count: usize, limit: Duration) -> String {
        let said = |seen: &Seen| seen.log.lines().filter(|line| line.contains(text)).count();
        let seen = self.watched.wait(limit, |seen| said(seen) >= count || seen.is_over());
        assert!(
            said(&seen) >= count,
            "{text:?} was not said {count} times; {:?}; the log:\n{}",
            seen.status,
            seen.log
        );
        seen.log.clone()
    }

    /// Sends a signal; not an error if the program has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.process, signal);
    }

    /// Whether the program still runs.
    pub(crate) fn is_running(&self) -> bool {
        self.watched.lock().status.is_none()
    }

    /// Waits for the program to end.
    pub(crate) fn ended(&self, limit: Duration) -> Ended {
        let seen = self.watched.wait(limit, Seen::is_over);
        let Some(status) = seen.status else {
            panic!("still running after {limit:?}; the log:\n{}", seen.log);
        };
        Ended { status, log: seen.log.clone() }
    }

    /// Asks the program to stop, and waits until it has: for all that it says in its life.
    pub(crate) fn stop(&self) -> Ended {
        self.signal(Signal::TERM);
        self.ended(SOON)
    }

    /// Ends the program with SIGKILL and waits until it is gone.
    pub(crate) fn kill(&self) -> Ended {
        self.signal(Signal::KILL);
        self.ended(SOON)
    }

    /// What the program takes of the machine at this moment.
    pub(crate) fn memory(&self) -> Memory {
        Memory::of(self.pid)
    }

    /// Starts the peak of its memory anew.
    pub(crate) fn forget_peak(&self) {
        Memory::forget_peak(self.pid);
    }

    /// The number of its threads.
    pub(crate) fn threads(&self) -> usize {
        fs::read_dir(self.proc("task")).unwrap().count()
    }

    /// The number of its open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(self.proc("fd")).unwrap().count()
    }

    /// How many of its descriptors are sockets: listening ones and connections.
    pub(crate) fn sockets(&self) -> usize {
        let descriptors = fs::read_dir(self.proc("fd")).unwrap().flatten();
        let targets = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }

    /// Its process ID.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// A file of the program's in /proc.
    pub(crate) fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.pid.as_raw_nonzero().to_string()).join(file)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        drop(self.watched.wait(SOON, Seen::is_over));
        if std::thread::panicking() {
            eprintln!("the program's log:\n{}", self.log());
        }
    }
}

/// The tests of one process have more connections, all together, than the 1024 descriptors that a
/// shell of Debian's gives.
fn raise_limit_of_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

/// An address that can be connected to, for one that can be bound to.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}
