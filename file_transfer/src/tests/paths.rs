//! What a request can name, and what it cannot reach.

use std::os::unix::fs::symlink;

use common::http::Body;
use rustix::fs::inotify;
use rustix::io::Errno;

use super::Service;

#[test]
fn both_routes_lead_to_the_same_files() {
    let service = Service::new();
    assert_eq!(service.send("PUT", "/te/v1/files/a/b/", &[], Body::text("x")).status, 201);
    assert_eq!(service.get("a/b", &[]).text(), "x");
    assert_eq!(service.send("GET", "/te/v1/files/a%2Fb", &[], Body::Empty).text(), "x");
    assert_eq!(service.send("GET", "http://host/te/v1/files/a/b?q", &[], Body::Empty).text(), "x");
}

#[test]
fn any_other_path_is_not_found() {
    let service = Service::new();
    for target in [
        "/",
        "/tedge",
        "/tedge/file-transfer",
        "/tedge/file-transfer/",
        "/te/v1/files",
        "/te/v1/files/",
        "/te/v1/filesx/a",
        "/TEDGE/file-transfer/a",
        "//tedge/file-transfer/a",
        "/x/../tedge/file-transfer/a",
        "/health/x",
        "*",
    ] {
        for method in ["GET", "PUT", "DELETE", "POST", "BREW"] {
            let answer = service.send(method, target, &[], Body::Empty);
            assert_eq!(answer.said(), (404, "Not Found"), "{method} {target}");
        }
    }
}

#[test]
fn other_methods_are_told_which_ones_there_are() {
    let service = Service::new();
    for method in ["POST", "PATCH", "OPTIONS", "TRACE", "get", "PROPFIND"] {
        for target in ["/tedge/file-transfer/a", "/te/v1/files/a/b"] {
            let answer = service.send(method, target, &[], Body::text("x"));
            assert_eq!(answer.status, 405, "{method} {target}");
            assert_eq!(answer.field("allow"), "GET, HEAD, PUT, DELETE");
        }
    }
}

#[test]
fn refuses_a_path_that_leaves_the_directory() {
    let service = Service::new();
    let outside = service.directory.parent().unwrap().join("secret");
    std::fs::File::create(&outside).unwrap();
    for (written, shown) in [
        ("../secret", "../secret"),
        ("%2e%2e/secret", "../secret"),
        ("..%2Fsecret", "../secret"),
        ("a/../../secret", "a/../../secret"),
        ("/etc/passwd", "/etc/passwd"),
        ("%2Fetc/passwd", "/etc/passwd"),
        ("..", ".."),
    ] {
        for method in ["GET", "HEAD", "PUT", "DELETE"] {
            let target = format!("/tedge/file-transfer/{written}");
            let answer = service.send(method, &target, &[], Body::Empty);
            let sentence = format!("Invalid file path: {shown:?}");
            assert_eq!(answer.said(), (404, sentence.as_str()), "{method} {written}");
        }
    }
    assert!(outside.exists());
}

#[test]
fn refuses_a_path_that_can_be_no_file() {
    let service = Service::new();
    let part = "x".repeat(256);
    for written in [".", "a/../b", "a/..", "%00", "a%ff", &part] {
        for method in ["GET", "PUT", "DELETE"] {
            let target = format!("/te/v1/files/{written}");
            let answer = service.send(method, &target, &[], Body::Empty);
            assert_eq!(answer.status, 400, "{method} {written}");
            assert!(answer.text().starts_with("Invalid file path: \""), "{}", answer.text());
        }
    }
}

#[test]
fn refuses_a_path_that_is_too_deep() {
    let service = Service::new();
    let long = format!("{}/", "x".repeat(255)).repeat(4) + "yy";
    for written in [&"d/".repeat(33), &long] {
        for method in ["GET", "PUT", "DELETE", "POST"] {
            let target = format!("/te/v1/files/{written}");
            let answer = service.send(method, &target, &[], Body::Empty);
            assert_eq!(
                answer.said(),
                (400, "The path has more than 32 parts or 1,024 bytes"),
                "{method} {written}"
            );
        }
    }
    assert_eq!(std::fs::read_dir(&service.directory).unwrap().count(), 0);
}

#[test]
fn empty_parts_and_dots_make_no_difference() {
    let service = Service::new();
    for written in ["a//b", "a/./b", "./a/b//", "a%2f%2fb/."] {
        assert_eq!(service.put(written, &[], written).status, 201);
        assert_eq!(service.get("a/b", &[]).text(), written);
        assert_eq!(service.get(written, &[]).text(), written);
    }
    assert_eq!(service.delete("a//b", &[]).status, 202);
    assert_eq!(service.get("a/b", &[]).status, 404);
}

#[test]
fn the_longest_paths_are_paths() {
    let service = Service::new();
    let (part, whole) = ("x".repeat(255), "d/".repeat(31) + "f");
    for name in [&part, &whole] {
        assert_eq!(service.put(name, &[], "x").status, 201);
        assert_eq!(service.get(name, &[]).text(), "x");
        assert_eq!(service.delete(name, &[]).status, 202);
    }
}

#[test]
fn follows_and_opens_nothing_but_files() {
    for service in [Service::new(), Service::without_openat2()] {
        service.put_on_disk("d/file", b"x");
        service.put_on_disk("secret", b"secret");
        let outside = service.directory.parent().unwrap().parent().unwrap();
        symlink(outside, service.path("link")).unwrap();
        symlink("d", service.path("dirlink")).unwrap();
        symlink("nowhere", service.path("dangling")).unwrap();
        let fifo = service.path("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let socket = std::os::unix::net::UnixListener::bind(service.path("socket")).unwrap();
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&watch, &fifo, inotify::WatchFlags::OPEN).unwrap();

        for name in ["link", "dirlink/file", "dirlink/new", "dangling", "fifo", "socket", "fifo/x"]
        {
            let not_found = format!("File not found: {name:?}");
            assert_eq!(service.get(name, &[]).said(), (404, not_found.as_str()));
            let put = service.put(name, &[], "y");
            let first = name.split('/').next().unwrap();
            let sentence =
                format!("Cannot upload: {name:?}: {first:?} is neither a file nor a directory");
            assert_eq!(put.said(), (404, sentence.as_str()));
            assert_eq!(service.delete(name, &[]).status, 404, "{name}");
        }
        for name in ["d", "d/", "missing", "d/file/x", "missing/x"] {
            assert_eq!(service.get(name, &[]).status, 404, "{name}");
        }
        assert_eq!(service.get("d/file", &[]).text(), "x");
        assert_eq!(service.on_disk("secret").unwrap(), "secret");

        let mut events = [0; 256];
        assert_eq!(rustix::io::read(&watch, &mut events), Err(Errno::AGAIN), "a FIFO was opened");
        drop(socket);
    }
}

#[test]
fn unfinished_uploads_cannot_be_reached() {
    let service = Service::new();
    service.put_on_disk(".tedge-uploads/1-1", b"half");
    for name in [".tedge-uploads/1-1", ".tedge-uploads", "%2etedge%2duploads%2F1-1"] {
        for answer in
            [service.get(name, &[]), service.put(name, &[], "x"), service.delete(name, &[])]
        {
            assert_eq!(answer.status, 400, "{name}");
        }
    }
    assert_eq!(service.on_disk(".tedge-uploads/1-1").unwrap(), "half");
}
