//! The space that must stay free on a file system, in bytes and in inodes.

use std::os::fd::AsFd;

use rustix::fs::{StatVfs, fstatvfs};
use rustix::io::Errno;

use crate::settings::Free;

/// The space that is about to be used.
#[derive(Clone, Copy)]
pub struct Need {
    /// In bytes.
    pub bytes: u64,
    /// The number of new files and directories.
    pub inodes: u64,
}

/// Why this need would leave less than `min_free`; `None` if it would not.
///
/// # Errors
/// If the file system does not report its free space.
pub fn shortage(
    min_free: Free,
    file_system: impl AsFd,
    need: Need,
) -> Result<Option<&'static str>, Errno> {
    let space = fstatvfs(file_system)?;
    Ok(if !has_bytes(min_free, &space, need.bytes) {
        Some("too little space would stay free")
    } else if !has_inodes(min_free, &space, need.inodes) {
        Some("too few inodes would stay free")
    } else {
        None
    })
}

/// A file system of size 0 does not know its size: some FUSE and network file systems, ramfs.
fn has_bytes(min_free: Free, space: &StatVfs, more: u64) -> bool {
    // An empty file fits even on a full disk, if nothing has to stay free.
    let free = u128::from(space.f_bavail) * u128::from(space.f_frsize);
    space.f_blocks == 0 || free >= floor(min_free, space) + u128::from(more)
}

/// Each inode counts as its share of the bytes: if a tenth of the bytes must stay free, so must a
/// tenth of the inodes. Btrfs, FAT and others have no fixed number of inodes and report 0.
fn has_inodes(min_free: Free, space: &StatVfs, more: u64) -> bool {
    let size = u128::from(space.f_blocks) * u128::from(space.f_frsize);
    let left = u128::from(space.f_favail.saturating_sub(more));
    more == 0
        || size == 0
        || space.f_files == 0
        || (space.f_favail >= more
            && left * size >= floor(min_free, space).saturating_mul(space.f_files.into()))
}

/// In bytes.
fn floor(min_free: Free, space: &StatVfs) -> u128 {
    match min_free {
        Free::Bytes(bytes) => u128::from(bytes),
        Free::Percent(percent) => {
            u128::from(space.f_blocks) * u128::from(space.f_frsize) * u128::from(percent) / 100
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 4 GiB, of which 4,096,000 bytes are free; and 1,000 inodes, of which 60 are free.
    fn space() -> StatVfs {
        let directory = std::fs::File::open(std::env::temp_dir()).unwrap();
        let mut space = fstatvfs(directory).unwrap();
        (space.f_frsize, space.f_blocks, space.f_bavail) = (4096, 1 << 20, 1000);
        (space.f_files, space.f_favail) = (1000, 60);
        space
    }

    #[test]
    fn leaves_free_what_is_to_stay_free() {
        for (min_free, more, allowed) in [
            (Free::Bytes(0), 4_096_000, true),
            (Free::Bytes(0), 4_096_001, false),
            (Free::Bytes(4_000_000), 96_000, true),
            (Free::Bytes(4_000_000), 96_001, false),
            (Free::Bytes(u64::MAX), u64::MAX, false),
            (Free::Percent(0), 1, true),
            (Free::Percent(1), 0, false),
        ] {
            assert_eq!(has_bytes(min_free, &space(), more), allowed, "{min_free:?} {more}");
        }
    }

    #[test]
    fn counts_inodes_as_bytes() {
        for (min_free, more, allowed) in [
            (Free::Bytes(0), 60, true),
            (Free::Bytes(0), 61, false),
            (Free::Percent(5), 10, true),
            (Free::Percent(5), 11, false),
            (Free::Percent(6), 0, true),
            (Free::Bytes((1 << 32) / 20), 10, true),
            (Free::Bytes((1 << 32) / 20), 11, false),
            (Free::Bytes(u64::MAX), 1, false),
        ] {
            assert_eq!(has_inodes(min_free, &space(), more), allowed, "{min_free:?} {more}");
        }
    }

    #[test]
    fn does_not_count_what_a_file_system_does_not_count() {
        let mut space = space();
        (space.f_files, space.f_favail) = (0, 0);
        assert!(has_inodes(Free::Percent(5), &space, 1));
        (space.f_blocks, space.f_bavail, space.f_files) = (0, 0, 1000);
        assert!(has_bytes(Free::Percent(5), &space, 1) && has_bytes(Free::Bytes(1), &space, 1));
        assert!(has_inodes(Free::Percent(5), &space, 1));
    }
}
