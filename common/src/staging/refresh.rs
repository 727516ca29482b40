//! Has root copy again what may have changed since it was copied.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{io, thread};

use rustix::fs::{Access, access};

use super::find::{Copy, RENEW, runtime_directory};

/// Has the copies of these files renewed where they may be out of date, and waits for it: 3 s at
/// most. Files that this process can read itself are left alone. Blocks.
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
    /// Where the file itself cannot be looked at, a copy counts for so long.
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
