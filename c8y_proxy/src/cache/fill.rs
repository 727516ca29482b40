//! A download in progress, shared by the task that writes it and the clients that read it.
//!
//! Each reader has its own position in the file, and waits only for bytes that have not arrived. If
//! the file cannot be written to any more, the rest is relayed: all current readers get it in step,
//! one piece at a time.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_executor::Task;
use async_io::Timer;
use bytes::Bytes;
use common::client::Answer;
use common::http::{Body, BodyError};
use common::storage::{DiskPool, Reader};
use event_listener::{Event, EventListener};
use futures_lite::FutureExt;
use http_body::{Frame, SizeHint};
use rustix::fs::fstat;

use super::entry::Entry;
use crate::error::Error;

/// How long a relayed piece waits for a reader that is slower than the others.
const PATIENCE: Duration = Duration::from_secs(10);
/// For how long other clients may join without asking upstream again.
const FRESH: Duration = Duration::from_secs(5);

/// The shared state of a download.
#[derive(Default)]
pub(super) struct Fill {
    opened: OnceLock<FillStart>,
    progress: Mutex<Progress>,
    changed: Event,
    /// A reader has read a relayed piece, or has stopped.
    taken: Event,
    /// The downloaded version may not be the current one any more.
    is_forgotten: AtomicBool,
}

/// What is known once the head of the answer has arrived.
pub(super) struct FillStart {
    pub(super) file: Arc<OwnedFd>,
    /// The entry. Its length is 0 if upstream does not state it.
    pub(super) entry: Arc<Entry>,
    /// The length of the body, if upstream states it.
    pub(super) length: Option<u64>,
}

#[derive(Default)]
struct Progress {
    /// How many bytes are in the file.
    written: u64,
    end: Option<End>,
    /// When upstream last confirmed this version.
    asked: Option<Instant>,
    /// The relayed bytes after the end of the file, and their offset.
    relayed: Option<(u64, Bytes)>,
    /// The position of each reader.
    readers: Vec<Arc<AtomicU64>>,
    /// The answer that is not cached, for the first client that requested it.
    declined: Option<Result<Box<Answer>, Error>>,
    task: Option<Task<()>>,
}

/// How a download has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The body is complete.
    Whole,
    /// The body is incomplete, and stays so.
    Broken,
    /// The answer does not go through the cache.
    Declined,
}

impl Fill {
    /// A download, and its first reader.
    pub(super) fn begin() -> (Arc<Self>, Follower) {
        let fill = Arc::<Self>::default();
        let follower = fill.follower(&mut fill.lock());
        (fill, follower)
    }

    /// The task of the download. It is dropped when no client reads and too little has arrived.
    pub(super) fn keep(&self, task: Task<()>) {
        let mut progress = self.lock();
        if progress.end.is_none() {
            progress.task = Some(task);
        } else {
            drop(progress);
            task.detach();
        }
    }

    /// A new reader. `None` if all readers have stopped and the download is about to be dropped.
    pub(super) fn join(self: &Arc<Self>) -> Option<Follower> {
        let mut progress = self.lock();
        self.is_joinable(&progress).then(|| self.follower(&mut progress))
    }

    /// What to ask upstream before another client joins, and the time since it was last asked.
    /// `None` if it need not be asked. A complete download is treated like an entry.
    pub(super) fn old(&self) -> Option<(Arc<Entry>, Duration)> {
        let progress = self.lock();
        let age = progress.asked?.elapsed();
        let is_old = age > FRESH || progress.end == Some(End::Whole);
        let opened = self.opened.get().filter(|_| is_old && self.is_joinable(&progress))?;
        Some((opened.entry.clone(), age))
    }

    fn is_joinable(&self, progress: &Progress) -> bool {
        !self.is_forgotten()
            && !self.is_dropped()
            && progress.relayed.is_none()
            && progress.end.is_none_or(|end| end == End::Whole)
    }

    /// Whether another process has removed the file.
    fn is_dropped(&self) -> bool {
        let stat = self.opened.get().map(|opened| fstat(&opened.file));
        stat.is_some_and(|stat| stat.is_ok_and(|stat| stat.st_nlink == 0))
    }

    fn follower(self: &Arc<Self>, progress: &mut Progress) -> Follower {
        let position = Arc::<AtomicU64>::default();
        progress.readers.push(position.clone());
        Follower { fill: self.clone(), position }
    }

    /// The head of the answer has arrived, and the answer is cached.
    pub(super) fn open(&self, opened: FillStart, asked: Instant) {
        self.lock().asked = Some(asked);
        // This is set once, by the only task that writes.
        let _ = self.opened.set(opened);
        self.changed.notify(usize::MAX);
    }

    /// Upstream has just confirmed this version.
    pub(super) fn confirm(&self) {
        self.lock().asked = Some(Instant::now());
    }

    /// When upstream last confirmed this version.
    pub(super) fn asked(&self) -> Option<Instant> {
        self.lock().asked
    }

    /// More bytes are in the file.
    pub(super) fn written(&self, written: u64) {
        self.lock().written = written;
        self.changed.notify(usize::MAX);
    }

    /// Gives a piece that follows the file, or the last piece, to all readers, and returns when
    /// they have read it. A reader that is slower than the others and takes longer than
    /// [`PATIENCE`] is disconnected. Returns false if no reader is left.
    pub(super) async fn relay(&self, start: u64, piece: Bytes) -> bool {
        let end = start + piece.len() as u64;
        self.lock().relayed = Some((start, piece));
        self.changed.notify(usize::MAX);
        // At the first piece, all readers may be far behind, in the file.
        let is_first = self.lock().written == start;
        let mut late = Timer::after(PATIENCE);
        loop {
            let taken = self.taken.listen();
            let (ahead, waited_for) = self.readers_of(start..end, is_first);
            if !waited_for {
                return ahead;
            }
            let is_late = async {
                (&mut late).await;
                true
            };
            let is_taken = async {
                taken.await;
                false
            };
            if is_taken.or(is_late).await {
                if ahead {
                    return true;
                }
                late = Timer::after(PATIENCE);
            }
        }
    }

    /// Whether some readers have passed a relayed piece, and whether others must be waited for.
    fn readers_of(&self, piece: Range<u64>, is_first: bool) -> (bool, bool) {
        let progress = self.lock();
        let positions = progress.readers.iter().map(|position| position.load(Relaxed));
        positions.fold((false, false), |(ahead, waited_for), position| {
            let is_behind = position < piece.end && (is_first || position >= piece.start);
            (ahead || position >= piece.end, waited_for || is_behind)
        })
    }

    /// No more bytes will be written.
    pub(super) fn end(&self, end: End) {
        let mut progress = self.lock();
        if progress.end.is_none() {
            progress.end = Some(end);
            if let Some(task) = progress.task.take() {
                task.detach();
            }
        }
        drop(progress);
        self.changed.notify(usize::MAX);
    }

    /// The answer is not cached: the first client that requested it gets it.
    pub(super) fn decline(&self, answer: Result<Box<Answer>, Error>) {
        self.lock().declined = Some(answer);
        self.end(End::Declined);
    }

    /// The answer that does not go through the cache, unless a client has taken it.
    pub(super) fn take_declined(&self) -> Option<Result<Box<Answer>, Error>> {
        self.lock().declined.take()
    }

    /// The answer must not be cached, and no other client joins.
    pub(super) fn forget(&self) {
        self.is_forgotten.store(true, Relaxed);
    }

    pub(super) fn is_forgotten(&self) -> bool {
        self.is_forgotten.load(Relaxed)
    }

    /// Whether the download continues without a reader.
    fn is_half_done(&self, progress: &Progress) -> bool {
        let length = self.opened.get().and_then(|opened| opened.length);
        !self.is_forgotten() && length.is_some_and(|length| progress.written >= length / 2)
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client that waits for a download, or reads it.
pub(super) struct Follower {
    fill: Arc<Fill>,
    position: Arc<AtomicU64>,
}

impl Follower {
    /// Waits until the head of the answer has arrived. `None`: the answer does not go through the
    /// cache.
    pub(super) async fn opened(&self) -> Option<&FillStart> {
        loop {
            let changed = self.fill.changed.listen();
            if let Some(opened) = self.fill.opened.get() {
                return Some(opened);
            }
            if self.fill.lock().end.is_some() {
                return None;
            }
            changed.await;
        }
    }

    /// The bytes from `first` up to `end` (exclusive), or to the end of the body.
    pub(super) fn body(self, first: u64, end: Option<u64>, pool: Arc<DiskPool>) -> Body {
        let Some(opened) = self.fill.opened.get() else { return Body::Empty };
        let mut reader = Reader::new(opened.file.clone(), first, pool);
        reader.select(first, u64::MAX);
        self.position.store(first, Relaxed);
        Body::stream(Following { follower: self, reader, position: first, end, changed: None })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut progress = self.fill.lock();
        progress.readers.retain(|position| !Arc::ptr_eq(position, &self.position));
        self.fill.taken.notify(usize::MAX);
        if !progress.readers.is_empty()
            || progress.end.is_some()
            || self.fill.is_half_done(&progress)
        {
            return;
        }
        progress.end = Some(End::Broken);
        let task = progress.task.take();
        drop(progress);
        drop(task);
    }
}

/// A body that is read while it is written.
struct Following {
    follower: Follower,
    reader: Reader,
    position: u64,
    end: Option<u64>,
    changed: Option<Pin<Box<EventListener>>>,
}

impl Following {
    fn frame(&mut self, bytes: Bytes) -> Frame<Bytes> {
        self.position += bytes.len() as u64;
        self.follower.position.store(self.position, Relaxed);
        Frame::data(bytes)
    }
}

impl http_body::Body for Following {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            if this.reader.remaining() > 0 {
                let chunk = ready!(this.reader.poll_chunk(cx));
                return Poll::Ready(chunk.map(|chunk| Ok(this.frame(chunk?))));
            }
            if Some(this.position) == this.end {
                return Poll::Ready(None);
            }
            // It listens before it checks, so that it misses no event.
            let is_listening = this.changed.is_some();
            let fill = &this.follower.fill;
            let changed = this.changed.get_or_insert_with(|| Box::pin(fill.changed.listen()));
            let progress = fill.lock();
            let (written, end) = (progress.written, progress.end);
            let relayed = progress.relayed.clone();
            drop(progress);
            let there = this.end.map_or(written, |end| end.min(written));
            if there > this.position {
                this.reader.extend(there);
                this.changed = None;
                continue;
            }
            if let Some((start, piece)) = relayed {
                let Some(from) = this.position.checked_sub(start) else {
                    return Poll::Ready(Some(Err(
                        "the client is much slower than the others".into()
                    )));
                };
                if from < piece.len() as u64 {
                    let most = this.end.map_or(u64::MAX, |end| end - this.position);
                    let to = (piece.len() as u64).min(from.saturating_add(most));
                    let piece = piece.slice(from as usize..to as usize);
                    this.changed = None;
                    let frame = this.frame(piece);
                    this.follower.fill.taken.notify(usize::MAX);
                    return Poll::Ready(Some(Ok(frame)));
                }
            }
            match end {
                Some(End::Whole) => return Poll::Ready(None),
                Some(_) => return Poll::Ready(Some(Err("the download was interrupted".into()))),
                None => {}
            }
            if is_listening {
                ready!(changed.as_mut().poll(cx));
                this.changed = None;
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        Some(self.position) == self.end
    }

    fn size_hint(&self) -> SizeHint {
        match self.end {
            Some(end) => SizeHint::with_exact(end - self.position),
            None => SizeHint::default(),
        }
    }
}
