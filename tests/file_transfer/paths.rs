//! Paths that must not be followed: out of the directory, over links, to what is no file.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::answer::Answer;
use crate::support::client::Client;
use crate::support::service::Service;
use crate::{FILES, assert_stored, bytes, curl, start};

const METHODS: [&str; 4] = ["GET", "HEAD", "PUT", "DELETE"];

/// A request with the target exactly as it stands here.
fn ask(service: &Service, method: &str, target: &str) -> Answer {
    let mut client = Client::connect(service.address);
    let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
    let content = if method == "PUT" { "Content-Length: 3\r\n\r\nnew" } else { "\r\n" };
    client.send(head + content).unwrap();
    if method == "HEAD" { client.head() } else { client.answer() }
}

/// A service with a file outside of the directory that nobody must see or touch.
fn with_a_secret() -> Service {
    let service = start(|setup| {
        let data = setup.directory().join("data");
        fs::create_dir_all(data.join("file-transfer")).unwrap();
        fs::create_dir_all(data.join("file-transfer-too")).unwrap();
        fs::write(data.join("secret"), "secret").unwrap();
        fs::write(data.join("file-transfer-too/secret"), "secret").unwrap();
    });
    curl(&service, "a/b").put("content").answer();
    service
}

fn assert_untouched(service: &Service, what: &str) {
    let found = crate::stored(service);
    let expected = ["file-transfer-too/secret", "file-transfer/a/b", "secret"];
    assert!(found.keys().eq(expected), "{what}: {:?}", found.keys());
    assert!(found["secret"] == b"secret" && found["file-transfer/a/b"] == b"content", "{what}");
    assert!(!service.path("secret").exists() && !service.path("new").exists(), "{what}");
}

fn assert_says_no_secret(service: &Service, answer: &Answer, what: &str) {
    let directory = service.directory().path().to_str().unwrap().to_owned();
    let all = format!("{:?} {}", answer.fields, answer.text());
    assert!(!all.contains(&directory) && answer.text() != "secret", "{what}: {all}");
}

#[test]
fn a_path_that_leaves_the_directory_is_refused() {
    let service = with_a_secret();
    let leaving = [
        "../secret",
        "..",
        "../",
        "a/../../secret",
        "%2e%2e/secret",
        "%2E%2E/secret",
        ".%2e/secret",
        "%2e./secret",
        "..%2fsecret",
        "a/%2e%2e/%2e%2e/secret",
        "a/..%2f..%2fsecret",
        "../file-transfer-too/secret",
        "/etc/passwd",
        "//etc/passwd",
        "%2fetc/passwd",
        "%2Fetc%2Fpasswd",
        "../../../../../../../../etc/passwd",
        "../new",
        "a/b/../../../new",
    ];
    for path in leaving {
        for route in [FILES, "/te/v1/files"] {
            for method in METHODS {
                let what = format!("{method} {route}/{path}");
                let answer = ask(&service, method, &format!("{route}/{path}"));
                assert_eq!(answer.status, 404, "{what}: {}", answer.text());
                if method != "HEAD" {
                    let text = answer.text();
                    assert!(text.starts_with("Invalid file path: \""), "{what}: {text}");
                }
                assert_says_no_secret(&service, &answer, &what);
            }
        }
    }
    assert_untouched(&service, "after all");
}

#[test]
fn a_path_with_a_part_that_cannot_be_a_name_is_a_bad_request() {
    let service = with_a_secret();
    let (long, deep) = ("x".repeat(256), "d/".repeat(32));
    let bad = [
        ".",
        "a/../a/b",
        "a/%00",
        "a%00b",
        "%ff",
        "a/%c3",
        "%ed%a0%80",
        &long,
        &format!("a/{long}/b"),
        &format!("{deep}x"),
    ];
    for path in bad {
        for method in METHODS {
            let what = format!("{method} {}", &path[..path.len().min(40)]);
            let answer = ask(&service, method, &format!("{FILES}/{path}"));
            assert_eq!(answer.status, 400, "{what}: {}", answer.text());
            assert_says_no_secret(&service, &answer, &what);
        }
    }
    let answer = ask(&service, "GET", &format!("{FILES}/{deep}x"));
    assert_eq!(answer.text().trim_end(), "The path has more than 32 parts or 1,024 bytes");
    assert_untouched(&service, "after all");
}

#[test]
fn the_longest_name_is_a_name() {
    let service = start(|_| {});
    let name = "x".repeat(255);
    assert_eq!(curl(&service, &name).put("long").answer().status, 201);
    assert_stored(&service, &[(&name, b"long")]);
    assert_eq!(curl(&service, &name).put("again").answer().status, 201);
    assert_stored(&service, &[(&name, b"again")]);
}

#[test]
fn no_path_whatsoever_is_an_internal_error() {
    let service = with_a_secret();
    let mut paths: Vec<Vec<u8>> = [
        "",
        ".",
        "./",
        "a/.",
        "a/./b",
        "%",
        "%2",
        "%zz",
        "%u0041",
        "a\\..\\..\\secret",
        "a/b/.",
        "a/../a/b",
        "~",
        "~root",
        "-",
        "*",
        "con",
        "a;b=c",
        "a/b;x",
        "\u{7f}",
        "%0d%0aX:1",
        "%0a",
    ]
    .iter()
    .map(|path| path.as_bytes().to_vec())
    .collect();
    for byte in 0x80..=0xff {
        paths.push(vec![b'a', byte]);
    }
    for seed in 0..200 {
        // Any bytes that can stand in a request line.
        let mut path = bytes(24, seed);
        path.iter_mut().for_each(|byte| *byte = b"./%2eEfF5c\\0a:?#@&=+~"[*byte as usize % 21]);
        paths.push(path);
    }
    for path in &paths {
        for method in ["GET", "DELETE", "PUT"] {
            let mut client = Client::connect(service.address);
            let head = format!("{method} {FILES}/");
            let tail = b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            client.send([head.as_bytes(), path, tail].concat()).unwrap();
            let answer = client.answer();
            let path = String::from_utf8_lossy(path);
            assert!(answer.status < 500, "{method} {path:?}: {}", answer.status);
            assert_says_no_secret(&service, &answer, &path);
        }
    }
    assert_eq!(fs::read_to_string(service.path("data/secret")).unwrap(), "secret");
    let mut outside: Vec<_> = crate::stored(&service).into_keys().collect();
    outside.retain(|file| !file.starts_with("file-transfer/"));
    assert_eq!(outside, ["file-transfer-too/secret", "secret"]);
}

#[test]
fn a_symbolic_link_that_leads_elsewhere_is_never_followed() {
    let service = with_a_secret();
    let files = service.path("data/file-transfer");
    symlink("/etc/passwd", files.join("out")).unwrap();
    symlink("..", files.join("up")).unwrap();
    symlink("a", files.join("dir")).unwrap();
    symlink("nowhere", files.join("dangling")).unwrap();
    symlink("loop", files.join("loop")).unwrap();
    let paths = [
        "out",
        "up/secret",
        "up/new",
        "up",
        "dir/b",
        "dir/new",
        "dir",
        "dangling",
        "loop",
        "loop/x",
        "dangling/x",
    ];
    for path in paths {
        for method in METHODS {
            let what = format!("{method} {path}");
            let answer = ask(&service, method, &format!("{FILES}/{path}"));
            assert_eq!(answer.status, 404, "{what}: {}", answer.text());
            assert_says_no_secret(&service, &answer, &what);
        }
    }
    for link in ["out", "up", "dir", "dangling", "loop"] {
        assert!(files.join(link).is_symlink(), "{link} was replaced");
    }
    assert_untouched(&service, "after all");
}

#[test]
fn what_is_no_file_is_never_opened() {
    let service = with_a_secret();
    let files = service.path("data/file-transfer");
    let mut paths = vec!["fifo", "socket", "fifo/x"];
    let made = Command::new("mkfifo").arg(files.join("fifo")).status().unwrap();
    assert!(made.success());
    // Not by bind(2), for which the path may be too long.
    mknodat(CWD, files.join("socket"), FileType::Socket, Mode::RWXU, 0).unwrap();
    let device = Command::new("mknod").arg(files.join("device")).args(["c", "1", "5"]).status();
    if device.is_ok_and(|status| status.success()) {
        paths.push("device");
    } else {
        eprintln!("skipped: a device; only root can make one");
    }
    for path in paths {
        for method in METHODS {
            let answer = ask(&service, method, &format!("{FILES}/{path}"));
            assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
        }
    }
    assert!(files.join("fifo").exists() && files.join("socket").exists());
    assert_untouched(&service, "after all");
}
