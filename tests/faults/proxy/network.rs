//! The device's network and the cloud's, with a cable between them that can be damaged, and a
//! name server in the cloud's. The machine's own network is not touched.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;

use crate::support::namespace::Namespace;

/// The device's address on the cable.
const NEAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The cloud's.
pub(crate) const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Both networks and the cable.
pub(crate) struct Network {
    device: Namespace,
    cloud: Namespace,
    cable: Child,
    orders: Mutex<ChildStdin>,
}

impl Network {
    /// Lays it and moves the calling thread to the device; `None` where we may not.
    pub(crate) fn lay(seed: u64) -> Option<Self> {
        let side = || Namespace::new(&["--net"], "ip link set lo up");
        let (device, cloud) = (side()?, side()?);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/faults/cable.py");
        let pid = device.pid();
        let mut cable = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "nsenter", "--target", &pid, "--net", "python3"])
            .args([script.to_str()?, &seed.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        BufReader::new(cable.stdout.take()?).read_line(&mut line).ok()?;
        let orders = Mutex::new(cable.stdin.take()?);
        let network = Self { device, cloud, cable, orders };
        (line == "ready\n").then(|| network.connect()).flatten()?;
        network.device.enter();
        Some(network)
    }

    fn connect(&self) -> Option<()> {
        let Self { device, cloud, .. } = self;
        device.ip(&format!("link set far netns {}", cloud.pid()))?;
        device.ip(&format!("address add {NEAR} peer {FAR} dev near"))?;
        cloud.ip(&format!("address add {FAR} peer {NEAR} dev far"))?;
        cloud.ip("link set far up")?;
        device.ip("link set near up")
    }

    /// A listener of the cloud.
    pub(crate) fn listen(&self) -> TcpListener {
        self.cloud.inside(|| TcpListener::bind((FAR, 0)).unwrap())
    }

    /// Listens again where the cloud has listened before.
    pub(crate) fn inside_the_cloud<T: Send>(&self, make: impl FnOnce() -> T + Send) -> T {
        self.cloud.inside(make)
    }

    /// Where the cloud's name server is asked, and where a device asks that has no resolv.conf.
    pub(crate) fn name_server(&self) -> [UdpSocket; 2] {
        let listen = |address| UdpSocket::bind((address, 53)).unwrap();
        [self.cloud.inside(|| listen(FAR)), self.device.inside(|| listen(Ipv4Addr::LOCALHOST))]
    }

    /// What happens to packets from now on, in the words of `cable.py`; nothing for `""`.
    pub(crate) fn trouble(&self, words: &str) {
        writeln!(self.orders.lock().unwrap(), "{words}").unwrap();
    }

    /// The device's end is unplugged: it is told at once.
    pub(crate) fn unplug(&self) {
        self.device.ip("link set near down").unwrap();
    }

    /// The cloud's end is: the device is not told.
    pub(crate) fn unplug_the_cloud(&self) {
        self.cloud.ip("link set far down").unwrap();
    }

    /// Plugs everything in again and repairs the cable.
    pub(crate) fn mend(&self) {
        self.device.ip("link set near up").unwrap();
        self.cloud.ip("link set far up").unwrap();
        self.trouble("");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ended = self.cable.kill();
        let _ended = self.cable.wait();
    }
}
