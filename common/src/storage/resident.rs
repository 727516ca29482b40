//! Finds out how much of a file is in memory, so that the kernel can send it without waiting for the
//! disk.

use std::io::IoSliceMut;
use std::os::fd::OwnedFd;

use rustix::io::{Errno, ReadWriteFlags, preadv2, retry_on_intr};

/// Files come into memory, and leave it, many pages at a time. To ask for both ends of each block
/// takes a tenth of what it takes to send it; to ask for each page would take as long.
const BLOCK: u64 = 64 * 1024;

/// Up to where, but not beyond `end`, the file is in memory from `start` on.
///
/// A page between two that are in memory counts as being there, too.
///
/// # Errors
/// If the file system cannot say it.
pub(super) fn resident(file: &OwnedFd, start: u64, end: u64) -> Result<u64, Errno> {
    if start >= end || cached(file, start, 1)? == 0 {
        return Ok(start);
    }
    let mut known = start;
    loop {
        let boundary = (known / BLOCK + 1) * BLOCK;
        if boundary >= end {
            return Ok(if cached(file, end - 1, 1)? == 0 { known } else { end });
        }
        // The last byte of one block and the first one of the next.
        match cached(file, boundary - 1, 2)? {
            0 => return Ok(known),
            1 => return Ok(boundary),
            _ => known = boundary,
        }
    }
}

/// How many of these bytes, at most 2, can be read without waiting for the disk.
fn cached(file: &OwnedFd, position: u64, count: usize) -> Result<usize, Errno> {
    let into = &mut [0; 2][..count];
    let read = || preadv2(file, &mut [IoSliceMut::new(into)], position, ReadWriteFlags::NOWAIT);
    match retry_on_intr(read) {
        Err(Errno::AGAIN) => Ok(0),
        read => read,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{Advice, fadvise, fsync};
    use rustix::io::pread;

    use super::*;
    use crate::testing::Dir;

    const PAGE: u64 = 4096;
    /// 3 blocks, and 7 bytes.
    const END: u64 = 3 * BLOCK + 7;

    #[test]
    fn a_file_is_in_memory_up_to_the_first_block_that_is_not() {
        let directory = Dir::new();
        let path = directory.write("foo", vec![1; END as usize]);
        let file: OwnedFd = fs::File::open(&path).unwrap().into();
        for (start, end) in [(0, END), (0, 1), (BLOCK - 1, BLOCK + 1), (5, BLOCK), (END - 1, END)] {
            assert_eq!(resident(&file, start, end), Ok(end), "{start}");
        }
        // What does not exist is not in memory.
        assert_eq!(resident(&file, 0, END + BLOCK), Ok(3 * BLOCK));
        assert_eq!(resident(&file, END, END + 1), Ok(END));

        fsync(&file).unwrap();
        // Otherwise the kernel reads in advance.
        fadvise(&file, 0, None, Advice::Random).unwrap();
        let last = BLOCK / PAGE - 1;
        for (gone, start, known) in [
            (0, 0, 0),
            (0, PAGE, 3 * BLOCK),
            (2, 2 * PAGE + 5, 2 * PAGE + 5),
            (last, 0, 0),
            (last + 1, 0, BLOCK),
            (2 * last + 1, PAGE, BLOCK),
            (3 * last + 2, PAGE, 2 * BLOCK),
        ] {
            // Asking for a page starts to read it, and a page that is being read cannot be dropped.
            pread(&file, &mut vec![0; END as usize][..], 0).unwrap();
            fadvise(&file, 0, None, Advice::DontNeed).unwrap();
            for page in (0..END / PAGE).filter(|page| *page != gone) {
                pread(&file, &mut [0; 1][..], page * PAGE).unwrap();
            }
            let found = resident(&file, start, 3 * BLOCK);
            assert_eq!(found, Ok(known), "without page {gone}, from {start}");
        }
    }
}
