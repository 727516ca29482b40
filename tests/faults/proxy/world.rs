//! The proxy on its device, with a broker and a bridge beside it, and the cloud at the other end
//! of a cable. Nothing is broken here; `faults` breaks it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::clients::Setting;
use super::names::{NAME, Names};
use super::network::{FAR, Network};
use crate::support::answer::Answer;
use crate::support::bridge::Bridge;
use crate::support::broker::Broker;
use crate::support::certificates::{Authority, Key, Pair};
use crate::support::client::Client;
use crate::support::cloud::access_tokens::Trust;
use crate::support::cloud::tokens::Claims;
use crate::support::cloud::{Cloud, Options};
use crate::support::directory::Directory;
use crate::support::release;
use crate::support::service::Service;
use crate::support::wait::eventually;

/// The program as it is shipped, where make has built that; else as `cargo test` has built it.
fn program() -> String {
    let built = || env!("CARGO_BIN_EXE_tedge-c8y-proxy").to_owned();
    release::built("tedge-c8y-proxy").unwrap_or_else(built)
}

/// A token is renewed a minute before its end: this one every ten seconds.
const LIFE: Duration = Duration::from_secs(70);

/// Files of the namespace's own over the machine's, then the program.
const AMONG_OWN_FILES: &str = "for file in resolv.conf nsswitch.conf; do
      [ ! -e /etc/$file ] || mount --bind \"$0/$file\" /etc/$file
    done
    # What libfaketime leaves there, it leaves for good.
    mount -t tmpfs none /dev/shm || true
    exec \"$@\"";

/// All that a run needs.
pub(crate) struct World {
    pub(crate) setting: Arc<Setting>,
    pub(crate) proxy: Service,
    pub(crate) bridge: Bridge,
    pub(crate) broker: Broker,
    pub(crate) cloud: Cloud,
    /// Where the cloud gives tokens over HTTPS, on a port of its own.
    pub(crate) endpoint: Cloud,
    /// `c8y.proxy.token_source`.
    pub(crate) source: String,
    pub(crate) device: Device,
    pub(crate) names: Names,
    pub(crate) certificates: Certificates,
    pub(crate) network: Network,
    /// What the proxy's clock is ahead by; none where no libfaketime is installed.
    pub(crate) clock: Option<PathBuf>,
    _directory: Directory,
}

/// The device's certificate, in files that are replaced under way.
pub(crate) struct Device {
    pub(crate) file: Pair,
    authority: Authority,
}

impl Device {
    fn new(directory: &Path) -> Self {
        let authority = Authority::new(directory, "devices");
        Self { file: authority.client("device", Key::P256), authority }
    }

    /// A new key and its certificate, one after the other.
    pub(crate) fn renew(&self, is_key_first: bool) {
        let renewed = self.authority.client("renewed", Key::P256);
        let mut order = [(&renewed.key, &self.file.key), (&renewed.cert, &self.file.cert)];
        if !is_key_first {
            order.reverse();
        }
        for (from, to) in order {
            fs::rename(from, to).unwrap();
            thread::sleep(Duration::from_millis(700));
        }
    }
}

/// What the cloud may show.
pub(crate) struct Certificates {
    pub(crate) good: Pair,
    pub(crate) renewed: Pair,
    pub(crate) expired: Pair,
    pub(crate) of_another_ca: Pair,
}

impl Certificates {
    fn new(directory: &Path) -> (Self, PathBuf) {
        let [ours, other] = ["ours", "other"].map(|name| Authority::new(directory, name));
        let names = format!("DNS:{NAME},IP:{FAR}");
        let certificates = Self {
            good: ours.server_for("good", &names),
            renewed: ours.server_for("renewed", &names),
            expired: ours.expired_server_for("expired", &names),
            of_another_ca: other.server_for("good", &names),
        };
        (certificates, ours.cert)
    }
}

impl World {
    /// Starts all of it, with tokens from this source; `None` where no network may be made.
    pub(crate) fn start(seed: u64, source: &str) -> Option<Self> {
        let network = Network::lay(seed)?;
        let directory = Directory::new();
        let (certificates, authority) = Certificates::new(directory.path());
        let good = Options::new(&certificates.good.cert, &certificates.good.key);
        let cloud = Cloud::on(network.listen(), good).unwrap();
        cloud.tokens().set(Claims { life: LIFE, ..Claims::default() });
        let device = Device::new(directory.path());
        let trust = Trust { authority: device.authority.cert.clone(), revoked: None };
        let tls = Options::new(&certificates.good.cert, &certificates.good.key);
        let tls = Options { trust: Some(trust), ..tls };
        let endpoint = cloud.on_beside(network.listen(), tls).unwrap();
        let names = Names::serve(network.name_server(), FAR);
        let broker = Broker::start().unwrap();
        let bridge = Bridge::start(&cloud, broker.address(), "c8y");
        bridge.wait_connected(Duration::from_secs(10));

        directory.write("resolv.conf", format!("nameserver {FAR}\n"));
        directory.write("nsswitch.conf", "hosts: files dns\n");
        let clock = directory.write("clock", "+0");
        let preload = preload();
        let proxy = Service::start(&program(), |setup| {
            setup.set("c8y.http", format!("{NAME}:{}", cloud.address().port()));
            setup.set("c8y.root_cert_path", &authority);
            setup.set_raw("c8y.proxy.bind.port", 0);
            setup.set_raw("mqtt.client.port", broker.address().port());
            setup.set_own_path("c8y.proxy.token_source", source);
            let url = format!("{NAME}:{}", endpoint.address().port());
            setup.set_own_path("c8y.proxy.token_url", url);
            setup.set("device.cert_path", &device.file.cert);
            setup.set("device.key_path", &device.file.key);
            let own = directory.path().to_str().unwrap();
            setup.wrap(&["unshare", "--mount", "sh", "-ec", AMONG_OWN_FILES, own]);
            if let Some(library) = &preload {
                let clock = format!("FAKETIME_TIMESTAMP_FILE={}", clock.display());
                let library = format!("LD_PRELOAD={}", library.display());
                setup.wrap(&["env", &clock, "FAKETIME_CACHE_DURATION=1"]);
                setup.wrap(&["FAKETIME_DONT_FAKE_MONOTONIC=1", &library]);
            }
        });
        let binaries = [1_000, 70_000, 300_000, 2_000_000];
        let binaries = binaries.map(|length| (cloud.add_binary(length), length)).to_vec();
        let setting = Setting::new(proxy.address, binaries);
        Some(Self {
            setting,
            proxy,
            bridge,
            broker,
            cloud,
            endpoint,
            source: source.to_owned(),
            device,
            names,
            certificates,
            network,
            clock: preload.map(|_| clock),
            _directory: directory,
        })
    }

    /// The cloud shows this certificate from now on, and nobody is connected any more.
    pub(crate) fn show(&self, pair: &Pair) {
        self.cloud.show(&Options::new(&pair.cert, &pair.key)).unwrap();
        self.cloud.break_off();
        let trust = Trust { authority: self.device.authority.cert.clone(), revoked: None };
        let tls = Options::new(&pair.cert, &pair.key);
        self.endpoint.show(&Options { trust: Some(trust), ..tls }).unwrap();
    }

    /// The cloud listens again.
    pub(crate) fn restart_cloud(&mut self) {
        let address = self.cloud.address();
        let listen = || std::net::TcpListener::bind(address).unwrap();
        let listener = self.network.inside_the_cloud(listen);
        self.cloud.restart_on(listener).unwrap();
    }

    /// And so does the port where it gives tokens.
    pub(crate) fn restart_endpoint(&mut self) {
        let address = self.endpoint.address();
        let listen = || std::net::TcpListener::bind(address).unwrap();
        let listener = self.network.inside_the_cloud(listen);
        self.endpoint.restart_on(listener).unwrap();
    }

    /// Asks the proxy on a connection of its own.
    pub(crate) fn get(&self, path: &str, limit: Duration) -> std::io::Result<Answer> {
        let mut client = Client::try_connect(self.proxy.address)?;
        client.set_patience(limit);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))?;
        client.answer_to("GET")
    }

    /// Waits until the cloud answers again, three times in a row, and returns how long it took.
    pub(crate) fn recovered(&self, limit: Duration) -> Result<Duration, String> {
        let start = Instant::now();
        let mut in_a_row = 0;
        let mut last = String::new();
        while in_a_row < 3 {
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(format!("not well after {limit:?}: {last}"));
            }
            match self.get("/c8y/tenant/currentTenant", left) {
                Ok(answer) if answer.status == 200 => in_a_row += 1,
                Ok(answer) => {
                    last = format!("{} {}", answer.status, answer.text());
                    in_a_row = 0;
                    thread::sleep(Duration::from_millis(100));
                }
                Err(error) => last = error.to_string(),
            }
        }
        Ok(start.elapsed())
    }

    /// What the proxy takes of the machine when nobody asks for anything and nothing is kept.
    pub(crate) fn at_rest(&self, no_more_than: Option<&Rest>) -> Rest {
        let mut rest = self.look();
        let mut in_a_row = 0;
        let what = format!("no more than {no_more_than:?}");
        eventually(&what, Duration::from_secs(90), || {
            let now = self.look();
            eprintln!("{now:?}");
            let is_as_before = now.is_no_more_than(&rest) && rest.is_no_more_than(&now);
            in_a_row = if is_as_before { in_a_row + 1 } else { 0 };
            rest = now;
            in_a_row >= 2 && no_more_than.is_none_or(|most| rest.is_no_more_than(most))
        });
        rest
    }

    fn look(&self) -> Rest {
        self.cloud.close_idle();
        // The proxy returns free memory 3 s after a client has come and gone, or 6 s if it is busy
        // with that for another.
        let health = self.get("/health", Duration::from_secs(10)).unwrap();
        assert_eq!(health.status, 200);
        thread::sleep(Duration::from_secs(7));
        self.rest()
    }

    fn rest(&self) -> Rest {
        let memory = self.proxy.memory();
        Rest {
            descriptors: self.proxy.descriptors(),
            threads: self.proxy.threads(),
            resident: memory.resident / 1024,
            private: memory.private / 1024,
        }
    }
}

/// What the proxy takes at rest; memory in KiB.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    descriptors: usize,
    threads: usize,
    resident: u64,
    private: u64,
}

impl Rest {
    /// Half a megabyte of its own more, or a megabyte in all, is a leak.
    fn is_no_more_than(&self, before: &Self) -> bool {
        self.descriptors <= before.descriptors
            && self.threads <= before.threads
            && self.private <= before.private + 512
            && self.resident <= before.resident + 1024
    }
}

/// Debian's libfaketime, for programs with threads.
fn preload() -> Option<PathBuf> {
    let libraries = fs::read_dir("/usr/lib").ok()?.flatten();
    let paths = libraries.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    paths.into_iter().find(|path| path.exists())
}
