//! TLS upstream.

use std::io::Write;
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
use crate::client::Options;
use crate::http::Body;
use crate::tls::ClientTls;

type Session = StreamOwned<ServerConnection, TcpStream>;

#[test]
fn a_server_that_wants_a_certificate_says_so() {
    let roots = Arc::new(roots(server_identity()));
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

/// Options for the server at this port, of which the name is `localhost`.
pub(super) fn over_tls(port: u16) -> Options {
    let tls = Some(ClientTls::Fixed(trusting(server_identity())));
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
    let Identity { certificate, key } = server_identity();
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

fn server_identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let directory = std::env::temp_dir().join(format!("client-tls-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let identity = identity(&directory);
        std::fs::remove_dir_all(&directory).unwrap();
        identity
    })
}

fn identity(directory: &Path) -> Identity {
    let made = Command::new("openssl")
        .args("req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256".split(' '))
        .args("-addext subjectAltName=DNS:localhost".split(' '))
        .args("-addext basicConstraints=critical,CA:FALSE".split(' '))
        .args("-subj /CN=server -keyout key.pem -out certificate.pem".split(' '))
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    Identity {
        certificate: CertificateDer::from_pem_file(directory.join("certificate.pem")).unwrap(),
        key: PrivateKeyDer::from_pem_file(directory.join("key.pem")).unwrap(),
    }
}
