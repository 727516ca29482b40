//! What a process takes of the machine, as the kernel counts it. All figures are bytes.

use std::fs;

use rustix::process::Pid;

/// Memory of one process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident: u64,
    /// The most that was resident since the start, or since [`Memory::forget_peak`].
    pub(crate) peak: u64,
    /// Of the resident memory, what is mapped from files: code of the program and of libraries. How
    /// much of it the kernel maps at each fault differs from machine to machine.
    pub(crate) files: u64,
    /// Resident, and in no file from which the kernel could read it again. What is only mapped
    /// from the program does not count: whether another process maps it too is chance.
    pub(crate) private: u64,
}

impl Memory {
    pub(crate) fn of(pid: Pid) -> Self {
        let pid = pid.as_raw_nonzero();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        Self {
            resident: field(&status, "VmRSS:"),
            peak: field(&status, "VmHWM:"),
            files: field(&status, "RssFile:"),
            private: field(&rollup, "Private_Dirty:"),
        }
    }

    /// The peak of a process that may have ended; `None` if it has.
    pub(crate) fn peak_while_running(pid: Pid) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
        status.contains("VmHWM:").then(|| field(&status, "VmHWM:"))
    }

    /// Starts the peak anew.
    pub(crate) fn forget_peak(pid: Pid) {
        fs::write(format!("/proc/{}/clear_refs", pid.as_raw_nonzero()), "5").unwrap();
    }
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    line[name.len()..].trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}
