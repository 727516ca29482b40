//! `tedge config` beside thin-edge.io 2.0.1's command of that name: it prints values in the same form,
//! and writes none that thin-edge.io cannot read, since its programs then refuse the whole file.

use crate::support::tedge::Device;

/// What both print of a value that either has set.
#[test]
fn prints_a_value_in_the_form_of_thin_edge() {
    for (key, set, printed) in [
        ("c8y.url", "example.com", "example.com"),
        ("c8y.http", "example.com", "example.com:443"),
        ("c8y.http", "10.0.0.1:444", "10.0.0.1:444"),
        ("c8y.mqtt", "mqtt.example.com", "mqtt.example.com:8883"),
        ("http.bind.address", "::0001", "::1"),
        ("proxy.address", "10.0.0.1:3128", "http://10.0.0.1:3128"),
        ("proxy.address", "https://proxy.example", "https://proxy.example:443"),
        ("mqtt.device_topic_id", "factory/a", "factory/a//"),
        ("mqtt.device_topic_id", "device/child1//", "device/child1//"),
    ] {
        let device = Device::new();
        assert_eq!(device.tedge(&["config", "set", key, set]).code, Some(0), "{key} {set}");
        assert_eq!(device.get(key), printed, "{key} {set}");
        let listed = device.tedge(&["config", "list", key]).silent_success();
        assert_eq!(listed, format!("{key}={printed}"));

        // As thin-edge.io has written it, or somebody by hand.
        let device = Device::new().with("tedge.toml", format!("{key} = \"{set}\"\n"));
        assert_eq!(device.get(key), printed, "{key} {set} in the file");
        device.tedge(&["config", "remove", key, set]);
        assert_eq!(device.text("tedge.toml"), "", "{key} {set}");
    }
    let device = Device::new().with("mappers/c8y/mapper.toml", "url = \"example.com\"\n");
    assert_eq!(device.get("c8y.http"), "example.com:443");
    assert_eq!(device.get("c8y.mqtt"), "example.com:8883");
}

/// Forms that both accept in a command, and thin-edge.io in no file.
#[test]
fn writes_a_value_in_a_form_that_thin_edge_reads() {
    for (key, set, written) in [
        ("http.bind.address", "[::1]", "[http.bind]\naddress = \"::1\"\n"),
        ("mqtt.external.bind.address", "[::]", "[mqtt.external.bind]\naddress = \"::\"\n"),
        ("proxy.address", "proxy:3128", "[proxy]\naddress = \"http://proxy:3128\"\n"),
        ("proxy.address", "::1", "[proxy]\naddress = \"http://[::1]:80\"\n"),
    ] {
        let device = Device::new();
        assert_eq!(device.tedge(&["config", "set", key, set]).code, Some(0), "{key} {set}");
        assert_eq!(device.text("tedge.toml"), written, "{key} {set}");
    }
}

#[test]
fn a_value_with_which_thin_edge_does_not_start_is_refused() {
    let device = Device::new();
    for (key, value) in [
        ("c8y.bridge.topic_prefix", "c8y/#"),
        ("c8y.bridge.topic_prefix", "+"),
        ("c8y.bridge.topic_prefix", "c8y-internal"),
        ("mqtt.bind.port", "0"),
        ("mqtt.client.port", "0"),
        ("mqtt.device_topic_id", "device/child1///"),
        ("mqtt.device_topic_id", "device/+//"),
        ("mqtt.device_topic_id", "#"),
    ] {
        device.tedge(&["config", "set", key, value]).failed(1, &["cannot be", value]);
    }
    assert_eq!(std::fs::read_dir(device.config_dir()).unwrap().count(), 0);
}

/// These are of use to our services, and stay possible where thin-edge.io is not installed.
#[test]
fn a_value_with_which_only_thin_edge_does_not_start_is_a_warning() {
    for (key, value, hint) in [
        ("c8y.url", "example.com:8443", "c8y.http"),
        ("c8y.http", "[::1]:8443", "IPv4"),
        ("c8y.mqtt", "::1", "IPv4"),
        ("proxy.address", "http://me:secret@proxy:3128", "proxy.username"),
    ] {
        let done = Device::new().tedge(&["config", "set", key, value]);
        assert_eq!(done.code, Some(0), "{done:?}");
        let warning = format!("Warning: thin-edge.io's own programs do not start with this {key}");
        let line = done.err.lines().find(|line| line.starts_with(&warning));
        assert!(line.is_some_and(|line| line.contains(hint)), "{done:?}");
        assert!(!done.err.contains("secret"), "{done:?}");
    }
}

/// Docker and systemd keep quotes that a shell would take away.
#[test]
fn a_variable_in_quotes_is_read_as_toml() {
    let device = Device::new().with("tedge.toml", "device.id = \"file\"\n");
    for (key, variable, value, printed) in [
        ("c8y.url", "TEDGE_C8Y_URL", "\"example.com\"", "example.com"),
        ("http.bind.address", "TEDGE_HTTP_BIND_ADDRESS", "\"0.0.0.0\"", "0.0.0.0"),
        ("http.cert_path", "TEDGE_HTTP_CERT_PATH", "\"/a \\\"b\\\"\"", "/a \"b\""),
        ("proxy.no_proxy", "TEDGE_PROXY_NO_PROXY", "[\"a\", \"b\"]", "a,b"),
        // What is no TOML is what it says.
        ("http.bind.address", "TEDGE_HTTP_BIND_ADDRESS", "[::1]", "::1"),
        ("device.id", "TEDGE_DEVICE_ID", "\"a", "\"a"),
        ("device.id", "TEDGE_DEVICE_ID", "'a'", "'a'"),
        ("device.id", "TEDGE_DEVICE_ID", "a\"b\"", "a\"b\""),
    ] {
        let done = device.tedge_with((variable, value), &["config", "get", key]);
        assert_eq!(done.silent_success(), printed, "{variable}={value}");
    }
    let done = device.tedge_with(("TEDGE_DEVICE_ID", "\"\""), &["config", "get", "device.id"]);
    done.failed(1, &["is not set"]);
}
