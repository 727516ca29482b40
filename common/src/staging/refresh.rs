//! Has root copy files again that may have changed since they were copied.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{io, thread};

use rustix::fs::{Access, access};

use super::find::{Copy, RENEW, runtime_directory};

/// Requests new copies of these files if they may be out of date, and waits at most 3 s for them.
/// Ignores files that this process can read itself. Blocks.
pub fn refresh(paths: &[&Path]) {
    const LIMIT: Duration = Duration::from_secs(3);
    const PAUSE: Duration = Duration::from_millis(50);
    let Some(directory) = runtime_directory() else { return };
    let request = directory.join(RENEW);
    let is_stale = paths.iter().any(|path| is_stale(path, &directory));
    if !is_stale || File::create(&request).is_err() {
        return;
    }
    let end = Instant::now() + LIMIT;
    while request.exists() && Instant::now() < end {
        thread::sleep(PAUSE);
    }
}

fn is_stale(path: &Path, directory: &Path) -> bool {
    /// How long a copy counts as current if the file itself cannot be inspected.
    const FRESH: Duration = Duration::from_secs(60);
    if access(path, Access::READ_OK).is_ok() {
        return false;
    }
    let copies = [Copy::Content, Copy::Reason].map(|copy| directory.join(copy.name(path)));
    let copied = copies.iter().find_map(|copy| fs::metadata(copy).ok());
    match (fs::metadata(path), copied) {
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => false,
        (_, None) => true,
        // An old file that is moved there has a new ctime.
        (Ok(file), Some(copy)) => {
            (file.ctime(), file.ctime_nsec()) >= (copy.ctime(), copy.ctime_nsec())
        }
        (Err(_), Some(copy)) => {
            let age = copy.modified().ok().and_then(|time| time.elapsed().ok());
            age.is_none_or(|age| age > FRESH)
        }
    }
}
