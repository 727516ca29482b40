//! New certificates and lists without a restart.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, ClientConfig, ClientConnection};

use super::mutual_tls::refusal;
use crate::support::certificates::{Authority, Key, Pair, Validity};
use crate::support::client::{Client, tls};
use crate::support::directory::Directory;
use crate::support::service::{SOON, Service};
use crate::support::wait::eventually;
use crate::{Secured, bytes, put, request};

/// The certificate that a new connection gets to see.
fn served(service: &Service, config: &Arc<ClientConfig>) -> Vec<u8> {
    let name = ServerName::try_from("localhost").unwrap();
    // No tickets: with one there is no certificate to see.
    let mut config = (**config).clone();
    config.resumption = rustls::client::Resumption::disabled();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = std::net::TcpStream::connect(service.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).unwrap();
    }
    connection.peer_certificates().unwrap()[0].to_vec()
}

/// What the service says of a reload: the new files are in use, they are not, there are none.
const RELOADED: &str = "reloaded: ";
const KEPT: &str = "the old certificates stay in use: ";
const NOTHING: &str = "nothing to reload";

/// Has the service read its files again; returns when it has said `outcome` of that.
#[track_caller]
fn reload(service: &Service, outcome: &str) {
    let said = service.log().lines().filter(|line| line.contains(outcome)).count();
    service.signal(Signal::HUP);
    service.wait_for_lines(outcome, said + 1, SOON);
}

/// Replaces key and certificate as certificate tools do: the key first, each by a rename.
fn replace(service: &Service, pair: &Pair) {
    for (from, to) in [(&pair.key, "main-agent.key"), (&pair.cert, "main-agent.crt")] {
        let to = service.path("tedge-local-ca.d").join(to);
        let beside = to.with_extension("new");
        fs::copy(from, &beside).unwrap();
        fs::rename(beside, to).unwrap();
    }
}

#[test]
fn a_new_certificate_is_served_and_a_download_goes_on() {
    let secured = Secured::start(|_, _| {});
    let service = &secured.service;
    let content = bytes(30_000_000, 45);
    let mut download = secured.client();
    assert_eq!(download.exchange(put("foo", &content)).status, 201);
    download.send(request("GET", "foo")).unwrap();
    assert_eq!(download.head().status, 200);
    let mut received = download.skip(1_000_000).unwrap();

    let before = served(service, &secured.tls());
    replace(service, &secured.authority.server("next", Key::P384));
    reload(service, RELOADED);
    assert_ne!(served(service, &secured.tls()), before);
    received += download.skip(29_000_000).unwrap();
    assert_eq!(received, 30_000_000);
    assert_eq!(download.exchange(request("GET", "foo")).body.len(), content.len());
}

#[test]
fn a_new_certificate_that_does_not_load_leaves_the_old_one() {
    let secured = Secured::start(|_, _| {});
    let service = &secured.service;
    let before = served(service, &secured.tls());
    let path = service.path("tedge-local-ca.d/main-agent.crt");
    let good = fs::read(&path).unwrap();
    for broken in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA"] {
        fs::write(&path, broken).unwrap();
        reload(service, KEPT);
        assert_eq!(served(service, &secured.tls()), before, "{broken:?}");
    }
    // A key that does not fit, and nothing at all.
    fs::write(&path, good).unwrap();
    let other = secured.authority.server("other", Key::P256);
    fs::copy(other.key, service.path("tedge-local-ca.d/main-agent.key")).unwrap();
    reload(service, KEPT);
    assert_eq!(served(service, &secured.tls()), before);
    fs::remove_file(&path).unwrap();
    reload(service, KEPT);
    assert_eq!(served(service, &secured.tls()), before);
    replace(service, &secured.authority.server("next", Key::P256));
    reload(service, RELOADED);
    assert_ne!(served(service, &secured.tls()), before);
}

#[test]
fn a_reload_without_descriptors_is_reported_and_tried_again() {
    let directory = Directory::new();
    let path = directory.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(SOON)).unwrap();
    let secured = Secured::start(|setup, _| {
        setup.environment("NOTIFY_SOCKET", path.to_str().unwrap());
    });
    let service = &secured.service;
    let wait_to_be_told = |wanted: &str| {
        let mut message = [0; 4096];
        let mut is_told = || {
            let count = systemd.recv(&mut message).unwrap();
            message[..count] == *wanted.as_bytes()
        };
        while !is_told() {}
    };
    let inherited = getrlimit(Resource::Nofile);
    let limit = |current| Rlimit { current, ..inherited };
    let before = prlimit(Some(service.pid()), Resource::Nofile, limit(Some(3))).unwrap();
    let next = secured.authority.server("next", Key::P384);
    replace(service, &next);
    reload(service, KEPT);
    wait_to_be_told("STATUS=The last reload failed: see the log");
    let log = service.wait_for("trying again every second", SOON);
    assert!(log.contains("Too many open files"), "{log}");

    prlimit(Some(service.pid()), Resource::Nofile, limit(before.current)).unwrap();
    service.wait_for(RELOADED, SOON);
    wait_to_be_told("STATUS=");
    let next = CertificateDer::from_pem_file(&next.cert).unwrap();
    assert_eq!(served(service, &secured.tls()), next.as_ref());
}

#[test]
fn somebody_revoked_since_cannot_resume_an_old_session() {
    let mut child = None;
    let secured = Secured::start(|setup, authority| {
        let pair = authority.client("child", Key::P256);
        let list = authority.revocation_list("list.pem", &[], Validity::Page);
        setup.set("http.ca_path", &authority.cert);
        setup.set_own_path("http.crl_path", list);
        child = Some(pair);
    });
    let child = child.unwrap();
    // With the same configuration the client shows its ticket when it comes again.
    let config = tls(&secured.authority.cert, Some(&child));
    for _ in 0..3 {
        assert_eq!(refusal(&secured.service, &config), None);
    }
    secured.authority.revocation_list("list.pem", &[&child], Validity::Page);
    reload(&secured.service, RELOADED);
    let fresh = tls(&secured.authority.cert, Some(&child));
    for config in [&fresh, &config] {
        let alert = refusal(&secured.service, config);
        assert_eq!(alert, Some(AlertDescription::CertificateRevoked));
    }
}

#[test]
fn somebody_revoked_since_gets_no_answer_on_a_connection_that_was_open_before() {
    let mut pairs = None;
    let secured = Secured::start(|setup, authority| {
        let pair = |name| authority.client(name, Key::P256);
        pairs = Some((pair("good"), pair("bad")));
        let list = authority.revocation_list("list.pem", &[], Validity::Page);
        setup.set("http.ca_path", &authority.cert);
        setup.set_own_path("http.crl_path", list);
    });
    let (good, bad) = pairs.unwrap();
    let (service, authority) = (&secured.service, &secured.authority);
    let content = bytes(8_000_000, 46);
    let of_bad = tls(&authority.cert, Some(&bad));
    let connect =
        |config: &Arc<ClientConfig>| Client::connect_tls(service.address, config).unwrap();
    let mut keeper = connect(&tls(&authority.cert, Some(&good)));
    assert_eq!(keeper.exchange(put("foo", &content)).status, 201);

    // Sockets that have been idle for so long that the service holds no buffer for them, one of
    // them a resumed session; one that is in use; one that has not sent anything; one that reads.
    let mut idle: Vec<Client> = (0..2).map(|_| connect(&of_bad)).collect();
    for client in &mut idle {
        assert_eq!(client.exchange(request("GET", "none")).status, 404);
    }
    std::thread::sleep(Duration::from_millis(1500));
    let mut busy = connect(&of_bad);
    assert_eq!(busy.exchange(request("GET", "none")).status, 404);
    let silent = connect(&of_bad);
    let mut reader = connect(&of_bad);
    reader.send(request("GET", "foo")).unwrap();
    assert_eq!(reader.head().status, 200);

    authority.revocation_list("list.pem", &[&bad], Validity::Page);
    reload(service, RELOADED);
    // An answer under way is finished, so that nothing that looks whole is not.
    assert_eq!(reader.skip(content.len() as u64).unwrap(), content.len() as u64);
    for mut client in idle.into_iter().chain([busy, silent, reader]) {
        let answer =
            client.send(put("planted", b"by the revoked")).and_then(|()| client.try_answer());
        assert!(!matches!(&answer, Ok(Some(_))), "{answer:?}");
    }
    let log = service.wait_for("revoked", SOON);
    assert_eq!(log.matches("revoked").count(), 1, "{log}");
    assert!(log.contains("the connection is closed: its certificate is revoked"), "{log}");
    assert_eq!(keeper.exchange(request("GET", "none")).status, 404);
    assert_eq!(keeper.exchange(request("GET", "planted")).status, 404);
}

#[test]
fn sighup_without_tls_ends_nothing() {
    let service = crate::start(|_| {});
    let mut client = Client::connect(service.address);
    reload(&service, NOTHING);
    assert_eq!(client.exchange(request("GET", "foo")).status, 404);
    assert_eq!(Client::connect(service.address).exchange(request("GET", "foo")).status, 404);
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn changed_files_are_noticed_within_a_minute() {
    let secured = Secured::start(|setup, authority| {
        let directory = setup.directory().join("cas");
        fs::create_dir_all(&directory).unwrap();
        fs::copy(&authority.cert, directory.join("ca.crt")).unwrap();
        setup.set("http.ca_path", directory);
    });
    let service = &secured.service;
    let child = secured.authority.client("child", Key::P256);
    let config = tls(&secured.authority.cert, Some(&child));
    let before = served(service, &config);
    replace(service, &secured.authority.server("next", Key::P256));
    let other = Authority::new(service.directory().path(), "other");
    fs::copy(&other.cert, service.path("cas/other.crt")).unwrap();
    let late = tls(&secured.authority.cert, Some(&other.client("late", Key::P256)));
    eventually("the new certificate and the new CA count", Duration::from_secs(65), || {
        std::thread::sleep(Duration::from_millis(500));
        served(service, &config) != before && refusal(service, &late).is_none()
    });
}
