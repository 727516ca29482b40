//! The network of the cloud is cut and comes back: no packet, no refusal, only silence.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::cloud::record::{Request, State};
use crate::support::cloud::{Cloud, Script};
use crate::support::device::{self, Device, Outside, options};
use crate::support::namespace::Namespace;

/// A cable to a network of its own.
struct Cable {
    network: Namespace,
    here: String,
    there: String,
    near: Ipv4Addr,
    far: Ipv4Addr,
}

impl Cable {
    /// Lays the cable of that number; `None` where we may not.
    fn lay(index: u32) -> Option<Self> {
        let network = Namespace::new(&["--net"], "true")?;
        let (here, there) = (format!("te{}", network.pid()), format!("tf{}", network.pid()));
        let [near, far] = device::cable(index);
        let cable = Self { network, here, there, near, far };
        cable.connect().map(|()| cable)
    }

    fn connect(&self) -> Option<()> {
        let Self { network, here, there, near, far } = self;
        let pid = network.pid();
        ip(&format!("link add {here} type veth peer name {there} netns {pid}"))?;
        ip(&format!("address add {near}/30 dev {here}"))?;
        ip(&format!("link set {here} up"))?;
        self.network.ip(&format!("link set {there} up"))?;
        self.network.ip(&format!("address add {far}/30 dev {there}"))
    }

    /// A listener at the other end.
    fn listen(&self) -> TcpListener {
        self.network.inside(|| TcpListener::bind((self.far, 0)).unwrap())
    }

    /// The far end goes silent; the near one stays up, so that nothing here is told.
    fn cut(&self) {
        let Self { here, there, far, .. } = self;
        self.network.ip(&format!("address del {far}/30 dev {there}")).unwrap();
        // Without ARP, the near end would learn that the far end is gone. A fixed entry prevents
        // this.
        ip(&format!("neighbour replace {far} lladdr 02:00:00:00:00:01 dev {here}")).unwrap();
    }

    fn mend(&self) {
        let Self { here, there, far, .. } = self;
        self.network.ip(&format!("address add {far}/30 dev {there}")).unwrap();
        ip(&format!("neighbour del {far} dev {here}")).unwrap();
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // The namespace goes with the last process in it, or with connections that the kernel still
        // tries to end: the cable does not wait for them.
        let _gone = ip(&format!("link del {}", self.here));
    }
}

fn ip(arguments: &str) -> Option<()> {
    Command::new("ip").args(arguments.split(' ')).status().ok()?.success().then_some(())
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn a_network_that_is_cut_is_told_in_time_and_found_again() {
    let Some(cable) = Cable::lay(0) else {
        eprintln!("skipped: no network namespace can be made here");
        return;
    };
    let outside = Outside::with(Cloud::on(cable.listen(), options()).unwrap());
    let address = outside.cloud.address().to_string();
    let device = Device::among(outside, |setup| setup.set("c8y.http", address));
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    device.cloud().answer("/poll", Script::new().hold());
    device.cloud().answer("/half", Script::new().send(half).hold());
    device.warm();
    thread::scope(|scope| {
        let [mut poll, mut half] = ["/c8y/poll", "/c8y/half"].map(|path| {
            let mut client = device.connect();
            client.set_patience(Duration::from_secs(90));
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap();
            client
        });
        device.cloud().wait(device::SOON, |seen| seen.requests.len() == 2);
        assert_eq!((half.head().status, half.skip(5).unwrap()), (200, 5));
        cable.cut();
        let start = Instant::now();
        // Nobody acknowledges the probes of the kernel: after 30 s of silence, three.
        let in_time = move || {
            assert!((50..=75).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        };
        scope.spawn(move || {
            assert_eq!(poll.answer().status, 504);
            in_time();
        });
        scope.spawn(move || {
            let rest = half.rest();
            assert!(rest.as_ref().map_or(true, Vec::is_empty), "{rest:?}");
            in_time();
        });
        // What is sent now is not acknowledged, either.
        let answer = device.get("/c8y/tenant/currentTenant");
        assert!(matches!(answer.status, 502 | 504), "{}", answer.status);
        assert!(start.elapsed() < Duration::from_secs(65), "{:?}", start.elapsed());
    });
    let start = Instant::now();
    let answer = device.get("/c8y/tenant/currentTenant");
    assert!(matches!(answer.status, 502 | 504), "{}", answer.status);
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
    cable.mend();
    let start = Instant::now();
    while device.get("/c8y/tenant/currentTenant").status != 200 {
        assert!(start.elapsed() < Duration::from_secs(15));
    }
    assert_eq!(device.bridge().asked(), 1, "the token was good all the time");
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn a_client_that_vanishes_while_it_waits_is_left() {
    let Some(cable) = Cable::lay(1) else {
        eprintln!("skipped: no network namespace can be made here");
        return;
    };
    let device = Device::with(|setup| setup.set("c8y.proxy.bind.address", cable.near.to_string()));
    device.cloud().answer("/poll", Script::new().hold());
    let address = device.proxy.address;
    let mut client = cable.network.inside(|| TcpStream::connect(address).unwrap());
    client.write_all(b"GET /c8y/poll HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let is_gone = |request: &Request| matches!(request.state, State::Gone(_));
    device.cloud().wait(device::SOON, |seen| seen.requests.len() == 1);
    cable.cut();
    let start = Instant::now();
    device.cloud().wait(Duration::from_secs(80), |seen| seen.requests.iter().any(is_gone));
    assert!(start.elapsed() > Duration::from_secs(50), "{:?}", start.elapsed());
}
