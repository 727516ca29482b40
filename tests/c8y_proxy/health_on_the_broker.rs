//! The proxy as a service of thin-edge.io, as a subscriber of the real mosquitto sees it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::iter;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::broker::Broker;
use crate::support::cloud::Cloud;
use crate::support::device::{Device, Outside, SOON, Source, options};
use crate::support::wait::eventually;

const SERVICE: &str = "te/device/main/service/tedge-c8y-proxy";

/// A real `mosquitto_sub` of all that thin-edge.io's topics hold.
struct Subscriber {
    child: Child,
    lines: Receiver<String>,
}

impl Subscriber {
    fn of(broker: &Broker, topics: &str) -> Self {
        let port = broker.address().port().to_string();
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "mosquitto_sub", "-p", &port, "-t", topics])
            .args(["-F", "%r %t %p"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            // The test may have ended.
            output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
        });
        Self { child, lines }
    }

    /// The next message: whether it was retained, its topic and its content.
    fn next(&self, limit: Duration) -> Option<(bool, String, String)> {
        let line = self.lines.recv_timeout(limit).ok()?;
        let (retained, rest) = line.split_once(' ').unwrap();
        let (topic, content) = rest.split_once(' ').unwrap();
        Some((retained == "1", topic.to_owned(), content.to_owned()))
    }

    /// The next status, after checks.
    fn next_status(&self, limit: Duration) -> Option<serde_json::Value> {
        let next = || self.next(limit);
        let is_check = |topic: &str| topic.ends_with("/cmd/health/check");
        let (_, topic, content) = iter::from_fn(next).find(|(_, topic, _)| !is_check(topic))?;
        assert_eq!(topic, format!("{SERVICE}/status/health"));
        Some(serde_json::from_str(&content).unwrap())
    }

    fn status(&self) -> serde_json::Value {
        self.next_status(SOON).expect("no status comes")
    }

    fn is_up(&self, device: &Device) {
        let status = self.status();
        assert_eq!(status["status"], "up");
        assert_eq!(status["pid"], device.proxy.pid().as_raw_nonzero().get());
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        assert!(now.abs_diff(status["time"].as_u64().unwrap()) < 60, "{status}");
    }

    fn is_down(&self, device: &Device) {
        // A check that was repeated is answered twice.
        let statuses = || Some(self.status());
        let status = iter::from_fn(statuses).find(|status| status["status"] != "up").unwrap();
        assert_eq!(status["status"], "down");
        assert_eq!(status["pid"], device.proxy.pid().as_raw_nonzero().get());
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn publish(broker: &Broker, topic: &str) {
    let port = broker.address().port().to_string();
    let status =
        Command::new("mosquitto_pub").args(["-p", &port, "-t", topic, "-n"]).status().unwrap();
    assert!(status.success());
}

#[test]
fn it_registers_and_is_up_and_down_by_its_will_and_answers_checks() {
    for (is_killed, source) in [(true, Source::Mqtt), (false, Source::Auto)] {
        let outside = Outside::of(source);
        let subscriber = Subscriber::of(&outside.broker, "te/#");
        let device = Device::among(outside, |_| {});
        let registration =
            (false, SERVICE.to_owned(), r#"{"@type":"service","type":"service"}"#.to_owned());
        assert_eq!(subscriber.next(SOON), Some(registration));
        subscriber.is_up(&device);
        eventually("two threads of paho and no more", SOON, || device.proxy.threads() <= 4);

        // Whoever comes later finds both.
        let late = Subscriber::of(&device.outside.broker, &format!("{SERVICE}/#"));
        let found = [late.next(SOON).unwrap(), late.next(SOON).unwrap()];
        assert!(found.iter().all(|(is_retained, ..)| *is_retained), "{found:?}");

        for entity in [SERVICE, "te/device/main//"] {
            let check = format!("{entity}/cmd/health/check");
            // It may not have subscribed yet.
            eventually("the check is answered", 3 * SOON, || {
                publish(&device.outside.broker, &check);
                subscriber.next_status(Duration::from_secs(1)).is_some()
            });
        }
        device.warm();
        if is_killed {
            device.proxy.kill()
        } else {
            device.proxy.stop()
        };
        subscriber.is_down(&device);
    }
}

#[test]
fn it_is_up_again_when_the_broker_is_back() {
    let mut device = Device::start();
    device.warm();
    device.outside.stop_broker();
    device.outside.restart_broker();
    let subscriber = Subscriber::of(&device.outside.broker, "te/#");
    assert_eq!(subscriber.next(4 * SOON).unwrap().1, SERVICE);
    subscriber.is_up(&device);
}

#[test]
fn names_are_those_of_the_settings() {
    let outside = Outside::new();
    let subscriber = Subscriber::of(&outside.broker, "edge/#");
    let _device = Device::among(outside, |setup| {
        setup.set("mqtt.topic_root", "edge");
        setup.set("mqtt.device_topic_id", "device/child01//");
    });
    let (_, topic, _) = subscriber.next(SOON).unwrap();
    assert_eq!(topic, "edge/device/child01/service/tedge-c8y-proxy");

    let device = Device::with(|setup| setup.set("mqtt.device_topic_id", "main"));
    device.warm();
    assert!(
        device.proxy.log().contains("mqtt.device_topic_id is 'main///'"),
        "{}",
        device.proxy.log()
    );
}

#[test]
fn nothing_is_published_where_it_is_switched_off_or_no_broker_is_used() {
    for source in [Source::Mqtt, Source::Https] {
        let outside = Outside::of(source);
        let subscriber = Subscriber::of(&outside.broker, "te/#");
        let device = Device::among(outside, |setup| {
            if source == Source::Mqtt {
                setup.set_own("c8y.proxy.publish_health", false);
            }
        });
        device.warm();
        device.proxy.kill();
        assert_eq!(subscriber.next(Duration::from_millis(500)), None);
    }
}

#[test]
fn a_broker_that_refuses_the_topics_gets_nothing_and_the_proxy_serves() {
    let cloud = Cloud::start(options()).unwrap();
    let broker = Broker::with("allow_anonymous true\n").unwrap();
    let rules = broker.directory().join("acl");
    std::fs::write(&rules, "topic readwrite c8y/#\ntopic read te/#\n").unwrap();
    let broker =
        Broker::with(&format!("allow_anonymous true\nacl_file {}\n", rules.display())).unwrap();
    let subscriber = Subscriber::of(&broker, "te/#");
    let device = Device::among(Outside::around(cloud, broker), |_| {});
    device.warm();
    assert_eq!(subscriber.next(Duration::from_millis(500)), None);
    assert!(!device.proxy.log().contains("WARN"), "{}", device.proxy.log());
}

/// In front of a real broker: it ends a connection on which a topic of thin-edge.io is published or
/// subscribed to, as MQTT 3.1.1 allows (3.3.5).
fn strict(real: SocketAddr) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    thread::spawn(move || {
        for client in listener.incoming() {
            counted.fetch_add(1, SeqCst);
            let (mut client, mut broker) = (client.unwrap(), TcpStream::connect(real).unwrap());
            let (mut back, mut from) = (client.try_clone().unwrap(), broker.try_clone().unwrap());
            thread::spawn(move || {
                // One of both has gone.
                let _gone = io::copy(&mut from, &mut back);
            });
            thread::spawn(move || {
                let mut piece = [0; 4096];
                for number in 0.. {
                    let length = client.read(&mut piece).unwrap_or(0);
                    // The first is CONNECT, with the will.
                    let is_ours = piece[..length].windows(4).any(|four| four == b"te/d");
                    if length == 0
                        || number > 0 && is_ours
                        || broker.write_all(&piece[..length]).is_err()
                    {
                        break;
                    }
                }
                for stream in [client, broker] {
                    let _gone = stream.shutdown(Shutdown::Both);
                }
            });
        }
    });
    (port, connections)
}

#[test]
fn a_broker_that_ends_the_connection_for_it_is_used_without() {
    let outside = Outside::new();
    let (port, connections) = strict(outside.broker.address());
    let device = Device::among(outside, |setup| setup.set_raw("mqtt.client.port", port));
    eventually("two end, and the third stands", 3 * SOON, || {
        connections.load(SeqCst) == 3 && device.get("/health").text().contains("\"connected\"")
    });
    thread::sleep(Duration::from_secs(3));
    assert_eq!(connections.load(SeqCst), 3);
    device.warm();
    let subscriber = Subscriber::of(&device.outside.broker, "te/#");
    let first = subscriber.next(SOON);
    assert!(first.is_none_or(|(_, _, content)| content.contains("down")), "only the will is there");
    assert_eq!(subscriber.next(Duration::from_millis(500)), None);
}

#[test]
fn many_checks_cost_nothing() {
    let device = Device::start();
    device.warm();
    let before = device.proxy.memory().resident;
    let broker = device.outside.broker.address();
    let mut client = crate::support::mqtt::Client::connect(broker, "flood").unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        client.publish(&format!("{SERVICE}/cmd/health/check"), &[b'x'; 1000]).unwrap();
    }
    device.cloud().tokens().revoke_all();
    device.warm();
    let grown = device.proxy.memory().resident.saturating_sub(before);
    assert!(grown < 2 << 20, "{grown} bytes");
}
