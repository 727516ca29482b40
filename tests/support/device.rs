//! A device: the real proxy, the real mosquitto and the bridge in it, and the cloud beyond.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::bridge;
use super::bridge::Bridge;
use super::broker::Broker;
use super::certificates::{Authority, Key, Pair};
use super::client::{self, Client};
use super::cloud::access_tokens::{PATH, Trust};
use super::cloud::{Cloud, Options, Script};
use super::directory::Directory;
use super::service::{Service, Setup};

/// The program that is tested.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_tedge-c8y-proxy");

/// For what should take no time at all, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// What is around the proxy; it ends when it is dropped.
pub(crate) struct Outside {
    pub(crate) cloud: Cloud,
    pub(crate) bridge: Bridge,
    pub(crate) broker: Broker,
    /// Where the cloud gives tokens over HTTPS.
    pub(crate) endpoint: Cloud,
    /// Where the proxy gets its token.
    pub(crate) source: Source,
}

/// Where the proxy gets its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Mqtt,
    Https,
    Auto,
}

impl Outside {
    /// With everything as it should be.
    pub(crate) fn new() -> Self {
        Self::with(Cloud::start(options()).unwrap())
    }

    /// With everything as it should be, and the token from there.
    pub(crate) fn of(source: Source) -> Self {
        Self { source, ..Self::new() }
    }

    /// With a cloud of the test's own.
    pub(crate) fn with(cloud: Cloud) -> Self {
        Self::around(cloud, Broker::start().unwrap())
    }

    /// With a cloud and a broker of the test's own.
    pub(crate) fn around(cloud: Cloud, broker: Broker) -> Self {
        let bridge = Bridge::start(&cloud, broker.address(), "c8y");
        bridge.wait_connected(SOON);
        let trust = Trust { authority: devices().authority.cert.clone(), revoked: None };
        let endpoint = cloud.start_beside(Options { trust: Some(trust), ..options() }).unwrap();
        Self { cloud, bridge, broker, endpoint, source: Source::Mqtt }
    }

    /// How often a token was requested, from wherever.
    pub(crate) fn asked(&self) -> usize {
        self.times().len()
    }

    /// When a token was requested, from wherever.
    pub(crate) fn times(&self) -> Vec<Instant> {
        let asked = self.bridge.questions().into_iter().map(|(at, _)| at);
        asked.chain(self.endpoint.seen().requests.iter().map(|request| request.at)).collect()
    }

    /// Has the next token come so late.
    pub(crate) fn delay(&self, time: Duration) {
        self.bridge.answer(bridge::Answer::Late(time));
        let script = Script::new().without_a_token().read().pause(time).once();
        self.endpoint.answer(PATH, script.send(token_answer(&self.cloud.tokens().issue())));
    }

    /// Ends the broker; returns when the bridge is gone as well.
    pub(crate) fn stop_broker(&mut self) {
        self.broker.stop();
        self.bridge.wait_gone(SOON);
    }

    /// Starts the broker again. The bridge is there at once: a question that comes before it is
    /// lost, as on a device.
    pub(crate) fn restart_broker(&mut self) {
        self.broker.restart().unwrap();
        self.bridge.wait_connected(SOON);
    }

    /// The settings by which the proxy finds it.
    pub(crate) fn settings(&self, setup: &mut Setup) {
        let cloud = self.cloud.address();
        setup.set("c8y.http", format!("localhost:{}", cloud.port()));
        setup.set("c8y.root_cert_path", &certificates().ca);
        setup.set_raw("c8y.proxy.bind.port", 0);
        setup.set_raw("mqtt.client.port", self.broker.address().port());
        let source = match self.source {
            Source::Mqtt => return,
            Source::Https => "https",
            Source::Auto => "auto",
        };
        setup.set_own_path("c8y.proxy.token_source", source);
        let endpoint = format!("localhost:{}", self.endpoint.address().port());
        setup.set_own_path("c8y.proxy.token_url", endpoint);
        setup.set("device.cert_path", &devices().device.cert);
        setup.set("device.key_path", &devices().device.key);
    }
}

/// The proxy and what is around it.
pub(crate) struct Device {
    pub(crate) proxy: Service,
    pub(crate) outside: Outside,
}

impl Device {
    /// With everything as it should be.
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    /// With the token from there.
    pub(crate) fn of(source: Source) -> Self {
        Self::among(Outside::of(source), |_| {})
    }

    /// With more settings than those that are needed.
    pub(crate) fn with(configure: impl FnOnce(&mut Setup)) -> Self {
        Self::among(Outside::new(), configure)
    }

    /// With surroundings that the test has made.
    pub(crate) fn among(outside: Outside, configure: impl FnOnce(&mut Setup)) -> Self {
        let proxy = Service::start(PROGRAM, |setup| {
            outside.settings(setup);
            configure(setup);
        });
        Self { proxy, outside }
    }

    /// The cloud.
    pub(crate) fn cloud(&self) -> &Cloud {
        &self.outside.cloud
    }

    /// The bridge.
    pub(crate) fn bridge(&self) -> &Bridge {
        &self.outside.bridge
    }

    /// Where the cloud gives tokens over HTTPS.
    pub(crate) fn endpoint(&self) -> &Cloud {
        &self.outside.endpoint
    }

    /// How often a token was requested, from wherever.
    pub(crate) fn asked(&self) -> usize {
        self.outside.asked()
    }

    /// Sends a request as it is and reads the answer.
    pub(crate) fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        client::ask(self.proxy.address, request).unwrap()
    }

    /// Sends a request without a body.
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    /// Sends a request with a body of a known length.
    pub(crate) fn post(&self, target: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        self.ask([head.as_bytes(), body].concat())
    }

    /// Opens a connection to the proxy.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.proxy.address)
    }

    /// Asks once, so that the proxy has a token, and forgets that.
    pub(crate) fn warm(&self) {
        let answer = self.get("/c8y/tenant/currentTenant");
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.cloud().forget();
    }
}

/// A cloud with a certificate for `localhost`.
pub(crate) fn options() -> Options {
    let cloud = &certificates().cloud;
    Options::new(&cloud.cert, &cloud.key)
}

/// How many cables the tests of one process lay at the same time, at most.
pub(crate) const CABLES: u32 = 2;

/// The ends of a cable to another network, of addresses that nobody has (RFC 2544). Each process of
/// tests has some of its own.
pub(crate) fn cable(index: u32) -> [Ipv4Addr; 2] {
    let number = (std::process::id() % (1 << 14) * CABLES + index) * 4;
    [1, 2].map(|end| Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() + number + end))
}

/// The cloud's CA and certificate, which all the tests share.
pub(crate) struct Certificates {
    _directory: Directory,
    /// The CA.
    pub(crate) ca: PathBuf,
    /// What the cloud shows.
    pub(crate) cloud: Pair,
}

/// The cloud's CA, and a certificate for the names and addresses that the cloud is tested on.
pub(crate) fn certificates() -> &'static Certificates {
    static ONCE: OnceLock<Certificates> = OnceLock::new();
    ONCE.get_or_init(|| {
        let directory = Directory::shared();
        let authority = Authority::new(directory.path(), "cloud-ca");
        let mut names = "DNS:localhost,DNS:cloud.example,IP:127.0.0.1".to_owned();
        for [_, there] in (0..CABLES).map(cable) {
            names.push_str(&format!(",IP:{there}"));
        }
        let cloud = authority.server_for("cloud", &names);
        Certificates { ca: authority.cert, cloud, _directory: directory }
    })
}

/// The answer with a token over HTTPS.
pub(crate) fn token_answer(token: &str) -> String {
    let body = format!("{{\"accessToken\":\"{token}\"}}");
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The CA that the tenant trusts, and the device's certificate, which all the tests share.
pub(crate) struct Devices {
    _directory: Directory,
    pub(crate) authority: Authority,
    pub(crate) device: Pair,
}

/// The CA that the tenant trusts, and the device's certificate.
pub(crate) fn devices() -> &'static Devices {
    static ONCE: OnceLock<Devices> = OnceLock::new();
    ONCE.get_or_init(|| {
        let directory = Directory::shared();
        let authority = Authority::new(directory.path(), "device-ca");
        let device = authority.client("rpi4", Key::P256);
        Devices { authority, device, _directory: directory }
    })
}
