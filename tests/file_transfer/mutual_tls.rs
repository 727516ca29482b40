//! HTTPS with client authentication: which clients are accepted, and what the others and the log
//! are told.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig, ClientConnection};

use crate::support::certificates::{Authority, Key, Pair, Validity};
use crate::support::client::{Client, tls};
use crate::support::service::{SOON, Service};
use crate::{FILES, Secured, request, start, stored};

/// A service that demands certificates of its own authority.
fn demanding() -> Secured {
    Secured::start(|setup, authority| setup.set("http.ca_path", &authority.cert))
}

/// The alert with which a client is refused; `None` where it gets an answer.
pub(super) fn refusal(service: &Service, config: &Arc<ClientConfig>) -> Option<AlertDescription> {
    let outcome = Client::connect_tls(service.address, config).and_then(|mut client| {
        client.send(request("GET", "foo"))?;
        client.try_answer()
    });
    match outcome {
        Ok(Some(answer)) => {
            assert!([200, 404].contains(&answer.status));
            None
        }
        Ok(None) => panic!("closed without an alert"),
        Err(error) => match error.get_ref().and_then(|error| error.downcast_ref()) {
            Some(rustls::Error::AlertReceived(alert)) => Some(*alert),
            _ => panic!("no alert, but {error:?}"),
        },
    }
}

/// The lines of the log that name this machine as the client; waits until there is one.
fn complaints(service: &Service, why: &str) -> Vec<String> {
    let log = service.wait_for(why, SOON);
    log.lines().filter(|line| line.contains(why)).map(str::to_owned).collect()
}

#[test]
fn a_client_with_a_certificate_is_let_in() {
    for kind in [Key::Rsa, Key::P256, Key::P384, Key::Ed25519] {
        let secured = demanding();
        let child = secured.authority.client("tedge-client", kind);
        let file = secured.service.directory().write("foo.txt", "Hello thin-edge.io\n");
        let form = format!("file=@{}", file.display());
        let url = secured.service.url(&format!("{FILES}/foo.txt"));
        for version in ["1.2", "1.3"] {
            let curl = || {
                let curl = crate::Curl::new(&url).tls(&secured.authority.cert, Some(&child));
                curl.args(["--tls-max", version])
            };
            let put = curl().args(["-X", "PUT", "-F", &form]).answer();
            assert_eq!(put.status, 201, "{kind:?} {version}");
            assert_eq!(curl().answer().text(), "Hello thin-edge.io\n");
        }
    }
}

#[test]
fn a_client_without_a_certificate_is_told_that_one_is_required() {
    let secured = demanding();
    let alert = refusal(&secured.service, &secured.tls());
    assert_eq!(alert, Some(AlertDescription::CertificateRequired));
    let lines = complaints(&secured.service, "certificate");
    let about: Vec<_> = lines.iter().filter(|line| line.contains("127.0.0.1:")).collect();
    assert!(!about.is_empty(), "{lines:?}");

    let got = secured.curl("/health").run();
    assert_ne!(got.exit, 0);
    assert!(got.complaint.contains("certificate required"), "{}", got.complaint);
    let got = secured.curl("/health").args(["--tls-max", "1.2"]).run();
    assert_ne!(got.exit, 0, "over TLS 1.2");
    assert!(stored(&secured.service).is_empty());
}

#[test]
fn a_client_of_an_unknown_authority_is_told_so() {
    let secured = demanding();
    let stranger = Authority::new(secured.service.directory().path(), "stranger");
    let pair = stranger.client("strange-child", Key::P256);
    let alert = refusal(&secured.service, &tls(&secured.authority.cert, Some(&pair)));
    assert_eq!(alert, Some(AlertDescription::UnknownCA));
    refused_once(&secured.service, "unknown");
}

#[test]
fn a_client_whose_certificate_has_expired_is_told_so() {
    let secured = demanding();
    let pair = secured.authority.client_until("late", Validity::Expired);
    let alert = refusal(&secured.service, &tls(&secured.authority.cert, Some(&pair)));
    assert_eq!(alert, Some(AlertDescription::CertificateExpired));
    refused_once(&secured.service, "expired");
}

/// The log says once who was refused, and why in words.
fn refused_once(service: &Service, why: &str) {
    let lines = complaints(service, why);
    let about: Vec<_> = lines.iter().filter(|line| line.contains("127.0.0.1")).collect();
    assert!(about.len() == 1, "{}", service.log());
    let words = about[0].to_lowercase();
    for programmers in ["invalidcertificate", "unknownissuer", "alertreceived", "certexpired"] {
        assert!(!words.contains(programmers), "not in words: {words}");
    }
}

#[test]
fn a_revoked_client_is_told_so() {
    let mut pairs = None;
    let secured = Secured::start(|setup, authority| {
        let good = authority.client("good", Key::P256);
        let bad = authority.client("bad", Key::P256);
        let list = authority.revocation_list("list.pem", &[&bad], Validity::Page);
        setup.set("http.ca_path", &authority.cert);
        setup.set_own_path("http.crl_path", list);
        pairs = Some((good, bad));
    });
    let (good, bad) = pairs.unwrap();
    let ask = |pair: &Pair| refusal(&secured.service, &tls(&secured.authority.cert, Some(pair)));
    assert_eq!(ask(&good), None);
    assert_eq!(ask(&bad), Some(AlertDescription::CertificateRevoked));
    refused_once(&secured.service, "revoked");
    assert_eq!(ask(&good), None);
}

#[test]
fn an_authority_without_a_list_is_not_checked_and_an_old_list_still_counts() {
    let mut pairs = None;
    let secured = Secured::start(|setup, authority| {
        let other = Authority::new(setup.directory(), "other");
        let directory = setup.directory().join("cas");
        fs::create_dir_all(&directory).unwrap();
        fs::copy(&authority.cert, directory.join("one.crt")).unwrap();
        fs::copy(&other.cert, directory.join("other.crt")).unwrap();
        let bad = authority.client("bad", Key::P256);
        let list = authority.revocation_list("list.pem", &[&bad], Validity::Expired);
        let lists = setup.directory().join("crls");
        fs::create_dir_all(&lists).unwrap();
        fs::copy(list, lists.join("list.pem")).unwrap();
        setup.set("http.ca_path", &directory);
        setup.set_own_path("http.crl_path", &lists);
        let good = authority.client("good", Key::P256);
        pairs = Some((good, bad, other.client("foreign", Key::P256)));
    });
    let (good, bad, foreign) = pairs.unwrap();
    let ask = |pair: &Pair| refusal(&secured.service, &tls(&secured.authority.cert, Some(pair)));
    assert_eq!(ask(&foreign), None, "its authority has no list");
    assert_eq!(ask(&good), None);
    assert_eq!(ask(&bad), Some(AlertDescription::CertificateRevoked));
    let log = secured.service.stop().log;
    let warning = log.lines().find(|line| line.contains("list.pem")).unwrap_or_default();
    assert!(warning.contains("expired"), "{log}");
}

#[test]
fn a_client_below_an_intermediate_authority_is_let_in() {
    let secured = demanding();
    let lower = secured.authority.intermediate("lower");
    let pair = lower.client("deep", Key::P256);
    let whole = pair.with_chain(&[&lower.cert]);
    let ask = |pair: &Pair| refusal(&secured.service, &tls(&secured.authority.cert, Some(pair)));
    assert_eq!(ask(&whole), None);
    assert_eq!(ask(&pair), Some(AlertDescription::UnknownCA), "without the one between");
}

#[test]
fn a_certificate_too_many_refuses_no_client() {
    let secured = demanding();
    let child = secured.authority.client("child", Key::P256);
    let old = secured.authority.expired_self();
    for above in [&[&*old][..], &[&secured.authority.cert], &[&secured.authority.cert, &old]] {
        let chain = child.with_chain(above);
        let config = tls(&secured.authority.cert, Some(&chain));
        // The second time it resumes the session.
        for _ in 0..2 {
            assert_eq!(refusal(&secured.service, &config), None, "{above:?}");
        }
    }
}

/// A handshake that is broken off with an alert of this number.
fn break_off(service: &Service, hello: &[u8], alert: u8) {
    let mut socket = std::net::TcpStream::connect(service.address).unwrap();
    socket.write_all(&[hello, &[0x15, 3, 3, 0, 2, 2, alert]].concat()).unwrap();
    let _ = socket.shutdown(std::net::Shutdown::Write);
    let _ = socket.read_to_end(&mut Vec::new());
}

#[test]
fn strangers_with_made_up_errors_do_not_use_up_the_lines_of_the_revoked() {
    let mut revoked = None;
    let secured = Secured::start(|setup, authority| {
        let pair = authority.client("bad", Key::P256);
        let list = authority.revocation_list("list.pem", &[&pair], Validity::Page);
        setup.set("http.ca_path", &authority.cert);
        setup.set_own_path("http.crl_path", list);
        revoked = Some(pair);
    });
    let name = ServerName::try_from("localhost").unwrap();
    let mut config = (*secured.tls()).clone();
    config.alpn_protocols.clear();
    let mut hello = Vec::new();
    ClientConnection::new(Arc::new(config), name).unwrap().write_tls(&mut hello).unwrap();
    for alert in 100..200 {
        break_off(&secured.service, &hello, alert);
    }
    let config = tls(&secured.authority.cert, revoked.as_ref());
    let alert = refusal(&secured.service, &config);
    assert_eq!(alert, Some(AlertDescription::CertificateRevoked));
    refused_once(&secured.service, "revoked");
    let log = secured.service.log();
    let strangers = log.lines().filter(|line| line.contains("refused us")).count();
    assert!((1..=2).contains(&strangers), "{strangers} lines: {log}");
}

/// What `openssl s_client` is told of the authorities.
fn names_sent(secured: &Secured) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &secured.service.address.to_string(), "-tls1_2"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A directory with so many authorities, the service's own among them, each there three times:
/// as a file, as a link to it as `openssl rehash` makes them, and in one bundle.
fn directory_of(authority: &Authority, directory: &Path, count: usize) {
    fs::create_dir_all(directory).unwrap();
    let mut bundle = String::new();
    for number in 0..count {
        let name = format!("ca-{number}");
        let other = (number > 0).then(|| Authority::new(directory.parent().unwrap(), &name));
        let cert = other.as_ref().map_or(&authority.cert, |other| &other.cert);
        fs::copy(cert, directory.join(format!("{name}.pem"))).unwrap();
        symlink(format!("{name}.pem"), directory.join(format!("{number:08x}.0"))).unwrap();
        bundle.push_str(&fs::read_to_string(cert).unwrap());
    }
    fs::write(directory.join("ca-certificates.crt"), bundle).unwrap();
}

#[test]
fn authorities_are_counted_once_and_named_to_clients_up_to_sixteen() {
    for (count, are_named) in [(2, true), (16, true), (17, false)] {
        let secured = Secured::start(|setup, authority| {
            let directory = setup.directory().join("cas");
            directory_of(authority, &directory, count);
            setup.set("http.ca_path", directory);
        });
        let child = secured.authority.client("child", Key::P256);
        let config = tls(&secured.authority.cert, Some(&child));
        assert_eq!(refusal(&secured.service, &config), None, "{count}");
        let said = names_sent(&secured);
        assert_eq!(
            said.contains("Acceptable client certificate CA names"),
            are_named,
            "{count}: {said}"
        );
        let log = secured.service.log();
        let line = log.lines().find(|line| line.contains("Serving")).unwrap();
        let counted =
            line.split(|c: char| !c.is_ascii_digit()).any(|word| word == count.to_string());
        assert!(counted, "not {count} CAs: {line}");
    }
}

#[test]
fn public_authorities_are_warned_of_once() {
    let public = Path::new("/etc/ssl/certs");
    if fs::read_dir(public).map_or(0, Iterator::count) < 50 {
        eprintln!("skipped: there are no public authorities in /etc/ssl/certs");
        return;
    }
    let secured = Secured::start(|setup, _| setup.set("http.ca_path", public));
    assert!(names_sent(&secured).contains("No client certificate CA names sent"));
    let log = secured.service.stop().log;
    let warnings = log.lines().filter(|line| line.contains("public")).count();
    assert_eq!(warnings, 1, "{log}");
}

#[test]
fn one_bad_file_among_the_authorities_is_a_warning() {
    let secured = Secured::start(|setup, authority| {
        let directory = setup.directory().join("cas");
        fs::create_dir_all(&directory).unwrap();
        fs::copy(&authority.cert, directory.join("good.crt")).unwrap();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        fs::write(directory.join("broken.crt"), broken).unwrap();
        setup.set("http.ca_path", directory);
    });
    let child = secured.authority.client("child", Key::P256);
    assert_eq!(refusal(&secured.service, &tls(&secured.authority.cert, Some(&child))), None);
    let log = secured.service.stop().log;
    assert!(log.contains("broken.crt"), "{log}");
}

#[test]
fn a_flood_of_refused_clients_does_not_fill_the_log() {
    let secured = demanding();
    for _ in 0..300 {
        assert!(refusal(&secured.service, &secured.tls()).is_some());
    }
    let log = secured.service.log();
    let lines = log.lines().filter(|line| line.contains("127.0.0.1:")).count();
    assert!((2..=6).contains(&lines), "{lines} lines: {log}");
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn a_complaint_that_is_repeated_is_counted() {
    let service = start(|setup| {
        let authority = Authority::new(setup.directory(), "ca");
        let pair = authority.server("server", Key::P256);
        setup.set("http.cert_path", pair.cert);
        setup.set("http.key_path", pair.key);
        setup.set("http.ca_path", &authority.cert);
    });
    let ca = service.path("ca.d/ca.crt");
    let config = tls(&ca, None);
    for _ in 0..300 {
        assert!(refusal(&service, &config).is_some());
    }
    let count_is_said = || {
        let log = service.log();
        let numbers = log.split(|c: char| !c.is_ascii_digit());
        numbers.flat_map(str::parse).any(|number: u32| (299..600).contains(&number))
    };
    let end = std::time::Instant::now() + Duration::from_secs(75);
    while !count_is_said() {
        assert!(std::time::Instant::now() < end, "no count: {}", service.log());
        std::thread::sleep(Duration::from_secs(1));
        // The first refused client after the minute causes the line with the count.
        assert!(refusal(&service, &config).is_some());
        if service.log().lines().count() > 20 {
            panic!("too many lines: {}", service.log());
        }
    }
}
