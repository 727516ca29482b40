//! `curl -X PUT -F 'file=@…'`, as the documentation has it: the file is stored, not its envelope.

use std::os::unix::fs::MetadataExt;

use crate::support::answer::Answer;
use crate::support::client::Client;
use crate::support::service::Service;
use crate::{assert_stored, bytes, curl, put_head, start};

fn send(service: &Service, boundary: &str, body: &str) -> Answer {
    let field = format!("Content-Type: multipart/form-data{boundary}\r\n");
    let mut client = Client::connect(service.address);
    client.send(put_head("foo", body.len() as u64, &field)).unwrap();
    client.exchange(body)
}

const FILE: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\
    Content-Type: text/plain\r\n\r\nnew\r\n";
const EMPTY: &str = "--b\r\nContent-Disposition: form-data; name=\"more\"; filename=\"\"\r\n\
    Content-Type: application/octet-stream\r\n\r\n\r\n";

/// The one file, in a Content-Transfer-Encoding.
fn encoded(encoding: &str, content: &str) -> String {
    let field = format!("\r\nContent-Transfer-Encoding: {encoding}\r\n\r\nnew");
    FILE.replace("\r\n\r\nnew", &field.replace("new", content)) + "--b--\r\n"
}

const FIELD: &str = "--b\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n";

#[test]
fn the_documented_command_stores_the_content_of_the_file() {
    let service = start(|_| {});
    let file = service.directory().write("foo.txt", "Hello thin-edge.io\n");
    let form = format!("file=@{}", file.display());
    let answer = curl(&service, "foo.txt").args(["-X", "PUT", "-F", &form]).answer();
    assert_eq!((answer.status, answer.text().as_str()), (201, ""));
    assert!(answer.field("etag").is_some());
    assert_eq!(curl(&service, "foo.txt").answer().text(), "Hello thin-edge.io\n");
    assert_stored(&service, &[("foo.txt", b"Hello thin-edge.io\n")]);
}

#[test]
fn a_large_file_comes_out_of_its_envelope_byte_for_byte() {
    let service = start(|_| {});
    let mut content = bytes(8_000_000, 3);
    for at in (0..content.len()).step_by(65_537) {
        let bait = b"\r\n------------------------";
        let end = (at + bait.len()).min(content.len());
        content[at..end].copy_from_slice(&bait[..end - at]);
    }
    let file = service.directory().write("large", &content);
    let form = format!("file=@{}", file.display());
    for more in ["X-None: 1", "Transfer-Encoding: chunked"] {
        let curl = curl(&service, "large").args(["-X", "PUT", "-F", &form]).field(more);
        assert_eq!(curl.answer().status, 201);
        assert_stored(&service, &[("large", &content)]);
    }
}

#[test]
fn a_file_takes_no_space_of_the_disk_for_the_rest_of_its_envelope() {
    let service = start(|_| {});
    let content = "x".repeat(400_000);
    let body = FILE.replace("new", &content) + "--b--\r\n" + &"y".repeat(5_000_000);
    assert_eq!(send(&service, "; boundary=b", &body).status, 201);
    let stored = service.path("data/file-transfer/foo").metadata().unwrap();
    assert_eq!(stored.len(), 400_000);
    assert!(stored.blocks() * 512 < 500_000, "{} blocks", stored.blocks());
}

#[test]
fn the_one_file_counts_whatever_its_name_and_whatever_stands_beside_it() {
    let service = start(|_| {});
    let bodies = [
        format!("{FILE}--b--\r\n"),
        format!("{FILE}--b--"),
        format!("{FIELD}{FILE}{FIELD}--b--\r\n"),
        format!("a preamble\r\n{FILE}--b--\r\nan epilogue"),
        format!("{}--b--\r\n", FILE.replace("name=\"file\"", "name=\"upload\"")),
        // As browsers write an input for which no file was selected, before or after the file.
        format!("{EMPTY}{FILE}--b--\r\n"),
        format!("{FILE}{EMPTY}{EMPTY}--b--\r\n"),
        // As old libraries write it: folded, with blanks before a colon, with an encoding.
        format!("{}--b--\r\n", FILE.replace("; ", ";\r\n ")),
        format!("{}--b--\r\n", FILE.replace("; ", "\r\n\t;\r\n  ")),
        format!("{}--b--\r\n", FILE.replace(": ", " : ")),
        format!("{}--b--\r\n", FILE.replace(": ", "\t:")),
        encoded("binary", "new"),
        encoded("8bit", "new"),
        encoded("base64", "bmV3"),
        encoded("Base64", "bm\r\nV3\r\n"),
        encoded("\r\n base64", " b m V 3 "),
    ];
    for body in bodies {
        curl(&service, "foo").put("old").answer();
        assert_eq!(send(&service, "; boundary=b", &body).status, 201, "{body}");
        assert_stored(&service, &[("foo", b"new")]);
    }
}

#[test]
fn a_broken_envelope_stores_nothing() {
    let service = start(|_| {});
    curl(&service, "foo").put("old").answer();
    let broken = [
        ("no file part", "; boundary=b", format!("{FIELD}--b--\r\n")),
        ("two file parts", "; boundary=b", format!("{FILE}{FILE}--b--\r\n")),
        ("no part at all", "; boundary=b", "--b--\r\n".to_owned()),
        ("nothing", "; boundary=b", String::new()),
        ("no boundary given", "", format!("{FILE}--b--\r\n")),
        ("another boundary", "; boundary=c", format!("{FILE}--b--\r\n")),
        ("cut off after the file", "; boundary=b", FILE.to_owned()),
        ("cut off in the file", "; boundary=b", FILE[..FILE.len() - 3].to_owned()),
        ("cut off in the part's head", "; boundary=b", FILE[..30].to_owned()),
        ("half an end", "; boundary=b", format!("{FILE}--b-")),
        ("two inputs without a file", "; boundary=b", format!("{EMPTY}{EMPTY}--b--\r\n")),
        ("a file without a name beside one", "; boundary=b", {
            format!(
                "{FILE}{}x\r\n--b--\r\n",
                EMPTY.trim_end_matches("\r\n").to_owned() + "\r\n\r\n"
            )
        }),
        ("broken base64", "; boundary=b", encoded("base64", "bmV3b")),
        ("more after the base64", "; boundary=b", encoded("base64", "bmU=bmV3")),
        ("another encoding", "; boundary=b", encoded("quoted-printable", "n=65w")),
        ("a part without disposition", "; boundary=b", "--b\r\n\r\nnew\r\n--b--\r\n".to_owned()),
    ];
    for (what, boundary, body) in broken {
        let answer = send(&service, boundary, &body);
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        assert_ne!(answer.text().trim(), "", "{what}");
        assert_stored(&service, &[("foo", b"old")]);
    }
}

#[test]
fn a_part_with_an_endless_head_is_refused() {
    let service = start(|_| {});
    let with_head =
        |length| format!("--b\r\nX-Long: {}\r\n\r\nnew\r\n--b--\r\n", "a".repeat(length));
    // So that the code it takes is in memory before it counts.
    assert_eq!(send(&service, "; boundary=b", &with_head(20_000)).status, 400);
    let before = service.memory().resident;
    let body = with_head(8_000_000);
    assert_eq!(send(&service, "; boundary=b", &body).status, 400);
    let grown = service.memory().peak.saturating_sub(before);
    assert!(grown < 3_000_000, "{grown} bytes for the head of one part");
    assert_stored(&service, &[]);
}
