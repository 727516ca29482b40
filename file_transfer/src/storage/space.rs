//! How much of a file system has to stay free.

use std::os::fd::AsFd;

use common::settings::Free;
use rustix::fs::{StatVfs, fstatvfs};

use crate::error::Error;
use crate::path::FilePath;

/// Fails if `more` bytes of this file would leave less than `min_free`.
pub(super) fn check(
    min_free: Free,
    file_system: impl AsFd,
    more: u64,
    path: &FilePath,
) -> Result<(), Error> {
    let space = fstatvfs(file_system).map_err(|errno| Error::disk("store", path, errno))?;
    if allows(min_free, &space, more) {
        return Ok(());
    }
    Err(Error::NoSpace { path: path.clone(), reason: "too little space would stay free" })
}

fn allows(min_free: Free, space: &StatVfs, more: u64) -> bool {
    let size = u128::from(space.f_frsize);
    let free = u128::from(space.f_bavail) * size;
    let floor = match min_free {
        Free::Bytes(bytes) => u128::from(bytes),
        Free::Percent(percent) => u128::from(space.f_blocks) * size * u128::from(percent) / 100,
    };
    // An empty file fits even on a full disk, if nothing has to stay free.
    free >= floor + u128::from(more)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(min_free: Free, more: u64) -> bool {
        let directory = std::fs::File::open(std::env::temp_dir()).unwrap();
        let mut space = fstatvfs(directory).unwrap();
        (space.f_frsize, space.f_blocks, space.f_bavail) = (4096, 1 << 30, 1000);
        super::allows(min_free, &space, more)
    }

    #[test]
    fn leaves_free_what_is_to_stay_free() {
        assert!(allows(Free::Bytes(0), 4_096_000));
        assert!(!allows(Free::Bytes(0), 4_096_001));
        assert!(allows(Free::Bytes(4_000_000), 96_000));
        assert!(!allows(Free::Bytes(4_000_000), 96_001));
        assert!(!allows(Free::Bytes(u64::MAX), u64::MAX));
        assert!(allows(Free::Percent(0), 1));
        assert!(!allows(Free::Percent(1), 0));
    }
}
