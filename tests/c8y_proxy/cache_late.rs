//! A client joins a download some seconds after its beginning: the proxy first asks the cloud, as
//! before it serves a cached binary.

use crate::support::answer::Answer;
use crate::support::cached::{
    self, LENGTH, PATH, assert_all, assert_bytes, begin, entries, get_settled, read, settle,
};
use crate::support::client::Client;
use crate::support::cloud::Gate;
use crate::support::cloud::artifact::Artifact;
use crate::support::device::{Device, SOON};
use crate::support::wait::eventually;

const OBJECT: &str = "/inventory/managedObjects/4711";
const HALF: u64 = 500_000;

/// A download of which half is here, and who reads it.
struct UnderWay {
    device: Device,
    artifact: Artifact,
    gate: Gate,
    first: Client,
}

impl UnderWay {
    fn begin(artifact: Artifact, offline: &str) -> Self {
        let device = cached::start_with(|setup| {
            setup.set_own("c8y.proxy.cache.offline", format!("{offline:?}"));
        });
        let gate = Gate::default();
        device.cloud().serve(PATH, &artifact.clone().gated(HALF, &gate));
        let (first, head) = begin(&device, PATH, "");
        assert_eq!(head.status, 200);
        device.cloud().wait(SOON, |seen| seen.requests.iter().any(|r| r.sent == HALF));
        Self { device, artifact, gate, first }
    }

    /// The first client for which the proxy asked the cloud about the download.
    fn late(&self) -> (Client, Answer) {
        let is_asked = || match self.artifact.has_validator() {
            true => {
                let asked = self.device.cloud().requests(PATH);
                asked.iter().any(|request| request.field("if-none-match").is_some())
            }
            false => self.device.cloud().requests(OBJECT).len() > 1,
        };
        let mut last = None;
        eventually("the cloud is asked", SOON, || {
            last = Some(begin(&self.device, PATH, ""));
            is_asked()
        });
        last.unwrap()
    }

    /// The first client has everything, and so many entries are kept.
    fn end(&mut self, kept: u64) {
        self.gate.open();
        assert_bytes(&read(&mut self.first, LENGTH), &self.artifact, 0);
        settle(&self.device);
        assert_eq!(entries(&self.device), kept);
    }
}

/// As the cloud identifies it: by a tag, and by its managed object.
fn both(version: u64) -> [Artifact; 2] {
    let artifact = Artifact::new(version, LENGTH);
    [artifact.clone(), artifact.without_validator()]
}

#[test]
fn what_is_refused_meanwhile_is_refused_to_who_comes_late() {
    for artifact in both(1) {
        let mut download = UnderWay::begin(artifact.clone(), "1h");
        download.device.cloud().serve(PATH, &artifact.refused("403 Forbidden"));
        assert_eq!(download.late().1.status, 403);
        download.end(0);
    }
}

#[test]
fn what_is_replaced_meanwhile_comes_anew_to_who_comes_late() {
    for (artifact, second) in both(1).into_iter().zip(both(2)) {
        let mut download = UnderWay::begin(artifact, "0");
        download.device.cloud().serve(PATH, &second);
        let (mut late, head) = download.late();
        assert_eq!(head.status, 200);
        assert_bytes(&read(&mut late, LENGTH), &second, 0);
        download.end(1);
        download.device.cloud().forget();
        assert_all(&get_settled(&download.device, PATH), &second);
        assert_eq!(download.device.cloud().sent(PATH), 0);
    }
}

#[test]
fn who_comes_late_follows_what_is_unchanged() {
    for artifact in both(1) {
        let mut download = UnderWay::begin(artifact, "0");
        let (mut late, head) = download.late();
        assert_eq!(head.status, 200);
        download.end(1);
        assert_bytes(&read(&mut late, LENGTH), &download.artifact, 0);
        assert_eq!(download.device.cloud().sent(PATH), LENGTH);
    }
}

#[test]
fn who_comes_late_while_the_cloud_is_away_follows_within_the_setting_alone() {
    let artifact = Artifact::new(1, LENGTH);
    for (offline, status) in [("1h", 200), ("0", 503)] {
        let mut download = UnderWay::begin(artifact.clone(), offline);
        let away = artifact.clone().refused("503 Service Unavailable");
        download.device.cloud().serve(PATH, &away);
        assert_eq!(download.late().1.status, status);
        download.end(1);
    }
}
