//! Makes system calls fail, slow or fatal for the time of a request: strace, attached to the
//! running program.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};

/// System calls are tampered with until it is dropped.
pub(crate) struct Tamper {
    strace: Child,
    complaints: BufReader<ChildStderr>,
}

impl Tamper {
    /// Whether programs can be tampered with here; says so where they cannot.
    pub(crate) fn is_possible() -> bool {
        static POSSIBLE: OnceLock<bool> = OnceLock::new();
        *POSSIBLE.get_or_init(|| {
            let Ok(mut sleeper) = Command::new("sleep").arg("60").spawn() else { return false };
            let tamper = Self::begin(&sleeper.id().to_string(), "inject=fsync:error=EIO");
            let _ended = sleeper.kill();
            let _ended = sleeper.wait();
            if tamper.is_none() {
                eprintln!("no call is made to fail: strace is not installed, or may not attach");
            }
            tamper.is_some()
        })
    }

    /// `inject` is as for strace's `-e`. From now on calls are counted and tampered with.
    pub(crate) fn attach(pid: Pid, inject: &str) -> Self {
        Self::begin(&pid.as_raw_nonzero().to_string(), inject).expect("strace attaches")
    }

    fn begin(pid: &str, inject: &str) -> Option<Self> {
        let mut strace = Command::new("strace")
            .args(["-f", "-p", pid, "-o", "/dev/null", "-e", inject])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        let mut complaints = BufReader::new(strace.stderr.take()?);
        let mut line = String::new();
        complaints.read_line(&mut line).ok()?;
        let tamper = Self { strace, complaints };
        // "Process 1 attached with 2 threads"
        line.contains(" attached").then_some(tamper)
    }
}

impl Drop for Tamper {
    fn drop(&mut self) {
        // It detaches from the program, or has ended with it.
        let _ = kill_process(Pid::from_child(&self.strace), Signal::INT);
        let mut rest = String::new();
        while self.complaints.read_line(&mut rest).is_ok_and(|count| count > 0) {}
        let _ended = self.strace.wait();
    }
}
