//! The age that an upload sets for its file. It is stored as an extended attribute: the number of
//! seconds after the upload at which the file expires.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{XattrFlags, fsetxattr, lgetxattr};

const ATTRIBUTE: &str = "user.tedge.max_age";

/// Stores the age of a file. Warns once if its file system has no extended attributes.
pub(in crate::storage) fn store(file: impl AsFd, seconds: u64) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    let stored = fsetxattr(file, ATTRIBUTE, seconds.to_string().as_bytes(), XattrFlags::empty());
    if let Err(errno) = stored {
        if !WARNED.swap(true, Ordering::Relaxed) {
            log::warn!(
                "the file system of the files stores no extended attributes ({errno}), so \
                 Cache-Control and Expires of uploads are ignored: only http.files.max_age counts"
            );
        }
    }
}

/// The age of a file in a directory, in milliseconds.
pub(super) fn read(directory: BorrowedFd<'_>, name: &CStr) -> Option<i64> {
    // fgetxattr would need the permission to read the file.
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
    let path = CString::new(path).ok()?;
    let mut value = [0; 20];
    let length = lgetxattr(&path, ATTRIBUTE, &mut value).ok()?;
    let seconds: u64 = std::str::from_utf8(value.get(..length)?).ok()?.parse().ok()?;
    i64::try_from(seconds).ok()?.checked_mul(1000)
}
