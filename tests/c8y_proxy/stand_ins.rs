//! The stand-ins behave like the real cloud: real curl and real mosquitto see the same.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::cloud::body::blocks_digest;
use crate::support::cloud::record::State;
use crate::support::cloud::tokens::Claims;
use crate::support::cloud::{ALERT, Cloud, Greeting, Script};
use crate::support::device::{Outside, SOON, certificates, options};
use crate::support::directory::Directory;

/// curl's exit code and what it printed.
fn curl(cloud: &Cloud, path: &str, arguments: &[&str]) -> (i32, String) {
    let url = format!("https://localhost:{}{path}", cloud.address().port());
    let output = Command::new("curl")
        .args(["--disable", "-sS", "--noproxy", "*", "--max-time", "30", "--path-as-is"])
        .arg("--cacert")
        .arg(&certificates().ca)
        .args(arguments)
        .arg(url)
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What `openssl s_client` shows and complains of.
fn s_client(cloud: &Cloud, request: &str) -> String {
    let address = cloud.address().to_string();
    let mut child = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.as_mut().unwrap().write_all(request.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn status(cloud: &Cloud, path: &str, token: &str) -> String {
    let field = format!("Authorization: Bearer {token}");
    curl(cloud, path, &["-o", "/dev/null", "-w", "%{http_code}", "-H", &field]).1
}

#[test]
fn real_mosquitto_brings_a_token_that_real_curl_can_use() {
    let outside = Outside::new();
    let port = outside.broker.address().port().to_string();
    let mut subscriber = Command::new("mosquitto_rr");
    subscriber.args(["-p", &port, "-t", "c8y/s/uat", "-e", "c8y/s/dat", "-n", "-W", "10"]);
    let output = subscriber.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let token = text.trim().strip_prefix("71,").unwrap_or_else(|| panic!("{text}"));
    assert_eq!(outside.bridge.asked(), 1);
    assert_eq!(status(&outside.cloud, "/tenant/currentTenant", token), "200");
}

#[test]
fn only_good_tokens_are_accepted() {
    let cloud = Cloud::start(options()).unwrap();
    let at = "/tenant/currentTenant";
    let (one, other) = (cloud.tokens().issue(), cloud.tokens().issue());
    assert_eq!(
        (status(&cloud, at, &one), status(&cloud, at, &other)),
        ("200".into(), "200".into())
    );
    assert_eq!(status(&cloud, at, &format!("{one}x")), "401");
    assert_eq!(curl(&cloud, at, &["-o", "/dev/null", "-w", "%{http_code}"]).1, "401");
    cloud.tokens().revoke(&one);
    assert_eq!(
        (status(&cloud, at, &one), status(&cloud, at, &other)),
        ("401".into(), "200".into())
    );
    for path in ["/main.js", "/apps/cockpit", "//Apps/x", "/a%2ejs"] {
        let token = cloud.tokens().issue();
        status(&cloud, path, &token);
        assert_eq!(status(&cloud, at, &token), "401", "{path} has to revoke");
    }
    cloud.tokens().set(Claims { life: Duration::ZERO, ..Claims::default() });
    assert_eq!(status(&cloud, at, &cloud.tokens().issue()), "401");
}

#[test]
fn both_versions_of_tls_are_spoken_and_both_are_recorded() {
    let cloud = Cloud::start(options()).unwrap();
    for (arguments, version) in
        [(["--tls-max", "1.2"], "TLSv1_2"), (["--tlsv1.3", "--http1.1"], "TLSv1_3")]
    {
        assert_eq!(curl(&cloud, "/", &arguments).0, 0);
        assert_eq!(cloud.seen().connections.pop().unwrap().version, version);
    }
}

#[test]
fn what_is_broken_off_is_seen_to_be() {
    let cloud = Cloud::start(options()).unwrap();
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    cloud.answer("/x", Script::new().without_a_token().send(head).break_off());
    assert_eq!(curl(&cloud, "/x", &[]), (18, "hello".into()), "partial file");
    let until_close = "HTTP/1.1 200 OK\r\n\r\nhello";
    cloud.answer("/y", Script::new().without_a_token().send(until_close).close());
    assert_eq!(curl(&cloud, "/y", &[]), (0, "hello".into()));
    cloud.answer("/z", Script::new().without_a_token().send(until_close).break_off());
    for (path, ragged) in [("/y", false), ("/z", true)] {
        // curl makes no difference here, openssl does.
        let said = s_client(&cloud, &format!("GET {path} HTTP/1.1\r\n\r\n"));
        assert!(said.contains("hello"), "{said}");
        assert_eq!(said.contains("unexpected eof"), ragged, "{path}: {said}");
    }
    for greeting in [Greeting::Send(ALERT.to_vec()), Greeting::HangUp] {
        cloud.greet(greeting);
        assert_eq!(curl(&cloud, "/x", &[]).0, 35, "no TLS");
    }
    cloud.greet(Greeting::Silence);
    assert_eq!(curl(&cloud, "/x", &["--max-time", "1"]).0, 28, "time is over");
}

#[test]
fn a_client_that_goes_is_noticed() {
    let cloud = Cloud::start(options()).unwrap();
    cloud.answer("/x", Script::new().without_a_token().hold());
    assert_eq!(curl(&cloud, "/x", &["--max-time", "1"]).0, 28);
    cloud.wait(SOON, |seen| matches!(seen.requests[0].state, State::Gone(_)));
}

#[test]
fn a_binary_comes_back_as_it_went() {
    let cloud = Cloud::start(options()).unwrap();
    let directory = Directory::new();
    let content: Vec<u8> = crate::support::cloud::body::blocks(9_000_000).flatten().collect();
    let file = directory.write("content", &content);
    let (form, back) =
        (format!("file=@{};type=x/y", file.display()), directory.path().join("back"));
    let token = format!("Authorization: Bearer {}", cloud.tokens().issue());
    let upload = ["-H", &token, "-F", "object={}", "-F", &form];
    let (exit, made) = curl(&cloud, "/inventory/binaries", &upload);
    assert_eq!(exit, 0);
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let path = format!("/inventory/binaries/{}", made["id"].as_str().unwrap());
    let back_name = back.to_str().unwrap();
    assert_eq!(curl(&cloud, &path, &["-H", &token, "-o", back_name]).0, 0);
    assert!(std::fs::read(&back).unwrap() == content);
    let big = cloud.add_binary(3_000_001);
    assert_eq!(curl(&cloud, &big, &["-H", &token, "-o", back_name]).0, 0);
    let digest = ring::digest::digest(&ring::digest::SHA256, &std::fs::read(&back).unwrap());
    assert_eq!(digest.as_ref(), blocks_digest(3_000_001));
}

#[test]
fn a_cloud_that_is_stopped_refuses_and_comes_back_where_it_was() {
    let mut cloud = Cloud::start(options()).unwrap();
    assert_eq!(curl(&cloud, "/", &[]).0, 0);
    cloud.stop();
    assert_eq!(curl(&cloud, "/", &[]).0, 7, "refused");
    cloud.restart().unwrap();
    assert_eq!(curl(&cloud, "/", &[]).0, 0);
}
