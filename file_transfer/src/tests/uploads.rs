//! PUT: what is stored, and that nothing is stored by halves.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use common::settings::Free;
use futures_lite::future::{block_on, poll_once};

use super::{Service, Then, chunks, mode};

const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=xyz");
const PART: &str = "--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"foo.txt\"\r\n\
                    Content-Type: text/plain\r\n\r\n";

#[test]
fn stores_a_file_and_sends_its_entity_tag() {
    let service = Service::new();
    let put = service.put("a/b/c.txt", &[], "hello");
    assert_eq!(put.said(), (201, ""));
    let get = service.get("a/b/c.txt", &[]);
    assert_eq!((get.text(), get.field("etag")), ("hello", put.field("etag")));

    let again = service.put("a/b/c.txt", &[], "hello");
    assert_eq!(again.status, 201);
    assert_ne!(again.field("etag"), put.field("etag"));
    assert_eq!(service.put("empty", &[], "").said(), (201, ""));
    assert_eq!(service.get("empty", &[]).said(), (200, ""));
    service.assert_no_leftovers();
}

#[test]
fn modes_are_as_promised_whatever_the_umask_is() {
    let service = Service::new();
    service.put("a/b/c", &[], "x");
    for (name, promised) in [("a", 0o755), ("a/b", 0o755), ("a/b/c", 0o644)] {
        assert_eq!(mode(&service.path(name)), promised, "{name}");
    }
    std::fs::set_permissions(service.path("a/b/c"), Permissions::from_mode(0o600)).unwrap();
    service.put("a/b/c", &[], "y");
    assert_eq!(mode(&service.path("a/b/c")), 0o600);
    assert_eq!(service.on_disk("a/b/c").unwrap(), "y");
}

#[test]
fn large_uploads_arrive_whole() {
    for sync in [true, false] {
        let service = Service::with(|options| options.sync = sync);
        let content: String = (0..200_000).map(|number| format!("{number} ")).collect();
        let pieces: Vec<&str> = content
            .as_bytes()
            .chunks(10_007)
            .map(|piece| std::str::from_utf8(piece).unwrap())
            .collect();
        let put = service.send("PUT", "/te/v1/files/a", &[], chunks(&pieces, Then::End));
        assert_eq!(put.status, 201);
        assert!(service.on_disk("a").unwrap() == content);
        service.assert_no_leftovers();
    }
}

#[test]
fn a_form_is_stored_without_its_envelope() {
    let service = Service::new();
    let form = format!("{PART}hello\r\n--xyz--\r\n");
    assert_eq!(service.put("a", &[FORM], &form).status, 201);
    assert_eq!(service.on_disk("a").unwrap(), "hello");
    let other = ("content-type", "multipart/mixed; boundary=xyz");
    assert_eq!(service.put("a", &[other], &form).status, 201);
    assert_eq!(service.on_disk("a").unwrap(), form);
}

#[test]
fn a_form_without_exactly_one_file_changes_nothing() {
    let service = Service::new();
    service.put("a", &[], "old");
    for form in [
        format!("{PART}a\r\n{PART}b\r\n--xyz--"),
        format!("{PART}a\r\n"),
        "--xyz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--xyz--".to_owned(),
        "hello".to_owned(),
        String::new(),
    ] {
        let put = service.put("a", &[FORM], &form);
        assert_eq!(put.status, 400, "{form}");
        assert!(put.text().starts_with("Cannot upload: multipart/form-data: "));
    }
    assert_eq!(service.put("a", &[("content-type", "multipart/form-data")], "x").status, 400);
    assert_eq!(service.on_disk("a").unwrap(), "old");
    service.assert_no_leftovers();
}

#[test]
fn does_not_replace_a_directory_or_make_one_of_a_file() {
    let service = Service::new();
    service.put("d/file", &[], "x");
    assert_eq!(
        service.put("d", &[], "y").said(),
        (409, r#"Cannot upload: "d" is a directory, not a file"#)
    );
    assert_eq!(
        service.put("d/file/x/y", &[], "y").said(),
        (409, r#"Cannot upload: "d/file/x/y": "d/file" is a file, not a directory"#)
    );
    assert_eq!(service.on_disk("d/file").unwrap(), "x");
    service.assert_no_leftovers();
}

#[test]
fn refuses_what_is_too_large_before_and_while_it_arrives() {
    let service = Service::with(|options| options.max_size = Some(10));
    assert_eq!(service.put("a", &[], "0123456789").status, 201);
    let too_large = "Cannot upload: \"a\" is larger than the 10 bytes of http.upload.max_size";
    // A body that would never end is not waited for.
    let declared = [("content-length", "11")];
    let early = service.send("PUT", "/te/v1/files/a", &declared, chunks(&[], Then::Hang));
    assert_eq!(early.said(), (413, too_large));
    let late = service.send("PUT", "/te/v1/files/a", &[], chunks(&["01234", "567890"], Then::Hang));
    assert_eq!(late.said(), (413, too_large));
    let form = format!("{PART}0123456789\r\n--xyz--");
    assert_eq!(service.put("a", &[FORM], &form).status, 201);
    let form = format!("{PART}01234567890\r\n--xyz--");
    assert_eq!(service.put("a", &[FORM], &form).status, 413);
    assert_eq!(service.on_disk("a").unwrap(), "0123456789");
    service.assert_no_leftovers();
}

#[test]
fn leaves_min_free_free() {
    for min_free in [Free::Bytes(u64::MAX), Free::Percent(100)] {
        let service = Service::with(|options| options.min_free = min_free);
        // A temporary file system with nothing but directories is 100 % free.
        service.put_on_disk("b", b"a block");
        for length in [&[][..], &[("content-length", "5")]] {
            let put = service.send("PUT", "/te/v1/files/a", length, chunks(&[], Then::Hang));
            let said = "Cannot upload: \"a\": too little space would stay free: delete files";
            assert_eq!(put.said(), (507, said));
        }
        assert!(!service.path("a").exists());
        service.assert_no_leftovers();
    }
    let service = Service::new();
    let declared = [("content-length", "1000000000000000000")];
    let put = service.send("PUT", "/te/v1/files/a", &declared, chunks(&[], Then::Hang));
    assert_eq!(put.status, 507);
}

#[test]
fn content_with_another_digest_changes_nothing() {
    let service = Service::new();
    let abc = "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:";
    for field in ["content-digest", "repr-digest"] {
        assert_eq!(service.put("a", &[(field, abc)], "abc").status, 201);
        assert_eq!(service.put("a", &[(field, abc)], "abd").status, 400);
        assert_eq!(service.put("a", &[(field, "sha-256=abc")], "abc").status, 400);
        assert_eq!(service.put("a", &[(field, "md5=:AAAA:")], "abc").status, 201);
    }
    assert_eq!(service.on_disk("a").unwrap(), "abc");
    service.assert_no_leftovers();
}

#[test]
fn a_broken_upload_leaves_the_old_file_and_nothing_else() {
    let service = Service::new();
    service.put("a", &[], "old");
    let long = "x".repeat(100_000);
    for pieces in [&[][..], &["new"], &[&long]] {
        for name in ["a", "new/directory/b"] {
            let target = format!("/te/v1/files/{name}");
            let broken = service.send("PUT", &target, &[], chunks(pieces, Then::Break));
            assert_eq!(broken.status, 400);
            let length = [("content-length", "1000000")];
            let short = service.send("PUT", &target, &length, chunks(pieces, Then::End));
            assert_eq!(short.status, 400);

            let mut gone = Box::pin(service.begin("PUT", &target, &[], chunks(pieces, Then::Hang)));
            for _ in 0..100 {
                assert!(block_on(poll_once(&mut gone)).is_none());
                std::thread::yield_now();
            }
            drop(gone);
        }
    }
    service.assert_no_leftovers();
    assert_eq!(service.on_disk("a").unwrap(), "old");
    assert!(!service.path("new").exists());
}

#[test]
fn a_part_of_a_file_does_not_replace_it() {
    let service = Service::new();
    service.put("a", &[], "old");
    assert_eq!(service.put("a", &[("content-range", "bytes 0-2/10")], "new").status, 400);
    assert_eq!(service.on_disk("a").unwrap(), "old");
}
