//! A file in the cloud that devices download, and the ways in which clouds, load balancers and
//! networks between them serve it: with validators or none, whole or in parts, slowly, broken off,
//! with a length that is wrong. It is served on the paths where Cumulocity has binaries, and its
//! managed object or event beside it.

mod answer;

use std::collections::VecDeque;

use ring::digest;
use serde_json::{Value, json};

use super::body::blocks;
use super::script::Gate;
pub(super) use answer::serve;

/// The length of a block: each begins with its number and the version that it is of.
pub(crate) const BLOCK: usize = 64 * 1024;

/// A file of one version, and how it is served.
#[derive(Clone)]
pub(crate) struct Artifact {
    pub(crate) version: u64,
    pub(crate) length: u64,
    etag: Option<String>,
    modified: Option<String>,
    fields: Vec<String>,
    ranges: Ranges,
    framing: Framing,
    coding: Option<u64>,
    breaks: VecDeque<u64>,
    gate: Option<(u64, Gate)>,
    per_second: Option<u64>,
    refusal: Option<&'static str>,
    has_object: bool,
}

/// What becomes of a request for a part.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ranges {
    /// It is answered with that part, unless `If-Range` names something else.
    Known,
    /// The same, and `If-Range` is not looked at.
    Careless,
    /// It is answered with everything.
    Unknown,
    /// Everything is sent with 206, whether a part was requested or not.
    Always,
    /// It is answered with a part that begins this much later than the one that was requested.
    Shifted(u64),
}

/// How the length of an answer is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    /// A length that is wrong by so much.
    Wrong(i64),
    Chunked,
    UntilClose,
}

impl Artifact {
    /// As nginx serves a file: with an ETag, parts and `If-Range`.
    pub(crate) fn new(version: u64, length: u64) -> Self {
        Self {
            version,
            length,
            etag: Some(format!("\"version-{version}\"")),
            modified: None,
            fields: Vec::new(),
            ranges: Ranges::Known,
            framing: Framing::Length,
            coding: None,
            breaks: VecDeque::new(),
            gate: None,
            per_second: None,
            refusal: None,
            has_object: true,
        }
    }

    /// Without any validator.
    pub(crate) fn without_validator(mut self) -> Self {
        (self.etag, self.modified) = (None, None);
        self
    }

    /// Whether it has a validator.
    pub(crate) fn has_validator(&self) -> bool {
        self.etag.is_some() || self.modified.is_some()
    }

    /// With this entity tag.
    pub(crate) fn with_etag(mut self, etag: &str) -> Self {
        self.etag = Some(etag.to_owned());
        self
    }

    /// With the date of its last change in place of an entity tag.
    pub(crate) fn with_date(mut self, date: &str) -> Self {
        (self.etag, self.modified) = (None, Some(date.to_owned()));
        self
    }

    /// With one more header field, `Name: value`.
    pub(crate) fn field(mut self, field: impl Into<String>) -> Self {
        self.fields.push(field.into());
        self
    }

    /// A request for a part is answered with everything.
    pub(crate) fn without_ranges(mut self) -> Self {
        self.ranges = Ranges::Unknown;
        self
    }

    /// `If-Range` is not looked at: a part of what is there now is sent.
    pub(crate) fn without_if_range(mut self) -> Self {
        self.ranges = Ranges::Careless;
        self
    }

    /// Everything is sent with 206, whether a part was requested or not.
    pub(crate) fn always_partial(mut self) -> Self {
        self.ranges = Ranges::Always;
        self
    }

    /// A part is sent that begins so much later than the one that was requested, and says so.
    pub(crate) fn with_shifted_ranges(mut self, by: u64) -> Self {
        self.ranges = Ranges::Shifted(by);
        self
    }

    /// `Content-Length` is wrong by so much.
    pub(crate) fn with_wrong_length(mut self, by: i64) -> Self {
        self.framing = Framing::Wrong(by);
        self
    }

    /// In chunks, without a length.
    pub(crate) fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked;
        self
    }

    /// Whether it comes in chunks.
    pub(crate) fn is_chunked(&self) -> bool {
        self.framing == Framing::Chunked
    }

    /// Until the connection is closed, without a length.
    pub(crate) fn until_close(mut self) -> Self {
        self.framing = Framing::UntilClose;
        self
    }

    /// To those who accept gzip, the bytes of this other version stand for the compressed ones.
    pub(crate) fn coded_as(mut self, version: u64) -> Self {
        self.coding = Some(version);
        self
    }

    /// The next answers break off at these places of the file, one after the other.
    pub(crate) fn breaking_at(mut self, places: impl IntoIterator<Item = u64>) -> Self {
        self.breaks = places.into_iter().collect();
        self
    }

    /// At this place of the file the answer waits until the test opens the gate.
    pub(crate) fn gated(mut self, at: u64, gate: &Gate) -> Self {
        self.gate = Some((at, gate.clone()));
        self
    }

    /// So many bytes per second.
    pub(crate) fn slowly(mut self, per_second: u64) -> Self {
        self.per_second = Some(per_second);
        self
    }

    /// Is not given to this device: `403 Forbidden`, `404 Not Found`.
    pub(crate) fn refused(mut self, status: &'static str) -> Self {
        self.refusal = Some(status);
        self
    }

    /// Its managed object or event cannot be read.
    pub(crate) fn without_object(mut self) -> Self {
        self.has_object = false;
        self
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        content(self.version, self.length)
    }

    /// The SHA-256 of all of it.
    pub(crate) fn digest(&self) -> Vec<u8> {
        let mut hash = digest::Context::new(&digest::SHA256);
        for number in 0..self.length.div_ceil(BLOCK as u64) {
            let start = number * BLOCK as u64;
            hash.update(&part(self.version, start, (start + BLOCK as u64).min(self.length)));
        }
        hash.finish().as_ref().to_vec()
    }

    /// The place of the next break, which then is used up.
    pub(super) fn next_break(&mut self) -> Option<u64> {
        self.breaks.pop_front()
    }

    /// What Cumulocity says of it as a managed object or event.
    fn object(&self, id: &str, collection: &str) -> Value {
        let updated =
            format!("2025-01-02T03:04:{:02}.{:03}Z", self.version / 1000 % 60, self.version % 1000);
        let mut object = json!({
            "id": id,
            "self": format!("https://t12345.cumulocity.example{collection}/{id}"),
            "lastUpdated": updated,
            "creationTime": "2025-01-01T00:00:00.000Z",
            "owner": "device_stand-in",
            "type": "application/octet-stream",
        });
        if collection.starts_with("/inventory") {
            object["length"] = self.length.into();
            object["contentType"] = "application/octet-stream".into();
            object["name"] = "file".into();
            object["c8y_IsBinary"] = "".into();
        } else {
            object["c8y_IsBinary"] = json!({
                "name": "file", "length": self.length, "type": "application/octet-stream",
            });
        }
        object
    }
}

/// All bytes of a version.
pub(crate) fn content(version: u64, length: u64) -> Vec<u8> {
    part(version, 0, length)
}

/// The bytes of a version from `start` to `end`.
pub(crate) fn part(version: u64, start: u64, end: u64) -> Vec<u8> {
    static PLAIN: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let plain = PLAIN.get_or_init(|| blocks(BLOCK as u64).flatten().collect());
    let size = BLOCK as u64;
    let mut bytes = Vec::with_capacity(usize::try_from(end - start).unwrap());
    for number in start / size..end.div_ceil(size) {
        let at = number * size;
        let mut block = plain.clone();
        block[..8].copy_from_slice(&number.to_le_bytes());
        block[8..16].copy_from_slice(&version.to_le_bytes());
        let from = usize::try_from(start.saturating_sub(at)).unwrap();
        let to = usize::try_from((end - at).min(size)).unwrap();
        bytes.extend_from_slice(&block[from..to]);
    }
    bytes
}
