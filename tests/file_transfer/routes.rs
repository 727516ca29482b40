//! Methods, other paths, and the state of health.

use crate::support::client::Client;
use crate::support::curl::Curl;
use crate::{FILES, assert_stored, curl, start};

#[test]
fn other_methods_are_not_allowed_on_a_file() {
    let service = start(|_| {});
    curl(&service, "foo").put("content").answer();
    let mut client = Client::connect(service.address);
    for method in
        ["POST", "PATCH", "OPTIONS", "TRACE", "BREW", "get", "Put", "PROPFIND", "M-SEARCH"]
    {
        for path in [format!("{FILES}/foo"), "/te/v1/files/foo".into(), format!("{FILES}/missing")]
        {
            let request =
                format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
            let answer = client.exchange(request);
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.field("allow"), Some("GET, HEAD, PUT, DELETE"), "{method}");
        }
    }
    assert_stored(&service, &[("foo", b"content")]);
}

#[test]
fn a_form_that_is_posted_is_not_stored() {
    let service = start(|_| {});
    let file = service.directory().write("foo", "content");
    let form = format!("file=@{}", file.display());
    assert_eq!(curl(&service, "foo").args(["-F", &form]).answer().status, 405);
    assert_stored(&service, &[]);
}

#[test]
fn any_other_path_is_not_found() {
    let service = start(|_| {});
    let paths = [
        "/",
        "/tedge",
        "/tedge/",
        "/tedge/file-transferx",
        "/tedge/file-transfer.txt",
        "/te/v1",
        "/te/v1/filesx",
        "/c8y/inventory",
        "/healthy",
        "/health/x",
        "/tedge//file-transfer/foo",
        "//tedge/file-transfer/foo",
        "/TEDGE/FILE-TRANSFER/foo",
        "/%74edge%2Ffile-transfer%2Ffoo",
    ];
    for path in paths {
        for method in ["GET", "PUT", "DELETE"] {
            let answer = Curl::new(&service.url(path)).method(method).answer();
            assert_eq!(answer.status, 404, "{method} {path}");
        }
    }
    assert_stored(&service, &[]);
}

#[test]
fn health_is_up_while_serving() {
    let service = start(|_| {});
    let answer = Curl::new(&service.url("/health")).answer();
    assert_eq!((answer.status, answer.text().trim_end()), (200, r#"{"status":"up"}"#));
    let head = Curl::new(&service.url("/health")).method("HEAD").answer();
    assert_eq!((head.status, head.text().as_str()), (200, ""));
    let post = Curl::new(&service.url("/health")).method("POST").answer();
    assert_eq!((post.status, post.field("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn a_target_in_absolute_form_is_understood() {
    let service = start(|_| {});
    curl(&service, "foo").put("content").answer();
    let mut client = Client::connect(service.address);
    let request = format!("GET http://localhost{FILES}/foo HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.exchange(request).text(), "content");
}

#[test]
fn targets_in_other_forms_are_survived() {
    let service = start(|_| {});
    for line in ["OPTIONS * HTTP/1.1", "CONNECT localhost:80 HTTP/1.1", "GET * HTTP/1.1"] {
        let mut client = Client::connect(service.address);
        let answer = client.exchange(format!("{line}\r\nHost: x\r\nConnection: close\r\n\r\n"));
        assert!((400..500).contains(&answer.status), "{line}: {}", answer.status);
    }
    assert_eq!(Curl::new(&service.url("/health")).answer().status, 200);
}
