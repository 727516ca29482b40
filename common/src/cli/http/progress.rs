//! The progress of a transfer, shown only at a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// The time between two updates.
const EVERY: Duration = Duration::from_millis(200);

/// A line on standard error that is overwritten, and removed at the end.
pub(super) struct ProgressLine {
    total: Option<u64>,
    done: u64,
    shown: Instant,
}

impl ProgressLine {
    /// `None` if standard error is not a terminal. `done` bytes were transferred before.
    pub(super) fn new(total: Option<u64>, done: u64) -> Option<Self> {
        io::stderr().is_terminal().then(|| Self { total, done, shown: Instant::now() })
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.done += bytes as u64;
        if self.shown.elapsed() >= EVERY {
            self.shown = Instant::now();
            let _ = write!(io::stderr(), "\r{}\x1b[K", line(self.done, self.total));
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}

fn line(done: u64, total: Option<u64>) -> String {
    // Not a float: printing one costs 8 KB of program.
    let (whole, tenth) = megabytes(done);
    match total {
        Some(total @ 1..) => {
            let share = done.saturating_mul(100) / total;
            let (total, total_tenth) = megabytes(total);
            format!("{share:3} %  {whole}.{tenth} of {total}.{total_tenth} MB")
        }
        _ => format!("{whole}.{tenth} MB"),
    }
}

fn megabytes(bytes: u64) -> (u64, u64) {
    (bytes / 1_000_000, bytes / 100_000 % 10)
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn says_how_much_of_how_much() {
        assert_eq!(line(2_500_000, Some(10_000_000)), " 25 %  2.5 of 10.0 MB");
        assert_eq!(line(2_500_000, None), "2.5 MB");
    }
}
