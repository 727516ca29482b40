//! The bytes of all files, and their limit. They are updated with each change that the service
//! makes to a file that is counted, and corrected by each sweep for changes of other programs.
//!
//! An upload reserves the bytes that it needs beyond those of the file that it replaces, so that
//! simultaneous uploads cannot exceed the limit. Nothing here accesses a disk.
//!
//! A file is changed on the disk, and the bytes here, under one commit lock. A sweep begins and ends
//! under this lock too, so each change is either before, during or after it.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::counted::{Counted, VisitedDirectories};
use super::seen::Seen;
use super::sum::Sum;

/// The limit, and the bytes in use.
pub(super) struct Quota {
    /// In bytes; `u64::MAX` means no limit.
    limit: u64,
    /// Whether files are deleted for an upload that needs room.
    make_room: bool,
    usage: Mutex<Usage>,
}

#[derive(Default)]
struct Usage {
    stored: Sum,
    counted: Counted,
    /// By uploads in progress, in bytes: what they will need, and what they have room for so far.
    reserved: u64,
    received: u64,
    /// The files that these uploads will replace.
    replaced: Vec<Replaced>,
    /// Changes since the current sweep began. The sweep may or may not have seen them.
    added: Sum,
    removed: Sum,
}

/// A file that an upload will replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Replaced {
    inode: u64,
    bytes: u64,
}

/// The reservation of one upload. It is given back when dropped.
pub(in crate::storage) struct Reservation {
    quota: Arc<Quota>,
    replaced: Option<Replaced>,
    /// The bytes of that file, unless another upload that replaces it as well has them: the first
    /// one does.
    credit: u64,
    /// Whether that file has no other name, so that its space becomes free.
    has_one_name: bool,
    /// Whether the upload does not replace that file any more.
    is_gone: AtomicBool,
    /// As in [`Usage`]; changed only while that is locked.
    reserved: AtomicU64,
    received: AtomicU64,
}

/// The upload would exceed the limit.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::storage) struct NoRoom {
    pub(in crate::storage) limit: u64,
}

impl Quota {
    pub(super) fn new(limit: Option<u64>, make_room: bool) -> Self {
        Self { limit: limit.unwrap_or(u64::MAX), make_room, usage: Mutex::default() }
    }

    pub(super) fn limit(&self) -> Option<u64> {
        (self.limit < u64::MAX).then_some(self.limit)
    }

    pub(super) fn makes_room(&self) -> bool {
        self.make_room && self.limit < u64::MAX
    }

    pub(super) fn stored(&self) -> Sum {
        self.lock().stored
    }

    /// Reserves room for an upload of at least `expected` bytes.
    pub(super) fn reserve(
        self: &Arc<Self>,
        expected: u64,
        replaced: Option<Seen>,
    ) -> Result<Reservation, NoRoom> {
        let has_one_name = replaced.is_none_or(|file| file.links == 1);
        let mut usage = self.lock();
        let replaced = replaced.map(|file| Replaced {
            inode: file.inode,
            bytes: usage.counted.bytes(&file).unwrap_or(0),
        });
        let (reserved, received) = (AtomicU64::new(0), AtomicU64::new(0));
        let credit = replaced.filter(|file| !usage.is_replaced(file.inode));
        let credit = credit.map_or(0, |file| file.bytes);
        usage.replaced.extend(replaced);
        drop(usage);
        let (quota, is_gone) = (self.clone(), AtomicBool::new(false));
        let reservation =
            Reservation { quota, replaced, credit, has_one_name, is_gone, reserved, received };
        reservation.expect(expected)?;
        Ok(reservation)
    }

    /// Whether an upload in progress will replace this file.
    pub(super) fn is_replaced(&self, inode: u64) -> bool {
        self.lock().is_replaced(inode)
    }

    /// Returns whether the file was counted.
    pub(super) fn removed(&self, file: &Seen) -> bool {
        self.lock().delete(file)
    }

    /// The same, for a file that was counted with so many bytes by the sweep with this number.
    pub(super) fn evicted(&self, file: &Seen, bytes: u64, sweep: u64) -> bool {
        let mut usage = self.lock();
        let was_counted = usage.delete(file);
        let is_swept = !was_counted && usage.counted.sweeps == sweep;
        if is_swept {
            usage.stored.subtract(bytes);
        }
        was_counted || is_swept
    }

    /// The service has removed a name of a file that has others.
    pub(super) fn lost_name(&self, before: &Seen, after: &Seen) {
        self.lock().counted.lost_name(before, after);
    }

    /// When another program has last changed the file, in nanoseconds since 1970.
    pub(super) fn changed(&self, file: &Seen) -> i128 {
        self.lock().counted.changed(file)
    }

    /// Whether a file was deleted since the last sweep began.
    pub(super) fn has_removed(&self) -> bool {
        self.lock().removed != Sum::default()
    }

    /// The sweep in progress has deleted a file before counting it. Returns whether an earlier one
    /// had counted it.
    pub(super) fn swept(&self, file: &Seen) -> bool {
        self.lock().remove(file)
    }

    /// The service has changed the `ctime` of a file, and nothing else.
    pub(super) fn touched(&self, before: &Seen) {
        self.lock().counted.touched(before);
    }

    pub(super) fn begin_sweep(&self) {
        let mut usage = self.lock();
        (usage.added, usage.removed) = (Sum::default(), Sum::default());
        usage.counted.begin_sweep();
    }

    /// Takes over the count of a sweep of these directories, except for differences that changes
    /// during the sweep explain. `is_first`: nothing was counted before. If not `is_complete`,
    /// there may be more files. Returns the number of the sweep.
    pub(super) fn end_sweep(
        &self,
        counted: Sum,
        directories: VisitedDirectories,
        is_first: bool,
        is_complete: bool,
    ) -> u64 {
        let mut usage = self.lock();
        let (added, removed) = (usage.added, usage.removed);
        let corrected = |now: u64, counted: u64, added: u64, removed: u64| {
            let most = counted.saturating_add(added);
            match (is_first, is_complete) {
                (true, _) => most,
                (false, true) => now.clamp(counted.saturating_sub(removed), most),
                (false, false) => now.max(counted.saturating_sub(removed)),
            }
        };
        let now = usage.stored;
        usage.stored = Sum {
            files: corrected(now.files, counted.files, added.files, removed.files),
            bytes: corrected(now.bytes, counted.bytes, added.bytes, removed.bytes),
        };
        usage.counted.end_sweep(directories);
        usage.counted.sweeps
    }

    fn lock(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Usage {
    fn delete(&mut self, file: &Seen) -> bool {
        self.removed.add(file.bytes);
        self.remove(file)
    }

    fn remove(&mut self, file: &Seen) -> bool {
        let bytes = self.counted.remove(file);
        if let Some(bytes) = bytes {
            self.stored.subtract(bytes);
        }
        bytes.is_some()
    }

    fn is_replaced(&self, inode: u64) -> bool {
        self.replaced.iter().any(|replaced| replaced.inode == inode)
    }

    /// The bytes of the files that must not be deleted for an upload: those that uploads will
    /// replace, and those `in_use`.
    fn protected(&self, in_use: &[Seen]) -> u64 {
        let in_use = in_use.iter().map(|file| Replaced { inode: file.inode, bytes: file.bytes });
        let files = || self.replaced.iter().copied().chain(in_use.clone());
        let is_first = |(index, file): &(usize, Replaced)| {
            files().take(*index).all(|other| other.inode != file.inode)
        };
        files().enumerate().filter(is_first).map(|(_, file)| file.bytes).sum()
    }
}

impl Reservation {
    /// Reserves room for `total` bytes, if that is more than expected.
    pub(super) fn expect(&self, total: u64) -> Result<(), NoRoom> {
        let usage = &mut *self.quota.lock();
        let charge = self.charge(usage, total);
        self.reserve(usage, charge)
    }

    /// Takes room for received bytes before they are written. If there are more than expected, they
    /// are reserved now. Returns how many bytes of files must be deleted before all have room. Free
    /// room is taken until then, so each upload gets the room that its deletions make.
    pub(super) fn receive(&self, total: u64) -> Result<u64, NoRoom> {
        let usage = &mut *self.quota.lock();
        let charge = self.charge(usage, total);
        self.reserve(usage, charge)?;
        let limit = self.quota.limit;
        let more = charge.saturating_sub(self.received.load(Relaxed));
        let taken = usage.stored.bytes.saturating_add(usage.received);
        let lacking = taken.saturating_add(more).saturating_sub(limit);
        let now = more.min(limit.saturating_sub(taken));
        usage.received += now;
        self.received.fetch_add(now, Relaxed);
        match lacking {
            _ if charge == 0 => Ok(0),
            1.. if !self.quota.make_room => Err(NoRoom { limit }),
            _ => Ok(lacking),
        }
    }

    /// Whether a file of `new` bytes may replace `old`. If the limit is exceeded already, it may if
    /// this takes no more space: not if `old` keeps its space under another name.
    pub(in crate::storage) fn check(&self, old: Option<&Seen>, new: u64) -> Result<(), NoRoom> {
        let usage = self.quota.lock();
        let (stored, limit) = (usage.stored.bytes, self.quota.limit);
        let has_one_name = old.is_none_or(|old| old.links == 1);
        let old = old.and_then(|old| usage.counted.bytes(old)).unwrap_or(0);
        let after = stored.saturating_sub(old).saturating_add(new);
        let is_allowed = after <= limit || after <= stored && (has_one_name || new == 0);
        if is_allowed { Ok(()) } else { Err(NoRoom { limit }) }
    }

    /// Whether the upload can fit beside the files `in_use`, which will not be deleted for it.
    pub(super) fn check_beside(&self, in_use: &[Seen]) -> Result<(), NoRoom> {
        let usage = self.quota.lock();
        let lacking = self.reserved.load(Relaxed).saturating_sub(self.received.load(Relaxed));
        let needed = usage.received.saturating_add(lacking);
        let limit = self.quota.limit;
        let fits = usage.protected(in_use).saturating_add(needed) <= limit;
        if fits { Ok(()) } else { Err(NoRoom { limit }) }
    }

    /// The file to be replaced does not exist any more: the received bytes need other room. Returns
    /// whether this is the first notice.
    pub(in crate::storage) fn forgo(&self) -> bool {
        self.release(&mut self.quota.lock())
    }

    /// The file `new` has replaced `old`.
    pub(in crate::storage) fn commit(&self, old: Option<&Seen>, new: &Seen) {
        let mut usage = self.quota.lock();
        if let Some(old) = old {
            usage.delete(old);
        }
        usage.added.add(new.bytes);
        usage.stored.add(new.bytes);
        if self.quota.limit().is_some() {
            usage.counted.add(new.inode, new.bytes);
        }
        self.give_back(&mut usage);
    }

    fn release(&self, usage: &mut Usage) -> bool {
        if self.is_gone.swap(true, Relaxed) {
            return false;
        }
        let index = usage.replaced.iter().position(|replaced| Some(*replaced) == self.replaced);
        if let Some(index) = index {
            usage.replaced.swap_remove(index);
        }
        true
    }

    fn give_back(&self, usage: &mut Usage) {
        usage.reserved -= self.reserved.swap(0, Relaxed);
        usage.received -= self.received.swap(0, Relaxed);
    }

    /// The room that an upload of so many bytes needs in the end, beyond that of the replaced file:
    /// as [`Self::check`] will judge.
    fn charge(&self, usage: &Usage, bytes: u64) -> u64 {
        let excess = usage.stored.bytes.saturating_sub(self.quota.limit);
        bytes.saturating_sub(match self.has_one_name {
            _ if self.is_gone.load(Relaxed) => 0,
            true => self.credit,
            false => self.credit.saturating_sub(excess),
        })
    }

    fn reserve(&self, usage: &mut Usage, charge: u64) -> Result<(), NoRoom> {
        let reserved = self.reserved.load(Relaxed);
        let Some(more) = charge.checked_sub(reserved).filter(|more| *more > 0) else {
            return Ok(());
        };
        let limit = self.quota.limit;
        let stays = if self.quota.make_room { usage.protected(&[]) } else { usage.stored.bytes };
        if stays.saturating_add(usage.reserved).saturating_add(more) > limit {
            return Err(NoRoom { limit });
        }
        usage.reserved += more;
        self.reserved.store(charge, Relaxed);
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut usage = self.quota.lock();
        self.give_back(&mut usage);
        self.release(&mut usage);
    }
}
