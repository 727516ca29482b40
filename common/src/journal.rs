//! The log, on stderr: priorities for journald, timestamps for everybody else, and the same
//! complaint at most once a minute.

use std::collections::HashMap;
use std::fmt::Display;
use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use http::{Method, StatusCode, Uri, request};
use log::{Level, LevelFilter, Log, Metadata, Record};

/// Sends the log to stderr, from `level` on.
pub(crate) fn start(level: LevelFilter) {
    let journal = Journal { is_journald: is_journald() };
    if log::set_boxed_logger(Box::new(journal)).is_ok() {
        log::set_max_level(level);
    }
    std::panic::set_hook(Box::new(|panic| log::error!("{panic}")));
}

/// Whether stderr is the stream that systemd connected to journald, see systemd.exec(5).
fn is_journald() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stderr) = rustix::fs::fstat(std::io::stderr()) else { return false };
    stream == format!("{}:{}", stderr.st_dev, stderr.st_ino)
}

/// Targets that are not heard: the MQTT library shows payloads, which are secrets, and complains
/// of each attempt to connect.
const MUTE: &str = "paho_mqtt";

struct Journal {
    is_journald: bool,
}

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level() && !metadata.target().starts_with(MUTE)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = if self.is_journald {
            format!("<{}>{}\n", priority(record.level()), record.args())
        } else {
            let now = timestamp(SystemTime::now());
            format!("{now} {:5} {}\n", record.level(), record.args())
        };
        // Nowhere is left to say that stderr is gone.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

/// The line of one request, which is written when it is answered, and costs nothing where nobody
/// asked for it.
pub(crate) struct RequestLog(Option<(Method, Uri, Instant)>);

impl RequestLog {
    pub(crate) fn begin(head: &request::Parts) -> Self {
        let is_heard = log::log_enabled!(Level::Debug);
        Self(is_heard.then(|| (head.method.clone(), head.uri.clone(), Instant::now())))
    }

    pub(crate) fn end(self, status: StatusCode) {
        if let Some((method, uri, start)) = self.0 {
            let (path, status, took) = (uri.path(), status.as_u16(), start.elapsed().as_micros());
            log::debug!("{method} {path} {status} {took} us");
        }
    }
}

/// RFC 3339, UTC, in seconds. From days to a date as in "chrono-Compatible Low-Level Date
/// Algorithms" by Howard Hinnant.
fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (year, month, day) = (
        era * 400 + year + u64::from(month >= 10),
        if month < 10 { month + 3 } else { month - 9 },
        day - (153 * month + 2) / 5 + 1,
    );
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The numbers of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Warns of `complaint` about `subject`, at most once a minute for the same complaint; the next
/// line says how many were left out.
pub fn complain(complaint: &str, subject: &dyn Display) {
    once_a_minute(Level::Warn, complaint, &format_args!("{subject}: {complaint}"));
}

/// Says that this has failed, under the same rule: whoever asks for it again and again must not
/// fill the disk.
pub(crate) fn fail(complaint: &str) {
    once_a_minute(Level::Error, complaint, &complaint);
}

fn once_a_minute(level: Level, complaint: &str, line: &dyn Display) {
    const PERIOD: Duration = Duration::from_secs(60);
    /// Different complaints remembered at once, and how much of each: a peer must not choose how
    /// much is kept.
    const KINDS: usize = 64;
    const LENGTH: usize = 256;
    static PAST: Mutex<Option<HashMap<String, (Instant, u64)>>> = Mutex::new(None);

    let end = complaint.char_indices().nth(LENGTH).map_or(complaint.len(), |(end, _)| end);
    let complaint = &complaint[..end];
    let mut past = PAST.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let past = past.get_or_insert_default();
    if let Some((since, silent)) = past.get_mut(complaint) {
        if since.elapsed() < PERIOD {
            *silent += 1;
            return;
        }
        match *silent {
            0 => log::log!(level, "{line}"),
            count => {
                log::log!(level, "{line} (and {count} more times since the last such line)");
            }
        }
        (*since, *silent) = (Instant::now(), 0);
        return;
    }
    if past.len() >= KINDS {
        past.retain(|_, (since, _)| since.elapsed() < PERIOD);
    }
    if past.len() < KINDS {
        past.insert(complaint.to_owned(), (Instant::now(), 0));
        log::log!(level, "{line}");
    } else {
        log::debug!("{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_show_a_secret_is_not_heard() {
        log::set_max_level(LevelFilter::Trace);
        let journal = Journal { is_journald: false };
        for (target, heard) in
            [("common::run", true), ("paho_mqtt::token", false), ("paho_mqtt_c", false)]
        {
            let metadata = Metadata::builder().target(target).level(Level::Error).build();
            assert_eq!(journal.enabled(&metadata), heard, "{target}");
        }
    }

    #[test]
    fn timestamps_are_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(timestamp(time), text);
        }
    }
}
