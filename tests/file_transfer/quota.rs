//! The limit for all files together, for all clients, and how it is reported.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use crate::support::client::Client;
use crate::support::curl::Curl;
use crate::support::directory::Directory;
use crate::support::service::{SOON, Service, Setup};
use crate::support::wait::eventually;
use crate::{PROGRAM, bytes, curl, prepare, put, put_head, request, run, stored};

fn limited(max_total: &str, more: impl FnOnce(&mut Setup)) -> Service {
    again(&Arc::new(Directory::new()), max_total, more)
}

fn again(directory: &Arc<Directory>, max_total: &str, more: impl FnOnce(&mut Setup)) -> Service {
    Service::start_in(directory, PROGRAM, |setup| {
        prepare(setup);
        setup.set_own("http.files.max_total", format!("{max_total:?}"));
        setup.argument("--log-level=debug");
        more(setup);
    })
}

fn making_room(setup: &mut Setup) {
    setup.set_own("http.files.make_room", true);
}

fn health(service: &Service) -> String {
    String::from_utf8(Curl::new(&service.url("/health")).answer().body).unwrap()
}

/// The files that requests can name.
fn files(service: &Service) -> BTreeMap<String, Vec<u8>> {
    let mut files = stored(service);
    files.retain(|name, _| !name.contains("/.tedge-uploads"));
    files
}

#[test]
fn an_upload_beyond_the_quota_is_refused_before_it_is_sent() {
    let service = limited("1k", |_| {});
    assert_eq!(curl(&service, "a").put(&"x".repeat(1000)).answer().status, 201);
    let mut client = Client::connect(service.address);
    let head = put_head("b", 25, "Expect: 100-continue\r\n");
    client.send(head).unwrap();
    let answer = client.head();
    assert_eq!(answer.status, 507);
    let text = curl(&service, "b").put(&"x".repeat(25)).answer();
    let said = "Cannot upload: \"b\": all files together may take 1024 bytes (http.files.max_total): \
                delete files";
    assert_eq!((text.status, text.text().trim_end()), (507, said));
    assert!(service.log().contains("http.files.max_total; delete files, or change it"));

    for more in ["Transfer-Encoding: chunked", "Expect:"] {
        let file = service.directory().write("content", bytes(100_000, 3));
        let got = curl(&service, "b").upload(&file).field(more).answer();
        assert_eq!(got.status, 507, "{more}");
    }
    assert_eq!(curl(&service, "b").put(&"x".repeat(24)).answer().status, 201);
    assert_eq!(health(&service), r#"{"status":"up","files":2,"bytes":1024,"limit":1024}"#);
    assert_eq!(curl(&service, "a").method("DELETE").answer().status, 202);
    assert_eq!(health(&service), r#"{"status":"up","files":1,"bytes":24,"limit":1024}"#);
    assert_eq!(files(&service).len(), 1);
}

#[test]
fn a_hundred_uploads_at_a_time_do_not_pass_the_quota() {
    let service = limited("100k", |_| {});
    let address = service.address;
    let ready = Arc::new(Barrier::new(100));
    let upload = |number: usize| {
        let ready = Arc::clone(&ready);
        thread::spawn(move || {
            let content = bytes(9_000, number as u64);
            let mut client = Client::connect(address);
            let message = if number % 2 == 0 {
                put(&number.to_string(), &content)
            } else {
                let head = put_head(&number.to_string(), 0, "Transfer-Encoding: chunked\r\n");
                let head = head.replace("Content-Length: 0\r\n", "");
                [format!("{head}2328\r\n").as_bytes(), &content, b"\r\n0\r\n\r\n"].concat()
            };
            ready.wait();
            client.exchange(message).status
        })
    };
    let uploads: Vec<_> = (0..100).map(upload).collect();
    let statuses: Vec<u16> = uploads.into_iter().map(|upload| upload.join().unwrap()).collect();
    let done = statuses.iter().filter(|status| **status == 201).count();
    assert!(statuses.iter().all(|status| matches!(status, 201 | 507)), "{statuses:?}");
    let files = files(&service);
    assert_eq!(files.len(), done);
    assert!((1..=11).contains(&done), "{done}");
    assert!(files.values().all(|content| content.len() == 9_000));
}

#[test]
fn files_of_other_programs_lower_no_total() {
    for more in [|_: &mut Setup| {}, making_room] {
        let service = limited("10k", more);
        let content = "x".repeat(9_000);
        assert_eq!(curl(&service, "a").put(&content).answer().status, 201);
        for round in 0..3 {
            for name in ["deleted", "replaced"] {
                service.directory().write(&format!("data/file-transfer/{name}"), &content);
            }
            assert_eq!(curl(&service, "deleted").method("DELETE").answer().status, 202);
            assert_eq!(curl(&service, "replaced").put("").answer().status, 201);
            curl(&service, &round.to_string()).put(&content).answer();
            let bytes: usize = files(&service).values().map(Vec::len).sum();
            assert!(bytes <= 10 * 1024, "{bytes}");
        }
    }
}

/// Their `ctime` is from before the last check. Those that it has counted do lower the total.
#[test]
fn old_files_in_a_directory_that_is_moved_here_lower_no_total() {
    for more in [|_: &mut Setup| {}, making_room] {
        let directory = Arc::new(Directory::new());
        let content = "x".repeat(4_000);
        for name in ["elsewhere/a/b", "file-transfer/c/d"] {
            fs::create_dir_all(directory.path().join("data").join(name)).unwrap();
            for file in ["deleted", "replaced"] {
                directory.write(&format!("data/{name}/{file}"), &content);
            }
        }
        let service = again(&directory, "20k", more);
        assert_eq!(curl(&service, "first").put(&content).answer().status, 201);
        let data = directory.path().join("data");
        fs::rename(data.join("elsewhere/a"), data.join("file-transfer/a")).unwrap();
        let counts = |bytes| assert!(health(&service).contains(&format!("\"bytes\":{bytes},")));
        for (below, left) in [("a/b", 12_000), ("c/d", 4_000)] {
            let deleted = format!("{below}/deleted");
            assert_eq!(curl(&service, &deleted).method("DELETE").answer().status, 202);
            assert_eq!(curl(&service, &format!("{below}/replaced")).put("").answer().status, 201);
            counts(left);
        }
    }
}

#[test]
fn room_is_made_only_for_what_comes_and_only_as_much_as_it_needs() {
    let service = limited("100k", making_room);
    for name in ["a", "b", "c"] {
        assert_eq!(curl(&service, name).put(&"x".repeat(30_000)).answer().status, 201);
    }
    assert_eq!(curl(&service, "a").answer().status, 200);
    // It announces all, and sends a little.
    let mut client = Client::connect(service.address);
    client.send(put_head("large", 100_000, "")).unwrap();
    client.send(bytes(9_000, 1)).unwrap();
    drop(client);
    let large = service.directory().write("large", bytes(102_401, 1));
    assert_eq!(curl(&service, "large").upload(&large).answer().status, 507);
    service.wait_for("/large 400 ", SOON);
    // A look at the files themselves would be a read as well.
    assert_eq!(health(&service), r#"{"status":"up","files":3,"bytes":90000,"limit":102400}"#);

    let content = bytes(40_000, 2);
    assert_eq!(Client::connect(service.address).exchange(put("d", &content)).status, 201);
    let log = service.wait_for("deleted to make room for \"d\": files 1, bytes 30000", SOON);
    let names: Vec<_> = files(&service).into_keys().collect();
    assert_eq!(names, ["a", "c", "d"].map(|name| format!("file-transfer/{name}")), "{log}");
    assert_eq!(health(&service), r#"{"status":"up","files":3,"bytes":100000,"limit":102400}"#);
}

/// More than the service remembers as visited. The oldest files are in any of them.
#[test]
fn in_ten_thousand_directories_only_as_much_is_deleted_as_an_upload_needs() {
    let service = limited("100k", making_room);
    let below = service.path("data/file-transfer");
    for number in 0..10_000 {
        let directory = below.join(number.to_string());
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("f"), "0123456789").unwrap();
    }
    // Before the refusal, all files are counted.
    assert_eq!(curl(&service, "a").put(&"x".repeat(102_401)).answer().status, 507);
    assert!(health(&service).contains(r#""files":10000,"bytes":100000,"#));
    assert_eq!(curl(&service, "a").put(&"x".repeat(4_400)).answer().status, 201);
    assert_eq!(health(&service), r#"{"status":"up","files":9801,"bytes":102400,"limit":102400}"#);
    let bytes = || files(&service).values().map(Vec::len).sum::<usize>();
    assert_eq!(bytes(), 102_400);
    // Files that no check has listed follow. If one may not have been counted, the service counts
    // again or refuses the upload.
    assert!(matches!(curl(&service, "b").put(&"x".repeat(80_000)).answer().status, 201 | 507));
    assert!(bytes() >= 102_400 - 80_000, "{}", health(&service));
}

#[test]
fn a_file_that_is_being_read_makes_no_room() {
    let service = limited("8M", making_room);
    let content = bytes(7_000_000, 5);
    assert_eq!(Client::connect(service.address).exchange(put("a", &content)).status, 201);
    let mut reader = Client::connect(service.address);
    reader.send(request("GET", "a")).unwrap();
    assert_eq!(reader.head().status, 200);
    let file = service.directory().write("content", bytes(2_000_000, 6));
    assert_eq!(curl(&service, "b").upload(&file).answer().status, 507);
    reader.finish();
    assert!(reader.rest().unwrap() == content);
    assert_eq!(curl(&service, "b").upload(&file).answer().status, 201);
    assert_eq!(files(&service).into_keys().collect::<Vec<_>>(), ["file-transfer/b"]);
}

#[test]
fn what_is_there_counts_after_a_kill_and_a_start() {
    let service = limited("1M", |_| {});
    let address = service.address;
    let uploads: Vec<_> = (0..20_u64)
        .map(|number| {
            thread::spawn(move || {
                let mut client = Client::connect(address);
                let _ = client.send(put_head(&number.to_string(), 40_000, ""));
                let _ = client.send(bytes(if number % 2 == 0 { 40_000 } else { 20_000 }, number));
                thread::sleep(Duration::from_millis(50));
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(30));
    service.kill();
    for upload in uploads {
        upload.join().unwrap();
    }
    fs::write(service.path("data/file-transfer/by-others"), "content").unwrap();
    let service = again(service.directory(), "1M", |_| {});
    service.wait_for("swept: ", SOON);
    let files = files(&service);
    let bytes: usize = files.values().map(Vec::len).sum();
    let counted =
        format!(r#"{{"status":"up","files":{},"bytes":{bytes},"limit":1048576}}"#, files.len());
    assert_eq!(health(&service), counted);
}

/// The first count has seen some of them, and not others.
#[test]
fn files_that_are_deleted_during_the_first_count_are_not_counted_for_long() {
    let directory = Arc::new(Directory::new());
    let below = directory.path().join("data/file-transfer");
    fs::create_dir_all(&below).unwrap();
    for number in 0..2000 {
        fs::write(below.join(number.to_string()), "0123456789").unwrap();
    }
    let service = again(&directory, "1M", |_| {});
    let mut client = Client::connect(service.address);
    let mut left = 2000;
    while !health(&service).contains("files") && left > 0 {
        for _ in 0..50 {
            left -= 1;
            assert_eq!(client.exchange(request("DELETE", &left.to_string())).status, 202);
        }
    }
    let counted = format!(r#""files":{left},"bytes":{},"#, left * 10);
    eventually("the count is right", SOON, || health(&service).contains(&counted));
}

#[test]
fn settings_that_cannot_be_meant_are_told() {
    for (key, value) in [
        ("max_age", "0d"),
        ("max_age", "18446744073709551615"),
        ("max_age", "18446744073709551615d"),
        ("max_total", "0"),
        ("max_total", "0G"),
        ("max_total", "18446744073709551615"),
        ("max_total", "18446744073709551615k"),
    ] {
        let key = format!("http.files.{key}");
        let ended = run(|setup| setup.set_own(&key, format!("{value:?}")));
        assert_eq!(ended.code(), 78, "{key} {value}");
        assert!(ended.log.contains(&format!("{key} is '{value}' in ")), "{}", ended.log);
    }
    let ended = run(|setup| {
        setup.set_own("http.files.make_room", true);
        setup.argument("--check");
    });
    assert_eq!(ended.code(), 0);
    let warning = "http.files.make_room has no effect without http.files.max_total";
    assert!(ended.log.contains(warning), "{}", ended.log);
}

/// An upload at the start waits until all files are counted, which goes on without pauses then.
fn counts(number: usize) {
    let directory = Arc::new(Directory::new());
    let files = directory.path().join("data/file-transfer");
    for file in 0..number {
        let below = files.join((file % 100).to_string());
        if file < 100 {
            fs::create_dir_all(&below).unwrap();
        }
        fs::File::create(below.join(format!("a-name-that-is-not-short-{file}"))).unwrap();
    }
    let service = again(&directory, "1M", |setup| {
        setup.set_own("http.files.max_age", "\"90d\"");
        setup.set_own("http.files.make_room", true);
    });
    assert_eq!(curl(&service, "a").put("content").answer().status, 201);
    let files = number + 1;
    assert!(health(&service).contains(&format!("\"files\":{files},\"bytes\":7,")));
    let peak = service.memory().peak;
    service.stop();

    let small = limited("1M", |setup| {
        setup.set_own("http.files.max_age", "\"90d\"");
        setup.set_own("http.files.make_room", true);
    });
    assert_eq!(curl(&small, "a").put("content").answer().status, 201);
    let least = small.memory().peak;
    assert!(peak < least + 400 * 1024, "{number} files: {} kB more", (peak - least) / 1024);
}

#[test]
fn ten_thousand_files_take_no_memory() {
    counts(10_000);
}

#[test]
#[ignore = "a hundred thousand files"]
fn a_hundred_thousand_files_take_no_memory() {
    counts(100_000);
}

#[test]
fn many_uploads_that_replace_one_file_at_a_time_are_not_each_paid_for_by_it() {
    for more in [|_: &mut Setup| {}, making_room] {
        let service = limited("10k", more);
        assert_eq!(curl(&service, "a").put(&"x".repeat(9_000)).answer().status, 201);
        let mut first = Client::connect(service.address);
        first.send(put_head("a", 9_000, "Expect: 100-continue\r\n")).unwrap();
        assert_eq!(first.head().status, 100);
        let mut second = Client::connect(service.address);
        second.send(put_head("a", 9_000, "Expect: 100-continue\r\n")).unwrap();
        assert_eq!(second.head().status, 507);
        first.send("y".repeat(9_000)).unwrap();
        assert_eq!(first.head().status, 201);
    }
}
