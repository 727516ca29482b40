//! A GET that is sent after another program has changed a file sees the change, also while many
//! clients read this file and requests share what is known about it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::support::client::Client;
use crate::support::service::Service;
use crate::{request, start};

/// The connections of each of the clients that read at the same time.
const CONNECTIONS: usize = 12;
const READERS: usize = 2;

/// One of the files, as other programs see it.
struct Place<'a> {
    root: &'a Path,
    path: &'a str,
}

/// A way to change a file.
struct Change {
    title: &'static str,
    /// Changes it; returns what a GET gets from now on, `None` if there is no file any more.
    make: fn(&Place<'_>, u32) -> Option<String>,
}

impl Place<'_> {
    fn file(&self) -> PathBuf {
        self.root.join(self.path)
    }

    /// A name outside of the directories of the file.
    fn aside(&self) -> PathBuf {
        self.root.join("aside")
    }

    /// The first directory of the path, if it has one.
    fn directory(&self) -> Option<PathBuf> {
        self.path.split_once('/').map(|(first, _)| self.root.join(first))
    }

    /// Makes the file and its directories anew.
    fn make(&self, content: &str) -> Option<String> {
        let file = self.file();
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        Some(content.to_owned())
    }
}

/// All contents have one length.
fn content(round: u32) -> String {
    format!("{round:08}")
}

fn write_in_place(file: &Path, round: u32) -> Option<String> {
    let file = File::options().write(true).open(file).unwrap();
    file.write_all_at(content(round).as_bytes(), 0).unwrap();
    Some(content(round))
}

const CHANGES: &[Change] = &[
    Change { title: "written in place", make: |place, round| write_in_place(&place.file(), round) },
    Change {
        title: "written in place, with the time of before",
        make: |place, round| {
            let expected = write_in_place(&place.file(), round);
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
            File::options().write(true).open(place.file()).unwrap().set_modified(time).unwrap();
            expected
        },
    },
    Change {
        title: "written by another name",
        make: |place, round| {
            let _ = fs::remove_file(place.aside());
            fs::hard_link(place.file(), place.aside()).unwrap();
            write_in_place(&place.aside(), round)
        },
    },
    Change {
        title: "replaced",
        make: |place, round| {
            fs::write(place.aside(), content(round)).unwrap();
            fs::rename(place.aside(), place.file()).unwrap();
            Some(content(round))
        },
    },
    Change {
        title: "deleted and made again",
        make: |place, round| {
            if round % 2 == 1 {
                return place.make(&content(round));
            }
            fs::remove_file(place.file()).unwrap();
            None
        },
    },
    Change {
        title: "moved away and back",
        make: |place, round| {
            let (from, to) = (place.file(), place.aside());
            let (from, to) = if round % 2 == 1 { (to, from) } else { (from, to) };
            fs::rename(from, to).unwrap();
            (round % 2 == 1).then(|| fs::read_to_string(place.file()).unwrap())
        },
    },
    Change {
        title: "replaced with its directory",
        make: |place, round| {
            if let Some(directory) = place.directory() {
                let _ = fs::remove_dir_all(place.aside());
                fs::rename(directory, place.aside()).unwrap();
            }
            place.make(&content(round))
        },
    },
    Change {
        title: "in a directory that becomes a link",
        make: |place, round| {
            let Some(directory) = place.directory() else { return place.make(&content(round)) };
            if round % 2 == 1 {
                fs::remove_file(&directory).unwrap();
                fs::rename(place.aside(), directory).unwrap();
                return Some(fs::read_to_string(place.file()).unwrap());
            }
            fs::rename(&directory, place.aside()).unwrap();
            symlink(place.aside(), directory).unwrap();
            None
        },
    },
    Change {
        title: "a link",
        make: |place, round| {
            let _ = fs::remove_file(place.aside());
            fs::rename(place.file(), place.aside()).unwrap();
            if round % 2 == 1 {
                return place.make(&content(round));
            }
            // It leads out of the directory of the data.
            symlink("/etc/passwd", place.file()).unwrap();
            None
        },
    },
    Change {
        title: "unreadable",
        make: |place, round| {
            let mode = if round % 2 == 1 { 0o644 } else { 0 };
            fs::set_permissions(place.file(), Permissions::from_mode(mode)).unwrap();
            // root may read it all the same.
            fs::read_to_string(place.file()).ok()
        },
    },
];

/// Reads a file on many connections at the same time, until it is told to stop.
fn read_again_and_again(service: &Service, path: &str, stop: &AtomicBool) {
    let connect = || Client::connect(service.address);
    let mut clients: Vec<_> = std::iter::repeat_with(connect).take(CONNECTIONS).collect();
    while !stop.load(Relaxed) {
        for client in &mut clients {
            client.send(request("GET", path)).unwrap();
        }
        for client in &mut clients {
            // A file that became shorter meanwhile cannot be sent to its end.
            if !client.try_answer().is_ok_and(|answer| answer.is_some()) {
                *client = connect();
            }
        }
    }
}

fn changes_are_seen(path: &str) {
    const ROUNDS: u32 = 40;
    let service = start(|_| {});
    let root = service.path("data/file-transfer");
    let (place, stop) = (Place { root: &root, path }, AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| read_again_and_again(&service, path, &stop));
        }
        let mut kept = Client::connect(service.address);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for Change { title, make } in CHANGES {
                let _ = fs::remove_dir_all(place.aside());
                let _ = fs::remove_file(place.aside());
                place.make("original");
                for round in 0..ROUNDS {
                    let expected = make(&place, round);
                    // Half of the requests are the first of their connection.
                    let mut new = (round % 4 < 2).then(|| Client::connect(service.address));
                    let client = new.as_mut().unwrap_or(&mut kept);
                    let answer = client.exchange(request("GET", path));
                    let seen = (answer.status == 200).then(|| answer.text());
                    assert_eq!(seen, expected, "{path}: {title}, round {round}");
                }
            }
        }));
        stop.store(true, Relaxed);
        outcome.unwrap();
    });
}

#[test]
fn every_change_of_a_file_is_seen_by_the_next_get() {
    changes_are_seen("file");
}

#[test]
fn every_change_of_a_file_in_a_directory_is_seen_by_the_next_get() {
    changes_are_seen("a/file");
}

#[test]
fn every_change_of_a_file_in_directories_is_seen_by_the_next_get() {
    changes_are_seen("a/b/file");
}
