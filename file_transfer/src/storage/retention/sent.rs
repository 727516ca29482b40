//! The files that are being sent. They are not deleted to make room, so an upload that does not fit
//! beside them deletes nothing.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::path::FilePath;

#[derive(Default)]
pub(super) struct SentFiles(Mutex<Vec<SentFile>>);

struct SentFile {
    file: Weak<OwnedFd>,
    path: FilePath,
}

impl SentFiles {
    /// Adds a file, which counts as sent until it is closed.
    pub(super) fn add(&self, file: &Arc<OwnedFd>, path: &FilePath) {
        let mut files = self.lock();
        files.retain(|sent| sent.file.strong_count() > 0);
        if files.iter().all(|sent| sent.file.as_ptr() != Arc::as_ptr(file)) {
            files.push(SentFile { file: Arc::downgrade(file), path: path.clone() });
        }
    }

    /// The files that are open now.
    pub(super) fn open(&self) -> Vec<(Arc<OwnedFd>, FilePath)> {
        let files = self.lock();
        let open = files.iter().filter_map(|sent| Some((sent.file.upgrade()?, sent.path.clone())));
        open.collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<SentFile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
