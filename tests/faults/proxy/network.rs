//! The device's network and the cloud's, with a cable between them that can be made bad, and a
//! name server in the cloud's. The machine's own network is not touched.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The device's address on the cable.
const NEAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The cloud's.
pub(crate) const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// A network namespace that lives as long as a process in it.
struct Namespace(Child);

impl Namespace {
    fn new() -> Option<Self> {
        let mut holder = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--net", "sh", "-c"])
            .arg("ip link set lo up && echo && exec sleep infinity")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let length = BufReader::new(holder.stdout.take()?).read_line(&mut line).ok()?;
        let namespace = Self(holder);
        (length > 0).then_some(namespace)
    }

    /// Moves the thread that calls, and all that it will start, into this network.
    fn enter(&self) {
        let namespace = File::open(format!("/proc/{}/ns/net", self.0.id())).unwrap();
        let network = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(namespace.as_fd(), network).unwrap();
    }

    /// What `make` makes is of this network.
    fn inside<T: Send>(&self, make: impl FnOnce() -> T + Send) -> T {
        let moved = || {
            self.enter();
            make()
        };
        thread::scope(|scope| scope.spawn(moved).join().unwrap())
    }

    fn run(&self, program: &str, arguments: &str) -> Option<()> {
        let pid = self.0.id().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid, "--net", program]).args(arguments.split(' '));
        command.status().ok()?.success().then_some(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

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
        let (device, cloud) = (Namespace::new()?, Namespace::new()?);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/faults/cable.py");
        let pid = device.0.id().to_string();
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
        device.run("ip", &format!("link set far netns {}", cloud.0.id()))?;
        device.run("ip", &format!("address add {NEAR} peer {FAR} dev near"))?;
        cloud.run("ip", &format!("address add {FAR} peer {NEAR} dev far"))?;
        cloud.run("ip", "link set far up")?;
        device.run("ip", "link set near up")
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
        self.device.run("ip", "link set near down").unwrap();
    }

    /// The cloud's end is: the device is not told.
    pub(crate) fn unplug_the_cloud(&self) {
        self.cloud.run("ip", "link set far down").unwrap();
    }

    /// All is plugged in again, and the cable as good as new.
    pub(crate) fn mend(&self) {
        self.device.run("ip", "link set near up").unwrap();
        self.cloud.run("ip", "link set far up").unwrap();
        self.trouble("");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ended = self.cable.kill();
        let _ended = self.cable.wait();
    }
}
