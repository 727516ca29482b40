//! Name and password in place of the token, where the settings say so.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::cloud::Cloud;
use crate::support::device::{Device, Outside, PROGRAM, options};
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
        let ended = service.ended(crate::support::device::SOON);
        assert_eq!(ended.code(), 78, "{text:?}: {}", ended.log);
        assert!(ended.log.contains(what), "{text:?}: {}", ended.log);
    }
}
