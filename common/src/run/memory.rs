//! Memory that is not taken, and memory that goes back to the system after a burst.
//!
//! glibc keeps what was freed for the next time, and an arena for each thread; each thread has a
//! stack. On a device with 64 MB the next time may never come.
#![allow(unsafe_code)]

/// One arena for all threads, and so many at most in the pool of those that may block. Call it
/// before the second thread starts.
pub(crate) fn settle(pool: usize) {
    // SAFETY: there is one thread, so that nobody reads the environment meanwhile.
    unsafe {
        std::env::set_var("BLOCKING_MAX_THREADS", pool.to_string());
    }
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes two integers and changes the allocator's own state under its lock.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        // A block that is freed joins its neighbours at once, and not in the middle of a request.
        libc::mallopt(libc::M_MXFAST, 0);
        // Fixed, or the first large block that is freed raises it for good.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 * 1024);
    }
}

/// Unmaps the program's code: after the start, most of which is over for good, and whenever there
/// is nothing to do. What is needed again is mapped again, a few pages at a time, from the
/// kernel's cache of the file; until then the kernel may use the memory for something else.
pub(crate) fn unmap_code() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    for (start, end) in maps.lines().filter_map(code) {
        let start = std::ptr::with_exposed_provenance_mut(start);
        // SAFETY: the range is a mapping of a file that can be executed and not written, so that
        // every page is as it is in the file, and is read from there again when it is touched.
        // A mapping that is gone by now fails with ENOMEM, which changes nothing.
        let _ = unsafe {
            rustix::mm::madvise(start, end - start.addr(), rustix::mm::Advice::LinuxDontNeed)
        };
    }
}

/// The range of a line of proc_pid_maps(5) that maps code from a file.
fn code(line: &str) -> Option<(usize, usize)> {
    let mut columns = line.split_ascii_whitespace();
    let (start, end) = columns.next()?.split_once('-')?;
    let (permissions, _offset, _device, inode) =
        (columns.next()?, columns.next()?, columns.next()?, columns.next()?);
    let is_code = permissions == "r-xp" && inode != "0";
    let address = |text| usize::from_str_radix(text, 16).ok();
    is_code.then_some((address(start)?, address(end)?))
}

/// Gives whole free pages back to the kernel.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes the allocator's lock and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Empties glibc's cache of this thread: up to seven free blocks of each small size, which
/// malloc_trim takes for blocks in use, and each of which keeps a page after a burst. They are taken
/// out of it, and freed by a thread that ends, since then glibc empties the cache of that one. For
/// when there is nothing else to do.
pub(crate) fn empty_cache() {
    const SIZES: usize = 64;
    const EACH: usize = 7;
    let blocks: Vec<Vec<usize>> =
        (0..SIZES * EACH).map(|number| Vec::with_capacity(3 + number / EACH * 2)).collect();
    // Without a thread to spare they go back to where they were.
    if let Ok(freed) = std::thread::Builder::new().spawn(move || drop(blocks)) {
        let _ = freed.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_from_a_file_is_unmapped() {
        let code_line = "7f00-8f00 r-xp 00001000 fe:00 1234   /usr/bin/tedge-file-transfer";
        assert_eq!(code(code_line), Some((0x7f00, 0x8f00)));
        for other in [
            "7f00-8f00 r--p 00001000 fe:00 1234   /usr/bin/tedge-file-transfer",
            "7f00-8f00 rwxp 00001000 fe:00 1234   /usr/bin/tedge-file-transfer",
            "7f00-8f00 r-xp 00000000 00:00 0      [vdso]",
            "7f00 r-xp 00000000 fe:00 1234",
            "",
        ] {
            assert_eq!(code(other), None, "{other}");
        }
    }

    #[test]
    fn what_was_unmapped_runs_again() {
        unmap_code();
        assert_eq!(code("10-20 r-xp 0 0:0 1"), Some((0x10, 0x20)));
    }
}
