//! The download of an answer: from upstream to a temporary file, which is renamed when it is
//! complete and on the disk.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use async_io::Timer;
use common::client::Answer;
use common::http::{Body, crossing};
use common::net::load;
use common::storage::space::Need;
use common::storage::{JobKind, Temporary, write_all};
use futures_lite::FutureExt;
use http::header::{
    CONTENT_ENCODING, CONTENT_RANGE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::Body as _;
use rustix::fs::fsync;
use rustix::io::Errno;

use super::Shared;
use super::digest::AllDigests;
use super::entries;
use super::entry::{self, Entry};
use super::fill::{End, Fill, FillStart};
use super::index::{self, Reservation};
use super::key::EntryKey;
use super::revalidate::Verdict;
use super::validator::{self, Validator};
use crate::error::Error;
use crate::upstream::Head;

/// The size to which pieces are aligned while few connections are busy. The kernel keeps a large,
/// aligned piece as one, and reads it in half the time.
const LARGE: usize = 128 * 1024;
/// The same while many connections are busy.
const SMALL: usize = 32 * 1024;
/// How long a piece may take. After that, the readers get the part that has arrived.
const MOMENT: Duration = Duration::from_millis(50);
/// The pauses before the attempts to resume an interrupted download.
const WAITS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// A download. All clients that request the same answer during this time follow it.
pub(super) struct Download {
    shared: Arc<Shared>,
    fill: Arc<Fill>,
    key: EntryKey,
    /// The conditions of the first request: by them, upstream may answer that its client has the
    /// current version.
    conditions: HeaderMap,
}

/// The file and what has been written to it.
struct File {
    temporary: Temporary,
    space: Reservation,
    entry: Arc<Entry>,
    /// The length of the body, as upstream states it.
    length: Option<u64>,
    written: u64,
    buffer: Vec<u8>,
    digests: AllDigests,
    /// The file cannot be written to any more: the rest is relayed, and the answer is not cached.
    is_lost: bool,
}

impl File {
    /// How many bytes are missing to the end of a piece.
    fn room(&self) -> usize {
        let piece = load::share(SMALL, LARGE) as u64;
        (piece - (self.written + self.buffer.len() as u64) % piece) as usize
    }
}

/// Why an attempt to resume a download has failed.
enum Broken {
    /// Another attempt may succeed.
    Now,
    /// Upstream has another version, or does not support ranges.
    ForGood,
}

impl Drop for Download {
    fn drop(&mut self) {
        self.leave();
        self.fill.end(End::Broken);
    }
}

impl Download {
    pub(super) fn new(shared: Arc<Shared>, fill: Arc<Fill>, key: EntryKey, first: &Head) -> Self {
        let mut conditions = HeaderMap::new();
        validator::copy(&first.fields, &mut conditions, |name| {
            [IF_NONE_MATCH, IF_MODIFIED_SINCE].contains(name)
        });
        Self { shared, fill, key, conditions }
    }

    /// Downloads, or continues with the answer that upstream has begun.
    pub(super) async fn run(self, answer: Option<Box<Answer>>) {
        let (answer, file, asked) = match self.begin(answer).await {
            Ok((answer, Some((file, asked)))) => (answer, file, asked),
            Ok((answer, None)) => return self.fill.decline(Ok(answer)),
            Err(error) => return self.fill.decline(Err(error)),
        };
        let (content, entry) = (file.temporary.file().clone(), file.entry.clone());
        self.fill.open(FillStart { file: content, entry, length: file.length }, asked);
        if let Some(file) = self.receive(answer.response.into_body(), file).await {
            self.fill.end(End::Whole);
            self.store(file).await;
        }
    }

    /// Waits for the head of the answer, and notes when it arrived. Returns no file if the answer
    /// may not be, or cannot be, cached.
    async fn begin(
        &self,
        answer: Option<Box<Answer>>,
    ) -> Result<(Box<Answer>, Option<(Box<File>, Instant)>), Error> {
        let shared = &self.shared;
        let mut object = None;
        let answer = match answer {
            Some(answer) => answer,
            None => {
                // Asked before the download, so that this state is not newer than the downloaded
                // bytes.
                if shared.asks_inventory() && self.key.object().is_some() {
                    object = match shared.object(&self.key).await {
                        Ok(object) => object.ok(),
                        Err(error @ Error::Credentials(_)) => return Err(error),
                        Err(_) => None,
                    };
                }
                let mut head = shared.head(Method::GET, &self.key.path);
                validator::copy(&self.conditions, &mut head.fields, |_| true);
                shared.send(head).await?
            }
        };
        if !shared.is_of_user(&self.key) {
            return Ok((answer, None));
        }
        let asked = Instant::now();
        let response = &answer.response;
        if response.status() == StatusCode::OK && self.key.object().is_some() {
            shared.ask_inventory(Validator::of(response.headers()).is_none());
        }
        let described = object.as_ref().and_then(|object| object.length);
        let Some(validator) = validator::keepable(response, object) else {
            return Ok((answer, None));
        };
        let length = response.body().size_hint().exact();
        let mut fields = response.headers().clone();
        crossing::to_client(&mut fields);
        validator::strip(&mut fields);
        let url = self.key.url.clone();
        let entry = Entry { url, validator, fields, length: length.or(described).unwrap_or(0) };
        let is_small = length.is_some_and(|length| length < shared.options.min_size);
        if is_small || entry::is_too_long(&entry) {
            return Ok((answer, None));
        }
        let file = if shared.has_time().await { self.create(entry, length).await } else { None };
        Ok((answer, file.map(|file| (file, asked))))
    }

    /// Creates the temporary file and reserves space for it. `None` if that fails.
    async fn create(&self, entry: Entry, length: Option<u64>) -> Option<Box<File>> {
        let shared = self.shared.clone();
        let mut space = shared.index.reserve(length.is_some());
        let text = entry.encode(0).len() as u64;
        let path = self.key.path.clone();
        let create = move || {
            shared.reopen();
            let bytes = length.unwrap_or(0) + text;
            if !shared.make_room(&mut space, bytes, Need { bytes, inodes: 1 })? {
                return Ok(None);
            }
            let temporary = shared.temporary(&path)?;
            let (written, buffer, is_lost) = (0, Vec::new(), false);
            let digests = AllDigests::expected_by(&entry.fields);
            let entry = Arc::new(entry);
            let file = File { temporary, space, entry, length, written, buffer, digests, is_lost };
            Ok(Some(Box::new(file)))
        };
        let created: Result<_, Errno> = self.shared.pool.run(JobKind::Write, create).await;
        created.unwrap_or_else(|errno| {
            self.shared.fail(&self.key.path, &errno);
            None
        })
    }

    /// Writes the body to the file. `None` if the body is incomplete.
    async fn receive(&self, mut body: Body, mut file: Box<File>) -> Option<Box<File>> {
        let (mut waits, mut due) = (WAITS.iter(), Instant::now());
        loop {
            let next = if file.buffer.is_empty() {
                let next = body.chunk().await;
                due = Instant::now() + MOMENT;
                next
            } else {
                let more = async { Some(body.chunk().await) };
                let late = async {
                    Timer::at(due).await;
                    None
                };
                match more.or(late).await {
                    Some(next) => next,
                    None => {
                        file = self.flush(file).await?;
                        continue;
                    }
                }
            };
            let is_end = match next {
                Some(Ok(mut chunk)) => {
                    file.digests.update(&chunk);
                    while !chunk.is_empty() {
                        let room = file.room();
                        let part = chunk.split_to(chunk.len().min(room));
                        file.buffer.extend_from_slice(&part);
                        if part.len() == room {
                            file = self.flush(file).await?;
                        }
                    }
                    continue;
                }
                Some(Err(error)) => {
                    log::debug!("the download of {} was interrupted: {error}", self.key.path);
                    false
                }
                None => true,
            };
            file = self.flush(file).await?;
            let is_whole = file.length.map_or(is_end, |length| length == file.written);
            if is_whole {
                return Some(file);
            }
            body = loop {
                Timer::after(*waits.next()?).await;
                match self.resume(&file).await {
                    Ok(body) => break body,
                    Err(Broken::Now) => {}
                    Err(Broken::ForGood) => return None,
                }
            };
        }
    }

    /// Writes the collected bytes, or relays them. `None` if no client reads them.
    async fn flush(&self, mut file: Box<File>) -> Option<Box<File>> {
        if file.buffer.is_empty() {
            return Some(file);
        }
        let after = file.written + file.buffer.len() as u64;
        if !file.is_lost {
            let shared = self.shared.clone();
            let write = move || {
                let written = shared.write(&mut file, after);
                (file, written)
            };
            let written;
            (file, written) = self.shared.pool.run(JobKind::Write, write).await;
            match written {
                Ok(()) => {
                    file.buffer.clear();
                    file.written = after;
                    self.fill.written(after);
                    return Some(file);
                }
                Err(error) => self.lose(&mut file, &error),
            }
        }
        let piece = std::mem::take(&mut file.buffer);
        let is_read = self.fill.relay(file.written, piece.into()).await;
        file.written = after;
        is_read.then_some(file)
    }

    /// Stops caching the download.
    fn lose(&self, file: &mut File, error: &std::io::Error) {
        let hint = if file.length.is_none() {
            "; an answer without Content-Length replaces other entries only up to a quarter of \
             c8y.proxy.cache.max_size"
        } else {
            ""
        };
        self.shared.fail(&self.key.path, &format_args!("{error}{hint}"));
        file.is_lost = true;
        self.leave();
    }

    /// Lets no more clients follow the download.
    fn leave(&self) {
        self.shared.fills().retain(|(_, fill)| !Arc::ptr_eq(fill, &self.fill));
    }

    /// Resumes an interrupted download, with the same version.
    async fn resume(&self, file: &File) -> Result<Body, Broken> {
        let (entry, at) = (&file.entry, file.written);
        let length = file.length.ok_or(Broken::ForGood)?;
        let condition = entry.validator.range_condition(&entry.fields);
        if condition.is_none() && !matches!(entry.validator, Validator::Object(_)) {
            return Err(Broken::ForGood);
        }
        let mut head = self.shared.head(Method::GET, &self.key.path);
        let range = HeaderValue::try_from(format!("bytes={at}-")).map_err(|_| Broken::ForGood)?;
        head.fields.insert(RANGE, range);
        if let Some(condition) = condition {
            head.fields.insert(IF_RANGE, condition.clone());
        }
        let answer = self.shared.send(head).await;
        let response = answer.map_err(|_| Broken::Now)?.response;
        let fields = response.headers();
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        // What comes for another user, or must not be stored, is only passed on.
        if !self.shared.is_of_user(&self.key) || is_part && !validator::may_be_kept(fields) {
            self.fill.forget();
        }
        let is_rest = is_part
            && fields.get(CONTENT_RANGE).is_some_and(|range| {
                range.as_bytes() == format!("bytes {at}-{}/{length}", length - 1).as_bytes()
            })
            && response.body().size_hint().exact().is_none_or(|rest| rest == length - at)
            && !fields.contains_key(CONTENT_ENCODING)
            && fields.get_all(ETAG).iter().eq(entry.fields.get_all(ETAG))
            && fields.get_all(LAST_MODIFIED).iter().eq(entry.fields.get_all(LAST_MODIFIED));
        match response.status() {
            _ if is_rest && condition.is_some() => Ok(response.into_body()),
            // The download has begun already: what the inventory says now is true for all of it.
            _ if is_rest => match self.shared.revalidate_by_inventory(&self.key, entry).await {
                Verdict::Unchanged(_) => Ok(response.into_body()),
                Verdict::Away(_) | Verdict::Unclear(_) => Err(Broken::Now),
                _ => Err(Broken::ForGood),
            },
            status if status.is_server_error() => Err(Broken::Now),
            _ => Err(Broken::ForGood),
        }
    }

    /// Renames the file, after it is on the disk.
    async fn store(&self, mut file: Box<File>) {
        let _storing = self.shared.storing.acquire().await;
        let is_small = file.written < self.shared.options.min_size;
        if file.is_lost || is_small || self.fill.is_forgotten() {
            return;
        }
        if let Some(field) = std::mem::take(&mut file.digests).wrong() {
            let path = &self.key.path;
            log::warn!(
                "{path} is not cached: its content does not match the {field} of Cumulocity's answer"
            );
            return;
        }
        let (shared, name) = (self.shared.clone(), self.key.name);
        let asked = self.fill.asked().unwrap_or_else(Instant::now);
        let store = move || {
            let end = file.entry.encode(file.written);
            write_all(file.temporary.file(), &end, file.written)?;
            entries::date(file.temporary.file(), asked.elapsed())?;
            fsync(file.temporary.file())?;
            file.temporary.rename(shared.directory().as_fd(), &index::file_name(name))?;
            let size = file.written + end.len() as u64;
            drop(file.space);
            Ok::<_, Errno>(shared.index.insert(name, size, asked, file.temporary.file()))
        };
        match self.shared.pool.run(JobKind::Sync, store).await {
            Ok(version) if self.fill.is_forgotten() => {
                self.shared.remove(name, Some(version)).await;
            }
            Ok(_) => self.shared.has_failed.store(false, Relaxed),
            Err(Errno::NOENT) => {
                log::info!("{} was dropped during its download, and is not cached", self.key.path);
            }
            Err(errno) => self.shared.fail(&self.key.path, &errno),
        }
    }
}

impl Shared {
    /// Writes the collected bytes, up to `after`. Waits for the disk.
    fn write(&self, file: &mut File, after: u64) -> std::io::Result<()> {
        let need = Need { bytes: after - file.written, inodes: 0 };
        let bytes = file.length.unwrap_or(0).max(after) + file.entry.encode(0).len() as u64;
        if !self.make_room(&mut file.space, bytes, need)? {
            return Err(std::io::Error::other(
                "there is no room within c8y.proxy.cache.max_size and http.upload.min_free",
            ));
        }
        Ok(write_all(file.temporary.file(), &file.buffer, file.written)?)
    }
}
