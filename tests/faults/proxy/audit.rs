//! What reached the cloud: no POST twice, nothing whole that was not sent whole.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use ring::digest::{SHA256, digest};

use super::chance::content;
use super::tally::{LIMIT, Tally};
use crate::support::cloud::Inner;
use crate::support::cloud::record::Request;

/// The path that all numbered requests go to, before their number and length.
pub(crate) const ECHO: &str = "/service/echo/";

/// What the cloud has seen of each number.
#[derive(Default)]
pub(crate) struct Audit {
    taken: HashMap<(Vec<u8>, u64), usize>,
    refused: HashSet<u64>,
    /// How many numbered requests reached the cloud.
    pub(crate) seen: usize,
    /// How many POSTs were among them that were not refused.
    pub(crate) posts: usize,
}

impl Audit {
    /// Takes over what the cloud has seen and is done with.
    pub(crate) fn take(&mut self, cloud: &Inner, tally: &Tally) {
        for request in cloud.record.take(Duration::ZERO) {
            self.look(&request, tally);
        }
    }

    fn look(&mut self, request: &Request, tally: &Tally) {
        let path = String::from_utf8_lossy(request.path()).into_owned();
        let Some(rest) = path.strip_prefix(ECHO) else { return };
        let mut parts = rest.split('-').map(|part| part.parse::<u64>().unwrap());
        let (number, length) = (parts.next().unwrap(), parts.next().unwrap());
        self.seen += 1;
        if let Some(taken) = &request.digest {
            let sent = content(number, length as usize);
            if request.length != length || *taken != digest(&SHA256, &sent).as_ref() {
                tally.violation(format!("the cloud took something else for whole: {request:?}"));
            }
        }
        if request.refused {
            self.refused.insert(number);
            return;
        }
        let method = request.method().to_vec();
        let allowed = if method == b"POST" { 1 } else { 2 };
        self.posts += usize::from(method == b"POST");
        let times = self.taken.entry((method, number)).or_default();
        *times += 1;
        if *times > allowed {
            tally.violation(format!("came {times} times: {request:?}"));
        }
    }

    /// The answers that took longer than one sending may, and were sent once.
    pub(crate) fn check_times(&self, tally: &Tally) {
        for (number, time) in tally.late() {
            // Renewed and sent again, each under its own limits; before a long body, a proof too.
            if !self.refused.contains(&number) || time > 3 * LIMIT {
                tally.violation(format!("the answer to {number} took {time:?}"));
            }
        }
    }
}
