//! The network of the cloud is cut and comes back: no packet, no refusal, only silence.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::device::{Device, Outside, options};
use crate::support::cloud::Cloud;

/// A network namespace that lives as long as a process in it, and a cable to it.
struct Cable {
    holder: Child,
    here: String,
    address: String,
}

impl Cable {
    /// Lays a cable to a namespace with that address; `None` where we may not.
    fn lay() -> Option<Self> {
        let mut holder = Command::new("setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "unshare",
                "--net",
                "sh",
                "-c",
                "echo up; exec sleep 600",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take()?).read_line(&mut line).ok()?;
        let (pid, here) = (holder.id().to_string(), format!("te{}", holder.id()));
        let cable = Self { holder, here: here.clone(), address: "198.18.0.2".into() };
        if line.trim() != "up" {
            return None;
        }
        let there = format!("tf{pid}");
        ip(&["link", "add", &here, "type", "veth", "peer", "name", &there, "netns", &pid])?;
        ip(&["address", "add", "198.18.0.1/30", "dev", &here])?;
        ip(&["link", "set", &here, "up"])?;
        let inside = ["--target", &pid, "--net", "ip"];
        for rest in [
            &["address", "add", "198.18.0.2/30", "dev", &there][..],
            &["link", "set", &there, "up"],
        ] {
            let status = Command::new("nsenter").args(inside).args(rest).status().ok()?;
            status.success().then_some(())?;
        }
        Some(cable)
    }

    /// A listener at the other end.
    fn listen(&self) -> TcpListener {
        let namespace = File::open(format!("/proc/{}/ns/net", self.holder.id())).unwrap();
        let address = format!("{}:0", self.address);
        // A thread of its own moves there and ends; the socket stays there.
        let thread = thread::spawn(move || {
            use std::os::fd::AsFd;
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), network).unwrap();
            TcpListener::bind(address).unwrap()
        });
        thread.join().unwrap()
    }

    fn cut(&self) {
        let pid = self.holder.id().to_string();
        // The far end goes silent; the near one stays up, so that nothing here is told.
        let there = format!("tf{pid}");
        let inside = ["--target", &pid, "--net", "ip", "address", "del", "198.18.0.2/30"];
        let status = Command::new("nsenter").args(inside).args(["dev", &there]).status();
        assert!(status.unwrap().success());
        ip(&[
            "neighbour",
            "replace",
            "198.18.0.2",
            "lladdr",
            "02:00:00:00:00:01",
            "dev",
            &self.here,
        ])
        .unwrap();
    }

    fn mend(&self) {
        let pid = self.holder.id().to_string();
        let there = format!("tf{pid}");
        let inside = ["--target", &pid, "--net", "ip", "address", "add", "198.18.0.2/30"];
        let status = Command::new("nsenter").args(inside).args(["dev", &there]).status();
        assert!(status.unwrap().success());
        ip(&["neighbour", "del", "198.18.0.2", "dev", &self.here]).unwrap();
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // The namespace and the cable go with the last process in it.
        let _ended = self.holder.kill();
        let _ended = self.holder.wait();
    }
}

fn ip(arguments: &[&str]) -> Option<()> {
    Command::new("ip").args(arguments).status().ok()?.success().then_some(())
}

#[test]
fn a_network_that_is_cut_is_told_in_time_and_found_again() {
    let Some(cable) = Cable::lay() else {
        eprintln!("skipped: no network namespace can be made here");
        return;
    };
    let outside = Outside::with(Cloud::on(cable.listen(), options()).unwrap());
    let address = outside.cloud.address().to_string();
    let device = Device::among(outside, |setup| setup.set("c8y.http", address));
    device.warm();
    cable.cut();
    // On the connection that is open, nothing is known before the time for an answer is over; on
    // a new one, after the time to connect.
    let start = Instant::now();
    let answer = device.get("/c8y/tenant/currentTenant");
    assert!(matches!(answer.status, 502 | 504), "{}", answer.status);
    assert!(start.elapsed() < Duration::from_secs(65), "{:?}", start.elapsed());
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
