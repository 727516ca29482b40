//! Client certificates where they are asked for: whatever is wrong with them, no request gets in.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};

use super::hello::*;
use super::scene::Scene;
use super::session::{Identity, Kind, REQUEST, Session, chain};
use super::verdict::*;
use crate::support::certificates::{Authority, Key, self_signed};

const SERVED: Expected = Expected::any(&[Verdict::Served]);
const STRANGER: Expected = Expected::any(&[UNKNOWN_CA]);
/// RFC 8446, 4.4.2 and 6.2.
const MALFORMED: Expected = Expected::any(&[BAD_CERTIFICATE, DECODE_ERROR]);
const UNPROVEN: Expected = Expected::any(&[DECRYPT_ERROR]);

/// Does the handshake and asks at once, whatever the service thinks of it.
fn ask(mut session: Session, change: impl Fn(&Session, Vec<Vec<u8>>) -> Vec<u8>) -> Verdict {
    let flight = session.second_flight();
    let bytes = change(&session, flight);
    let request = session.data_seal().record(DATA, REQUEST);
    session.send([bytes, request].concat());
    let verdict = session.status();
    assert_eq!(session.answers(), usize::from(verdict == Verdict::Served));
    verdict
}

/// A chain for each kind of fault, and what is wanted of it.
fn identities(scene: &Scene) -> Vec<(&'static str, Expected, Identity)> {
    let child = scene.child.as_ref().unwrap();
    let below = scene.authority.intermediate("below");
    let grandchild = below.client("grandchild", Key::P256);
    let of = |authority: &Authority| CertificateDer::from_pem_file(&authority.cert).unwrap();
    let stranger = Authority::new(scene.service.path("").as_path(), "stranger");
    let own = self_signed(scene.service.path("").as_path(), "own", "DNS:localhost");
    let own_chain = |more: Vec<CertificateDer<'static>>| {
        Identity::with_chain([chain(child), more].concat(), child)
    };
    let garbage = |size| CertificateDer::from(vec![0x30; size]);
    let (leaf, middle) = (chain(&grandchild), vec![of(&below)]);
    let mut cut = chain(child)[0].to_vec();
    cut.pop();
    vec![
        ("its own", SERVED, Identity::of(child)),
        (
            "its chain",
            SERVED,
            Identity::with_chain([leaf.clone(), middle.clone()].concat(), &grandchild),
        ),
        ("its chain without the link", STRANGER, Identity::of(&grandchild)),
        ("the root as well", SERVED, own_chain(vec![of(&scene.authority)])),
        ("30 links that are not needed", SERVED, own_chain(vec![of(&below); 30])),
        // Whoever comes first must be the client, RFC 8446, 4.4.2, and it is not its key.
        (
            "its chain upside down",
            Expected::any(&[
                BAD_CERTIFICATE,
                UNKNOWN_CA,
                DECRYPT_ERROR,
                Verdict::Alert(43),
                Verdict::Alert(46),
            ]),
            Identity::with_chain([middle, leaf].concat(), &grandchild),
        ),
        ("of another CA", STRANGER, Identity::of(&stranger.client("other", Key::P256))),
        (
            "signed by itself",
            Expected::any(&[UNKNOWN_CA, BAD_CERTIFICATE, Verdict::Alert(46)]),
            Identity::of(&own),
        ),
        ("garbage", MALFORMED, Identity::with_chain(vec![garbage(500)], child)),
        ("a byte", MALFORMED, Identity::with_chain(vec![garbage(1)], child)),
        ("cut short", MALFORMED, Identity::with_chain(vec![cut.into()], child)),
        ("nothing in an entry", MALFORMED, Identity::with_chain(vec![garbage(0)], child)),
        ("60,000 bytes of garbage", MALFORMED, Identity::with_chain(vec![garbage(60_000)], child)),
        // More than rustls has room for.
        (
            "80,000 bytes of garbage",
            MALFORMED.but(Verdict::Closed),
            Identity::with_chain(vec![garbage(80_000)], child),
        ),
        (
            "somebody else's",
            UNPROVEN,
            Identity::with_chain(chain(&scene.authority.client("else", Key::P256)), child),
        ),
        ("a proof that is false", UNPROVEN, {
            let key = Arc::new(Liar(Identity::of(child).key()));
            Identity::Given(Arc::new(CertifiedKey::new(chain(child), key)))
        }),
    ]
}

#[test]
fn a_client_with_a_wrong_certificate_gets_an_alert_and_no_answer() {
    let mut scene = Scene::mutual();
    scene.attack("certificates", |scene| {
        let mut wrong = Vec::new();
        for (name, expected, identity) in identities(scene) {
            for kind in [Kind::Tls12, Kind::Tls13] {
                let session = Session::new(scene.service.address, kind, identity.clone());
                let verdict = ask(session, |_, flight| flight.concat());
                if !expected.holds(verdict) {
                    wrong.push(format!("{kind:?} {name}: {verdict:?}; wanted: {expected:?}"));
                }
            }
        }
        // RFC 5246, 7.4.6, has no alert of its own for it.
        let nobody = |kind| {
            let session = Session::new(scene.service.address, kind, Identity::None);
            ask(session, |_, flight| flight.concat())
        };
        assert_eq!(nobody(Kind::Tls13), CERTIFICATE_REQUIRED);
        let expected = Expected::any(&[HANDSHAKE_FAILURE]).but(CERTIFICATE_REQUIRED);
        assert!(expected.holds(nobody(Kind::Tls12)), "{expected:?}");
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn a_client_that_proves_nothing_gets_an_alert_and_no_answer() {
    /// CertificateVerify, RFC 8446, 4.
    const PROOF: u8 = 15;
    /// Certificate.
    const CERTIFICATE: u8 = 11;
    let mut scene = Scene::mutual();
    scene.attack("proofs", |scene| {
        for missing in [PROOF, CERTIFICATE] {
            let verdict = ask(scene.session(Kind::Tls12), |_, flight| {
                flight.into_iter().filter(|record| record[5] != missing).flatten().collect()
            });
            assert_eq!(verdict, UNEXPECTED_MESSAGE, "without {missing} in TLS 1.2");
            let verdict = ask(scene.session(Kind::Tls13), |session, flight| {
                let messages = session.handshake_seal().messages(&flight);
                let mut seal = session.handshake_seal();
                let kept = messages.iter().filter(|message| message[0] != missing);
                kept.flat_map(|message| seal.record(HANDSHAKE, message)).collect()
            });
            assert_eq!(verdict, UNEXPECTED_MESSAGE, "without {missing} in TLS 1.3");
        }
        // A client without a certificate that says so only after it has been let in.
        let verdict = ask(scene.session(Kind::Tls13), |session, flight| {
            let messages = session.handshake_seal().messages(&flight);
            let finished = messages.last().unwrap();
            session.handshake_seal().record(HANDSHAKE, finished)
        });
        assert_eq!(verdict, UNEXPECTED_MESSAGE, "Finished alone");
    });
}

/// Signs well, and then changes a byte.
#[derive(Debug)]
struct Liar(Arc<dyn SigningKey>);

impl SigningKey for Liar {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(Lie(self.0.choose_scheme(offered)?)))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

#[derive(Debug)]
struct Lie(Box<dyn Signer>);

impl Signer for Lie {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let mut signature = self.0.sign(message)?;
        if let Some(last) = signature.last_mut() {
            *last ^= 1;
        }
        Ok(signature)
    }

    fn scheme(&self) -> SignatureScheme {
        self.0.scheme()
    }
}
