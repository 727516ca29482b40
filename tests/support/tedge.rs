//! Runs the real `tedge` command in a directory of its own.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output};

use super::directory::Directory;

/// A directory with a `tedge` in it, which goes with the value.
pub(crate) struct Device {
    pub(crate) directory: PathBuf,
    _directory: Directory,
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Device {
    pub(crate) fn new() -> Self {
        let _directory = Directory::new();
        let directory = _directory.path().to_owned();
        fs::create_dir(directory.join("etc")).unwrap();
        symlink(env!("CARGO_BIN_EXE_tedge-file-transfer"), directory.join("tedge")).unwrap();
        Self { directory, _directory }
    }

    /// The configuration directory.
    pub(crate) fn config_dir(&self) -> PathBuf {
        self.directory.join("etc")
    }

    /// A file of the configuration directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.config_dir().join(name)
    }

    /// Writes a file of the configuration directory.
    pub(crate) fn with(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test blocks nobody")]
        fs::write(path, text).unwrap();
        self
    }

    /// The text of a file of the configuration directory.
    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// `tedge` with these arguments, here, and with no environment but the configuration
    /// directory.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.directory.join("tedge"));
        command
            .env_clear()
            .env("TEDGE_CONFIG_DIR", self.config_dir())
            .current_dir(&self.directory)
            .args(arguments);
        command
    }

    pub(crate) fn tedge(&self, arguments: &[&str]) -> Done {
        run(&mut self.command(arguments))
    }

    /// `tedge` with one variable more.
    pub(crate) fn tedge_with(
        &self,
        (name, text): (&str, impl AsRef<OsStr>),
        arguments: &[&str],
    ) -> Done {
        run(self.command(arguments).env(name, text))
    }

    /// What `tedge config get` prints, which succeeds and warns of nothing.
    pub(crate) fn get(&self, key: &str) -> String {
        self.tedge(&["config", "get", key]).silent_success()
    }
}

/// Runs to the end.
pub(crate) fn run(command: &mut Command) -> Done {
    let Output { status, stdout, stderr } = command.output().unwrap();
    Done {
        code: status.code(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

impl Done {
    /// Standard output without its last newline, of a command that said nothing else.
    #[track_caller]
    pub(crate) fn silent_success(&self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{self:?}");
        self.out.strip_suffix('\n').unwrap_or(&self.out).to_owned()
    }

    /// Failed with this code, printed nothing, and said each of these.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, said: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (Some(code), ""), "{self:?}");
        for said in said {
            assert!(self.err.contains(said), "{said:?} in {self:?}");
        }
    }

    /// Succeeded with one line on standard error that says each of these.
    #[track_caller]
    pub(crate) fn warned_once(&self, said: &[&str]) {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        for said in said {
            assert!(self.err.contains(said), "{said:?} in {self:?}");
        }
    }
}

/// Lets a command run as somebody who owns nothing. False where that needs rights of root.
pub(crate) fn as_nobody(device: &Device, command: &mut Command) -> bool {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65534;
    if fs::metadata(&device.directory).unwrap().uid() != 0 {
        return false;
    }
    command.uid(NOBODY).gid(NOBODY);
    true
}

/// A `tedge` that anybody may execute, wherever the built one is.
pub(crate) fn copy_for_everybody(device: &Device) -> PathBuf {
    let copy = device.directory.join("copy").join("tedge");
    fs::create_dir_all(copy.parent().unwrap()).unwrap();
    // A process of its own writes it: what another test forks from this one meanwhile would hold
    // the copy open, and the kernel executes no file that is open to be written.
    let mut cp = Command::new("cp");
    run(cp.arg(env!("CARGO_BIN_EXE_tedge-file-transfer")).arg(&copy)).silent_success();
    copy
}
