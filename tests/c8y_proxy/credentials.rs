//! Name and password in place of the token, where the settings say so.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::support::cloud::Cloud;
use crate::support::device::{Device, Outside, PROGRAM, SOON, Source, options};
use crate::support::service::{Service, Setup};

const CREDENTIALS: &str = "[c8y]\nusername = \"t12345/ben\"\npassword = \"secret: ü\"\n";

fn outside() -> Outside {
    let mut options = options();
    options.user = Some(("t12345/ben".into(), "secret: ü".into()));
    Outside::with(Cloud::start(options).unwrap())
}

fn write(setup: &Setup, name: &str, text: &str) {
    let path = setup.directory().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn basic_takes_name_and_password_from_a_file_and_needs_no_broker() {
    let mut outside = outside();
    outside.stop_broker();
    let device = Device::among(outside, |setup| {
        write(setup, "credentials.toml", CREDENTIALS);
        setup.set("c8y.auth_method", "basic");
    });
    device.warm();
    assert_eq!(device.bridge().asked(), 0);
}

#[test]
fn basic_takes_another_file_where_told_so() {
    let device = Device::among(outside(), |setup| {
        write(setup, "elsewhere.toml", CREDENTIALS);
        setup.set("c8y.auth_method", "basic");
        setup.set("c8y.credentials_path", setup.directory().join("elsewhere.toml"));
    });
    device.warm();
}

#[test]
fn a_wrong_password_is_the_clouds_to_refuse_and_is_not_tried_again() {
    let device = Device::among(outside(), |setup| {
        write(setup, "credentials.toml", &CREDENTIALS.replace("secret", "wrong"));
        setup.set("c8y.auth_method", "basic");
    });
    assert_eq!(device.get("/c8y/tenant/currentTenant").status, 401);
    assert_eq!(device.cloud().seen().requests.len(), 1);
    assert_eq!(device.bridge().asked(), 0);
    assert!(!device.proxy.log().contains("wrong: "), "{}", device.proxy.log());
}

const OLD: &str = "[c8y]\nusername = \"t12345/ben\"\npassword = \"old\"\n";

fn with_an_old_password() -> Device {
    Device::among(outside(), |setup| {
        write(setup, "credentials.toml", OLD);
        setup.set("c8y.auth_method", "basic");
    })
}

/// Writes the right password, as an editor would: no request sees half of it.
fn change_the_password(device: &Device) {
    let directory = device.proxy.directory();
    fs::write(directory.path().join("new"), CREDENTIALS).unwrap();
    fs::rename(directory.path().join("new"), directory.path().join("credentials.toml")).unwrap();
}

#[test]
fn a_changed_password_is_read_again_on_a_401() {
    let device = with_an_old_password();
    assert_eq!(device.get("/c8y/tenant/currentTenant").status, 401);
    change_the_password(&device);
    assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
    assert_eq!(device.cloud().seen().requests.len(), 3, "one is sent a second time");
    assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
    assert_eq!(device.cloud().seen().requests.len(), 4);
}

#[test]
fn a_changed_password_is_read_again_after_a_401_to_a_body_that_is_sent_once() {
    let device = with_an_old_password();
    change_the_password(&device);
    let upload = "POST /c8y/service/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                  2\r\nhi\r\n0\r\n\r\n";
    assert_eq!(device.ask(upload).status, 401);
    assert_eq!(device.ask(upload).status, 200);
}

#[test]
fn a_changed_password_is_read_again_on_a_reload() {
    let device = with_an_old_password();
    fs::remove_file(device.proxy.directory().path().join("credentials.toml")).unwrap();
    device.proxy.signal(Signal::HUP);
    device.proxy.wait_for("the old credentials stay in use", SOON);
    change_the_password(&device);
    device.proxy.signal(Signal::HUP);
    device.proxy.wait_for("credentials.toml: read again", SOON);
    assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
    assert_eq!(device.cloud().seen().requests.len(), 1);
    assert!(!device.proxy.log().contains("secret"), "{}", device.proxy.log());
}

#[test]
fn auto_is_basic_if_there_is_a_file_and_the_token_if_not() {
    let device = Device::among(outside(), |setup| {
        write(setup, "credentials.toml", CREDENTIALS);
        setup.set("c8y.auth_method", "auto");
    });
    device.get("/c8y/tenant/currentTenant");
    let seen = device.cloud().seen().requests;
    assert!(seen[0].field("authorization").unwrap().starts_with(b"Basic "));
    let device = Device::among(outside(), |setup| setup.set("c8y.auth_method", "auto"));
    device.get("/c8y/tenant/currentTenant");
    let seen = device.cloud().seen().requests;
    assert!(seen[0].bearer().is_some());
}

#[test]
fn each_method_and_each_source_sends_what_it_says() {
    for method in ["certificate", "basic", "auto"] {
        for has_file in [true, false] {
            let is_basic = method == "basic" || (method == "auto" && has_file);
            if is_basic && !has_file {
                continue;
            }
            for source in [Source::Mqtt, Source::Https, Source::Auto] {
                let device = Device::among(Outside { source, ..outside() }, |setup| {
                    if has_file {
                        write(setup, "credentials.toml", CREDENTIALS);
                    }
                    setup.set("c8y.auth_method", method);
                });
                assert_eq!(device.get("/c8y/tenant/currentTenant").status, 200);
                let sent = device.cloud().seen().requests.remove(0);
                let asked = (device.bridge().asked(), device.endpoint().seen().requests.len());
                let expected = match source {
                    _ if is_basic => (0, 0),
                    Source::Https => (0, 1),
                    Source::Mqtt | Source::Auto => (1, 0),
                };
                let case = format!("{method}, file {has_file}, {source:?}");
                assert_eq!((sent.bearer().is_none(), asked), (is_basic, expected), "{case}");
            }
        }
    }
}

#[test]
fn a_file_that_is_missing_or_wrong_is_told_by_its_name() {
    for (text, what) in [
        (None, "credentials.toml"),
        (Some(""), "credentials.toml"),
        (Some("[c8y]\nusername = \"a\"\n"), "password"),
        (Some("[c8y\n"), "credentials.toml"),
    ] {
        let outside = outside();
        let service = Service::launch(PROGRAM, |setup| {
            outside.settings(setup);
            setup.set("c8y.auth_method", "basic");
            if let Some(text) = text {
                write(setup, "credentials.toml", text);
            }
        });
        let ended = service.ended(SOON);
        assert_eq!(ended.code(), 78, "{text:?}: {}", ended.log);
        assert!(ended.log.contains(what), "{text:?}: {}", ended.log);
    }
}
