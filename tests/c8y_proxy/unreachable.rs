//! What the client is told when Cumulocity cannot be reached, is not trusted, or does not answer.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::certificates::{Authority, Key, Validity, self_signed};
use crate::support::cloud::record::State;
use crate::support::cloud::{ALERT, Cloud, Greeting, Options, Script};
use crate::support::device::{Device, Outside, SOON, options};
use crate::support::directory::Directory;

fn told(device: &Device) -> String {
    let answer = device.get("/c8y/tenant/currentTenant");
    assert_eq!(answer.status, 502, "{}", answer.text());
    let text = answer.text();
    assert!(text.starts_with("Error communicating with Cumulocity: "), "{text}");
    assert!(text.len() > "Error communicating with Cumulocity: ".len() + 5, "{text}");
    text
}

#[test]
fn a_closed_port_is_told_at_once() {
    let mut device = Device::start();
    device.outside.cloud.stop();
    let start = Instant::now();
    let text = told(&device);
    assert!(text.to_lowercase().contains("refused"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn a_name_that_nobody_knows_is_told() {
    let device = Device::with(|setup| setup.set("c8y.http", "nobody.invalid"));
    let text = told(&device);
    assert!(text.contains("nobody.invalid"), "{text}");
}

#[test]
fn a_certificate_of_another_ca_or_another_name_is_not_trusted() {
    let directory = Directory::new();
    let authority = Authority::new(directory.path(), "another-ca");
    let stranger = authority.server("cloud", Key::P256);
    let options = Options::new(&stranger.cert, &stranger.key);
    let device = Device::among(Outside::with(Cloud::start(options).unwrap()), |_| {});
    let text = told(&device);
    assert!(text.to_lowercase().contains("certificate"), "{text}");
    assert!(device.cloud().seen().requests.is_empty(), "a token went to a stranger");

    let named = authority.server_for("named", "DNS:elsewhere.example");
    let options = Options::new(&named.cert, &named.key);
    let device = Device::among(Outside::with(Cloud::start(options).unwrap()), |setup| {
        setup.set("c8y.root_cert_path", &authority.cert);
    });
    let text = told(&device);
    assert!(text.contains("elsewhere.example") || text.contains("name"), "{text}");
    assert!(device.cloud().seen().requests.is_empty(), "a token went to a stranger");
}

#[test]
fn a_reload_trusts_the_cas_that_are_configured_now_on_open_connections_too() {
    let directory = Directory::new();
    let [ours, other] = ["ours", "other"].map(|name| Authority::new(directory.path(), name));
    let roots = directory.path().join("roots.pem");
    fs::copy(&ours.cert, &roots).unwrap();
    let named = ours.server("cloud", Key::P256);
    let cloud = Cloud::start(Options::new(&named.cert, &named.key)).unwrap();
    let device = Device::among(Outside::with(cloud), |setup| {
        setup.set("c8y.root_cert_path", &roots);
    });
    device.warm();
    let reload = |line: &str| {
        let count = device.proxy.log().lines().filter(|of| of.contains(line)).count();
        device.proxy.signal(Signal::HUP);
        device.proxy.wait_for_lines(line, count + 1, SOON);
    };
    for _ in 0..2 {
        fs::copy(&other.cert, &roots).unwrap();
        reload("reloaded: 1 CAs from c8y.root_cert_path");
        device.cloud().forget();
        assert!(told(&device).contains("unknown authority"), "{}", told(&device));
        assert!(device.cloud().seen().requests.is_empty(), "a token went to a stranger");

        fs::copy(&ours.cert, &roots).unwrap();
        reload("reloaded: 1 CAs from c8y.root_cert_path");
        device.warm();
    }
    fs::write(&roots, "no certificate").unwrap();
    reload("the old CAs from c8y.root_cert_path are still used: c8y.root_cert_path: ");
    device.warm();
}

#[test]
fn a_self_signed_certificate_is_trusted_where_it_is_the_root_and_else_told() {
    let directory = Directory::new();
    let edge = self_signed(directory.path(), "edge", "DNS:localhost");
    let cloud = || Cloud::start(Options::new(&edge.cert, &edge.key)).unwrap();
    let trusting = |root: &Path| {
        Device::among(Outside::with(cloud()), |setup| setup.set("c8y.root_cert_path", root))
    };
    trusting(&edge.cert).warm();

    // It is not enough that some other is the root.
    let other = self_signed(directory.path(), "other", "DNS:localhost");
    let text = told(&trusting(&other.cert));
    assert!(text.contains("is that of a CA") && text.contains("its own certificate"), "{text}");

    let elsewhere = self_signed(directory.path(), "elsewhere", "DNS:elsewhere.example");
    let cloud = Cloud::start(Options::new(&elsewhere.cert, &elsewhere.key)).unwrap();
    let device = Device::among(Outside::with(cloud), |setup| {
        setup.set("c8y.root_cert_path", &elsewhere.cert);
    });
    let text = told(&device);
    assert!(text.contains("its certificate is not for localhost"), "{text}");
    assert!(device.cloud().seen().requests.is_empty(), "a token went to a stranger");
}

#[test]
fn what_fails_again_and_again_is_complained_of_once_in_a_minute() {
    let mut device = Device::start();
    let lines = |device: &Device, words| {
        let log = device.proxy.log();
        (log.lines().filter(|line| line.contains(words)).count(), log)
    };
    device.outside.cloud.stop();
    for _ in 0..50 {
        told(&device);
    }
    let (count, log) = lines(&device, "cannot reach Cumulocity: cannot connect");
    assert!((1..=2).contains(&count), "{log}");

    let directory = Directory::new();
    let authority = Authority::new(directory.path(), "ca");
    let expired = authority.server_until("cloud", Validity::Expired);
    let cloud = Cloud::start(Options::new(&expired.cert, &expired.key)).unwrap();
    let device = Device::among(Outside::with(cloud), |setup| {
        setup.set("c8y.root_cert_path", &authority.cert);
    });
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(2_500) {
        let text = told(&device);
        assert!(text.contains("its certificate has expired on 2020-02-01"), "{text}");
    }
    // The clock that it names goes on by the minute.
    let (count, log) = lines(&device, "has expired");
    assert!((1..=2).contains(&count), "{log}");
}

#[test]
fn tls_that_is_refused_or_is_none_is_told() {
    let device = Device::start();
    for greeting in [
        Greeting::Send(ALERT.to_vec()),
        Greeting::Send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec()),
        Greeting::HangUp,
    ] {
        device.cloud().greet(greeting);
        told(&device);
    }
    device.cloud().greet(Greeting::Tls);
    device.warm();
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn a_handshake_takes_10_seconds_at_most() {
    let device = Device::start();
    device.cloud().greet(Greeting::Silence);
    let start = Instant::now();
    let answer = device.get("/c8y/tenant/currentTenant");
    assert!(matches!(answer.status, 502 | 504), "{}", answer.status);
    let after = start.elapsed();
    // Both addresses of localhost may be tried, one of them refused at once.
    assert!((9..=13).contains(&after.as_secs()), "{after:?}");
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn an_answer_and_the_rest_of_it_are_waited_for_while_the_cloud_is_alive() {
    let device = Device::start();
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    let pause = Duration::from_secs(70);
    device.cloud().answer("/late", Script::new().pause(pause).send(head).send("world"));
    device.cloud().answer("/slow", Script::new().send(head).pause(pause).send("world"));
    std::thread::scope(|scope| {
        for path in ["/c8y/late", "/c8y/slow"] {
            let mut client = device.connect();
            client.set_patience(2 * pause);
            scope.spawn(move || {
                client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap();
                let answer = client.answer();
                let came = (answer.status, answer.body.as_slice(), answer.broken);
                assert_eq!(came, (200, &b"helloworld"[..], None), "{path}");
            });
        }
    });
    assert_eq!(device.cloud().requests("/late").len(), 1, "it is not sent again");
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn a_cloud_that_takes_no_more_of_a_body_for_60_seconds_is_too_late() {
    let device = Device::start();
    device.warm();
    device.cloud().answer("/x", Script::new().hold());
    let mut client = device.connect();
    client.send("PUT /c8y/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n").unwrap();
    let mut sending = client.socket().try_clone().unwrap();
    let start = Instant::now();
    let sender = std::thread::spawn(move || {
        // It ends with the connection.
        while sending.write_all(&[b'x'; 64 * 1024]).is_ok() {}
    });
    // The kernel takes a little more late, when it probes the cloud's window (after 52 s here),
    // and the minute counts from that.
    client.set_patience(Duration::from_secs(130));
    let answer = client.answer();
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert!((55..=125).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    client.hang_up().unwrap();
    sender.join().unwrap();
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn a_client_that_sends_no_more_of_a_body_for_60_seconds_is_left() {
    let device = Device::start();
    device.warm();
    let mut client = device.connect();
    let head = "PUT /c8y/service/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nhello";
    client.send(head).unwrap();
    let start = Instant::now();
    let seen = device.cloud().wait(Duration::from_secs(70), |seen| {
        seen.requests.iter().any(|request| matches!(request.state, State::Gone(_)))
    });
    assert!(start.elapsed() > Duration::from_secs(55), "{:?}", start.elapsed());
    assert_eq!(seen.requests[0].digest, None, "the cloud takes it for whole");
    let _end = client.rest();
}

#[test]
fn tls_1_2_alone_and_1_3_alone_are_spoken() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut options = options();
        options.versions = vec![version];
        let device = Device::among(Outside::with(Cloud::start(options).unwrap()), |_| {});
        device.warm();
        let seen = device.cloud().wait(SOON, |seen| !seen.connections.is_empty());
        let spoken = seen.connections[0].version.replace('_', "").replace("TLSv", "TLS");
        assert!(format!("{:?}", version.version).replace('_', "").contains(&spoken[3..]));
    }
}
