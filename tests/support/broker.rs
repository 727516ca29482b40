//! The real mosquitto, on a port of its own, in a directory of its own.

use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::directory::Directory;

/// A running broker; it ends when it is dropped.
pub(crate) struct Broker {
    directory: Directory,
    address: SocketAddr,
    extra: String,
    child: Option<Child>,
}

impl Broker {
    /// Starts one that anybody may use without TLS.
    pub(crate) fn start() -> io::Result<Self> {
        Self::with("allow_anonymous true\n")
    }

    /// Starts one with these lines below the `listener` line of its configuration.
    pub(crate) fn with(lines: &str) -> io::Result<Self> {
        let (directory, extra) = (Directory::new(), lines.to_owned());
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut broker = Self { directory, address, extra, child: None };
        let mut outcome = Ok(());
        // mosquitto cannot bind port 0: a port that was free a moment ago may be taken by then.
        for _ in 0..10 {
            broker.address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
            outcome = broker.restart();
            if outcome.is_ok() {
                break;
            }
        }
        outcome.map(|()| broker)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its directory, for files that its configuration names.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Ends it.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _killed = child.kill();
            let _ended = child.wait();
        }
    }

    /// Stops it with SIGSTOP: the kernel accepts connections, and nothing answers.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Continues it after [`Self::freeze`].
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            kill_process(Pid::from_child(child), signal).unwrap();
        }
    }

    /// Starts it again on the same port, and returns when it serves.
    pub(crate) fn restart(&mut self) -> io::Result<()> {
        self.stop();
        let text = format!(
            "per_listener_settings true\nuser root\npersistence false\nlog_dest stderr\nlog_type all\n\
             listener {} 127.0.0.1\n{}",
            self.address.port(),
            self.extra
        );
        let file = self.directory.write("mosquitto.conf", text);
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "mosquitto", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let Some(stderr) = child.stderr.take() else { return Err(io::Error::other("no stderr")) };
        let mut lines = BufReader::new(stderr).lines();
        let mut said = String::new();
        loop {
            let Some(line) = lines.next().transpose()? else {
                child.wait()?;
                return Err(io::Error::other(format!("mosquitto does not start: {said}")));
            };
            if line.ends_with(" running") {
                break;
            }
            said.push_str(&line);
            said.push('\n');
        }
        // Keeps reading: mosquitto blocks when the pipe is full.
        thread::spawn(move || lines.for_each(drop));
        self.child = Some(child);
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}
