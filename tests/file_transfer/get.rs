//! Rows of the contract on GET and HEAD: whole files, parts of them, and files that are not there.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::time::{Duration, SystemTime};

use crate::support::answer::Answer;
use crate::support::client::Client;
use crate::support::service::Service;
use crate::support::wait::eventually;
use crate::{FILES, bytes, curl, request, start};

#[test]
fn a_file_comes_with_all_that_describes_it() {
    let service = start(|_| {});
    let content = bytes(200_000, 5);
    let file = service.directory().write("content", &content);
    curl(&service, "foo").upload(&file).answer();
    let answer = curl(&service, "foo").answer();
    assert_eq!(answer.status, 200);
    assert!(answer.body == content);
    for (field, value) in [
        ("content-length", "200000"),
        ("content-type", "application/octet-stream"),
        ("x-content-type-options", "nosniff"),
        ("accept-ranges", "bytes"),
    ] {
        assert_eq!(answer.field(field), Some(value));
    }
    for field in ["last-modified", "etag", "date"] {
        assert!(answer.field(field).is_some(), "{field} is missing");
    }
}

#[test]
fn head_is_answered_as_get_without_the_content() {
    let service = start(|_| {});
    curl(&service, "foo").put("content").answer();
    let mut client = Client::connect(service.address);
    for file in ["foo", "missing"] {
        let get = client.exchange(request("GET", file));
        client.send(request("HEAD", file)).unwrap();
        let head = client.head();
        let relevant = |answer: &Answer| {
            let fields = answer.fields.clone().into_iter().filter(|(name, _)| name != "date");
            (answer.status, fields.collect::<Vec<_>>())
        };
        assert_eq!(relevant(&head), relevant(&get));
        // The next answer begins where the head ended: there was no content.
    }
    assert_eq!(client.exchange(request("GET", "foo")).text(), "content");
}

#[test]
fn what_is_not_a_file_is_not_found() {
    let service = start(|_| {});
    curl(&service, "a/b").put("content").answer();
    for (path, name) in [("nope", "nope"), ("a", "a"), ("a/", "a"), ("a/nope", "a/nope")] {
        let answer = curl(&service, path).answer();
        assert_eq!(answer.status, 404);
        assert_eq!(answer.text().trim_end(), format!("File not found: {name:?}"));
        assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"));
    }
    assert_eq!(curl(&service, "a/b/c").answer().status, 404);
    assert_eq!(curl(&service, "").answer().status, 404);
}

fn range(service: &Service, range: &str) -> Answer {
    curl(service, "digits").field(&format!("Range: {range}")).answer()
}

#[test]
fn one_range_is_answered_with_that_part() {
    let service = start(|_| {});
    curl(&service, "digits").put("0123456789").answer();
    let parts = [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=7-99", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=-99", "0123456789", "bytes 0-9/10"),
        ("bytes=0-9", "0123456789", "bytes 0-9/10"),
        ("Bytes=0-1", "01", "bytes 0-1/10"),
        ("bytes=9-99999999999999999999", "9", "bytes 9-9/10"),
    ];
    for (asked, content, content_range) in parts {
        let answer = range(&service, asked);
        assert_eq!((answer.status, answer.text().as_str()), (206, content), "{asked}");
        assert_eq!(answer.field("content-range"), Some(content_range), "{asked}");
        assert_eq!(answer.field("content-length"), Some(content.len().to_string().as_str()));
        assert!(answer.field("etag").is_some());
    }
}

#[test]
fn a_range_behind_the_end_cannot_be_satisfied() {
    let service = start(|_| {});
    curl(&service, "digits").put("0123456789").answer();
    for asked in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999-"] {
        let answer = range(&service, asked);
        assert_eq!(answer.status, 416, "{asked}");
        assert_eq!(answer.field("content-range"), Some("bytes */10"), "{asked}");
    }
}

#[test]
fn the_last_bytes_of_an_empty_file_are_all_of_it() {
    let service = start(|_| {});
    curl(&service, "digits").put("").answer();
    let answer = range(&service, "bytes=-100");
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(range(&service, "bytes=-0").status, 416);
}

#[test]
fn other_ranges_are_answered_with_the_whole_file() {
    let service = start(|_| {});
    curl(&service, "digits").put("0123456789").answer();
    for asked in [
        "bytes=0-1,3-4",
        "bytes=0-1, 1-2",
        "lines=0-1",
        "bytes=",
        "bytes=a-b",
        "bytes=4-2",
        "bytes=-",
        "bytes",
        "bytes=1",
        "bytes=+1-2",
    ] {
        let answer = range(&service, asked);
        assert_eq!((answer.status, answer.text().as_str()), (200, "0123456789"), "{asked}");
        assert_eq!(answer.field("content-range"), None, "{asked}");
    }
}

#[test]
fn a_part_is_sent_only_of_the_file_that_the_client_began_with() {
    let service = start(|_| {});
    curl(&service, "digits").put("0123456789").answer();
    let whole = curl(&service, "digits").answer();
    let etag = whole.field("etag").unwrap();
    let ask = |if_range: &str| {
        let part = curl(&service, "digits").field("Range: bytes=5-");
        part.field(&format!("If-Range: {if_range}")).answer().status
    };
    assert_eq!(ask(etag), 206);
    assert_eq!(ask(r#""other""#), 200);
    assert_eq!(ask(&format!("W/{etag}")), 200);
    assert_eq!(ask("Sat, 01 Jan 2000 00:00:00 GMT"), 200);
}

#[test]
fn curl_goes_on_where_it_stopped() {
    let service = start(|_| {});
    let content = bytes(500_000, 7);
    let file = service.directory().write("content", &content);
    curl(&service, "foo").upload(&file).answer();
    let part = service.directory().write("part", &content[..123_456]);
    let part = part.to_str().unwrap();
    let got = curl(&service, "foo").args(["--no-include", "-C", "-", "-o", part]).run();
    assert_eq!(got.exit, 0, "{}", got.complaint);
    assert!(fs::read(part).unwrap() == content);
}

#[test]
fn a_file_of_five_gigabytes_keeps_its_length() {
    let service = start(|_| {});
    curl(&service, "huge").put("").answer();
    let mut huge =
        File::options().write(true).open(service.path("data/file-transfer/huge")).unwrap();
    huge.seek(SeekFrom::Start(5_000_000_000)).unwrap();
    huge.write_all(b"the end").unwrap();

    let head = curl(&service, "huge").method("HEAD").answer();
    assert_eq!(head.field("content-length"), Some("5000000007"));
    let end = curl(&service, "huge").field("Range: bytes=5000000000-").answer();
    assert_eq!((end.status, end.text().as_str()), (206, "the end"));
    assert_eq!(end.field("content-range"), Some("bytes 5000000000-5000000006/5000000007"));
    let mut client = Client::connect(service.address);
    client.send(format!("GET {FILES}/huge HTTP/1.1\r\nHost: x\r\n\r\n")).unwrap();
    assert_eq!(client.head().field("content-length"), Some("5000000007"));
    assert_eq!(client.skip(10_000_000).unwrap(), 10_000_000);
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_not_padded() {
    let service = start(|_| {});
    let content = bytes(50_000_000, 9);
    let file = service.directory().write("content", &content);
    curl(&service, "foo").upload(&file).answer();
    let mut client = Client::connect(service.address);
    client.send(request("GET", "foo")).unwrap();
    assert_eq!(client.head().field("content-length"), Some("50000000"));
    let path = service.path("data/file-transfer/foo");
    File::options().write(true).open(path).unwrap().set_len(1000).unwrap();
    // What is missing cannot be sent: the connection ends short, and the client knows.
    let rest = client.rest();
    assert!(rest.as_ref().map_or(true, |rest| rest.len() < content.len()), "padded to the length");
    assert_eq!(curl(&service, "foo").answer().body, content[..1000]);
}

#[test]
fn a_small_file_is_read_anew_and_not_kept_open() {
    let service = start(|_| {});
    let before = service.descriptors();
    let mut client = Client::connect(service.address);
    for content in ["old", "new", "newer"] {
        curl(&service, "foo").put(content).answer();
        for _ in 0..2 {
            assert_eq!(client.exchange(request("GET", "foo")).text(), content);
        }
    }
    curl(&service, "foo").method("DELETE").answer();
    assert_eq!(client.exchange(request("GET", "foo")).status, 404);

    curl(&service, "foo").put("last").answer();
    assert_eq!(client.exchange(request("GET", "foo")).text(), "last");
    drop(client);
    eventually("it is closed", Duration::from_secs(10), || service.descriptors() == before);
}

#[test]
fn a_part_is_not_sent_by_the_date_of_a_version_that_may_not_be_the_only_one_of_its_second() {
    let service = start(|_| {});
    let part = |file: &str, date: &str| {
        curl(&service, file).field("Range: bytes=4-").field(&format!("If-Range: {date}")).answer()
    };
    // Two versions within a second have one date.
    curl(&service, "foo").put("old version").answer();
    let date = curl(&service, "foo").answer().field("last-modified").unwrap().to_owned();
    curl(&service, "foo").put("new version").answer();
    let written = |age| {
        let file = File::open(service.path("data/file-transfer/foo")).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
        curl(&service, "foo").answer().field("last-modified").unwrap().to_owned()
    };
    assert_eq!(part("foo", &date).text(), "new version");

    let old = written(Duration::from_secs(3600));
    assert_eq!(part("foo", &old).text(), "version");
    let younger = written(Duration::from_secs(30));
    assert_eq!(part("foo", &younger).text(), "new version");
    assert_eq!(part("foo", &old).text(), "new version");
}

#[test]
fn no_date_is_in_the_future() {
    let service = start(|_| {});
    curl(&service, "foo").put("content").answer();
    let file = File::open(service.path("data/file-transfer/foo")).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(100_000)).unwrap();
    for method in ["GET", "HEAD"] {
        let mut client = Client::connect(service.address);
        client.send(request(method, "foo")).unwrap();
        let answer = client.head();
        let [date, modified] = ["date", "last-modified"].map(|field| answer.field(field).unwrap());
        assert_eq!(answer.status, 200);
        let parse = |date| httpdate::parse_http_date(date).unwrap();
        assert!(parse(modified) <= parse(date), "{method}: {modified}, {date}");
    }
    let range = curl(&service, "foo").field("Range: bytes=0-1");
    let date = curl(&service, "foo").answer().field("last-modified").unwrap().to_owned();
    assert_eq!(range.field(&format!("If-Range: {date}")).answer().status, 200);
}
