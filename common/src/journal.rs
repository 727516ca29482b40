//! The log, on stderr: with priorities for journald, with timestamps otherwise, and each repeated
//! message at most once a minute.

use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use http::{Method, StatusCode, Uri, request};
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::escape::Escaped;
use crate::x509::Time;

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

/// Targets whose messages are dropped: the MQTT library logs payloads, which are secrets, and each
/// attempt to connect.
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
        let line = self.line(record.level(), &record.args().to_string());
        // If stderr is closed, the failure cannot be reported.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

impl Journal {
    fn line(&self, level: Level, text: &str) -> String {
        let text = Escaped(text);
        if self.is_journald {
            format!("<{}>{text}\n", priority(level))
        } else {
            format!("{} {level:5} {text}\n", Time::now())
        }
    }
}

/// The log line of one request. It is written when the request is answered, and costs nothing
/// unless the level is debug.
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

/// The numbers of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Warns of `complaint` about `subject`, at most once a minute for the same complaint. The next
/// line says how many were omitted. Returns whether the warning was logged.
pub fn complain(complaint: &str, subject: &dyn Display) -> bool {
    static COMPLAINTS: Mutex<Throttle> = Mutex::new(Throttle::new(64));
    let kind = (complaint, "");
    once_a_minute(&COMPLAINTS, Level::Warn, kind, &format_args!("{subject}: {complaint}"))
}

/// Logs a failure under the same limit, so that repeated requests do not fill the disk.
pub fn fail(complaint: &str) {
    static FAILURES: Mutex<Throttle> = Mutex::new(Throttle::new(64));
    once_a_minute(&FAILURES, Level::Error, (complaint, ""), &complaint);
}

/// Why a peer was refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The message that follows the peer's address.
    pub(crate) words: String,
    /// One of a few kinds. The peer may influence the words, but not the kind.
    pub(crate) kind: &'static str,
    /// Whether the peer has a certificate that was valid once.
    pub(crate) is_known: bool,
}

/// Warns of a refused peer, at most once a minute for each address and kind. Peers with a
/// certificate that was valid once have their own lines, which unknown peers cannot use up.
pub(crate) fn refuse(peer: SocketAddr, outcome: &str, refusal: &Refusal) {
    static STRANGERS: Mutex<Throttle> = Mutex::new(Throttle::new(32));
    static KNOWN: Mutex<Throttle> = Mutex::new(Throttle::new(32));
    let throttle = if refusal.is_known { &KNOWN } else { &STRANGERS };
    let kind = (&*peer.ip().to_string(), refusal.kind);
    let words = &refusal.words;
    once_a_minute(throttle, Level::Warn, kind, &format_args!("{peer}: {outcome}: {words}"));
}

fn once_a_minute(
    throttle: &Mutex<Throttle>,
    level: Level,
    (subject, kind): (&str, &'static str),
    line: &dyn Display,
) -> bool {
    let mut throttle = throttle.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (count, note) = match throttle.pass(subject, kind, Instant::now()) {
        Report::Silent => return false,
        Report::Say(count) => (count, ""),
        Report::SayForAll(count) => (count, " (similar lines are not logged for a minute)"),
    };
    match count {
        0 => log::log!(level, "{line}{note}"),
        _ => {
            log::log!(level, "{line}{note} (and {count} more times since the last such line)");
        }
    }
    true
}

/// The messages of the last minute, and how often each was omitted since.
struct Throttle {
    /// The maximum number of subjects. Further ones share one line, so a peer cannot choose the
    /// memory in use.
    most: usize,
    past: Vec<(String, &'static str, Past)>,
    of_all: Option<Past>,
}

#[derive(Clone, Copy)]
struct Past {
    since: Instant,
    silent: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Report {
    Silent,
    /// The message is written, with the number of omitted lines.
    Say(u64),
    /// The same, for all subjects beyond the maximum.
    SayForAll(u64),
}

impl Throttle {
    const fn new(most: usize) -> Self {
        Self { most, past: Vec::new(), of_all: None }
    }

    fn pass(&mut self, subject: &str, kind: &'static str, now: Instant) -> Report {
        /// The maximum length of a stored subject.
        const LENGTH: usize = 256;
        let subject: String = subject.chars().take(LENGTH).collect();
        let known = self.past.iter_mut().find(|past| (&past.0, past.1) == (&subject, kind));
        if let Some((.., past)) = known {
            return past.pass(now).map_or(Report::Silent, Report::Say);
        }
        if self.subjects_without(&subject) >= self.most {
            self.past.retain(|(.., past)| past.is_recent(now));
        }
        let fresh = Past { since: now, silent: 0 };
        if self.subjects_without(&subject) < self.most {
            self.past.push((subject, kind, fresh));
            return Report::Say(0);
        }
        match &mut self.of_all {
            Some(past) => past.pass(now).map_or(Report::Silent, Report::SayForAll),
            none => {
                *none = Some(fresh);
                Report::SayForAll(0)
            }
        }
    }

    /// How many subjects are stored, without this one.
    fn subjects_without(&self, subject: &str) -> usize {
        let mut others: Vec<_> = self.past.iter().map(|(other, ..)| other).collect();
        others.retain(|other| *other != subject);
        others.sort_unstable();
        others.dedup();
        others.len()
    }
}

impl Past {
    fn is_recent(&self, now: Instant) -> bool {
        now.duration_since(self.since) < Duration::from_secs(60)
    }

    /// The number of omitted lines, if it is time for a line.
    fn pass(&mut self, now: Instant) -> Option<u64> {
        if self.is_recent(now) {
            self.silent += 1;
            return None;
        }
        let silent = self.silent;
        *self = Self { since: now, silent: 0 };
        Some(silent)
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
    fn nothing_in_a_line_begins_another_or_turns_its_direction() {
        let journal = Journal { is_journald: true };
        let text = "a\n<3>b\r\u{1b}[2J\u{9b}2J\u{85}\u{2028}\u{202e}c\u{2066}d\u{feff} Grüße\t1";
        assert_eq!(
            journal.line(Level::Warn, text),
            "<4>a\\u{a}<3>b\\u{d}\\u{1b}[2J\\u{9b}2J\\u{85}\\u{2028}\\u{202e}c\\u{2066}d\\u{feff} \
             Grüße\\u{9}1\n"
        );
    }

    #[test]
    fn a_minute_has_one_line_for_each_subject_and_kind_and_one_for_all_beyond() {
        let now = Instant::now();
        let mut throttle = Throttle::new(32);
        for number in 0..32 {
            let address = format!("10.0.0.{number}");
            assert_eq!(throttle.pass(&address, "revoked", now), Report::Say(0), "{number}");
            assert_eq!(throttle.pass(&address, "expired", now), Report::Say(0), "{number}");
            assert_eq!(throttle.pass(&address, "revoked", now), Report::Silent, "{number}");
        }
        assert_eq!(throttle.pass("10.0.1.1", "revoked", now), Report::SayForAll(0));
        for number in 0..1000 {
            let address = format!("10.1.{number}.1");
            assert_eq!(throttle.pass(&address, "revoked", now), Report::Silent);
        }
        assert_eq!(throttle.past.len(), 64);
        let later = now + Duration::from_secs(61);
        assert_eq!(throttle.pass("10.0.0.1", "revoked", later), Report::Say(1));
        assert_eq!(throttle.pass("10.0.2.1", "revoked", later), Report::Say(0));
    }
}
