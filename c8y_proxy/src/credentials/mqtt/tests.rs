//! The real mosquitto, without and with TLS, and a bridge to Cumulocity that the test plays.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use async_io::Timer;
use common::net::Origin;
use common::tls::ClientFiles;
use futures_lite::{FutureExt, future};
use paho_mqtt::CreateOptionsBuilder;
use rustls::ClientConfig;

use super::*;

/// A broker in a directory of its own, ended and removed at the end of the test.
struct Mosquitto {
    directory: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Mosquitto {
    /// `lines` go below the listener that the device uses; the bridge has one for itself.
    fn start(prepare: impl FnOnce(&Path), lines: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("mqtt-test-{}-{}", std::process::id(), COUNT.fetch_add(1, SeqCst));
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).unwrap();
        prepare(&directory);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = format!(
            "user root\nper_listener_settings true\nlog_dest stderr\n\
             listener 0 {0}/bridge\nallow_anonymous true\nlistener {port} 127.0.0.1\n{1}",
            directory.display(),
            lines.replace("DIR", &directory.display().to_string()),
        );
        #[expect(clippy::disallowed_methods, reason = "nothing else runs here")]
        std::fs::write(directory.join("conf"), text).unwrap();
        let mut broker = Self { directory, port, child: None };
        broker.run();
        broker
    }

    /// Returns once it serves.
    fn run(&mut self) {
        let mut child = Command::new("mosquitto")
            .arg("-c")
            .arg(self.directory.join("conf"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        self.child = Some(child);
        let mut said = Vec::new();
        loop {
            let line = lines.next().unwrap_or_else(|| panic!("mosquitto: {said:?}")).unwrap();
            if line.ends_with(" running") {
                break;
            }
            said.push(line);
        }
        std::thread::spawn(move || lines.for_each(drop));
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn settings(&self) -> BrokerOptions {
        BrokerOptions {
            origin: Origin::parse("localhost", self.port).unwrap(),
            login: None,
            tls: None,
            runtime_directory: self.directory.clone(),
            topic_prefix: "c8y".to_owned(),
            health: None,
        }
    }

    fn tls(&self, ca: &str, identity: Option<&str>) -> Option<Arc<ClientConfig>> {
        let file = |name: String| self.directory.join(name);
        let files = ClientFiles {
            roots: file(format!("{ca}.crt")),
            roots_key: "mqtt.client.auth.ca_file",
            cert_file: identity.map(|name| file(format!("{name}.crt"))),
            key_file: identity.map(|name| file(format!("{name}.key"))),
            auth_prefix: "mqtt.client.auth",
            protocol: None,
        };
        Some(files.load().unwrap().config)
    }

    /// Answers each question with `71,token-N`.
    async fn bridge(&self) -> AsyncClient {
        let options = CreateOptionsBuilder::new()
            .server_uri(format!("unix://{}/bridge", self.directory.display()))
            .client_id("bridge")
            .finalize();
        let client = AsyncClient::new(options).unwrap();
        let mut count = 0;
        client.set_message_callback(move |client, _| {
            count += 1;
            let answer = format!("71,token-{count}");
            drop(client.publish(Message::new("c8y/s/dat", answer, QOS)));
        });
        client.connect(None).await.unwrap();
        client.subscribe("c8y/s/uat", QOS).await.unwrap();
        client
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.stop();
        std::fs::remove_dir_all(&self.directory).unwrap();
    }
}

/// Runs a scene with a device at this broker, for 30 s at most.
fn play(broker: BrokerOptions, scene: impl AsyncFnOnce(&Mqtt)) {
    let executor = Executor::new();
    let mqtt = Mqtt::start(broker, &executor).unwrap();
    let late = async {
        Timer::after(Duration::from_secs(30)).await;
        panic!("the scene does not end: {}", mqtt.waiting());
    };
    future::block_on(executor.run(scene(&mqtt).or(late)));
}

/// Waits until the broker is known to be away, and returns what is said of it.
async fn away(mqtt: &Mqtt) -> String {
    mqtt.broker.until(|status| (status.announced == Some(false)).then_some(())).await;
    mqtt.waiting()
}

fn openssl(directory: &Path, words: &str) {
    let mut command = Command::new("openssl");
    let output = command.args(words.split(' ')).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// `ca`, `server` and `device` signed by it, and another CA that nobody asked.
fn certificates(directory: &Path) {
    const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    for ca in ["ca", "other"] {
        openssl(
            directory,
            &format!("req -x509 {KEY} -subj /CN={ca} -keyout {ca}.key -out {ca}.crt"),
        );
    }
    for (name, extension) in [("server", "subjectAltName=DNS:localhost"), ("device", "nsComment=x")]
    {
        openssl(
            directory,
            &format!(
                "req -x509 {KEY} -subj /CN={name} -addext {extension} -addext \
                 basicConstraints=critical,CA:FALSE -CA ca.crt -CAkey ca.key \
                 -keyout {name}.key -out {name}.crt"
            ),
        );
    }
}

const TLS: &str = "allow_anonymous true\ncertfile DIR/server.crt\nkeyfile DIR/server.key\n";

#[test]
fn asks_for_a_token_and_gets_one_that_is_new() {
    let broker = Mosquitto::start(|_| {}, "allow_anonymous true\n");
    let _bridge = future::block_on(async {
        let bridge = broker.bridge().await;
        let old = Message::new_retained("c8y/s/dat", "71,old", QOS);
        bridge.publish(old).await.unwrap();
        bridge
    });
    play(broker.settings(), async |mqtt| {
        assert_eq!(mqtt.fetch().await.unwrap(), "token-1");
        assert_eq!(mqtt.fetch().await.unwrap(), "token-2");
        assert!(mqtt.is_connected());
    });
}

#[test]
fn an_answer_that_is_no_token_is_an_error() {
    let broker = Mosquitto::start(|_| {}, "allow_anonymous true\n");
    play(broker.settings(), async |mqtt| {
        let bridge = broker.bridge().await;
        bridge.set_message_callback(|client, _| {
            drop(client.publish(Message::new("c8y/s/dat", "41,100,no\r\n71,x", QOS)));
        });
        let error = mqtt.fetch().await.unwrap_err();
        assert!(error.to_string().starts_with("the answer on c8y/s/dat is not a token"), "{error}");
    });
}

#[test]
fn finds_a_broker_that_comes_later_or_comes_back() {
    let mut broker = Mosquitto::start(|_| {}, "allow_anonymous true\n");
    broker.stop();
    play(broker.settings(), async |mqtt| {
        let said = away(mqtt).await;
        assert!(
            said.contains(&format!("the broker at localhost:{} is not available", broker.port)),
            "{said}"
        );
        assert!(said.contains("it does not accept connections; see mqtt.client.host"), "{said}");
        for _ in 0..2 {
            broker.run();
            let bridge = broker.bridge().await;
            assert_eq!(mqtt.fetch().await.unwrap(), "token-1");
            drop(bridge);
            broker.stop();
            away(mqtt).await;
            assert!(!mqtt.is_connected());
        }
    });
}

#[test]
fn logs_in_with_a_password_from_a_file() {
    let prepare = |directory: &Path| {
        let status = Command::new("mosquitto_passwd")
            .args(["-b", "-c"])
            .arg(directory.join("users"))
            .args(["proxy", "right"])
            .status();
        assert!(status.unwrap().success());
    };
    let broker = Mosquitto::start(prepare, "password_file DIR/users\n");
    let with = |password: &str| {
        let file = broker.directory.join(password.trim());
        #[expect(clippy::disallowed_methods, reason = "nothing else runs here")]
        std::fs::write(&file, password).unwrap();
        BrokerOptions { login: Some(("proxy".to_owned(), Some(file))), ..broker.settings() }
    };
    play(with("right\n"), async |mqtt| {
        let _bridge = broker.bridge().await;
        mqtt.fetch().await.unwrap();
    });
    play(with("wrong"), async |mqtt| {
        let said = away(mqtt).await;
        assert!(said.to_lowercase().contains("not authorized"), "{said}");
    });
    let missing = Some(("proxy".to_owned(), Some(broker.directory.join("nowhere"))));
    play(BrokerOptions { login: missing, ..broker.settings() }, async |mqtt| {
        let said = away(mqtt).await;
        assert!(
            said.contains("mqtt.client.auth.password_file: ") && said.contains("nowhere"),
            "{said}"
        );
    });
}

#[test]
fn speaks_tls_and_leaves_no_socket_behind() {
    let broker = Mosquitto::start(certificates, TLS);
    play(BrokerOptions { tls: broker.tls("ca", None), ..broker.settings() }, async |mqtt| {
        let _bridge = broker.bridge().await;
        mqtt.fetch().await.unwrap();
        let left: Vec<_> = std::fs::read_dir(&broker.directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name.to_string_lossy().starts_with("c8y-proxy-"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    });
    play(BrokerOptions { tls: broker.tls("other", None), ..broker.settings() }, async |mqtt| {
        let said = away(mqtt).await;
        assert!(
            said.contains("TLS failed: its certificate is signed by an unknown authority"),
            "{said}"
        );
    });
}

#[test]
fn finds_a_broker_with_tls_again() {
    let mut broker = Mosquitto::start(certificates, TLS);
    let settings = BrokerOptions { tls: broker.tls("ca", None), ..broker.settings() };
    play(settings, async |mqtt| {
        for _ in 0..2 {
            let bridge = broker.bridge().await;
            assert_eq!(mqtt.fetch().await.unwrap(), "token-1");
            drop(bridge);
            broker.stop();
            let said = away(mqtt).await;
            assert!(said.contains("is not available"), "{said}");
            broker.run();
        }
    });
}

#[test]
fn shows_a_client_certificate_where_the_broker_demands_one() {
    let lines = format!("{TLS}cafile DIR/ca.crt\nrequire_certificate true\n");
    let broker = Mosquitto::start(certificates, &lines);
    play(
        BrokerOptions { tls: broker.tls("ca", Some("device")), ..broker.settings() },
        async |mqtt| {
            let _bridge = broker.bridge().await;
            mqtt.fetch().await.unwrap();
        },
    );
    play(BrokerOptions { tls: broker.tls("ca", None), ..broker.settings() }, async |mqtt| {
        let said = away(mqtt).await;
        assert!(said.contains("it requires a certificate, and we sent none"), "{said}");
    });
}

#[test]
fn refuses_a_prefix_that_is_no_topic() {
    for prefix in ["", "#", "a/+", "a\0b"] {
        let broker = BrokerOptions {
            origin: Origin::parse("localhost", 1).unwrap(),
            login: None,
            tls: None,
            runtime_directory: PathBuf::new(),
            topic_prefix: prefix.to_owned(),
            health: None,
        };
        let error = Mqtt::start(broker, &Executor::new()).map(drop).unwrap_err();
        assert_eq!(error.exit_code(), 78, "{prefix}");
    }
}
