//! `tedge config` as somebody types it: output, exit codes, messages, help.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use crate::support::tedge::{Device, run};

#[test]
fn get_prints_the_value_and_nothing_else() {
    let device = Device::new();
    let done = device.tedge(&["config", "get", "http.bind.port"]);
    assert_eq!((done.code, done.out.as_str(), done.err.as_str()), (Some(0), "8000\n", ""));
}

#[test]
fn a_key_that_is_not_set_is_exit_1_and_the_message_of_thin_edge() {
    let done = Device::new().tedge(&["config", "get", "c8y.url"]);
    done.failed(1, &["The provided config key: 'c8y.url' is not set\n"]);
}

#[test]
fn an_unknown_key_is_exit_2_and_names_the_nearest() {
    let device = Device::new();
    for arguments in [
        &["config", "get", "c8y.proxy.ca_pathh"][..],
        &["config", "set", "c8y.proxy.ca_pathh", "/etc/ssl/certs"],
        &["config", "unset", "c8y.proxy.ca_pathh"],
        &["config", "add", "c8y.proxy.ca_pathh", "x"],
        &["config", "remove", "c8y.proxy.ca_pathh", "x"],
    ] {
        device
            .tedge(arguments)
            .failed(2, &["'c8y.proxy.ca_pathh'", "did you mean c8y.proxy.ca_path?"]);
    }
    device.tedge(&["config", "get", "x"]).failed(2, &["`tedge config list --all`"]);
}

#[test]
fn a_line_that_cannot_be_understood_is_exit_2() {
    let device = Device::new();
    for (arguments, said) in [
        (&[][..], "missing command"),
        (&["confg"], "unknown command 'confg'"),
        (&["config"], "missing command: expected get"),
        (&["config", "got", "c8y.url"], "unknown command 'got'"),
        (&["config", "get"], "missing KEY"),
        (&["config", "get", "c8y.url", "x"], "unexpected argument 'x'"),
        (&["config", "set", "c8y.url"], "missing VALUE"),
        (&["config", "set", "c8y.url", "--force"], "unknown option '--force'"),
        (&["config", "list", "a", "b"], "unexpected argument 'b'"),
        (&["config", "get", "c8y.url", "--config-dir"], "--config-dir"),
    ] {
        device.tedge(arguments).failed(2, &[said, "--help`"]);
    }
}

#[test]
fn list_prints_what_is_set() {
    let device = Device::new().with("tedge.toml", "c8y.url = \"example.com\"\n");
    let list = device.tedge(&["config", "list"]).silent_success();
    assert!(list.lines().any(|line| line == "c8y.url=example.com"), "{list}");
    assert!(list.lines().any(|line| line == "http.bind.port=8000"), "{list}");
    assert!(!list.contains("http.cert_path"), "{list}");
    assert!(
        list.lines().all(|line| line.split_once('=').is_some_and(|(_, value)| !value.is_empty()))
    );
}

#[test]
fn list_all_adds_what_is_not_set_and_a_filter_takes_away() {
    let device = Device::new();
    let list = device.tedge(&["config", "list", "--all", "http.c"]).silent_success();
    let expected = "http.cert_path=\nhttp.ca_path=\nhttp.crl_path=\nhttp.client.host=127.0.0.1\n\
                    http.client.port=8000\nhttp.client.auth.cert_file=\n\
                    http.client.auth.key_file=\nhttp.connections.max=128";
    assert_eq!(list, expected);
    assert_eq!(device.tedge(&["config", "list", "nothing"]).silent_success(), "");
}

#[test]
fn list_doc_explains_every_key_with_an_example() {
    let device = Device::new();
    let all = device.tedge(&["config", "list", "--all"]).silent_success();
    let doc = device.tedge(&["config", "list", "--doc"]).silent_success();
    for line in all.lines() {
        let key = line.split_once('=').unwrap().0;
        assert!(doc.lines().any(|line| line == key), "{key}");
    }
    assert_eq!(doc.matches("Example: ").count(), all.lines().count());
    let one = device.tedge(&["config", "list", "--doc", "http.upload.sync"]).silent_success();
    assert!(one.starts_with("http.upload.sync\n") && one.contains("Used by tedge-file-transfer"));
}

#[test]
fn list_shows_a_bad_value_and_fails_by_it() {
    let device = Device::new().with("tedge.toml", "http.bind.port = 99999\n");
    let done = device.tedge(&["config", "list", "http.bind"]);
    assert_eq!(done.code, Some(78));
    assert_eq!(done.out, "http.bind.address=127.0.0.1\nhttp.bind.port=99999\n");
    assert!(done.err.contains("http.bind.port is '99999'"), "{done:?}");
}

#[test]
fn help_and_version_stand_everywhere_and_fit_a_screen() {
    let device = Device::new();
    for arguments in [
        &["--help"][..],
        &["-h"],
        &["config", "--help"],
        &["config", "get", "--help"],
        &["config", "set", "c8y.url", "--help"],
        &["config", "list", "--help"],
    ] {
        let help = device.tedge(arguments).silent_success();
        assert!(help.lines().count() <= 24, "{help}");
        assert!(help.lines().all(|line| line.len() <= 80), "{help}");
        assert!(help.contains("Example: tedge "), "{help}");
        assert!(help.contains("http.bind"), "{help}");
    }
    for arguments in [&["--version"][..], &["config", "-V"]] {
        let version = device.tedge(arguments).silent_success();
        assert_eq!(version, concat!("tedge ", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn a_closed_pipe_is_no_error_and_a_full_disk_is() {
    let device = Device::new();
    let (reader, writer) = UnixStream::pair().unwrap();
    drop(reader);
    let closed = Stdio::from(OwnedFd::from(writer));
    let done = run(device.command(&["config", "list", "--doc"]).stdout(closed));
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));

    let full = File::options().write(true).open("/dev/full").unwrap();
    let done = run(device.command(&["config", "list"]).stdout(Stdio::from(full)));
    done.failed(1, &["cannot write to standard output"]);
}

#[test]
fn the_service_answers_to_tedge_as_its_first_argument() {
    let device = Device::new();
    let mut service = Command::new(env!("CARGO_BIN_EXE_tedge-file-transfer"));
    let done = run(service.args(["tedge", "--config-dir"]).arg(device.config_dir()).args([
        "config",
        "get",
        "c8y.proxy.bind.port",
    ]));
    assert_eq!(done.silent_success(), "8001");
}
