//! Cloud profiles, as thin-edge.io has them: each a set of `c8y.*` of its own, in the files in which
//! thin-edge.io looks for it.

use std::process::Stdio;

use crate::support::tedge::{Device, Done};

/// `tedge config` with these arguments, which succeeds.
#[track_caller]
fn config(device: &Device, arguments: &str) -> String {
    let arguments: Vec<_> = arguments.split(' ').collect();
    let done = device.tedge(&[&["config"], &arguments[..]].concat());
    assert_eq!(done.code, Some(0), "{arguments:?}: {done:?}");
    done.out.trim_end().to_owned()
}

fn fails(device: &Device, arguments: &str, code: i32, said: &[&str]) {
    let arguments: Vec<_> = arguments.split(' ').collect();
    device.tedge(&[&["config"], &arguments[..]].concat()).failed(code, said);
}

/// The commands of thin-edge.io's page "Cloud Profiles".
const PAGE: [&str; 4] = [
    "set c8y.url one.example.com",
    "set c8y.url two.example.com --profile second",
    "set c8y.bridge.topic_prefix c8y-second --profile second",
    "set c8y.proxy.bind.port 8002 --profile second",
];

#[test]
fn the_page_on_cloud_profiles_works_as_it_is_written() {
    let device = Device::new();
    for command in PAGE {
        config(&device, command);
    }
    let stored = "[c8y]\nurl = \"one.example.com\"\n\n[c8y.profiles.second]\nurl = \
                  \"two.example.com\"\n\n[c8y.profiles.second.bridge]\ntopic_prefix = \
                  \"c8y-second\"\n\n[c8y.profiles.second.proxy.bind]\nport = 8002\n";
    assert_eq!(device.text("tedge.toml"), stored);
    let listed = "c8y.url=one.example.com\nc8y.proxy.token_url=\n\
                  c8y.profiles.second.url=two.example.com\nc8y.profiles.second.proxy.token_url=";
    assert_eq!(config(&device, "list --all url"), listed);
    assert_eq!(
        config(&device, "list url --profile second"),
        "c8y.profiles.second.url=two.example.com"
    );
    for (name, found) in [("second", "8002"), ("SECOND", "8002")] {
        assert_eq!(config(&device, &format!("get c8y.proxy.bind.port --profile {name}")), found);
    }
    assert_eq!(config(&device, "get c8y.proxy.bind.port"), "8001");
}

#[test]
fn a_profile_has_defaults_of_its_own() {
    let device = Device::new();
    for command in PAGE {
        config(&device, command);
    }
    config(&device, "set c8y.root_cert_path /ca");
    let get = |key: &str| config(&device, &format!("get {key} --profile second"));
    assert_eq!(get("c8y.http"), "two.example.com:443");
    assert_eq!(get("c8y.proxy.client.port"), "8002");
    assert_eq!(get("c8y.root_cert_path"), "/etc/ssl/certs");
}

#[test]
fn a_profile_is_selected_by_option_key_or_environment() {
    let device = Device::new();
    config(&device, "set c8y.profiles.second.url two.example.com");
    config(&device, "set c8y.url one.example.com");
    let with = |variable: (&str, &str), arguments: &[&str]| -> Done {
        device.tedge_with(variable, &[&["config"], arguments].concat())
    };
    let selected = ("TEDGE_CLOUD_PROFILE", "second");
    assert_eq!(with(selected, &["get", "c8y.url"]).silent_success(), "two.example.com");
    assert_eq!(with(selected, &["get", "http.bind.port"]).silent_success(), "8000");
    assert_eq!(with(("TEDGE_CLOUD_PROFILE", ""), &["get", "c8y.url"]).out, "one.example.com\n");
    let key = "c8y.profiles.second.url";
    for variable in [("TEDGE_CLOUD_PROFILE", "third"), ("PATH", "")] {
        assert_eq!(with(variable, &["get", key]).silent_success(), "two.example.com");
        let get = ["get", "c8y.url", "--profile", "second"];
        assert_eq!(with(variable, &get).silent_success(), "two.example.com");
    }
    // Values of the environment are those of one profile, and can be the only ones that it has.
    let set = ("TEDGE_C8Y_PROFILES_SECOND_URL", "env.example.com");
    assert_eq!(with(set, &["get", key]).silent_success(), "env.example.com");
    assert_eq!(with(set, &["get", "c8y.url"]).silent_success(), "one.example.com");
    assert_eq!(with(("TEDGE_C8Y_URL", "x"), &["get", key]).silent_success(), "two.example.com");
    let only = ("TEDGE_C8Y_PROFILES_A_B_URL", "env.example.com");
    let get = ["get", "c8y.url", "--profile", "a_b"];
    assert_eq!(with(only, &get).silent_success(), "env.example.com");
}

#[test]
fn what_is_set_can_be_changed_and_unset() {
    let device = Device::new();
    config(&device, "set c8y.url one.example.com");
    config(&device, "add c8y.proxy.allowed_hosts a.example --profile second");
    config(&device, "add c8y.proxy.allowed_hosts b.example --profile second");
    config(&device, "remove c8y.profiles.second.proxy.allowed_hosts a.example");
    let own = "[c8y.profiles.second.proxy]\nallowed_hosts = \"b.example\"\n";
    assert_eq!(device.text("tedge-http.toml"), own);
    config(&device, "set c8y.url two.example.com --profile second");
    let done = device.tedge(&["config", "unset", "c8y.url", "--profile", "second"]);
    let said =
        "Restart tedge-c8y-proxy@second to apply this: systemctl restart tedge-c8y-proxy@second\n";
    assert_eq!((done.code, &*done.err), (Some(0), said));
    fails(&device, "get c8y.url --profile second", 1, &["'c8y.profiles.second.url' is not set"]);
    assert_eq!(config(&device, "get c8y.url"), "one.example.com");
}

#[test]
fn with_a_mapper_toml_each_profile_has_a_file_of_its_own() {
    let device = Device::new()
        .with("mappers/c8y/mapper.toml", "url = \"one.example.com\"\n")
        .with("tedge.toml", "[c8y.profiles.old]\nurl = \"old.example.com\"\n");
    config(&device, "set c8y.url two.example.com --profile second");
    assert_eq!(device.text("mappers/c8y.second/mapper.toml"), "url = \"two.example.com\"\n");
    assert_eq!(config(&device, "get c8y.profiles.second.url"), "two.example.com");
    assert_eq!(config(&device, "get c8y.url"), "one.example.com");
    // thin-edge.io looks in no other file once there is one.
    fails(&device, "get c8y.url --profile old", 1, &["unknown profile 'old'"]);
    let keys = config(&device, "list .url");
    assert_eq!(keys, "c8y.url=one.example.com\nc8y.profiles.second.url=two.example.com");

    let device = Device::new().with("mappers/c8y.edge/mapper.toml", "");
    config(&device, "set c8y.url one.example.com");
    config(&device, "set c8y.url edge.example.com --profile edge");
    assert_eq!(device.text("mappers/c8y/mapper.toml"), "url = \"one.example.com\"\n");
    assert_eq!(device.text("mappers/c8y.edge/mapper.toml"), "url = \"edge.example.com\"\n");
}

#[test]
fn what_names_no_profile_is_an_error() {
    let device = Device::new();
    config(&device, "set c8y.url one.example.com");
    let long = "a".repeat(300);
    for name in ["..", "a/b", "../../x", "a.b", "-_", "@", "\n", "é", &long] {
        let done = device.tedge(&["config", "set", "c8y.url", "x", "--profile", name]);
        done.failed(2, &["--profile", "letters, digits", "at most 48"]);
        let get = ["config", "get", "c8y.url"];
        device.tedge_with(("TEDGE_CLOUD_PROFILE", name), &get).failed(78, &["TEDGE_CLOUD_PROFILE"]);
    }
    fails(&device, "set c8y.profiles.a/b.url x", 2, &["unknown key"]);
    fails(
        &device,
        "get c8y.url --profile third",
        1,
        &["unknown profile 'third'", "--profile third"],
    );
    fails(&device, "get http.bind.port --profile second", 2, &["same for all profiles"]);
    fails(&device, "get c8y.profiles.a.url --profile b", 2, &["two different profiles"]);
    fails(&device, "get c8y.profiles.a.ulr", 2, &["did you mean c8y.url?"]);
    fails(&device, "set c8y.url https://x --profile second", 1, &["c8y.url cannot be"]);
    assert!(!device.path("mappers").exists());
    assert_eq!(device.text("tedge.toml"), "[c8y]\nurl = \"one.example.com\"\n");
}

#[test]
fn settings_of_other_profiles_are_neither_unknown_nor_in_the_way() {
    let text = "[c8y]\nurl = \"one.example.com\"\n[c8y.profiles.second]\nproxy.bind.port = \"x\"\n";
    let device = Device::new().with("tedge.toml", text);
    assert_eq!(device.get("c8y.proxy.bind.port"), "8001");
    fails(&device, "get c8y.proxy.bind.port --profile second", 78, &["'x'", "tedge.toml, line 4"]);
}

#[test]
fn a_change_of_another_key_at_the_same_time_is_not_taken_for_ours() {
    let device = Device::new();
    for port in 2..50 {
        let port = port.to_string();
        let mut other = device.command(&["config", "set", "http.bind.port", &port]);
        let mut other = other.stderr(Stdio::null()).spawn().unwrap();
        let set = ["config", "set", "c8y.proxy.bind.port", &port, "--profile", "p1"];
        let done = device.tedge(&set);
        other.wait().unwrap();
        assert!(done.err.contains("systemctl restart tedge-c8y-proxy@p1"), "{done:?}");
        assert!(!done.err.contains("tedge-file-transfer"), "{done:?}");
    }
}
