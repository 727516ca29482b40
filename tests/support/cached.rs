//! A device whose proxy has a cache, and what its clients see of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::answer::Answer;
use super::client::Client;
use super::cloud::artifact::{Artifact, part};
use super::device::{Device, PROGRAM, SOON};
use super::service::{Service, Setup};
use super::wait::eventually;

/// The path of a binary in the cloud.
pub(crate) const PATH: &str = "/inventory/binaries/4711";
/// Where the cache has what is not finished.
pub(crate) const UNFINISHED: &str = ".tedge-uploads";
/// A length at which an answer is kept by default.
pub(crate) const LENGTH: u64 = 1_000_003;

/// A device whose proxy keeps up to 100 MB.
pub(crate) fn start() -> Device {
    start_with(|_| {})
}

/// The same with more settings, or others.
pub(crate) fn start_with(configure: impl FnOnce(&mut Setup)) -> Device {
    Device::with(|setup| {
        keep(setup);
        configure(setup);
    })
}

/// Has a proxy keep up to 100 MB below its own directory, however full the disk is.
pub(crate) fn keep(setup: &mut Setup) {
    let path = setup.directory().join("cache");
    fs::DirBuilder::new().mode(0o700).recursive(true).create(&path).unwrap();
    setup.set_own("c8y.proxy.cache.max_size", "\"100M\"");
    setup.set_own("http.upload.min_free", "0");
    setup.set_own_path("c8y.proxy.cache.path", path);
}

/// Starts the proxy again on its directory, when it has ended.
pub(crate) fn start_again(device: Device, configure: impl FnOnce(&mut Setup)) -> Device {
    let Device { proxy, outside } = device;
    assert!(!proxy.is_running(), "two proxies would share a cache");
    let proxy = Service::start_in(proxy.directory(), PROGRAM, |setup| {
        outside.settings(setup);
        keep(setup);
        configure(setup);
    });
    Device { proxy, outside }
}

/// The head of a request for what has this path in the cloud; `fields` are whole lines.
pub(crate) fn request(method: &str, path: &str, fields: &str) -> String {
    format!("{method} /c8y{path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}

/// Downloads what has this path in the cloud.
pub(crate) fn get(device: &Device, path: &str) -> Answer {
    device.ask(request("GET", path, ""))
}

/// Downloads what has this path in the cloud, and waits until it is kept if it is to be.
pub(crate) fn get_settled(device: &Device, path: &str) -> Answer {
    let answer = get(device, path);
    settle(device);
    answer
}

/// Waits until nothing is being filled and what was filled can be served.
pub(crate) fn settle(device: &Device) {
    eventually("the cache is at rest", SOON, || {
        let (unfinished, kept): (Vec<_>, Vec<_>) =
            files(&directory(device)).into_keys().partition(|name| name.starts_with(UNFINISHED));
        unfinished.is_empty() && entries(device) == kept.len() as u64
    });
}

/// What `/health` says of the cache.
pub(crate) fn health(device: &Device) -> Value {
    let health: Value = serde_json::from_slice(&device.get("/health").body).unwrap();
    health["cache"].clone()
}

/// How many answers are kept, as `/health` has it.
pub(crate) fn entries(device: &Device) -> u64 {
    health(device)["entries"].as_u64().unwrap()
}

/// Downloads it with more fields: whole lines.
pub(crate) fn get_with(device: &Device, path: &str, fields: &str) -> Answer {
    device.ask(request("GET", path, fields))
}

/// Begins a download on a connection of its own, and reads the head of the answer.
pub(crate) fn begin(device: &Device, path: &str, fields: &str) -> (Client, Answer) {
    let mut client = device.connect();
    client.send(request("GET", path, fields)).unwrap();
    let head = client.head();
    (client, head)
}

/// Asserts that this is a whole answer with all of an artifact.
#[track_caller]
pub(crate) fn assert_all(answer: &Answer, artifact: &Artifact) {
    let (status, broken) = (answer.status, &answer.broken);
    assert!(status == 200 && broken.is_none(), "{status}, broken: {broken:?}, {}", said(answer));
    assert_bytes(&answer.body, artifact, 0);
    assert_eq!(answer.body.len() as u64, artifact.length, "the length");
}

/// Asserts that an answer broke off, and that what came of it is the beginning of the artifact.
#[track_caller]
pub(crate) fn assert_broken(answer: &Answer, artifact: &Artifact) {
    assert_eq!(answer.status, 200, "{}", said(answer));
    assert!(answer.broken.is_some(), "{} bytes look whole", answer.body.len());
    assert_bytes(&answer.body, artifact, 0);
}

/// Asserts that these bytes are of an artifact, from this place on.
#[track_caller]
pub(crate) fn assert_bytes(bytes: &[u8], artifact: &Artifact, at: u64) {
    let end = at + bytes.len() as u64;
    let expected = part(artifact.version, at, end);
    let wrong = bytes.iter().zip(&expected).position(|(one, other)| one != other);
    let version = artifact.version;
    assert_eq!(wrong.map(|wrong| at + wrong as u64), None, "not version {version} from here on");
    assert!(end <= artifact.length, "{end} bytes of {}", artifact.length);
}

/// The beginning of what an answer says, for messages.
pub(crate) fn said(answer: &Answer) -> String {
    answer.body.iter().take(200).copied().collect::<Vec<_>>().escape_ascii().to_string()
}

/// The next so many bytes of a connection.
pub(crate) fn read(client: &mut Client, count: u64) -> Vec<u8> {
    use std::io::Read;
    let mut bytes = vec![0; usize::try_from(count).unwrap()];
    client.read_exact(&mut bytes).unwrap();
    bytes
}

/// Reads from a connection at this rate for that long; what has come.
pub(crate) fn read_slowly(client: &mut Client, per_second: u64, time: Duration) -> Vec<u8> {
    let (begun, mut bytes) = (Instant::now(), Vec::new());
    while begun.elapsed() < time {
        bytes.extend(read(client, per_second / 20));
        std::thread::sleep(Duration::from_millis(50));
    }
    bytes
}

/// All files that a cache keeps, with their lengths, by their names below its directory.
pub(crate) fn files(directory: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(one) = left.pop() {
        // Something may go meanwhile.
        for entry in fs::read_dir(one).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                left.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(directory).unwrap().to_owned();
                found.insert(name, metadata.len());
            }
        }
    }
    found
}

/// The directory of the cache.
pub(crate) fn directory(device: &Device) -> PathBuf {
    device.proxy.path("cache")
}

/// How many bytes a cache takes.
pub(crate) fn taken(device: &Device) -> u64 {
    files(&directory(device)).values().sum()
}

/// A member of `Cache-Status` (RFC 9211).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheStatus {
    pub(crate) cache: String,
    pub(crate) is_hit: bool,
    pub(crate) fwd: Option<String>,
    pub(crate) fwd_status: Option<u16>,
    pub(crate) is_stored: bool,
    pub(crate) is_collapsed: bool,
}

impl CacheStatus {
    /// What our cache says; a panic where that is not as RFC 9211 has it, or nothing.
    #[track_caller]
    pub(crate) fn of(answer: &Answer) -> Self {
        let all = Self::all(answer);
        all.last().unwrap_or_else(|| panic!("no Cache-Status in {:?}", answer.fields)).clone()
    }

    /// What all caches say, from the cloud to us.
    #[track_caller]
    pub(crate) fn all(answer: &Answer) -> Vec<Self> {
        let lines = answer.values("cache-status");
        let text: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(line)).collect();
        // No comma or semicolon stands within quotes in what the tests see.
        let members = text.iter().flat_map(|line| line.split(','));
        members.map(|member| Self::parse(member.trim())).collect()
    }

    #[track_caller]
    fn parse(member: &str) -> Self {
        let mut parts = member.split(';').map(str::trim);
        let cache = parts.next().unwrap_or_default().trim_matches('"').to_owned();
        let first = cache.chars().next();
        assert!(first.is_some_and(|c| c.is_ascii_alphabetic() || c == '*'), "{member:?}");
        let mut status = Self { cache, ..Self::default() };
        for part in parts {
            let (key, value) = part.split_once('=').map_or((part, None), |(k, v)| (k, Some(v)));
            let is_true = value.is_none() || value == Some("?1");
            match key {
                "hit" if is_true => status.is_hit = true,
                "stored" if is_true => status.is_stored = true,
                "stored" if value == Some("?0") => {}
                "collapsed" if is_true => status.is_collapsed = true,
                "collapsed" if value == Some("?0") => {}
                "fwd" => {
                    const REASONS: [&str; 8] = [
                        "bypass",
                        "method",
                        "uri-miss",
                        "vary-miss",
                        "miss",
                        "request",
                        "stale",
                        "partial",
                    ];
                    let reason = value.filter(|reason| REASONS.contains(reason));
                    assert!(reason.is_some(), "{member:?}");
                    status.fwd = reason.map(str::to_owned);
                }
                "fwd-status" => status.fwd_status = value.and_then(|value| value.parse().ok()),
                "ttl" => assert!(value.is_some_and(|v| v.parse::<i64>().is_ok()), "{member:?}"),
                "key" => assert!(value.is_some_and(|v| v.starts_with('"')), "{member:?}"),
                "detail" => assert!(value.is_some_and(|v| !v.is_empty()), "{member:?}"),
                _ => panic!("{key:?} is nothing that Cache-Status says: {member:?}"),
            }
        }
        assert!(status.is_hit != status.fwd.is_some(), "either a hit or forwarded: {member:?}");
        let is_forwarded = status.fwd.is_some();
        assert!(is_forwarded || !status.is_stored && !status.is_collapsed, "{member:?}");
        status
    }
}
