//! Where the files of a service are, so that they outlive it: a directory, or a small disk in a
//! mount namespace that a process of ours holds, so that nothing stays mounted.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustix::fs::statvfs;

use super::model::{File, Model};
use crate::prepare;
use crate::support::directory::Directory;
use crate::support::service::Service;

/// Where unfinished uploads are.
const RESERVED: &str = ".tedge-uploads";

/// The kinds of disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// That of the machine.
    Plain,
    /// 8 MB of memory: full to the page, and fsync does nothing.
    Memory,
    /// An ext4 of 8 MB: blocks are found late, and it has a journal.
    Image,
}

impl Kind {
    /// Whether it can be filled.
    pub(super) fn is_small(self) -> bool {
        self != Self::Plain
    }

    fn mount(self, directory: &Path) -> String {
        let (data, image) = (directory.join("data"), directory.join("image"));
        let (data, image) = (data.display(), image.display());
        match self {
            Self::Plain => String::new(),
            Self::Memory => format!("mount -t tmpfs -o size=8m none {data}"),
            Self::Image => format!(
                "truncate -s 8M {image} && mkfs.ext4 -q -m 0 {image} && mount -o loop {image} {data}"
            ),
        }
    }
}

pub(super) struct Disk {
    pub(super) kind: Kind,
    directory: Arc<Directory>,
    holder: Option<Child>,
}

impl Disk {
    /// `None` where it takes more rights than we have; says so.
    pub(super) fn new(kind: Kind) -> Option<Self> {
        let directory = Arc::new(Directory::new());
        fs::create_dir(directory.path().join("data")).unwrap();
        let mount = kind.mount(directory.path());
        if mount.is_empty() {
            return Some(Self { kind, directory, holder: None });
        }
        let script = format!("{mount} && echo mounted && exec sleep 3600");
        let mut holder = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"])
            .args(["sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let _ = BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line);
        let disk = Self { kind, directory, holder: Some(holder) };
        if line.is_empty() {
            eprintln!("skipped: no disk of the kind {kind:?} can be mounted here");
            return None;
        }
        Some(disk)
    }

    /// Starts the service on it.
    pub(super) fn start(&self) -> Service {
        Service::start_in(&self.directory, crate::PROGRAM, |setup| {
            if let Some(holder) = &self.holder {
                setup.wrap(&["nsenter", "--target", &holder.id().to_string(), "--mount", "--"]);
                setup.set_own("http.upload.min_free", 0);
            }
            prepare(setup);
        })
    }

    /// The directory of the settings' `data.path`, as we can see it.
    fn data(&self) -> PathBuf {
        let data = self.directory.path().join("data");
        match &self.holder {
            None => data,
            Some(holder) => PathBuf::from(format!("/proc/{}/root", holder.id()))
                .join(data.strip_prefix("/").unwrap()),
        }
    }

    /// The service's own directory.
    pub(super) fn files(&self) -> PathBuf {
        self.data().join("file-transfer")
    }

    /// What is stored, and the names of temporary files.
    pub(super) fn look(&self) -> (Model, Vec<String>) {
        let (root, mut found) = (self.files(), Model::default());
        collect(&root, "", &mut found);
        let temporaries = fs::read_dir(root.join(RESERVED)).into_iter().flatten().flatten();
        let names = temporaries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        (found, names.collect())
    }

    /// Whether the service can tell the directories that it made: the file system has extended
    /// attributes.
    pub(super) fn has_marks(&self) -> bool {
        let name = "user.tedge.test";
        let set = rustix::fs::setxattr(self.data(), name, b"1", rustix::fs::XattrFlags::empty());
        set.is_ok()
    }

    /// How many bytes are free.
    pub(super) fn free(&self) -> u64 {
        let disk = statvfs(self.data()).unwrap();
        disk.f_bavail * disk.f_frsize
    }

    /// Fills all but so many bytes.
    pub(super) fn fill(&self, leave: u64) {
        self.empty();
        let ballast = vec![0; self.free().saturating_sub(leave) as usize];
        // What does not fit because of the file's own metadata does not matter.
        let _ = fs::write(self.data().join("ballast"), ballast);
    }

    /// Gives back what [`Disk::fill`] has taken.
    pub(super) fn empty(&self) {
        let _ = fs::remove_file(self.data().join("ballast"));
        if self.kind == Kind::Image {
            // Blocks are free for others once the journal says so.
            rustix::fs::syncfs(fs::File::open(self.data()).unwrap()).unwrap();
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(holder) = &mut self.holder {
            let _ended = holder.kill();
            let _ended = holder.wait();
        }
    }
}

fn collect(directory: &Path, prefix: &str, found: &mut Model) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if name == RESERVED {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{name}/"), found);
            found.directories.insert(name);
        } else {
            let content = fs::read(entry.path()).unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
            found.files.insert(name, File { content, mode });
        }
    }
}
