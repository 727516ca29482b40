//! Rows of the contract on DELETE.

use crate::{assert_stored, curl, start};

#[test]
fn a_file_is_gone_and_one_that_was_not_there_is_no_failure() {
    let service = start(|_| {});
    curl(&service, "foo").put("content").answer();
    for _ in 0..2 {
        let answer = curl(&service, "foo").method("DELETE").answer();
        assert_eq!((answer.status, answer.text().as_str()), (202, ""));
        assert_stored(&service, &[]);
    }
    assert_eq!(curl(&service, "foo").answer().status, 404);
    assert_eq!(curl(&service, "no/such/directory").method("DELETE").answer().status, 202);
}

#[test]
fn a_trailing_slash_changes_nothing() {
    let service = start(|_| {});
    curl(&service, "foo").put("content").answer();
    assert_eq!(curl(&service, "foo/").method("DELETE").answer().status, 202);
    assert_stored(&service, &[]);
}

#[test]
fn a_directory_that_no_upload_made_stays() {
    let service = start(|setup| {
        std::fs::create_dir_all(setup.directory().join("data/file-transfer/a")).unwrap();
    });
    curl(&service, "a/b").put("content").answer();
    for _ in 0..2 {
        let answer = curl(&service, "a").method("DELETE").answer();
        assert_eq!(answer.status, 404);
        let expected = r#"Cannot delete: "a" is a directory, not a file"#;
        assert_eq!(answer.text().trim_end(), expected);
        // In the second round, the directory is empty, and stays.
        curl(&service, "a/b").method("DELETE").answer();
        assert!(service.path("data/file-transfer/a").is_dir());
    }
}

#[test]
fn a_reader_keeps_the_file_that_is_deleted() {
    let service = start(|_| {});
    let content = crate::bytes(30_000_000, 11);
    let file = service.directory().write("content", &content);
    curl(&service, "foo").upload(&file).answer();
    let mut client = crate::support::client::Client::connect(service.address);
    client.send(crate::request("GET", "foo")).unwrap();
    assert_eq!(client.head().status, 200);
    assert_eq!(curl(&service, "foo").method("DELETE").answer().status, 202);
    client.finish();
    assert!(client.rest().unwrap() == content);
}
