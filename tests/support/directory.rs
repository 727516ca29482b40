//! A temporary directory for one test, removed with all that is in it when it is dropped.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, mem};

use rustix::fs::Mode;

/// A directory that nobody else uses.
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// A new one below the system's directory for temporary files.
    pub(crate) fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    /// A new one below another.
    pub(crate) fn within(parent: &Path) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tedge-test-{}-{count}", std::process::id());
        let path = parent.join(name);
        // What others may read is not to depend on who runs the tests.
        rustix::process::umask(Mode::WGRP | Mode::WOTH);
        let _ = fs::remove_dir_all(&path);
        // Whatever the umask is: programs refuse directories that others can change.
        fs::DirBuilder::new().mode(0o755).recursive(true).create(&path).unwrap();
        Self(path)
    }

    /// A new one that is shared by all tests of this process. A shell removes it when the process
    /// ends, which closes the shell's input, since statics are never dropped.
    #[expect(clippy::zombie_processes, reason = "it ends after this process")]
    pub(crate) fn shared() -> Self {
        let directory = Self::new();
        let shell = Command::new("sh")
            .args(["-c", "read _; rm -rf \"$0\""])
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        mem::forget(shell.stdin);
        directory
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A file in it with this content.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
