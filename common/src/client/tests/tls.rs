//! TLS upstream.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use http::{Method, StatusCode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{WantsServerCert, WebPkiClientVerifier};
use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

use super::upstream::{Upstream, echo, read_head};
use super::{at, get, message, plain, read, send, with_client};
use crate::client::{Error, Options};
use crate::http::Body;

type Session = StreamOwned<ServerConnection, TcpStream>;

#[test]
fn connections_are_kept_and_sessions_resumed() {
    let mut upstream = serve(accepts_anyone(), |mut session, number, tell| {
        tell(&format!("{:?}", session.conn.handshake_kind().unwrap()));
        echo(&mut session, number);
    });
    with_client(over_tls(upstream.port), async |client| {
        // The first answer is not read yet, so the second request needs a connection of its own.
        let first = send(&client, get("/")).await.unwrap();
        let second = send(&client, get("/")).await.unwrap();
        assert_eq!(upstream.event().await, "Full");
        assert_eq!(upstream.event().await, "Resumed");
        assert!(read(first).await.unwrap().starts_with("0 GET / "));
        assert!(read(second).await.unwrap().starts_with("1 GET / "));
        let kept = send(&client, get("/")).await.unwrap();
        assert!(read(kept).await.unwrap().starts_with("1 GET / "));
    });
}

#[test]
fn a_certificate_from_elsewhere_is_refused_in_the_words_of_rustls() {
    let upstream = serve(accepts_anyone(), |session, number, _| echo(session, number));
    let mut options = over_tls(upstream.port);
    options.tls = Some(trusting(&identities().1));
    with_client(options, async |client| {
        let error = send(&client, get("/")).await.unwrap_err();
        assert!(matches!(error, Error::Tls { .. }) && !error.was_sent(), "{error:?}");
        let error = error.to_string();
        assert!(error.ends_with("its certificate is signed by an unknown authority"), "{error}");
    });
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let upstream = serve(accepts_anyone(), |session, number, _| echo(session, number));
    let options = Options { origin: at("127.0.0.1", upstream.port), ..over_tls(upstream.port) };
    with_client(options, async |client| {
        let error = send(&client, get("/")).await.unwrap_err().to_string();
        assert!(error.contains("its certificate is not for 127.0.0.1"), "{error}");
    });
}

#[test]
fn a_server_that_wants_a_certificate_says_so() {
    let roots = Arc::new(roots(&identities().0));
    let verifier = WebPkiClientVerifier::builder(roots).build().unwrap();
    let config = ServerConfig::builder().with_client_cert_verifier(verifier);
    let upstream = serve(identified(config), |session, number, _| echo(session, number));
    with_client(over_tls(upstream.port), async |client| {
        let error = send(&client, get("/")).await.unwrap_err().to_string();
        assert!(error.contains("requires a certificate, and we sent none"), "{error}");
    });
}

#[test]
fn only_a_goodbye_ends_a_body_without_length() {
    for polite in [true, false] {
        let upstream = serve(accepts_anyone(), move |mut session, _, _| {
            read_head(&mut session);
            write!(session, "HTTP/1.1 200 OK\r\n\r\nall of it").unwrap();
            if polite {
                session.conn.send_close_notify();
            }
            session.flush().unwrap();
        });
        with_client(over_tls(upstream.port), async |client| {
            let answer = send(&client, get("/")).await.unwrap();
            match read(answer).await {
                Ok(content) => assert!(polite && content == "all of it"),
                Err(error) => {
                    let error = error.to_string();
                    assert!(
                        !polite && error.contains("it ended without a TLS close_notify"),
                        "{error}"
                    );
                }
            }
        });
    }
}

#[test]
fn an_early_answer_survives_the_reset_that_follows_it() {
    let upstream = serve(accepts_anyone(), |mut session, _, _| {
        read_head(&mut session);
        write!(session, "HTTP/1.1 401 Unauthorized\r\ncontent-length: 3\r\n\r\nno!").unwrap();
    });
    with_client(over_tls(upstream.port), async |client| {
        for _ in 0..50 {
            let request = message(Method::PUT, "/", Body::stream(super::exchange::Endless));
            let answer = send(&client, request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
            assert_eq!(read(answer).await.unwrap(), "no!");
        }
    });
}

#[test]
fn a_goodbye_in_that_moment_is_survived_by_what_may_be_repeated() {
    let upstream = serve(accepts_anyone(), |mut session, number, _| {
        if number == 1 {
            return echo(session, number);
        }
        read_head(&mut session);
        write!(session, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        read_head(&mut session);
        session.conn.send_close_notify();
        session.flush().unwrap();
    });
    with_client(over_tls(upstream.port), async |client| {
        send(&client, get("/")).await.unwrap();
        let answer = send(&client, get("/")).await.unwrap();
        assert!(read(answer).await.unwrap().starts_with("1 "));
    });
}

#[test]
fn a_large_body_crosses_in_both_directions() {
    const LENGTH: usize = 20_000_000;
    let upstream = serve(accepts_anyone(), |mut session, _, _| {
        read_head(&mut session);
        write!(session, "HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n").unwrap();
        let mut content = vec![0; LENGTH];
        session.read_exact(&mut content).unwrap();
        session.write_all(&content).unwrap();
    });
    with_client(over_tls(upstream.port), async |client| {
        let content: String = (b'a'..=b'z').map(char::from).cycle().take(LENGTH).collect();
        let request = message(Method::POST, "/", Body::text(content.clone()));
        let answer = send(&client, request).await.unwrap();
        assert!(read(answer).await.unwrap() == content);
    });
}

/// Options for the server at this port, of which the name is `localhost`.
pub(super) fn over_tls(port: u16) -> Options {
    let tls = Some(trusting(&identities().0));
    Options { origin: at("localhost", port), tls, ..plain(port) }
}

pub(super) fn accepts_anyone() -> ServerConfig {
    identified(ServerConfig::builder().with_no_client_auth())
}

pub(super) fn serve(
    config: ServerConfig,
    serve: impl Fn(Session, usize, &dyn Fn(&str)) + Clone + Send + 'static,
) -> Upstream {
    let config = Arc::new(config);
    Upstream::new(move |mut stream, number, tell| {
        let mut session = ServerConnection::new(Arc::clone(&config)).unwrap();
        if session.complete_io(&mut stream).is_ok() {
            serve(StreamOwned::new(session, stream), number, tell);
        }
    })
}

fn identified(config: ConfigBuilder<ServerConfig, WantsServerCert>) -> ServerConfig {
    let Identity { certificate, key } = &identities().0;
    config.with_single_cert(vec![certificate.clone()], key.clone_key()).unwrap()
}

fn trusting(identity: &Identity) -> Arc<ClientConfig> {
    let config = ClientConfig::builder().with_root_certificates(roots(identity));
    Arc::new(config.with_no_client_auth())
}

fn roots(identity: &Identity) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(identity.certificate.clone()).unwrap();
    roots
}

struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

/// That of the server and another one, both for `localhost`.
fn identities() -> &'static (Identity, Identity) {
    static IDENTITIES: OnceLock<(Identity, Identity)> = OnceLock::new();
    IDENTITIES.get_or_init(|| {
        let directory = std::env::temp_dir().join(format!("client-tls-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let identities = (identity(&directory, "server"), identity(&directory, "other"));
        std::fs::remove_dir_all(&directory).unwrap();
        identities
    })
}

fn identity(directory: &Path, name: &str) -> Identity {
    let made = Command::new("openssl")
        .args("req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256".split(' '))
        .args("-addext subjectAltName=DNS:localhost".split(' '))
        .args("-addext basicConstraints=critical,CA:FALSE".split(' '))
        .args(["-subj", &format!("/CN={name}"), "-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    Identity {
        certificate: CertificateDer::from_pem_file(directory.join("certificate.pem")).unwrap(),
        key: PrivateKeyDer::from_pem_file(directory.join("key.pem")).unwrap(),
    }
}
