//! `tedge access`: which rule decides about a request.

use crate::support::tedge::Device;

const FILES: &str = "[[rule]]\nwho = \"*\"\nmay = [\"read\", \"write\"]\nbelow = \"/{who}/\"\n\n\
    [[rule]]\nfrom = \"127.0.0.0/8\"\nmay = [\"read\"]\nbelow = \"/public/\"\n\n\
    [[rule]]\nwho = \"*\"\nmay = \"write\"\nbelow = \"/te/v1/entities/device/{who}//\"\n";
const CLOUD: &str = "[[rule]]\nwho = \"child1\"\nmay = [\"GET\"]\nbelow = \"/inventory/binaries/\"\n\
    \n[[rule]]\nwho = \"child1\"\nmay = [\"POST\"]\nexactly = \"/event/events\"\n";

fn ruled() -> Device {
    let device = Device::new().with("files.toml", FILES).with("c8y.toml", CLOUD);
    for (key, file) in [("http.access_path", "files.toml"), ("c8y.proxy.access_path", "c8y.toml")] {
        let file = device.path(file);
        assert_eq!(device.tedge(&["config", "set", key, file.to_str().unwrap()]).code, Some(0));
    }
    device
}

#[test]
fn says_which_rule_allows_a_request() {
    let device = ruled();
    for (arguments, file, line) in [
        (&["--as", "child1", "PUT", "/te/v1/files/child1/a"][..], "files.toml", 1),
        (&["--as", "child1", "get", "/tedge/file-transfer//child1/a/"], "files.toml", 1),
        (&["GET", "/te/v1/files/public/a", "--from", "127.0.0.1"], "files.toml", 6),
        (
            &["GET", "/public/a", "--from=::ffff:127.9.9.9", "--service=tedge-file-transfer"],
            "files.toml",
            6,
        ),
        (&["PUT", "/te/v1/entities/device/child1//", "--as=child1"], "files.toml", 11),
        (&["PUT", "/te/v1/entities/device/child1", "--as=child1"], "files.toml", 11),
        (&["GET", "/c8y/inventory/binaries", "--as=child1"], "c8y.toml", 1),
        (&["GET", "/c8y/inventory/binaries/1", "--as=child1"], "c8y.toml", 1),
        (&["POST", "/event/events", "--as=child1", "--service", "tedge-c8y-proxy"], "c8y.toml", 6),
    ] {
        let done = device.tedge(&[&["access", "check"], arguments].concat());
        let said = format!("allowed by {}:{line}", device.path(file).display());
        assert_eq!(done.silent_success(), said, "{arguments:?}");
    }
}

#[test]
fn says_that_no_rule_allows_a_request() {
    let device = ruled();
    for (arguments, file, refusal) in [
        (
            &["--as", "child1", "PUT", "/te/v1/files/child2/a"][..],
            "files.toml",
            "child1 may not write below \"/child2/\"",
        ),
        (
            &["GET", "/te/v1/files/public/a"],
            "files.toml",
            "a client without a name may not read below \"/public/\"",
        ),
        (
            &["GET", "/te/v1/files/public/a", "--from", "192.0.2.1"],
            "files.toml",
            "192.0.2.1 may not read below \"/public/\"",
        ),
        (
            &["--as", "..", "GET", "/te/v1/files/child1/a"],
            "files.toml",
            ".. may not read below \"/child1/\"",
        ),
        (
            &["--as", "te", "PUT", "/te/v1/entities/device/child1//"],
            "files.toml",
            "te may not write below \"/te/v1/entities/device/\"",
        ),
        (
            &["--as", "child1", "PUT", "/te/v1/files/te/v1/entities/device/child1/a"],
            "files.toml",
            "child1 may not write below \"/te/v1/entities/device/child1/\" (this is a file, and rules \
             below /te/v1/entities/ are about entities only; to check an entity, type \
             /te/v1/entities/device/child1/a)",
        ),
        (
            &["--as", "child1", "POST", "/te/v1/entities"],
            "files.toml",
            "child1 may not write below \"/te/v1/entities/\"",
        ),
        (
            &["--as", "child1", "DELETE", "/c8y/inventory/binaries/1"],
            "c8y.toml",
            "child1 may not write below \"/inventory/binaries/\"",
        ),
    ] {
        let done = device.tedge(&[&["access", "check"], arguments].concat());
        let file = device.path(file);
        let said = format!("refused: no rule in {} allows this: {refusal}\n", file.display());
        assert_eq!(
            (done.code, done.out, done.err),
            (Some(1), said, String::new()),
            "{arguments:?}"
        );
    }
}

#[test]
fn the_rules_in_the_readme_fit_what_thin_edge_io_does() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let blocks = readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut rules = blocks.filter(|block| block.contains("[[rule]]"));
    let (files, cloud) = (rules.next().unwrap(), rules.next().unwrap());
    let device = ruled().with("files.toml", files).with("c8y.toml", cloud);
    for (name, method, path, is_allowed) in [
        // c8y_mapper_ext: `<external id>/log_upload/…`, config_snapshot, config_update.
        ("child1", "PUT", "/te/v1/files/child1/log_upload/syslog-c8y-mapper-1", true),
        (
            "child1",
            "PUT",
            "/te/v1/files/gateway:device:child1/config_snapshot/a-c8y-mapper-1",
            true,
        ),
        ("child1", "GET", "/te/v1/files/child1/firmware_update/93d50a297a8c235", true),
        ("child1", "GET", "/te/v1/files/device_child1__/config_update/a-c8y-mapper-1", true),
        ("child1", "PUT", "/te/v1/files/device_child1__/config_update/a-c8y-mapper-1", false),
        ("child1", "GET", "/te/v1/files/device_child2__/config_update/a-c8y-mapper-1", false),
        ("child1", "GET", "/te/v1/files/gateway:device:child2/config_snapshot/a", false),
        ("child1", "GET", "/te/v1/files/gateway/config_snapshot/tedge.toml-1", false),
        ("main-agent", "GET", "/te/v1/files/gateway:device:child1/config_snapshot/a", true),
        ("main-agent", "PUT", "/te/v1/files/gateway/config_snapshot/tedge.toml-1", true),
        ("child1", "GET", "/c8y/inventory/binaries/51541", true),
        ("child1", "POST", "/c8y/event/events", true),
        ("child1", "GET", "/c8y/inventory/managedObjects/1", false),
        ("child1", "DELETE", "/c8y/inventory/binaries/51541", false),
        ("main-agent", "POST", "/c8y/event/events/1/binaries", true),
        ("main-agent", "PUT", "/c8y/inventory/managedObjects/1", true),
    ] {
        let done = device.tedge(&["access", "check", "--as", name, method, path]);
        assert_eq!(done.code, Some(i32::from(!is_allowed)), "{name} {method} {path}: {done:?}");
    }
}

#[test]
fn without_rules_everything_is_allowed() {
    let device = Device::new();
    for (path, key) in [("/te/v1/files/a", "http.access_path"), ("/c8y", "c8y.proxy.access_path")] {
        let done = device.tedge(&["access", "check", "GET", path]);
        assert_eq!(done.silent_success(), format!("allowed: {key} is not set"));
    }
}

#[test]
fn what_cannot_be_tried_is_said() {
    let device = ruled();
    for (arguments, said) in [
        (&["GET", "/a"][..], "no service has the path '/a': add --service"),
        (&["GET", "/c8yx"], "no service has the path '/c8yx'"),
        (&["G T", "/c8y"], "METHOD is 'G T'"),
        (&["GET", "/c8y/a/../b"], "write it decoded, without . and .."),
        (&["GET", "/te/v1/files/a/%2e%2e/b"], "write it decoded, without . and .."),
        (&["GET", "/c8y/a/..;v=1/b"], "write it decoded, without . and .."),
        (&["GET", "/c8y/a\\..\\b"], "write it decoded, without . and .."),
        (&["GET", "/c8y/a?b"], "write it decoded, without . and .."),
        (&["GET", "/c8y", "--from", "lan"], "--from is 'lan': expected an IP address"),
        (&["GET", "/c8y", "--service", "ssh"], "--service is 'ssh'"),
        (&["GET"], "missing PATH"),
    ] {
        device.tedge(&[&["access", "check"], arguments].concat()).failed(2, &[said]);
    }
    let device = device.with("files.toml", "[[rule]]\nwhat = \"a\"\n");
    let file = device.path("files.toml");
    let said = format!("http.access_path: {} cannot be used: line 2: no such key", file.display());
    device.tedge(&["access", "check", "GET", "/te/v1/files/a"]).failed(78, &[&said]);
}

#[test]
fn rules_that_match_hardly_any_request_are_warned_of_with_their_line() {
    let device = ruled()
        .with("files.toml", "[[rule]]\nwho = \"child*\"\nmay = \"read\"\nbelow = \"/\"\n")
        .with("c8y.toml", "\n[[rule]]\nmay = \"read\"\nbelow = \"/c8y/event/\"\n");
    for (path, warning) in [
        (
            "/te/v1/files/a",
            "files.toml line 1: the rule is for a client of exactly the name child*",
        ),
        (
            "/c8y/a",
            "c8y.toml line 2: write the path of the rule without the prefix of requests, /c8y/",
        ),
    ] {
        let done = device.tedge(&["access", "check", "GET", path]);
        assert!(done.code == Some(1) && done.err.contains(warning), "{done:?}");
    }
}
