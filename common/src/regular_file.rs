//! Reads only regular files: a named pipe, a device or an endless file neither blocks the program
//! nor fills its memory.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, open, stat};

/// With NONBLOCK, opening a named pipe does not wait for its writer.
pub(crate) const FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// The content of a regular file of at most `max` bytes. Follows links, and blocks on the disk.
pub(crate) fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    // Checked before it is opened: opening a device can have effects.
    check(&stat(path)?, max)?;
    read_open(open(path, FLAGS, Mode::empty())?, max)
}

/// The same for an open file.
pub(crate) fn read_open(file: OwnedFd, max: u64) -> io::Result<Vec<u8>> {
    check(&fstat(&file)?, max)?;
    let mut content = Vec::new();
    // It may grow, and the stated length of a file in /proc is wrong.
    File::from(file).take(max + 1).read_to_end(&mut content)?;
    if content.len() as u64 > max { Err(too_large(max)) } else { Ok(content) }
}

/// Fails if it is not a regular file of at most `max` bytes.
pub(crate) fn check(stat: &Stat, max: u64) -> io::Result<()> {
    let what = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if u64::try_from(stat.st_size).is_ok_and(|size| size <= max) => {
            return Ok(());
        }
        FileType::RegularFile => return Err(too_large(max)),
        FileType::Directory => "a directory",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::Symlink => "a link",
        _ => "a device",
    };
    Err(io::Error::other(format!("it is {what}, not a regular file")))
}

fn too_large(max: u64) -> io::Error {
    io::Error::other(format!("it is larger than {} KiB", max / 1024))
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, mknodat};

    use super::*;
    use crate::testing::Dir;

    #[test]
    fn reads_a_regular_file_up_to_its_limit() {
        let dir = Dir::new();
        let file = dir.write("file", "12345678");
        assert_eq!(read(&file, 8).unwrap(), b"12345678");
        assert!(read(&file, 7).unwrap_err().to_string().contains("larger than"));
        let endless = Path::new("/proc/self/status");
        assert!(!read(endless, 1 << 20).unwrap().is_empty());
        assert!(read(endless, 8).unwrap_err().to_string().contains("larger than"));
    }

    #[test]
    fn a_pipe_and_a_device_are_refused_and_not_waited_for() {
        let dir = Dir::new();
        let pipe = dir.path("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        for (path, what) in [
            (pipe.as_path(), "a named pipe"),
            (Path::new("/dev/zero"), "a device"),
            (dir.path("").as_path(), "a directory"),
        ] {
            let error = read(path, 8).unwrap_err().to_string();
            assert_eq!(error, format!("it is {what}, not a regular file"));
        }
    }
}
