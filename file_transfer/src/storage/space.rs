//! How much of a file system has to stay free.

use std::os::fd::AsFd;

use rustix::fs::{StatVfs, fstatvfs};

use crate::error::Error;
use crate::path::FilePath;

/// What an upload has to leave free on the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinFree {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of all that it holds.
    Percent(u8),
}

impl MinFree {
    /// Fails where `more` bytes of this file would leave too little.
    pub(super) fn check(
        self,
        file_system: impl AsFd,
        more: u64,
        path: &FilePath,
    ) -> Result<(), Error> {
        let space = fstatvfs(file_system).map_err(|errno| Error::disk("store", path, errno))?;
        if self.allows(&space, more) {
            return Ok(());
        }
        Err(Error::NoSpace { path: path.clone(), reason: "too little space would stay free" })
    }

    fn allows(self, space: &StatVfs, more: u64) -> bool {
        let size = u128::from(space.f_frsize);
        let free = u128::from(space.f_bavail) * size;
        let floor = match self {
            Self::Bytes(bytes) => u128::from(bytes),
            Self::Percent(percent) => u128::from(space.f_blocks) * size * u128::from(percent) / 100,
        };
        // A write of nothing is no reason to refuse, even on a full disk without a floor.
        free >= floor + u128::from(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(min_free: MinFree, more: u64) -> bool {
        let directory = std::fs::File::open(std::env::temp_dir()).unwrap();
        let mut space = fstatvfs(directory).unwrap();
        (space.f_frsize, space.f_blocks, space.f_bavail) = (4096, 1 << 30, 1000);
        min_free.allows(&space, more)
    }

    #[test]
    fn leaves_free_what_is_to_stay_free() {
        assert!(allows(MinFree::Bytes(0), 4_096_000));
        assert!(!allows(MinFree::Bytes(0), 4_096_001));
        assert!(allows(MinFree::Bytes(4_000_000), 96_000));
        assert!(!allows(MinFree::Bytes(4_000_000), 96_001));
        assert!(!allows(MinFree::Bytes(u64::MAX), u64::MAX));
        assert!(allows(MinFree::Percent(0), 1));
        assert!(!allows(MinFree::Percent(1), 0));
    }
}
