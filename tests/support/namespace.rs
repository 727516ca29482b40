//! Namespaces of the kernel, each held by a process that is killed when the value is dropped.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The process that holds the namespaces.
pub(crate) struct Namespace(Child);

impl Namespace {
    /// Makes namespaces of these kinds (options of unshare) and runs `script` in them; `None` without
    /// the right to make them.
    pub(crate) fn new(kinds: &[&str], script: &str) -> Option<Self> {
        let mut holder = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare"])
            .args(kinds)
            .args(["sh", "-c", &format!("{script} && echo && exec sleep infinity")])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let length = BufReader::new(holder.stdout.take()?).read_line(&mut line).ok()?;
        let namespace = Self(holder);
        (length > 0).then_some(namespace)
    }

    /// The number of the process, for nsenter and ip.
    pub(crate) fn pid(&self) -> String {
        self.0.id().to_string()
    }

    /// Runs `ip` with these words in this network.
    pub(crate) fn ip(&self, words: &str) -> Option<()> {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid(), "--net", "ip"]).args(words.split(' '));
        command.status().ok()?.success().then_some(())
    }

    /// Moves the thread that calls, and all that it will start, into this network.
    pub(crate) fn enter(&self) {
        let network = File::open(format!("/proc/{}/ns/net", self.0.id())).unwrap();
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// Runs `make` in this network: a socket that it makes stays there.
    pub(crate) fn inside<T: Send>(&self, make: impl FnOnce() -> T + Send) -> T {
        let moved = || {
            self.enter();
            make()
        };
        thread::scope(|scope| scope.spawn(moved).join().unwrap())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}
