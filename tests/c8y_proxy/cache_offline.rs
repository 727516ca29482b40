//! If the cloud is unreachable, cached entries are served only for the time in
//! `c8y.proxy.cache.offline`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::bridge::Answer;
use crate::support::cached::{self, CacheStatus, LENGTH, PATH, assert_all, get, get_settled, said};
use crate::support::cloud::artifact::Artifact;
use crate::support::cloud::tokens::Claims;
use crate::support::cloud::{Cloud, Script};
use crate::support::device::{Device, Outside, SOON, options};
use crate::support::service::Setup;
use crate::support::wait::eventually;

const OTHER: &str = "/inventory/binaries/4712";

fn kept(offline: &str) -> (Device, Artifact) {
    let device = cached::start_with(|setup| {
        if !offline.is_empty() {
            setup.set_own("c8y.proxy.cache.offline", format!("{offline:?}"));
        }
    });
    device.warm();
    let artifact = Artifact::new(1, LENGTH);
    device.cloud().serve(PATH, &artifact);
    device.cloud().serve(OTHER, &artifact);
    assert_all(&get_settled(&device, PATH), &artifact);
    device.cloud().forget();
    (device, artifact)
}

#[test]
fn without_the_setting_nothing_is_served_and_nothing_is_lost() {
    let (mut device, artifact) = kept("");
    device.outside.cloud.stop();
    let answer = get(&device, PATH);
    assert_eq!(answer.status, 502);
    assert!(
        answer.text().starts_with("Error communicating with Cumulocity: "),
        "{}",
        said(&answer)
    );
    device.outside.cloud.restart().unwrap();
    assert_all(&get(&device, PATH), &artifact);
    assert_eq!(device.cloud().sent(PATH), 0, "it is still here");
}

#[test]
fn with_the_setting_it_is_served_with_its_age_and_the_log_says_so_once() {
    let (mut device, artifact) = kept("1h");
    device.outside.cloud.stop();
    assert_all(&get(&device, PATH), &artifact);
    let lines = device.proxy.log().lines().count();
    for _ in 0..3 {
        let answer = get(&device, PATH);
        assert_all(&answer, &artifact);
        let age = answer.field("age").expect("an Age");
        assert!(age.parse::<u64>().is_ok_and(|age| age < 60), "{age}");
        assert_eq!(answer.field("warning"), None);
        let _grammar = CacheStatus::of(&answer);
        let head = device.ask(cached::request("HEAD", PATH, ""));
        assert_eq!((head.status, head.field("content-length")), (200, Some("1000003")));
        let part = cached::get_with(&device, PATH, "Range: bytes=1000-1999\r\n");
        assert_eq!((part.status, part.body.len()), (206, 1000));
        cached::assert_bytes(&part.body, &artifact, 1000);
    }
    let log = device.proxy.log();
    assert_eq!(log.lines().count(), lines, "not said once:\n{log}");
    // What is not here cannot be served, and what it was not asked for is not.
    assert_eq!(get(&device, OTHER).status, 502);
    // It comes back with another version.
    let changed = Artifact::new(2, LENGTH);
    device.cloud().serve(PATH, &changed);
    device.outside.cloud.restart().unwrap();
    assert_all(&get(&device, PATH), &changed);
}

#[test]
fn a_cloud_that_answers_for_some_binaries_only_does_not_fill_the_log() {
    let (device, artifact) = kept("1h");
    assert_all(&get_settled(&device, OTHER), &artifact);
    device.cloud().answer(OTHER, Script::answer("503 Service Unavailable", b""));
    for _ in 0..5 {
        assert_all(&get(&device, OTHER), &artifact);
        assert_all(&get(&device, PATH), &artifact);
    }
    let log = device.proxy.log();
    let lines = |end: &str| log.lines().filter(|line| line.contains(end)).count();
    assert_eq!(lines("Cumulocity cannot be asked whether binaries are unchanged"), 1, "{log}");
    assert_eq!(lines("Cumulocity can be asked again"), 1, "{log}");
}

#[test]
fn it_ends_when_the_time_is_over() {
    let (mut device, artifact) = kept("2s");
    device.outside.cloud.stop();
    assert_all(&get(&device, PATH), &artifact);
    eventually("it is not served any more", SOON, || get(&device, PATH).status == 502);
    device.outside.cloud.restart().unwrap();
    assert_all(&get(&device, PATH), &artifact);
    assert_eq!(device.cloud().sent(PATH), 0, "it is still here");
}

#[test]
fn the_time_of_a_long_download_counts_from_when_the_cloud_was_asked() {
    let offline = |time: &'static str| {
        move |setup: &mut Setup| {
            setup.set_own("c8y.proxy.cache.offline", time);
        }
    };
    let mut device = cached::start_with(offline("\"2s\""));
    let artifact = Artifact::new(1, LENGTH);
    device.cloud().serve(PATH, &artifact.clone().slowly(LENGTH / 3));
    assert_all(&get_settled(&device, PATH), &artifact);
    device.outside.cloud.stop();
    assert_eq!(get(&device, PATH).status, 502);
    device.proxy.stop();
    let device = cached::start_again(device, offline("\"1h\""));
    let answer = get(&device, PATH);
    assert_all(&answer, &artifact);
    let age: u64 = answer.field("age").unwrap().parse().unwrap();
    assert!(age >= 2, "{age}");
}

#[test]
fn what_was_last_said_to_need_the_cloud_is_not_served_without_it() {
    let (mut device, artifact) = kept("1h");
    let not_modified = "HTTP/1.1 304 Not Modified\r\nCache-Control: must-revalidate\r\n\r\n";
    device.cloud().answer(PATH, Script::new().send(not_modified).once());
    assert_all(&get(&device, PATH), &artifact);
    device.outside.cloud.stop();
    assert_eq!(get(&device, PATH).status, 502);
    device.proxy.stop();
    let mut device = cached::start_again(device, |setup| {
        setup.set_own("c8y.proxy.cache.offline", "\"1h\"");
    });
    assert_eq!(get(&device, PATH).status, 502);
    device.outside.cloud.restart().unwrap();
    assert_all(&get(&device, PATH), &artifact);
    assert_eq!(device.cloud().sent(PATH), 0, "it is still here");
    device.outside.cloud.stop();
    assert_all(&get(&device, PATH), &artifact);
}

#[test]
fn it_outlives_a_restart_of_the_proxy() {
    let (mut device, artifact) = kept("1h");
    device.outside.cloud.stop();
    device.proxy.stop();
    let device = cached::start_again(device, |setup| {
        setup.set_own("c8y.proxy.cache.offline", "\"1h\"");
    });
    assert_all(&get(&device, PATH), &artifact);
}

#[test]
fn another_user_is_not_served_what_was_cached_for_the_one_before() {
    let mut options = options();
    options.user = Some(("t1/one".into(), "secret".into()));
    let write = |directory: &Path, user| {
        let text = format!("[c8y]\nusername = \"{user}\"\npassword = \"secret\"\n");
        let path = directory.join("credentials.toml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let mut device = Device::among(Outside::with(Cloud::start(options).unwrap()), |setup| {
        cached::keep(setup);
        setup.set_own("c8y.proxy.cache.offline", "\"1h\"");
        setup.set("c8y.auth_method", "basic");
        write(setup.directory(), "t1/one");
    });
    let artifact = Artifact::new(1, LENGTH);
    device.cloud().serve(PATH, &artifact);
    assert_all(&get_settled(&device, PATH), &artifact);
    device.outside.cloud.stop();
    for (round, (user, status)) in [("t2/other", 502), ("t1/one", 200)].into_iter().enumerate() {
        write(device.proxy.directory().path(), user);
        device.proxy.signal(Signal::HUP);
        device.proxy.wait_for_lines("credentials.toml: read again", round + 1, SOON);
        assert_eq!(get(&device, PATH).status, status, "{user}");
    }
}

#[test]
fn an_answer_of_the_cloud_is_no_absence() {
    let (device, artifact) = kept("1h");
    for status in ["403 Forbidden", "404 Not Found"] {
        device.cloud().serve(PATH, &artifact.clone().refused(status));
        assert_eq!(get(&device, PATH).status.to_string(), status[..3]);
        device.cloud().serve(PATH, &artifact);
        assert_all(&get_settled(&device, PATH), &artifact);
    }
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn it_is_served_without_a_token_as_well() {
    // Away for longer than a token lasts, and no new one is to be had.
    let device = cached::start_with(|setup| {
        setup.set_own("c8y.proxy.cache.offline", "\"1h\"");
    });
    let artifact = Artifact::new(1, LENGTH);
    device.cloud().tokens().set(Claims { life: Duration::from_secs(1), ..Claims::default() });
    device.cloud().serve(PATH, &artifact);
    assert_all(&get_settled(&device, PATH), &artifact);
    device.bridge().answer(Answer::Nothing);
    let mut device = device;
    device.outside.cloud.stop();
    std::thread::sleep(Duration::from_secs(2));
    assert_all(&get(&device, PATH), &artifact);
}

#[test]
fn a_cloud_that_is_silent_is_not_waited_for() {
    let (device, artifact) = kept("1h");
    device.cloud().answer(PATH, Script::new().hold());
    assert_all(&get(&device, PATH), &artifact);
}
