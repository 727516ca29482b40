//! DELETE, and the conditions of PUT and DELETE.

use common::http::Body;
use futures_lite::future::{block_on, zip};

use super::{Service, Then, chunks};

#[test]
fn deletes_a_file_and_no_directory() {
    let service = Service::new();
    service.put_on_disk("a/other", b"x");
    service.put("a/b", &[], "x");
    assert_eq!(service.delete("a/b", &[]).said(), (202, ""));
    assert_eq!(service.get("a/b", &[]).status, 404);
    for missing in ["a/b", "a/c", "x/y/z"] {
        assert_eq!(service.delete(missing, &[]).said(), (202, ""));
    }
    assert_eq!(
        service.delete("a", &[]).said(),
        (404, r#"Cannot delete: "a" is a directory, not a file"#)
    );
    service.put("file", &[], "x");
    assert_eq!(service.delete("file/x", &[]).status, 202);
    assert_eq!(service.on_disk("file").unwrap(), "x");
}

#[test]
fn changes_only_the_version_that_the_client_knows() {
    let service = Service::new();
    let first = service.put("a", &[], "1");
    let tag = first.field("etag");
    assert_eq!(service.put("a", &[("if-match", "\"x\"")], "2").status, 412);
    assert_eq!(service.put("a", &[("if-none-match", "*")], "2").status, 412);
    assert_eq!(service.put("new", &[("if-match", "*")], "2").status, 412);
    assert_eq!(service.put("d/new", &[("if-match", "*")], "2").status, 412);
    assert_eq!(service.delete("a", &[("if-match", "\"x\"")]).status, 412);
    assert_eq!(service.delete("new", &[("if-match", "*")]).status, 412);
    assert_eq!(service.delete("d/new", &[("if-match", "*")]).status, 412);
    assert_eq!(service.on_disk("a").unwrap(), "1");
    assert!(!service.path("new").exists() && !service.path("d").exists());

    let second = service.put("a", &[("if-match", tag)], "2");
    assert_eq!(second.status, 201);
    assert_eq!(service.put("a", &[("if-match", tag)], "3").status, 412);
    assert_eq!(service.delete("a", &[("if-match", tag)]).status, 412);
    assert_eq!(service.delete("a", &[("if-match", second.field("etag"))]).status, 202);
    assert_eq!(service.put("a", &[("if-none-match", "*")], "4").status, 201);
    service.assert_no_leftovers();
}

#[test]
fn a_condition_fails_before_the_body_is_read() {
    let service = Service::new();
    let fields = [("if-match", "*")];
    let put = service.send("PUT", "/te/v1/files/a", &fields, chunks(&[], Then::Hang));
    assert_eq!(put.status, 412);
}

#[test]
fn of_many_uploads_of_a_new_file_one_succeeds() {
    let service = Service::new();
    let service = &service;
    let put = |content: &'static str| async move {
        let fields = [("if-none-match", "*")];
        let body = Body::text(content);
        service.begin("PUT", "/te/v1/files/a", &fields, body).await.status().as_u16()
    };
    for _ in 0..20 {
        let ((a, b), (c, d)) = block_on(zip(zip(put("1"), put("2")), zip(put("3"), put("4"))));
        let mut statuses = [a, b, c, d];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 412, 412, 412]);
        assert_eq!(service.delete("a", &[]).status, 202);
    }
    service.assert_no_leftovers();
}

#[test]
fn of_two_uploads_the_last_to_finish_wins_whole() {
    let service = Service::new();
    let put = |letter: &'static str| {
        let body = Body::text(letter.repeat(300_000));
        service.begin("PUT", "/te/v1/files/a", &[], body)
    };
    for _ in 0..10 {
        let (a, b) = block_on(zip(put("a"), put("b")));
        assert_eq!((a.status().as_u16(), b.status().as_u16()), (201, 201));
        let stored = service.on_disk("a").unwrap();
        assert!(stored == "a".repeat(300_000) || stored == "b".repeat(300_000));
    }
}
