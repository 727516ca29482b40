//! The service of this package with its certificates, and an honest neighbour of the attacker.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::session::{Identity, Kind, Session};
use super::verdict::{CONNECTIONS, Verdict};
use crate::support::certificates::{Authority, Key, Pair};
use crate::support::directory::Directory;
use crate::support::service::{Service, Setup};
use crate::support::wait::eventually;

/// How much more private memory there may be once an attack is over.
const ROOM: u64 = 1 << 20;

/// The service, and what it took before anybody attacked it.
pub(crate) struct Scene {
    pub(crate) service: Service,
    pub(crate) authority: Authority,
    /// The certificate of a client that may connect, where one is asked for.
    pub(crate) child: Option<Pair>,
    descriptors: usize,
    private: u64,
    start: Instant,
    /// Removed last.
    _directory: Directory,
}

impl Scene {
    /// Over HTTPS.
    pub(crate) fn open() -> Self {
        Self::with(false)
    }

    /// With client certificates.
    pub(crate) fn mutual() -> Self {
        Self::with(true)
    }

    fn with(is_mutual: bool) -> Self {
        let directory = Directory::new();
        let authority = Authority::new(directory.path(), "ca");
        let pair = authority.server("server", Key::P256);
        let child = is_mutual.then(|| authority.client("child", Key::P256));
        let service = start(&pair, is_mutual.then_some(&authority));
        let mut scene = Self {
            service,
            authority,
            child,
            descriptors: 0,
            private: 0,
            start: Instant::now(),
            _directory: directory,
        };
        // What is allocated once and for all is allocated now.
        for kind in [Kind::Tls12, Kind::Tls13].into_iter().cycle().take(8) {
            scene.expect_service(kind);
        }
        scene.descriptors = scene.service.descriptors();
        scene.private = scene.service.memory().private;
        scene
    }

    /// A client that may connect.
    pub(crate) fn identity(&self) -> Identity {
        self.child.as_ref().map_or(Identity::None, Identity::of)
    }

    /// A connection of such a client whose handshake has not begun.
    pub(crate) fn session(&self, kind: Kind) -> Session {
        Session::new(self.service.address, kind, self.identity())
    }

    /// What this part of an attack does leaves others alone and nothing behind.
    pub(crate) fn attack(&mut self, name: &str, attack: impl FnOnce(&Self)) {
        // One that has been answered before may rest for a minute.
        let mut neighbour = self.session(Kind::Tls13);
        neighbour.shake();
        neighbour.request();
        assert_eq!(neighbour.status(), Verdict::Served, "{name}: the neighbour");
        attack(self);
        let log = self.service.log();
        assert!(!log.contains("panic"), "{name}: {log}");
        assert!(self.service.is_running(), "{name}: {log}");
        neighbour.request();
        assert_eq!(neighbour.status(), Verdict::Served, "{name}: the neighbour");
        drop(neighbour);
        self.expect_service(Kind::Tls12);
        self.expect_service(Kind::Tls13);
        eventually(&format!("{name}: descriptors are closed"), Duration::from_secs(20), || {
            self.service.descriptors() <= self.descriptors
        });
        eventually(&format!("{name}: memory is given back"), Duration::from_secs(20), || {
            self.service.memory().private <= self.private + ROOM
        });
    }

    fn expect_service(&self, kind: Kind) {
        let mut session = self.session(kind);
        session.shake();
        session.request();
        assert_eq!(session.status(), Verdict::Served, "{kind:?}");
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let connections = CONNECTIONS.load(Ordering::Relaxed);
        let (private, after) = (self.private >> 10, self.service.memory().private >> 10);
        println!(
            "{connections} connections up to now; {:?}; private KB {private}, then {after}",
            self.start.elapsed()
        );
    }
}

/// The service with this certificate and, where an authority is given, its clients.
pub(crate) fn start(pair: &Pair, authority: Option<&Authority>) -> Service {
    let (program, prefix) = super::program();
    Service::start(program, |setup: &mut Setup| {
        let directory = setup.directory().to_owned();
        setup.set("data.path", directory);
        setup.set("c8y.url", "cloud.invalid");
        setup.set_raw(&format!("{prefix}.bind.port"), 0);
        setup.set(&format!("{prefix}.cert_path"), &pair.cert);
        setup.set(&format!("{prefix}.key_path"), &pair.key);
        if let Some(authority) = authority {
            setup.set(&format!("{prefix}.ca_path"), &authority.cert);
        }
    })
}
