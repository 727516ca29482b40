//! If the directory cannot be used, or is removed, only caching stops working.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, FileType, FlockOperation, Mode, flock, mknodat};
use rustix::process::Signal;

use crate::support::cached::{self, LENGTH, PATH, assert_all, get, get_settled, health};
use crate::support::cloud::artifact::Artifact;
use crate::support::device::{Device, PROGRAM, SOON};
use crate::support::service::Setup;
use crate::support::wait::eventually;

/// Its code and what it says.
fn check(device: &Device) -> (Option<i32>, String) {
    let mut command = Command::new(PROGRAM);
    command.env_clear().arg("--check").arg("--config-dir").arg(device.proxy.directory().path());
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn without_a_usable_directory_nothing_is_cached_until_a_reload_finds_one() {
    let device = cached::start_with(|setup| {
        let path = setup.directory().join("cache");
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "").unwrap();
    });
    device.warm();
    let (artifact, path) = (Artifact::new(1, LENGTH), cached::directory(&device));
    device.cloud().serve(PATH, &artifact);
    for _ in 0..2 {
        let answer = get(&device, PATH);
        assert_all(&answer, &artifact);
        assert_eq!(answer.field("cache-status"), None);
    }
    assert_eq!(device.cloud().sent(PATH), 2 * LENGTH);

    let why = format!("directory of the cache, {}", path.display());
    let log = device.proxy.log();
    assert_eq!(log.matches(&why).count(), 1, "{log}");
    assert!(log.contains("c8y.proxy.cache.path") && log.contains("reload"), "{log}");
    let (code, said) = check(&device);
    assert!(code == Some(0) && said.contains(&why), "{code:?} {said}");
    assert!(health(&device)["error"].is_string() && health(&device)["entries"] == 0);

    fs::remove_file(&path).unwrap();
    device.proxy.signal(Signal::HUP);
    eventually("there is a cache", SOON, || health(&device)["error"].is_null());
    assert_all(&get_settled(&device, PATH), &artifact);
    device.cloud().forget();
    assert_all(&get(&device, PATH), &artifact);
    assert_eq!(device.cloud().sent(PATH), 0);
    assert_eq!(check(&device), (Some(0), String::new()));
}

#[test]
fn a_directory_that_was_removed_is_made_and_filled_again() {
    let device = cached::start_with(|_| {});
    device.warm();
    let (artifact, path) = (Artifact::new(1, LENGTH), cached::directory(&device));
    device.cloud().serve(PATH, &artifact);
    for (other, is_replaced) in [("/inventory/binaries/2", false), ("/inventory/binaries/3", true)]
    {
        assert_all(&get_settled(&device, PATH), &artifact);
        if is_replaced {
            fs::rename(&path, path.with_extension("old")).unwrap();
            fs::create_dir(&path).unwrap();
        } else {
            fs::remove_dir_all(&path).unwrap();
        }
        // With the next download it is noticed; the first is gone with its directory.
        device.cloud().serve(other, &artifact);
        assert_all(&get_settled(&device, other), &artifact);
        eventually("it is kept again", SOON, || health(&device)["entries"] == 1);
        device.cloud().forget();
        assert_all(&get_settled(&device, PATH), &artifact);
        assert_all(&get(&device, PATH), &artifact);
        assert_eq!(device.cloud().sent(PATH), LENGTH);
        eventually("both are there", SOON, || cached::files(&path).len() == 2);
    }
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_directory_that_others_can_change_is_not_used() {
    let device = cached::start_with(|setup| allow(&setup.directory().join("cache"), 0o777));
    device.warm();
    let (artifact, path) = (Artifact::new(1, LENGTH), cached::directory(&device));
    device.cloud().serve(PATH, &artifact);
    assert_all(&get(&device, PATH), &artifact);
    assert!(health(&device)["error"].is_string() && cached::files(&path).is_empty());
    let why = format!("type `chmod go-w {}", path.display());
    let log = device.proxy.log();
    assert_eq!(log.matches(&why).count(), 1, "{log}");
    for mode in [0o777, 0o770, 0o1777, 0o702] {
        allow(&path, mode);
        let (code, said) = check(&device);
        assert!(code == Some(0) && said.contains(&why), "{mode:o}: {code:?} {said}");
    }

    allow(&path, 0o755);
    // What another user has put there meanwhile.
    let temporary = path.join(cached::UNFINISHED);
    fs::create_dir(&temporary).unwrap();
    allow(&temporary, 0o777);
    assert!(check(&device).1.contains(&format!("{why}/{}", cached::UNFINISHED)));
    allow(&temporary, 0o700);
    assert_eq!(check(&device), (Some(0), String::new()));
    if rustix::process::geteuid().is_root() {
        chown(&path, Some(65534), None).unwrap();
        device.proxy.signal(Signal::HUP);
        device.proxy.wait_for_lines(&why, 2, SOON);
        assert!(health(&device)["error"].is_string());
        chown(&path, Some(0), None).unwrap();
    }
    device.proxy.signal(Signal::HUP);
    eventually("there is a cache", SOON, || health(&device)["error"].is_null());
}

/// Somebody who can rename a directory of the path can put another one in its place.
#[test]
fn a_directory_below_one_that_others_can_change_is_not_used() {
    let device = cached::start_with(|setup| {
        let above = setup.directory().join("above");
        fs::create_dir_all(above.join("cache")).unwrap();
        allow(&above.join("cache"), 0o700);
        allow(&above, 0o777);
        setup.set_own_path("c8y.proxy.cache.path", above.join("cache"));
    });
    device.warm();
    let (artifact, above) = (Artifact::new(1, LENGTH), device.proxy.path("above"));
    device.cloud().serve(PATH, &artifact);
    assert_all(&get(&device, PATH), &artifact);
    assert!(health(&device)["error"].is_string() && cached::files(&above.join("cache")).is_empty());
    let why = format!("type `chmod go-w {}`, or set", above.display());
    let log = device.proxy.log();
    assert_eq!(log.matches(&why).count(), 1, "{log}");
    for mode in [0o777, 0o775, 0o757] {
        allow(&above, mode);
        let (code, said) = check(&device);
        assert!(code == Some(0) && said.contains(&why), "{mode:o}: {code:?} {said}");
        fs::rename(above.join("cache"), above.join("elsewhere")).unwrap();
        assert!(check(&device).1.contains(&why), "{mode:o}");
        fs::rename(above.join("elsewhere"), above.join("cache")).unwrap();
    }
    allow(&above, 0o755);
    if rustix::process::geteuid().is_root() {
        chown(&above, Some(65534), None).unwrap();
        assert!(check(&device).1.contains(&why));
        // As root checks it for the service of this user.
        chown(above.join("cache"), Some(65534), None).unwrap();
        assert_eq!(check(&device), (Some(0), String::new()));
        chown(above.join("cache"), Some(0), None).unwrap();
        chown(&above, Some(0), None).unwrap();
    }
    for mode in [0o1777, 0o755] {
        allow(&above, mode);
        assert_eq!(check(&device), (Some(0), String::new()));
    }
    device.proxy.signal(Signal::HUP);
    eventually("there is a cache", SOON, || health(&device)["error"].is_null());
}

#[test]
fn a_directory_in_which_clients_can_store_files_is_not_used() {
    for path in ["data/file-transfer", "data/file-transfer/a/cache", "link/cache"] {
        let device = cached::start_with(|setup| {
            let data = setup.directory().join("data");
            let new = data.join("file-transfer/a/cache");
            fs::DirBuilder::new().mode(0o755).recursive(true).create(new).unwrap();
            symlink(data.join("file-transfer/a"), setup.directory().join("link")).unwrap();
            setup.set("data.path", data);
            setup.set_own_path("c8y.proxy.cache.path", setup.directory().join(path));
        });
        let files = device.proxy.path("data/file-transfer");
        let why = format!("clients can store files in {}, or set", files.display());
        assert_eq!(device.proxy.log().matches(&why).count(), 1, "{path}");
        assert!(check(&device).1.contains(&why), "{path}");
        assert!(health(&device)["error"].is_string());
        assert_eq!(fs::read_dir(files.join("a/cache")).unwrap().count(), 0, "{path}");
    }
}

#[test]
fn an_entry_that_another_user_could_change_is_not_served() {
    let offline = |setup: &mut Setup| setup.set_own("c8y.proxy.cache.offline", "\"1h\"");
    let device = cached::start_with(offline);
    let artifact = Artifact::new(1, LENGTH);
    let paths = [PATH, "/inventory/binaries/1"];
    for path in paths {
        device.cloud().serve(path, &artifact);
    }
    assert_all(&get_settled(&device, PATH), &artifact);
    let directory = cached::directory(&device);
    let first = cached::files(&directory).into_keys().next().unwrap();
    fs::hard_link(directory.join(&first), directory.with_extension("link")).unwrap();
    assert_all(&get_settled(&device, paths[1]), &artifact);
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        let second = cached::files(&directory).into_keys().find(|name| *name != first).unwrap();
        chown(directory.join(second), Some(65534), None).unwrap();
    }
    device.proxy.stop();
    let mut device = cached::start_again(device, offline);
    device.outside.cloud.stop();
    assert_eq!(get(&device, PATH).status, 502);
    assert_eq!(get(&device, paths[1]).status, if is_root { 502 } else { 200 });
    assert_eq!(cached::entries(&device), u64::from(!is_root));
    assert_eq!(cached::files(&directory).len() as u64, u64::from(!is_root));
}

/// Replaces the only entry by what another user could put there.
fn forge(directory: &Path, how: &str) {
    let entry = directory.join(cached::files(directory).into_keys().next().unwrap());
    let forged = directory.with_extension("forged");
    if how == "fifo" {
        mknodat(CWD, &forged, FileType::Fifo, Mode::RWXU, 0).unwrap();
    } else {
        let mut bytes = fs::read(&entry).unwrap();
        bytes[..LENGTH as usize].fill(b'x');
        fs::write(&forged, bytes).unwrap();
    }
    match how {
        "owner" => chown(&forged, Some(65534), None).unwrap(),
        "link" => fs::hard_link(&forged, directory.with_extension("link")).unwrap(),
        _ => {}
    }
    fs::rename(forged, entry).unwrap();
}

#[test]
fn an_entry_that_another_user_replaces_while_the_proxy_runs_is_not_served() {
    let offline = |setup: &mut Setup| setup.set_own("c8y.proxy.cache.offline", "\"1h\"");
    let mut device = cached::start_with(offline);
    let (artifact, directory) = (Artifact::new(1, LENGTH), cached::directory(&device));
    device.cloud().serve(PATH, &artifact);
    assert_all(&get_settled(&device, PATH), &artifact);
    let last = if rustix::process::geteuid().is_root() { "owner" } else { "fifo" };
    for how in ["link", "fifo", last] {
        forge(&directory, how);
        device.cloud().forget();
        assert_all(&get_settled(&device, PATH), &artifact);
        assert_eq!(device.cloud().sent(PATH), LENGTH, "{how}");
    }
    assert_eq!(device.proxy.log().matches("other users could change them").count(), 1);
    forge(&directory, last);
    device.outside.cloud.stop();
    assert_eq!(get(&device, PATH).status, 502);
    assert!(cached::files(&directory).is_empty());
}

#[test]
fn a_directory_that_somebody_who_can_only_read_it_has_locked_is_used() {
    let mut locked = None;
    let device = cached::start_with(|setup| {
        let directory = fs::File::open(setup.directory().join("cache")).unwrap();
        flock(&directory, FlockOperation::NonBlockingLockExclusive).unwrap();
        locked = Some(directory);
    });
    assert!(health(&device)["error"].is_null() && locked.is_some(), "{}", device.proxy.log());
}
