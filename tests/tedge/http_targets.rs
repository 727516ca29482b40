//! What `tedge http get --output` writes to, whatever is there and whoever else may write there.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::http_output::{Answer, answer};
use crate::support::tedge::{Device, Done, run};

const URI: &str = "/te/v1/files/big";
const TAG: &str = "\"v1\"";
/// The name of a part of this URI with this tag.
const PART: &str = ".file.c387cbee182520e9d2bcbf43a7c32e6b.22763122.part";
const CONTENT: &[u8] = b"0123456789";

/// The whole content, after a look at the head of the request.
fn whole(check: impl FnOnce(&str) + Send + 'static) -> Answer {
    Box::new(move |stream, head| {
        check(&head);
        let head = format!("HTTP/1.1 200 OK\r\nETag: {TAG}\r\nContent-Length: 10\r\n\r\n");
        stream.write_all(&[head.as_bytes(), CONTENT].concat()).unwrap();
    })
}

/// The rest of the content, if it is asked for, else all of it.
fn rest() -> Answer {
    Box::new(move |stream, head| {
        if !head.contains("\r\nrange: bytes=4-\r\n") {
            let whole = format!("HTTP/1.1 200 OK\r\nETag: {TAG}\r\nContent-Length: 10\r\n\r\n");
            return stream.write_all(&[whole.as_bytes(), CONTENT].concat()).unwrap();
        }
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\nETag: {TAG}\r\nContent-Range: bytes 4-9/10\r\n\
             Content-Length: 6\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), &CONTENT[4..]].concat()).unwrap();
    })
}

fn get(device: &Device, answers: Answer, output: &str) -> Done {
    let (port, server) = answer(vec![answers]);
    let done = device
        .tedge_with(("TEDGE_HTTP_CLIENT_PORT", &port), &["http", "get", URI, "--output", output]);
    server.join().unwrap();
    done
}

#[test]
fn a_part_that_somebody_else_can_have_written_is_not_resumed() {
    let is_root = rustix::process::geteuid().is_root();
    type Plant = fn(&Device, &Path);
    let plants: [(&str, bool, Plant); 5] = [
        ("of another user", true, |_, part| chown(part, Some(65534), Some(65534)).unwrap()),
        ("writable for a group", false, |_, part| {
            fs::set_permissions(part, fs::Permissions::from_mode(0o660)).unwrap();
        }),
        ("writable for all", false, |_, part| {
            fs::set_permissions(part, fs::Permissions::from_mode(0o606)).unwrap();
        }),
        ("with a second name", false, |device, part| {
            fs::hard_link(part, device.directory.join("second")).unwrap();
        }),
        ("a link", false, |device, part| {
            fs::rename(part, device.directory.join("elsewhere")).unwrap();
            symlink("elsewhere", part).unwrap();
        }),
    ];
    for (what, needs_root, plant) in plants {
        if needs_root && !is_root {
            continue;
        }
        let device = Device::new();
        let part = device.directory.join(PART);
        fs::write(&part, "evil").unwrap();
        fs::set_permissions(&part, fs::Permissions::from_mode(0o1600)).unwrap();
        plant(&device, &part);
        get(&device, rest(), "file").silent_success();
        assert_eq!(fs::read(device.directory.join("file")).unwrap(), CONTENT, "{what}");
        for name in ["second", "elsewhere"] {
            if let Ok(text) = fs::read_to_string(device.directory.join(name)) {
                assert_eq!(text, "evil", "{what}: written through");
            }
        }
    }
    // One of one's own is.
    let device = Device::new();
    let part = device.directory.join(PART);
    fs::write(&part, "evil").unwrap();
    fs::set_permissions(&part, fs::Permissions::from_mode(0o1600)).unwrap();
    get(&device, rest(), "file").silent_success();
    assert_eq!(fs::read(device.directory.join("file")).unwrap(), b"evil456789");
}

#[test]
fn nobody_else_can_read_or_change_a_part() {
    let device = Device::new();
    let broken: Answer = Box::new(|stream, _| {
        let head = format!("HTTP/1.1 200 OK\r\nETag: {TAG}\r\nContent-Length: 10\r\n\r\n0123");
        stream.write_all(head.as_bytes()).unwrap();
    });
    // A name that is taken by somebody else, who made a link of it, is not written through.
    symlink("elsewhere", device.directory.join(PART)).unwrap();
    get(&device, broken, "file").failed(1, &["run the same command again to resume"]);
    let part = fs::symlink_metadata(device.directory.join(PART)).unwrap();
    assert!(part.is_file() && part.mode() & 0o777 == 0o600, "{part:?}");
    assert!(!device.directory.join("elsewhere").exists());
}

#[test]
fn the_mode_and_the_owner_of_a_file_are_kept_and_a_link_is_followed() {
    let device = Device::new();
    let real = device.directory.join("real");
    fs::write(&real, "before").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    if rustix::process::geteuid().is_root() {
        chown(&real, Some(65534), Some(65533)).unwrap();
    }
    let owner = |path: &Path| {
        let metadata = fs::metadata(path).unwrap();
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
    };
    let before = owner(&real);
    symlink("real", device.directory.join("link")).unwrap();
    get(&device, whole(|_| {}), "link").silent_success();
    assert!(device.directory.join("link").symlink_metadata().unwrap().is_symlink());
    assert_eq!(fs::read(&real).unwrap(), CONTENT);
    assert_eq!(owner(&real), before);

    symlink("nowhere", device.directory.join("dangling")).unwrap();
    let done = device.tedge(&["http", "get", URI, "--output", "dangling"]);
    done.failed(1, &["it is a link to a file that does not exist"]);
    assert!(!device.directory.join("nowhere").exists());

    let mut shell = Command::new("sh");
    let (port, server) = answer(vec![whole(|_| {})]);
    shell.args(["-c", &format!("umask 027; ./tedge http get {URI} --output new")]);
    shell.env("TEDGE_CONFIG_DIR", device.config_dir()).env("TEDGE_HTTP_CLIENT_PORT", port);
    run(shell.current_dir(&device.directory)).silent_success();
    server.join().unwrap();
    assert_eq!(owner(&device.directory.join("new")).2, 0o640);
}

#[test]
fn a_path_that_names_a_directory_is_refused_and_makes_nothing() {
    let device = Device::new();
    fs::write(device.directory.join("file"), "before").unwrap();
    for path in ["", ".", "/", "etc", "etc/", "file/", "new/", "file/x", "missing/x"] {
        let done = device.tedge(&["http", "get", URI, "--output", path]);
        done.failed(1, &[&format!("cannot write to {path}: ")]);
    }
    assert_eq!(fs::read(device.directory.join("file")).unwrap(), b"before");
    assert!(!device.directory.join("new").exists());
}

#[test]
fn what_is_no_regular_file_is_written_to_and_stays_what_it_is() {
    let device = Device::new();
    let is_device = |path: &str| !fs::symlink_metadata(path).unwrap().is_file();
    get(&device, whole(|_| {}), "/dev/null").silent_success();
    assert!(is_device("/dev/null"));

    let pipe = device.directory.join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
    let (port, server) = answer(vec![whole(|_| {})]);
    let mut command = device.command(&["http", "get", URI, "--output", "pipe"]);
    let child = command.env("TEDGE_HTTP_CLIENT_PORT", port).spawn();
    let mut read = Vec::new();
    fs::File::open(&pipe).unwrap().read_to_end(&mut read).unwrap();
    assert!(child.unwrap().wait().unwrap().success());
    server.join().unwrap();
    assert_eq!(read, CONTENT);
    assert!(!fs::symlink_metadata(&pipe).unwrap().is_file());

    for target in ["/dev/stdout", "/proc/self/fd/1", "/dev/fd/1"] {
        assert_eq!(get(&device, whole(|_| {}), target).silent_success().as_bytes(), CONTENT);
    }
    // Standard output that is a file keeps what is written to it before and after.
    let (port, server) = answer(vec![whole(|_| {})]);
    let script = format!(
        "{{ echo before; ./tedge http get {URI} --output /dev/stdout; echo after; }} > file"
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(&device.directory).stdin(Stdio::null());
    shell.env("TEDGE_CONFIG_DIR", device.config_dir()).env("TEDGE_HTTP_CLIENT_PORT", port);
    run(&mut shell).silent_success();
    server.join().unwrap();
    let text = fs::read_to_string(device.directory.join("file")).unwrap();
    assert_eq!(text, "before\n0123456789after\n");
}

#[test]
fn a_name_of_255_bytes_is_written_and_resumed() {
    let device = Device::new();
    let name = "n".repeat(255);
    let broken: Answer = Box::new(|stream, _| {
        let head = format!("HTTP/1.1 200 OK\r\nETag: {TAG}\r\nContent-Length: 10\r\n\r\n0123");
        stream.write_all(head.as_bytes()).unwrap();
    });
    get(&device, broken, &name).failed(1, &["run the same command again to resume"]);
    let resumed: Answer = Box::new(|stream, head| {
        assert!(head.contains("\r\nrange: bytes=4-\r\n"), "{head}");
        rest()(stream, head);
    });
    get(&device, resumed, &name).silent_success();
    assert_eq!(fs::read(device.directory.join(name)).unwrap(), CONTENT);
}
