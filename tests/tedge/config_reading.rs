//! Which value holds, and what a file may look like.

use std::process::Command;

use crate::support::tedge::{Device, as_nobody, copy_for_everybody, run};

/// As thin-edge.io before 2 writes it.
const ONE_FILE: &str = r#"[config]
version = "1"

[device]
type = "gateway"

[c8y]
url = "example.cumulocity.com"
root_cert_path = "/etc/roots"

[c8y.proxy.bind]
address = "192.168.1.6"
port = 8002

[mqtt.external.bind]
address = "192.168.1.7"

[http.client.auth]
cert_file = "/etc/tedge/client.crt"
"#;

/// As thin-edge.io 2 writes it.
const MAPPER: &str = r#"url = "mapper.cumulocity.com"
cloud_type = "c8y"

[device]
cert_path = "/etc/tedge/other.pem"

[proxy.bind]
port = 8003
"#;

#[test]
fn a_missing_file_counts_as_empty() {
    let device = Device::new();
    assert_eq!(device.get("http.bind.port"), "8000");
    let missing = device.tedge(&["--config-dir", "/nowhere", "config", "get", "device.key_path"]);
    assert_eq!(missing.silent_success(), "/nowhere/device-certs/tedge-private-key.pem");
}

#[test]
fn a_file_that_cannot_be_read_is_exit_78_and_named() {
    let device = Device::new().with("tedge.toml", "");
    let path = device.path("tedge.toml");
    run(Command::new("chmod").arg("000").arg(&path)).silent_success();
    let mut command = Command::new(copy_for_everybody(&device));
    command.arg("--config-dir").arg(device.config_dir()).args(["config", "get", "c8y.url"]);
    // The owner, if not root, is refused as well.
    as_nobody(&device, &mut command);
    let message = format!("cannot read {}: Permission denied", path.display());
    run(&mut command).failed(78, &[&message]);

    let device = Device::new().with("tedge.toml/file", "");
    device.tedge(&["config", "list"]).failed(78, &["cannot read", "tedge.toml"]);
}

#[test]
fn a_file_that_is_not_utf8_is_exit_78_with_its_line() {
    for name in ["tedge.toml", "tedge-http.toml", "mappers/c8y/mapper.toml"] {
        let device = Device::new().with(name, b"# \xc3\xbc\nx = \"\xff\"\n");
        let place = format!("{}, line 2, column 6", device.path(name).display());
        device.tedge(&["config", "get", "c8y.url"]).failed(78, &[&place, "UTF-8"]);
    }
}

#[test]
fn a_file_that_is_not_toml_is_exit_78_with_line_and_column() {
    for (text, place) in [
        ("[http]\ncert_path = /etc/x\n", ", line 2, column 13:"),
        ("# ü\nä", ", line 2, column "),
        ("[http]\n[http]\n", ", line 2, column "),
        ("a = 1\na = 2\n", ", line 2, column "),
        ("[http\n", ", line 1, column "),
    ] {
        let device = Device::new().with("tedge.toml", text);
        let place = format!("{}{place}", device.path("tedge.toml").display());
        device.tedge(&["config", "list"]).failed(78, &[&place, "not TOML"]);
    }
}

#[test]
fn a_bad_value_is_exit_78_and_names_key_value_origin_and_what_was_expected() {
    for (text, key, said) in [
        ("http.bind.port = 65536", "http.bind.port", &["'65536'", "line 1", "a port number"][..]),
        ("\nhttp.bind.port = -1", "http.bind.port", &["'-1'", "line 2"]),
        ("http.bind.port = \"80\"", "http.bind.port", &["'80'"]),
        ("http.bind.port.x = 1", "http.bind.port", &["a port number"]),
        ("http.bind.address = \"localhost\"", "http.bind.address", &["an IP address"]),
        ("http.cert_path = 5", "http.cert_path", &["'5'", "a path"]),
        ("http.cert_path = \"\"", "http.cert_path", &["''", "a path"]),
        ("c8y.url = \"https://example.com\"", "c8y.http", &["c8y.url", "without https://"]),
        ("c8y.url = [\"a\", \"b\"]", "c8y.url", &["without https://"]),
        ("c8y.auth_method = \"jwt\"", "c8y.auth_method", &["certificate, basic or auto"]),
        ("http = 1", "http.bind.port", &["http in ", "expected a table"]),
        ("mqtt.bind.address = 1", "http.bind.address", &["mqtt.bind.address is '1'"]),
        ("proxy.password = 12345", "proxy.password", &["proxy.password is '…'"]),
    ] {
        let device = Device::new().with("tedge.toml", text);
        let path = device.path("tedge.toml");
        let done = device.tedge(&["config", "get", key]);
        done.failed(78, said);
        done.failed(78, &[path.to_str().unwrap()]);
    }
    let device = Device::new().with("tedge-http.toml", "http.upload.sync = \"yes\"");
    device.tedge(&["config", "get", "http.upload.sync"]).failed(78, &["tedge-http.toml"]);
    for variable in ["TEDGE_HTTP_BIND_PORT", "TEDGE_HTTP_PORT"] {
        let done = device.tedge_with((variable, "no"), &["config", "get", "http.bind.port"]);
        done.failed(78, &["'no'", variable, "a port number"]);
    }
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
    let device = Device::new().with("tedge.toml", "http.bind.port = 8080\n");
    let get = ["config", "get", "http.bind.port"];
    assert_eq!(device.get("http.bind.port"), "8080");
    let done = device.tedge_with(("TEDGE_HTTP_BIND_PORT", "9090"), &get);
    assert_eq!(done.silent_success(), "9090");
    // An empty value unsets, whatever the file says.
    let done = device.tedge_with(("TEDGE_HTTP_BIND_PORT", ""), &get);
    assert_eq!(done.silent_success(), "8000");
    let device = Device::new().with("tedge.toml", "c8y.url = \"x\"\n");
    let done = device.tedge_with(("TEDGE_C8Y_URL", ""), &["config", "get", "c8y.url"]);
    done.failed(1, &["is not set"]);
}

#[test]
fn the_directory_is_that_of_the_argument_else_of_the_environment() {
    let device = Device::new();
    let other = device.directory.join("other");
    let key = ["config", "get", "c8y.credentials_path"];
    let arguments = ["--config-dir", other.to_str().unwrap(), key[0], key[1], key[2]];
    let expected = other.join("credentials.toml").into_os_string().into_string().unwrap();
    assert_eq!(device.tedge(&arguments).silent_success(), expected);
    // The option may stand behind the command as well.
    let arguments = [key[0], key[1], key[2], "--config-dir", other.to_str().unwrap()];
    assert_eq!(device.tedge(&arguments).silent_success(), expected);
    let done = device.tedge_with(("TEDGE_CONFIG_DIR", &other), &key);
    assert_eq!(done.silent_success(), expected);
    let done = device.tedge_with(("TEDGE_CONFIG_DIR", ""), &key);
    assert_eq!(done.silent_success(), "/etc/tedge/credentials.toml");
}

#[test]
fn a_default_follows_other_settings() {
    let device = Device::new().with("tedge.toml", ONE_FILE);
    assert_eq!(device.get("http.bind.address"), "192.168.1.7");
    assert_eq!(device.get("c8y.http"), "example.cumulocity.com:443");
    assert_eq!(device.get("c8y.proxy.client.port"), "8002");
    let device = Device::new().with("tedge.toml", "mqtt.bind.address = \"10.0.0.1\"\n");
    assert_eq!(device.get("http.bind.address"), "10.0.0.1");
    assert_eq!(device.get("mqtt.client.port"), "1883");
    device.tedge(&["config", "set", "mqtt.bind.port", "1884"]);
    assert_eq!(device.get("mqtt.client.port"), "1884");
    device.tedge(&["config", "set", "mqtt.external.bind.address", "10.0.0.2"]);
    assert_eq!(device.get("http.bind.address"), "10.0.0.2");
}

#[test]
fn both_layouts_of_thin_edge_are_read() {
    let device = Device::new().with("tedge.toml", ONE_FILE);
    assert_eq!(device.get("c8y.url"), "example.cumulocity.com");
    assert_eq!(device.get("c8y.root_cert_path"), "/etc/roots");

    let device = device.with("mappers/c8y/mapper.toml", MAPPER);
    let done = device.tedge(&["config", "get", "c8y.url"]);
    done.warned_once(&["[c8y] in ", "tedge.toml, line 8 is ignored", "mapper.toml"]);
    assert_eq!(done.out, "mapper.cumulocity.com\n");
    for (key, value) in [
        ("c8y.proxy.bind.port", "8003"),
        ("c8y.proxy.bind.address", "127.0.0.1"),
        ("c8y.root_cert_path", "/etc/ssl/certs"),
        ("http.client.auth.cert_file", "/etc/tedge/client.crt"),
    ] {
        assert_eq!(device.tedge(&["config", "get", key]).out, format!("{value}\n"));
    }
}

#[test]
fn what_thin_edge_lacks_is_read_from_a_file_beside() {
    let device = Device::new().with("tedge-http.toml", "[http]\ncrl_path = \"/crl\"\n");
    assert_eq!(device.get("http.crl_path"), "/crl");
    // In the other file it works too, with a warning that thin-edge.io will delete it.
    let device = Device::new().with("tedge.toml", "http.crl_path = \"/crl\"\n");
    let done = device.tedge(&["config", "get", "http.crl_path"]);
    done.warned_once(&["http.crl_path in", "belongs in", "tedge-http.toml"]);
    assert_eq!(done.out, "/crl\n");
}

#[test]
fn only_a_near_miss_of_a_key_is_a_warning() {
    let device = Device::new().with("tedge.toml", "logs.path = \"/l\"\nhttp.bind.prot = 1\n");
    let done = device.tedge(&["config", "get", "http.bind.port"]);
    done.warned_once(&[
        "'http.bind.prot' in ",
        "tedge.toml, line 2: did you mean 'http.bind.port'",
    ]);
    assert_eq!(done.out, "8000\n");

    let device = Device::new();
    let get = ["config", "get", "http.bind.port"];
    let done = device.tedge_with(("TEDGE_HTTP_BIND_PROT", "1"), &get);
    done.warned_once(&["TEDGE_HTTP_BIND_PROT", "did you mean TEDGE_HTTP_BIND_PORT?"]);
    device.tedge_with(("TEDGE_RUN_PATH", "/run"), &get).silent_success();
}

#[test]
fn old_spellings_are_read_with_one_warning() {
    for (old, new, value, shown) in [
        ("http.port", "http.bind.port", "1", "1"),
        ("http.address", "http.bind.address", "\"::\"", "::"),
        ("mqtt.client.auth.cafile", "mqtt.client.auth.ca_file", "\"/a\"", "/a"),
        ("mqtt.client.auth.cadir", "mqtt.client.auth.ca_dir", "\"/a\"", "/a"),
        ("mqtt.client.auth.certfile", "mqtt.client.auth.cert_file", "\"/a\"", "/a"),
        ("mqtt.client.auth.keyfile", "mqtt.client.auth.key_file", "\"/a\"", "/a"),
    ] {
        let device = Device::new().with("tedge.toml", format!("{old} = {value}\n"));
        let done = device.tedge(&["config", "get", new]);
        done.warned_once(&[old, "old spelling", new]);
        assert_eq!(done.out, format!("{shown}\n"));
        let variable = format!("TEDGE_{}", old.replace('.', "_").to_uppercase());
        let done = Device::new().tedge_with((&variable, shown), &["config", "get", new]);
        done.warned_once(&[&variable, "old spelling", new]);
        assert_eq!(done.out, format!("{shown}\n"));
        let done = Device::new().tedge(&["config", "set", old, shown]);
        assert_eq!(done.err.matches("old spelling").count(), 1, "{done:?}");
    }
    let both = Device::new().with("tedge.toml", "http.port = 1\nhttp.bind.port = 2\n");
    assert_eq!(both.tedge(&["config", "get", "http.bind.port"]).out, "2\n");
}

#[test]
fn a_host_may_be_an_ipv6_address() {
    let text = "c8y.http = \"[2001:db8::1]:8443\"\nhttp.bind.address = \"::\"\n\
                http.client.host = \"fe80::1\"\nproxy.address = \"http://[::1]:3128\"\n";
    let device = Device::new().with("tedge.toml", text);
    assert_eq!(device.get("c8y.http"), "[2001:db8::1]:8443");
    assert_eq!(device.get("http.client.host"), "fe80::1");
    assert_eq!(device.get("proxy.address"), "http://[::1]:3128");
    device.tedge(&["config", "set", "c8y.mqtt", "[::1"]).failed(1, &["c8y.mqtt cannot be '[::1'"]);
}

#[test]
fn the_certificate_names_the_device() {
    let device = Device::new().with("tedge.toml", "device.id = \"written\"\n");
    assert_eq!(device.get("device.id"), "written");
    let device = device.with("device-certs/tedge-private-key.pem", "");
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    ]);
    openssl.args(["-subj", "/O=thin-edge/CN=wörld-1", "-utf8", "-keyout", "/dev/null", "-out"]);
    assert!(
        openssl
            .arg(device.path("device-certs/tedge-certificate.pem"))
            .output()
            .unwrap()
            .status
            .success()
    );
    assert_eq!(device.get("device.id"), "wörld-1");

    let device = device.with("device-certs/tedge-certificate.pem", "no certificate");
    let done = device.tedge(&["config", "get", "device.id"]);
    done.warned_once(&["tedge-certificate.pem is not a PEM certificate"]);
    assert_eq!(done.out, "written\n");
}
