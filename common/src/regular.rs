//! Reads regular files and nothing else: a FIFO, a device or an endless file neither blocks the
//! program nor fills its memory.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// The content of a regular file of at most `max` bytes. Blocks on the disk.
pub(crate) fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    // Asked first: to open some devices does something.
    check(&fs::metadata(path)?, max)?;
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::options().read(true).custom_flags(flags.bits() as i32).open(path)?;
    read_open(&file, max)
}

/// The same, of a file that is open.
pub(crate) fn read_open(file: &File, max: u64) -> io::Result<Vec<u8>> {
    check(&file.metadata()?, max)?;
    let mut content = Vec::new();
    // One that grows, or one of /proc, is not as long as it says.
    file.take(max + 1).read_to_end(&mut content)?;
    if content.len() as u64 > max { Err(too_large(max)) } else { Ok(content) }
}

fn check(found: &fs::Metadata, max: u64) -> io::Result<()> {
    let kind = found.file_type();
    let what = if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    if !kind.is_file() {
        return Err(io::Error::other(format!("it is {what}, not a regular file")));
    }
    if found.len() > max { Err(too_large(max)) } else { Ok(()) }
}

fn too_large(max: u64) -> io::Error {
    io::Error::other(format!("it is larger than {} KiB", max / 1024))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Dir;

    #[test]
    fn reads_a_regular_file_up_to_its_limit() {
        let dir = Dir::new();
        let file = dir.write("file", "12345678");
        assert_eq!(read(&file, 8).unwrap(), b"12345678");
        assert!(read(&file, 7).unwrap_err().to_string().contains("larger than"));
        assert!(!read(Path::new("/proc/self/status"), 1 << 20).unwrap().is_empty());
        assert!(read(Path::new("/proc/self/status"), 8).is_err());
    }

    #[test]
    fn a_pipe_and_a_device_are_refused_and_not_waited_for() {
        let dir = Dir::new();
        let pipe = dir.path("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
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
