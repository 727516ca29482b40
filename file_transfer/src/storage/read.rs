//! Opens files for reading.

use std::sync::Arc;
use std::time::Instant;

use common::net::Arrival;
use common::storage::{JobKind, Reader};
use rustix::io::Errno;

use super::lookup::Wait;
use super::open_files::Found;
use super::{Inner, Storage, Version};
use crate::error::Error;
use crate::path::FilePath;

impl Storage {
    /// Opens a file for reading. A later upload to its path does not change the opened file.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no regular file at this path that may be read.
    pub async fn open_file(&self, path: &FilePath) -> Result<(Reader, Version), Error> {
        let (inner, owned) = (self.0.clone(), path.clone());
        let open = move || {
            let opened = inner.root.check()?.lookup.open(&owned, Wait::Allowed);
            opened.map_err(|errno| not_opened(&owned, errno))
        };
        let (file, version) = self.0.pool.run(JobKind::Read, open).await?;
        let found = Found { file: Arc::new(file), version, content: None };
        Ok(self.reader(path, found))
    }

    /// Like [`Storage::open_file`]; `None` if that would wait for the disk. The file is as it was
    /// after `arrival`.
    pub(crate) fn open_file_cached(
        &self,
        path: &FilePath,
        arrival: Arrival,
    ) -> Option<Result<(Reader, Version), Error>> {
        let Inner { open_files, root, .. } = &*self.0;
        let now = Instant::now();
        let lookup = &root.current(now)?.lookup;
        if let Some(found) = open_files.find(path, lookup, now, arrival) {
            return Some(Ok(self.reader(path, found)));
        }
        Some(match lookup.open(path, Wait::Never) {
            Ok((file, version)) => {
                let found = Found::new(Arc::new(file), version);
                open_files.insert(path, lookup, &found, now, arrival);
                Ok(self.reader(path, found))
            }
            Err(Errno::AGAIN) => return None,
            Err(_) if root.is_removed() => return None,
            Err(errno) => Err(not_opened(path, errno)),
        })
    }

    fn reader(&self, path: &FilePath, found: Found) -> (Reader, Version) {
        let Found { file, version, content } = found;
        if let Some(retention) = self.0.retention.as_ref().filter(|it| it.counts_reads()) {
            if retention.note_read(&file, path) {
                let (inner, file, path) = (self.0.clone(), file.clone(), path.clone());
                self.0.pool.defer(move || inner.note_on_disk(&file, &path));
            }
        }
        let reader = Reader::new(file, version.length, self.0.pool.clone());
        (reader.with_content(content), version)
    }
}

fn not_opened(path: &FilePath, errno: Errno) -> Error {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO | Errno::XDEV => {
            Error::NotFound(path.clone())
        }
        _ => Error::disk("read", path, errno),
    }
}
