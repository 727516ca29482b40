//! The cache: an answer that one client has downloaded is served to other clients after Cumulocity
//! has confirmed that it is unchanged. Read it in the order in which a request passes:
//!
//! 1. `key` says which requests the cache answers.
//! 2. `start` opens the directory. `index` lists the entries in it, and chooses which to remove for
//!    new ones. `entries` finds an entry, and `entry` is its file.
//! 3. `revalidate` asks upstream whether an entry is unchanged, by its `validator`.
//! 4. `download` writes an answer to a file, and `fill` lets all clients that request it read it.
//! 5. `reply` builds the answer: conditions, ranges, fields. `status` is its `Cache-Status`.

mod digest;
mod download;
mod entries;
mod entry;
pub mod files;
mod fill;
mod index;
mod key;
mod md5;
mod reply;
mod revalidate;
mod start;
mod status;
mod validator;

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_executor::Executor;
use async_lock::Semaphore;
use common::client::Answer;
use common::http::Body;
use common::storage::{DiskPool, JobKind, Reader};
use common::tasks::spawn;
use http::header::{
    AGE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};
use http::{Method, StatusCode};

use self::download::Download;
use self::entries::BodySource;
use self::entry::Entry;
use self::fill::{Fill, Follower};
use self::index::Index;
use self::key::{Bypass, EntryKey, Paths};
use self::revalidate::{Verdict, forwarded};
pub use self::start::{Options, check};
pub(crate) use self::status::{CacheDecision, CacheStatus};
use self::validator::Validator;
use crate::error::Error;
use crate::upstream::{Head, Upstream};

/// How many complete downloads may wait for the disk before new downloads have to wait.
const STORING: usize = 16;

const HIT: &str = "hit";
const MISS: &str = "fwd=miss";
const VARY_MISS: &str = "fwd=vary-miss";
const STALE: &str = "fwd=stale";
/// Upstream has confirmed the entry. By RFC 9211, 2.1, this is not a hit.
const REVALIDATED: &str = "fwd=stale; fwd-status=304";
/// The answer is that of a download in progress.
const COLLAPSED: &str = "; collapsed";
const STORED: &str = "; stored";
const OFFLINE: &str = "; detail=offline";

/// The cache. Clones share it.
#[derive(Clone)]
pub(crate) struct Cache(Arc<Shared>);

struct Shared {
    options: Options,
    paths: Paths,
    /// The directory, and the descriptor that locks it for this service. The mutex is locked only by
    /// jobs of the pool.
    directory: Mutex<(Arc<OwnedFd>, OwnedFd)>,
    index: Arc<Index>,
    /// The downloads in progress.
    fills: Mutex<Vec<(u128, Arc<Fill>)>>,
    pool: Arc<DiskPool>,
    /// Limits how many complete downloads wait for the disk.
    storing: Semaphore,
    upstream: Arc<Upstream>,
    executor: Arc<Executor<'static>>,
    /// When the directory was last changed, as far as is known.
    changed: Mutex<Option<(i64, u64)>>,
    /// Whether binaries come without a validator, so that the inventory must be asked about them.
    asks_inventory: AtomicBool,
    /// Whether the log says that upstream cannot be asked.
    is_offline: AtomicBool,
    /// Whether the last download could not be written.
    has_failed: AtomicBool,
}

impl Cache {
    /// Opens the directory, creates it if it is missing, removes the files of unfinished downloads,
    /// and reads its entries. Waits for the disk.
    ///
    /// # Errors
    /// If the directory cannot be used. The message says what to change.
    pub(crate) fn open(
        options: Options,
        upstream: Arc<Upstream>,
        executor: Arc<Executor<'static>>,
    ) -> Result<Self, common::error::Error> {
        let (directory, lock, index) = start::open(&options)?;
        Ok(Self(Arc::new(Shared {
            paths: Paths::new(&options.paths),
            has_failed: AtomicBool::new(start::check_writable(&directory).is_err()),
            directory: Mutex::new((Arc::new(directory), lock)),
            index: Arc::new(index),
            fills: Mutex::default(),
            pool: Arc::default(),
            storing: Semaphore::new(STORING),
            upstream,
            executor,
            changed: Mutex::default(),
            asks_inventory: AtomicBool::new(true),
            is_offline: AtomicBool::new(false),
            options,
        })))
    }

    /// Whether the cache can answer the request.
    ///
    /// # Errors
    ///
    /// It cannot: the request is passed on, and its answer gets this status.
    pub(crate) fn check(&self, head: &Head) -> Result<(), CacheStatus> {
        self.0.paths.check(head).map_err(|bypass| match bypass {
            Bypass::Method => CacheStatus::METHOD,
            Bypass::Path => CacheStatus::BYPASS,
            Bypass::Request => CacheStatus::REQUEST,
        })
    }

    /// Answers from an entry, or says how the request is passed on.
    ///
    /// # Errors
    ///
    /// Upstream cannot be asked, and the entry may not be served without its confirmation.
    pub(crate) async fn ask(&self, head: &Head) -> Result<CacheDecision, Error> {
        let key = self.0.key(head.target.path());
        let under_way = self.0.fill(key.name);
        let mut found = None;
        if let Some(fill) = under_way {
            if let Some((entry, age)) = fill.old() {
                found = Some((entry, BodySource::Fill(fill), age));
            } else if let Some(follower) = fill.join() {
                return Ok(self.follow(follower, head, MISS, COLLAPSED).await);
            }
        }
        if found.is_none() {
            found = self.0.find(&key).await.map(|(entry, file, found)| {
                (entry, BodySource::Entry(file, found.version), found.age)
            });
        }
        let Some((mut entry, source, age)) = found else {
            return self.miss(key, head, None, MISS).await;
        };
        if !validator::answers(&entry.fields, &head.fields) {
            return Ok(CacheDecision::passed_on(VARY_MISS));
        }
        let is_allowed = validator::may_be_stale(&entry.fields);
        let may_be_stale = age < self.0.options.offline && is_allowed;
        let verdict = if may_be_stale {
            self.0.revalidate_soon(&key, &entry, head).await
        } else {
            self.0.revalidate(&key, &entry, head).await
        };
        if !self.0.is_of_user(&key) {
            self.0.drop(&key, &source).await;
            return Ok(CacheDecision::passed_on(MISS));
        }
        self.0.note(&verdict);
        match verdict {
            Verdict::Unchanged(confirmed) => {
                let status = if confirmed.is_some() { REVALIDATED } else { HIT };
                if let Some(confirmed) = confirmed {
                    let fields = &mut Arc::make_mut(&mut entry).fields;
                    validator::update(fields, confirmed.response.into_parts().0.headers);
                }
                let is_still = !is_allowed || validator::may_be_stale(&entry.fields);
                let is_kept = validator::may_be_kept(&entry.fields);
                match source {
                    BodySource::Entry(file, version) => {
                        self.0.confirm(key.name, &file, is_still);
                        if !is_kept {
                            self.0.remove(key.name, Some(version)).await;
                        }
                        Ok(self.hit(head, &entry, file, None, CacheStatus::new(status, "")))
                    }
                    BodySource::Fill(fill) => {
                        let follower = fill.join();
                        if is_still && is_kept {
                            fill.confirm();
                        } else {
                            fill.forget();
                        }
                        self.join(follower, key, head, COLLAPSED).await
                    }
                }
            }
            Verdict::Changed(answer) => {
                self.0.drop(&key, &source).await;
                self.miss(key, head, answer, STALE).await
            }
            Verdict::Refused(answer) => {
                self.0.drop(&key, &source).await;
                Ok(forwarded(answer))
            }
            Verdict::Unclear(answer) => Ok(forwarded(answer)),
            // Only the inventory has not answered.
            Verdict::Away(_)
                if !may_be_stale && matches!(entry.validator, Validator::Object(_)) =>
            {
                Ok(CacheDecision::passed_on(STALE))
            }
            Verdict::Away(outcome) if !may_be_stale => outcome.map(forwarded),
            Verdict::Away(_) | Verdict::Silent => match source {
                BodySource::Entry(file, _) => {
                    let status = CacheStatus::new(HIT, OFFLINE);
                    Ok(self.hit(head, &entry, file, Some(age), status))
                }
                BodySource::Fill(fill) => {
                    self.join(fill.join(), key, head, &[COLLAPSED, OFFLINE].concat()).await
                }
            },
        }
    }

    /// The path whose entry becomes invalid by a request.
    pub(crate) fn changed_by(&self, head: &Head) -> Option<String> {
        let is_safe = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let path = head.target.path();
        (!is_safe && self.0.paths.have(path)).then(|| path.to_owned())
    }

    /// Drops the entry of a path after a request that may have changed it.
    pub(crate) async fn invalidate(&self, path: &str) {
        let key = self.0.key(path);
        self.0.fills().retain(|(name, fill)| {
            let is_another = *name != key.name;
            if !is_another {
                fill.forget();
            }
            is_another
        });
        self.0.remove(key.name, None).await;
    }

    /// The number of entries, and their bytes.
    pub(crate) async fn totals(&self) -> (usize, u64) {
        let shared = self.0.clone();
        if let Err(errno) = self.0.pool.run(JobKind::Read, move || shared.look_again()).await {
            log::warn!("cannot read the directory of the cache: {errno}");
        }
        self.0.index.totals()
    }

    /// Follows the download in progress. If that download has failed meanwhile, starts a new one.
    async fn join(
        &self,
        follower: Option<Follower>,
        key: EntryKey,
        head: &Head,
        more: &str,
    ) -> Result<CacheDecision, Error> {
        match follower {
            Some(follower) => Ok(self.follow(follower, head, MISS, more).await),
            None => self.miss(key, head, None, MISS).await,
        }
    }

    /// Begins a download, unless another task has begun it, and follows it. `answer` is given if
    /// upstream has answered already.
    async fn miss(
        &self,
        key: EntryKey,
        head: &Head,
        answer: Option<Box<Answer>>,
        status: &str,
    ) -> Result<CacheDecision, Error> {
        if head.method != Method::GET {
            return Ok(CacheDecision { answer, status: CacheStatus::new(status, "") });
        }
        let (follower, begun) = self.begin(key, answer, head);
        let more = if begun.is_some() { STORED } else { COLLAPSED };
        let asked = self.follow(follower, head, status, more).await;
        let (Some(fill), None) = (begun, &asked.answer) else { return Ok(asked) };
        // The answer is not cached. If it also answers this request, upstream is not asked twice.
        let asks_for_more = [RANGE, IF_MATCH, IF_UNMODIFIED_SINCE, IF_RANGE];
        let is_conditional = asks_for_more.iter().any(|name| head.fields.contains_key(name));
        let answer = fill.take_declined().transpose()?.filter(|_| !is_conditional);
        let is_unchanged = |answer: &Answer| answer.response.status() == StatusCode::NOT_MODIFIED;
        let names_version = [IF_NONE_MATCH, IF_MODIFIED_SINCE];
        let names_version = names_version.into_iter().any(|name| head.fields.contains_key(name));
        if status == STALE && !names_version && answer.as_deref().is_some_and(is_unchanged) {
            return Err(Error::UnrequestedNotModified);
        }
        Ok(CacheDecision { answer, status: CacheStatus::new(status, "") })
    }

    /// Joins the download in progress. If there is none, begins one and returns it.
    fn begin(
        &self,
        key: EntryKey,
        answer: Option<Box<Answer>>,
        head: &Head,
    ) -> (Follower, Option<Arc<Fill>>) {
        let mut fills = self.0.fills();
        let under_way = fills.iter().find(|(name, _)| *name == key.name);
        if let Some(follower) = under_way.and_then(|(_, fill)| fill.join()) {
            return (follower, None);
        }
        let (fill, follower) = Fill::begin();
        fills.retain(|(name, _)| *name != key.name);
        fills.push((key.name, fill.clone()));
        let download = Download::new(self.0.clone(), fill.clone(), key, head);
        fill.keep(spawn(&self.0.executor, download.run(answer)));
        (follower, Some(fill))
    }

    /// Answers from a download in progress, after its head has arrived.
    async fn follow(
        &self,
        follower: Follower,
        head: &Head,
        status: &str,
        more: &str,
    ) -> CacheDecision {
        let Some(opened) = follower.opened().await else {
            return CacheDecision::passed_on(MISS);
        };
        let (entry, length) = (opened.entry.clone(), opened.length);
        if !validator::answers(&entry.fields, &head.fields) {
            return CacheDecision::passed_on(VARY_MISS);
        }
        // It may turn out to be too long.
        let more = if more == STORED && length.is_none() { "" } else { more };
        let (mut response, part) = reply::reply(head, &entry.fields, length);
        if let Some((first, end)) = part {
            *response.body_mut() = follower.body(first, end, self.0.pool.clone());
        }
        CacheDecision::answered(response, CacheStatus::new(status, more))
    }

    fn hit(
        &self,
        head: &Head,
        entry: &Entry,
        file: Arc<OwnedFd>,
        age: Option<Duration>,
        status: CacheStatus,
    ) -> CacheDecision {
        let length = entry.length;
        let (mut response, part) = reply::reply(head, &entry.fields, Some(length));
        if let Some((first, end)) = part {
            let mut reader = Reader::new(file, length, self.0.pool.clone());
            reader.select(first, end.unwrap_or(length).saturating_sub(1));
            *response.body_mut() = Body::file(reader);
        }
        if let Some(age) = age {
            response.headers_mut().insert(AGE, age.as_secs().into());
        }
        CacheDecision::answered(response, status)
    }
}

impl Shared {
    fn fills(&self) -> MutexGuard<'_, Vec<(u128, Arc<Fill>)>> {
        self.fills.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The download in progress with this name.
    fn fill(&self, name: u128) -> Option<Arc<Fill>> {
        self.fills().iter().find(|(of, _)| *of == name).map(|(_, fill)| fill.clone())
    }

    /// Whether the inventory must be asked before a binary is downloaded.
    fn asks_inventory(&self) -> bool {
        self.asks_inventory.load(Relaxed)
    }

    fn ask_inventory(&self, asks: bool) {
        self.asks_inventory.store(asks, Relaxed);
    }
}
