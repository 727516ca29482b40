//! Certificates, keys and lists that only root can read: root's copy leads to the same message as
//! the original, word for word, and `--check` reports what the start reports.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::PROGRAM;
use crate::support::directory::Directory;
use crate::support::scene::{Found, Means, Scene};

/// The settings of the File Transfer Service.
const NAMED: &[(&str, Means)] = &[
    ("http.cert_path", Means::Certificate),
    ("http.key_path", Means::Key),
    ("http.ca_path", Means::Authorities),
    ("http.crl_path", Means::Lists),
    ("http.access_path", Means::Rules),
];

fn scene() -> Scene {
    Scene::new(PROGRAM, ["http.bind.port = 0\n", ""], NAMED)
}

/// Makes the files readable for root only.
fn close_all(scene: &Scene) {
    for (key, _) in NAMED {
        close(&scene.path(key));
    }
}

fn stage(scene: &Scene) {
    let mut command = Command::new(PROGRAM);
    // Of several directories, the first is used.
    let both = format!("{}:/run/other", scene.path("run").display());
    command.env("RUNTIME_DIRECTORY", both).arg("--config-dir").arg(scene.directory.path());
    let output = command.arg("--stage").stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

fn close(path: &Path) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            close(&entry.unwrap().path());
        }
    }
    if !path.is_symlink() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    }
}

#[test]
fn the_verdict_on_what_root_hands_over_is_that_on_the_original() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: nobody but root can hand over");
        return;
    }
    let scene = scene();
    for (key, means) in NAMED {
        for found in scene.all(*means) {
            scene.write(key, &found);
            let odd = match &found {
                Found::File(odd) | Found::Among(odd) => String::from_utf8_lossy(odd).into_owned(),
            };
            let checked = scene.check();
            assert_eq!(scene.start(checked.0 != 0), checked, "{key} = {odd}");

            let original = scene.run("--check", true);
            close_all(&scene);
            let (code, said) = scene.run("--check", false);
            assert_eq!(code, 78, "it is readable: {said:?}");
            stage(&scene);
            assert_eq!(scene.run("--check", false), original, "{key} = {odd}");
            for entry in fs::read_dir(scene.path("run")).unwrap() {
                let copy = fs::read(entry.unwrap().path()).unwrap();
                let copy = String::from_utf8_lossy(&copy).into_owned();
                assert!(!copy.contains("s3cret") || odd.contains("BEGIN s3cret"), "{copy}");
            }
        }
    }
}

#[test]
fn odd_entries_of_a_closed_directory_are_named_as_if_it_were_open() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: nobody but root can hand over");
        return;
    }
    let scene = scene();
    for (key, means) in NAMED.iter().filter(|(_, means)| means.may_be_directory()) {
        for entry in ["dangling", "pipe", "directory", "link", "readme", "readmes"] {
            scene.write(key, &Found::Among(scene.good(*means)));
            let odd = scene.path(key).join(entry);
            match entry {
                "dangling" => symlink("gone", odd).unwrap(),
                "link" => symlink("odd", odd).unwrap(),
                "directory" => fs::create_dir(odd).unwrap(),
                // More than are named in a warning: the rest is counted.
                "readmes" => {
                    (1..6).for_each(|n| fs::write(odd.with_extension(n.to_string()), "").unwrap())
                }
                "readme" => fs::write(odd, "CAs of ours\n").unwrap(),
                _ => assert!(Command::new("mkfifo").arg(odd).status().unwrap().success()),
            }
            let original = scene.run("--check", true);
            // Nothing but a list stops the start.
            let stops = *means == Means::Lists && entry != "link";
            assert_eq!(original.0, if stops { 78 } else { 0 }, "{entry}: {:?}", original.1);
            close_all(&scene);
            stage(&scene);
            assert_eq!(scene.run("--check", false), original, "{key} {entry}");
        }
    }
}

#[test]
fn settings_that_never_end_take_neither_time_nor_memory() {
    let directory = Directory::new();
    let settings = directory.path().join("tedge.toml");
    fs::create_dir(directory.path().join("run")).unwrap();
    let limited = |argument: &str| {
        // Half of what such a file would take, and no time to wait for a writer.
        let mut command = Command::new("prlimit");
        command.args(["--as=200000000", "timeout", "10", PROGRAM, "--config-dir"]);
        command.arg(directory.path()).arg(argument);
        command.env("RUNTIME_DIRECTORY", directory.path().join("run"));
        command.stdin(Stdio::null()).output().unwrap()
    };
    for kind in ["pipe", "large"] {
        let _ = fs::remove_file(&settings);
        match kind {
            "pipe" => assert!(Command::new("mkfifo").arg(&settings).status().unwrap().success()),
            _ => fs::File::create(&settings).unwrap().set_len(400_000_000).unwrap(),
        }
        // What is wrong with them is the service's to say.
        assert_eq!(limited("--stage").status.code(), Some(0), "{kind}");
        let checked = limited("--check");
        assert_eq!(checked.status.code(), Some(78), "{kind}: {checked:?}");
        assert!(String::from_utf8_lossy(&checked.stderr).contains("tedge.toml"), "{checked:?}");
    }
}
