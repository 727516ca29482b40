//! The proxy as a service of thin-edge.io: its messages on the local broker, under thin-edge.io's
//! topics (<https://thin-edge.github.io/thin-edge.io/references/mqtt-api/>). Pure.

use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

use paho_mqtt::Message;

use super::packets::QOS;

/// The end of the topics on which others request a health check.
pub(super) const CHECK: &str = "/cmd/health/check";

/// The topics of the proxy.
#[derive(Clone, Debug)]
pub struct Health {
    service: String,
    device: String,
}

impl Health {
    /// The service with this name of the device with this topic (`mqtt.device_topic_id`), below
    /// `mqtt.topic_root`. `None` if the topic is not one of a device, `…/…//`.
    pub fn of(root: &str, device: &str, name: &str) -> Option<Self> {
        let named = device.strip_suffix("//").filter(|named| {
            let parts = named.split('/');
            parts.clone().count() == 2 && parts.clone().all(|part| !part.is_empty())
        })?;
        let is_topic = |text: &str| !text.is_empty() && !text.contains(['+', '#', '\0']);
        (is_topic(root) && is_topic(named)).then(|| Self {
            service: format!("{root}/{named}/service/{name}"),
            device: format!("{root}/{device}"),
        })
    }

    /// The message that registers the service.
    pub(super) fn registration(&self) -> Message {
        let registration = r#"{"@type":"service","type":"service"}"#;
        Message::new_retained(self.service.as_str(), registration, QOS)
    }

    /// The message that the service is up.
    pub(super) fn up(&self) -> Message {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let pid = process::id();
        self.status(format!(r#"{{"status":"up","pid":{pid},"time":{time}}}"#))
    }

    /// The message that the service is down. The broker publishes it when the connection ends.
    pub(super) fn down(&self) -> Message {
        self.status(format!(r#"{{"status":"down","pid":{}}}"#, process::id()))
    }

    fn status(&self, status: String) -> Message {
        Message::new_retained(format!("{}/status/health", self.service), status, QOS)
    }

    /// The topics on which a health check is requested: of this service, or of all services of the
    /// device.
    pub(super) fn checks(&self) -> [String; 2] {
        [&self.service, &self.device].map(|entity| format!("{entity}{CHECK}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_those_of_thin_edge() {
        let health = Health::of("te", "device/main//", "tedge-c8y-proxy").unwrap();
        assert_eq!(health.registration().topic(), "te/device/main/service/tedge-c8y-proxy");
        assert_eq!(health.up().topic(), "te/device/main/service/tedge-c8y-proxy/status/health");
        let checks = [
            "te/device/main/service/tedge-c8y-proxy/cmd/health/check",
            "te/device/main///cmd/health/check",
        ];
        assert_eq!(health.checks(), checks);
        assert!(health.up().retained() && health.down().retained());
        assert!(Health::of("edge", "device/child01//", "a").is_some());
        for (root, device) in [
            ("te", "device/main"),
            ("te", "device/main/service/x"),
            ("te", "//"),
            ("te", "device///"),
            ("te", "device/+//"),
            ("#", "device/main//"),
            ("", "device/main//"),
        ] {
            assert!(Health::of(root, device, "a").is_none(), "{root} {device}");
        }
    }
}
