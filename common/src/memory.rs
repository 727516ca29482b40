//! Memory that goes back to the system after a burst.
//!
//! glibc keeps what was freed for the next time, and an arena for each thread. On a device with
//! 64 MB the next time may never come.
#![allow(unsafe_code)]

/// One arena for all threads; call it before the second thread starts.
pub(crate) fn settle() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes two integers and changes the allocator's own state under its lock.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        // Fixed, or the first large block that is freed raises it for good.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 * 1024);
    }
}

/// Gives whole free pages back to the kernel.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes the allocator's lock and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}
