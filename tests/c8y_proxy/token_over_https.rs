//! The token over mutual TLS: what is sent for it, what goes wrong, and what the log says to do.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::certificates::{Authority, Key, Pair, Validity, self_signed};
use crate::support::cloud::access_tokens::{PATH, Trust};
use crate::support::cloud::{ALERT, Cloud, Greeting, Options, Script};
use crate::support::connect_proxy::ConnectProxy;
use crate::support::device::{
    Device, Outside, PROGRAM, SOON, Source, certificates, devices, options, token_answer,
};
use crate::support::directory::Directory;
use crate::support::service::{Service, Setup};
use crate::support::wait::eventually;

const TENANT: &str = "/c8y/tenant/currentTenant";

fn with_certificate(setup: &mut Setup, pair: &Pair) {
    setup.set("device.cert_path", &pair.cert);
    setup.set("device.key_path", &pair.key);
}

/// A device that shows this certificate, at a tenant that trusts the CA of all tests.
fn showing(pair: &Pair) -> Device {
    Device::among(Outside::of(Source::Https), |setup| with_certificate(setup, pair))
}

fn endpoint(outside: &mut Outside, change: impl FnOnce(&mut Options)) {
    let trust = Trust { authority: devices().authority.cert.clone(), revoked: None };
    let mut options = Options { trust: Some(trust), ..options() };
    change(&mut options);
    outside.endpoint = outside.cloud.start_beside(options).unwrap();
}

/// The text of the 502, which has all of these words, in less than `limit`.
fn told_within(limit: Duration, device: &Device, words: &[&str]) {
    let start = Instant::now();
    let answer = device.get(TENANT);
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(start.elapsed() < limit, "{:?}", start.elapsed());
    for word in words {
        assert!(answer.text().contains(word), "{word:?} in {}", answer.text());
    }
    assert!(device.cloud().seen().requests.is_empty(), "something was sent without a token");
    assert!(!device.proxy.log().contains("PRIVATE"), "{}", device.proxy.log());
}

fn told(device: &Device, words: &[&str]) {
    told_within(SOON, device, words);
}

#[test]
fn what_is_sent_is_the_certificate_and_little_else() {
    let device = Device::of(Source::Https);
    device.warm();
    let seen = device.endpoint().seen();
    let [request] = &seen.requests[..] else { panic!("{seen:#?}") };
    let head = String::from_utf8(request.head.clone()).unwrap().to_lowercase();
    let host = format!("host: localhost:{}", device.endpoint().address().port());
    let mut lines: Vec<_> = head.trim_end().split("\r\n").collect();
    assert_eq!(lines.remove(0), format!("post {} http/1.1", PATH.to_lowercase()));
    lines.sort_unstable();
    assert_eq!(lines, ["accept: application/json", "content-length: 0", host.as_str()]);
    let shown = seen.connections[0].certificate.clone().unwrap();
    assert_eq!(shown, der(&devices().device.cert));
    assert_eq!(device.bridge().asked(), 0);
    let health = device.get("/health").text();
    assert!(health.contains(r#""token":"valid","broker":"unused""#), "{health}");
}

/// The first certificate of a file.
fn der(path: &Path) -> Vec<u8> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_file(path).unwrap().to_vec()
}

#[test]
fn a_chain_goes_along_in_a_field_and_makes_a_known_root_enough() {
    let directory = Directory::new();
    let root = Authority::new(directory.path(), "root");
    let lower = root.intermediate("lower");
    let device = lower.client("deep", Key::P256);
    let behind = |pair: &Pair| {
        let mut outside = Outside::of(Source::Https);
        endpoint(&mut outside, |options| {
            options.trust = Some(Trust { authority: root.cert.clone(), revoked: None });
        });
        Device::among(outside, |setup| with_certificate(setup, pair))
    };
    let chained = behind(&device.with_chain(&[&lower.cert, &root.cert]));
    chained.warm();
    let request = chained.endpoint().seen().requests.remove(0);
    let chain = String::from_utf8(request.field("x-ssl-cert-chain").unwrap().to_vec()).unwrap();
    assert_eq!(chain.matches("-----BEGIN CERTIFICATE----- ").count(), 3);
    told(&behind(&device), &["401", "upload the CA", "CN=deep", "issued by", "CN=lower"]);
}

#[test]
fn a_certificate_that_is_refused_is_named_with_what_to_do() {
    let directory = Directory::new();
    let authority = &devices().authority;
    let stranger = Authority::new(directory.path(), "stranger").client("rpi4", Key::P256);
    told(&showing(&stranger), &["401", "upload the CA", "CN=rpi4", "issued by", "CN=stranger"]);
    let own = self_signed(directory.path(), "self", "DNS:rpi4");
    told(&showing(&own), &["upload", "CN=self, issued by CN=self"]);
    let expired = authority.client_until("late", Validity::Expired);
    let words = ["401", "has expired on 2020-02-01", "check the clock", "device.cert_path"];
    told(&showing(&expired), &words);

    let revoked = authority.client("lost", Key::P256);
    let list = authority.revocation_list("lost.crl", &[&revoked], Validity::Page);
    let mut outside = Outside::of(Source::Https);
    endpoint(&mut outside, |options| options.trust.as_mut().unwrap().revoked = Some(list));
    let device = Device::among(outside, |setup| with_certificate(setup, &revoked));
    told(&device, &["401", "is revoked", "CN=lost"]);
}

#[test]
fn each_answer_that_is_no_token_says_what_to_do() {
    let html = |status: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>")
    };
    let answer = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    for (answer, words) in [
        (
            answer("400 Bad Request"),
            &["400", "not the certificate of a device", "CN=rpi4", "config set device.cert_path"][..],
        ),
        (answer("401 Unauthorized"), &["401", "upload the CA", "CN=device-ca"]),
        (
            answer("404 Not Found"),
            &["404", "not enabled", "tedge config set c8y.proxy.token_source mqtt"],
        ),
        (answer("422 Unprocessable"), &["422", "cannot be verified", "upload its CA"]),
        (answer("503 Busy"), &["503", "again later"]),
        (
            answer("302 Found\r\nLocation: https://localhost:1/login"),
            &["302", "localhost:1/login is not followed", "config set c8y.proxy.token_url"],
        ),
        (html("200 OK"), &["text/html", "not JSON", "c8y.proxy.token_url"]),
        (token_answer("not a token"), &["characters that are not allowed"]),
        (token_answer("opaque"), &["the token is not a JWT"]),
        (token_answer(""), &["the token is empty"]),
        (answer("200 OK"), &["not JSON"]),
        ("HTTP/1.1 200 OK\r\n\r\n".to_owned() + &" ".repeat(300_000), &["longer than 16 KiB"]),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_owned(), &["interrupted"]),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), &["interrupted"]),
        (String::new(), &["interrupted"]),
    ] {
        let device = Device::of(Source::Https);
        let script = Script::new().without_a_token().read().send(&answer).close();
        device.endpoint().answer(PATH, script);
        told(&device, words);
        let is_none = words == ["interrupted"] && !answer.contains("200 OK");
        let requests = if is_none { 3 } else { 1 };
        assert_eq!(device.endpoint().seen().requests.len(), requests, "{answer}");
    }
}

#[test]
fn an_endpoint_that_cannot_be_reached_or_trusted_is_told_in_words() {
    let mut outside = Outside::of(Source::Https);
    outside.endpoint.stop();
    told(&Device::among(outside, |_| {}), &["cannot connect", "refused"]);

    for (greeting, words) in
        [(Greeting::HangUp, "TLS with"), (Greeting::Send(ALERT.to_vec()), "in common")]
    {
        let device = Device::of(Source::Https);
        device.endpoint().greet(greeting);
        told(&device, &[words]);
    }

    let directory = Directory::new();
    let stranger = Authority::new(directory.path(), "another-ca");
    for (server, words) in [
        (stranger.server("cloud", Key::P256), "signed by an unknown authority"),
        (stranger.server_until("late", Validity::Expired), "check the clock"),
    ] {
        let mut outside = Outside::of(Source::Https);
        endpoint(&mut outside, |options| {
            (options.certificate, options.key) = (server.cert, server.key);
        });
        let device = Device::among(outside, |setup| {
            let both = setup.directory().join("roots");
            fs::create_dir(&both).unwrap();
            fs::copy(&certificates().ca, both.join("a.crt")).unwrap();
            if words.contains("clock") {
                fs::copy(&stranger.cert, both.join("b.crt")).unwrap();
            }
            setup.set("c8y.root_cert_path", &both);
        });
        told(&device, &[words]);
        assert!(device.endpoint().seen().requests.is_empty());
    }
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn a_silent_endpoint_keeps_all_who_wait_for_20_seconds_together() {
    for is_greeted in [true, false] {
        let device = Device::of(Source::Https);
        if is_greeted {
            device.endpoint().answer(PATH, Script::new().without_a_token().read().hold());
        } else {
            device.endpoint().greet(Greeting::Silence);
        }
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| told_within(Duration::from_secs(22), &device, &["localhost:"]));
            }
        });
    }
}

#[test]
fn a_failure_that_passes_is_nobodys() {
    let device = Device::of(Source::Https);
    let script = Script::new().without_a_token().read().close();
    device.endpoint().answer(PATH, script.once());
    device.warm();
    assert_eq!(device.endpoint().seen().requests.len(), 2);
}

#[test]
fn a_slow_endpoint_is_waited_for() {
    let device = Device::of(Source::Https);
    device.outside.delay(Duration::from_secs(4));
    device.warm();
}

#[test]
fn tls_1_2_alone_is_enough() {
    let mut outside = Outside::of(Source::Https);
    endpoint(&mut outside, |options| options.versions = vec![&rustls::version::TLS12]);
    let device = Device::among(outside, |_| {});
    device.warm();
    assert_eq!(device.endpoint().seen().connections[0].version, "TLSv1_2");
}

#[test]
fn keys_of_every_kind_ask() {
    for kind in [Key::Rsa, Key::RsaPkcs1, Key::P256Sec1, Key::P384, Key::Ed25519] {
        let pair = devices().authority.client(&format!("{kind:?}"), kind);
        showing(&pair).warm();
    }
}

#[test]
fn it_is_reached_through_the_proxy_or_past_it_as_all_of_cumulocity() {
    for (no_proxy, tunnels) in [("", 1), ("localhost", 0)] {
        let outside = Outside::of(Source::Https);
        // Every tunnel leads to the endpoint: the request that follows is sent past the proxy.
        let proxy = ConnectProxy::start(outside.endpoint.address(), None).unwrap();
        let cloud = outside.cloud.address();
        let device = Device::among(outside, |setup| {
            setup.set("proxy.address", format!("http://{}", proxy.address().unwrap()));
            setup.set("proxy.no_proxy", format!("127.0.0.1,{no_proxy}"));
            setup.set("c8y.http", cloud.to_string());
        });
        device.warm();
        let heads = proxy.heads();
        assert_eq!(heads.len(), tunnels, "{heads:?}");
        let port = device.endpoint().address().port();
        assert!(heads.iter().all(|head| head.starts_with(&format!("CONNECT localhost:{port} "))));
    }
}

/// A device whose certificate is in files of its own, to be replaced.
fn with_files() -> (Device, Directory) {
    let directory = Directory::new();
    let files = files(&directory);
    replace(&devices().device.cert, &files.cert);
    replace(&devices().device.key, &files.key);
    let device = Device::among(Outside::of(Source::Https), |setup| with_certificate(setup, &files));
    device.warm();
    (device, directory)
}

fn files(directory: &Directory) -> Pair {
    Pair { cert: directory.path().join("device.crt"), key: directory.path().join("device.key") }
}

/// As a careful program does it: no reader sees half a file.
fn replace(from: &Path, to: &Path) {
    let new = to.with_extension("new");
    fs::copy(from, &new).unwrap();
    fs::rename(new, to).unwrap();
}

fn last_shown(endpoint: &Cloud) -> Vec<u8> {
    endpoint.seen().connections.pop().unwrap().certificate.unwrap()
}

#[test]
fn a_renewed_certificate_asks_for_the_next_token_without_a_restart() {
    let (device, directory) = with_files();
    let renewed = devices().authority.client("renewed", Key::P256);
    replace(&renewed.cert, &files(&directory).cert);
    replace(&renewed.key, &files(&directory).key);
    device.warm();
    assert_eq!(device.asked(), 1, "a token that is good is kept");
    device.cloud().tokens().revoke_all();
    device.warm();
    assert_eq!(device.asked(), 2);
    assert_eq!(last_shown(device.endpoint()), der(&renewed.cert));
}

#[test]
fn certificate_and_key_may_be_replaced_in_either_order_while_a_token_is_fetched() {
    for is_key_first in [true, false] {
        let (device, directory) = with_files();
        let renewed = devices().authority.client("swapped", Key::P256);
        let files = files(&directory);
        let mut order = [(&renewed.key, &files.key), (&renewed.cert, &files.cert)];
        if !is_key_first {
            order.reverse();
        }
        replace(order[0].0, order[0].1);
        device.cloud().tokens().revoke_all();
        thread::scope(|scope| {
            let asked = scope.spawn(|| device.get(TENANT));
            eventually("the refused token came back", SOON, || {
                device.cloud().seen().requests.iter().any(|request| request.refused)
            });
            replace(order[1].0, order[1].1);
            let answer = asked.join().unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
        });
        assert_eq!(last_shown(device.endpoint()), der(&renewed.cert));
    }
}

#[test]
fn a_key_that_never_fits_and_files_that_are_missing_are_told_by_their_settings() {
    let other = devices().authority.client("other", Key::P256);
    let wrong = Pair { cert: devices().device.cert.clone(), key: other.key };
    let device = showing(&wrong);
    device.proxy.wait_for("does not belong to the first certificate", SOON);
    told(&device, &["device.key_path", "does not belong to the first certificate"]);
    let missing = Pair { cert: "/nowhere/a.crt".into(), key: "/nowhere/a.key".into() };
    let device = showing(&missing);
    told(&device, &["device.cert_path: /nowhere/a.crt does not exist"]);
    assert!(device.endpoint().seen().connections.is_empty());

    let ended = Service::run(PROGRAM, |setup| {
        device.outside.settings(setup);
        with_certificate(setup, &missing);
        setup.argument("--check");
    });
    assert_eq!(ended.code(), 78);
    assert!(ended.log.contains("device.cert_path"), "{}", ended.log);
}

#[test]
fn the_host_is_that_of_the_tenant_and_the_port_8443_unless_it_is_set() {
    let device = Device::among(Outside::of(Source::Https), |setup| {
        setup.set("c8y.http", "nobody.invalid");
        setup.set_own("c8y.proxy.token_url", "\"\"");
        setup.environment("TEDGE_C8Y_PROXY_TOKEN_URL", "");
    });
    told(&device, &["nobody.invalid:8443"]);
}

#[test]
fn no_thread_and_no_connection_of_mqtt_is_there() {
    let device = Device::of(Source::Https);
    device.warm();
    eventually("the pool's threads are gone", SOON * 2, || device.proxy.threads() <= 2);
    assert!(!device.proxy.log().contains("broker"), "{}", device.proxy.log());
}
