//! What one user of the cloud has downloaded is not another's, also if the user of the device
//! changes during a request.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;

use crate::support::cached::{
    self, CacheStatus, LENGTH, PATH, assert_all, assert_bytes, begin, entries, get, get_settled,
    read, settle,
};
use crate::support::cloud::artifact::Artifact;
use crate::support::cloud::{Cloud, Gate, Script};
use crate::support::device::{Device, Outside, SOON, options};
use crate::support::service::Setup;

const ONE: &str = "t1/one";
/// The only user that the cloud knows.
const OTHER: &str = "t2/other";
const REFUSED: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";

fn write(directory: &Path, user: &str) {
    let text = format!("[c8y]\nusername = \"{user}\"\npassword = \"secret\"\n");
    let path = directory.join("new");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(path, directory.join("credentials.toml")).unwrap();
}

fn configure(setup: &mut Setup) {
    setup.set_own("c8y.proxy.cache.offline", "\"1h\"");
    setup.set("c8y.auth_method", "basic");
}

/// A device of the user that the cloud does not know.
fn device() -> Device {
    let mut options = options();
    options.user = Some((OTHER.into(), "secret".into()));
    Device::among(Outside::with(Cloud::start(options).unwrap()), |setup| {
        cached::keep(setup);
        configure(setup);
        write(setup.directory(), ONE);
    })
}

/// Answers any user once, with these bytes and fields.
fn once(head: &str) -> Script {
    Script::new().without_a_token().once().read().send(head)
}

fn whole(artifact: &Artifact) -> String {
    let version = artifact.version;
    format!("HTTP/1.1 200 OK\r\nETag: \"version-{version}\"\r\nContent-Length: {LENGTH}\r\n\r\n")
}

/// Whether the first user is served after a restart, without the cloud.
fn status_of_the_first_user(device: Device) -> u16 {
    write(device.proxy.directory().path(), ONE);
    device.proxy.stop();
    let mut device = cached::start_again(device, configure);
    device.outside.cloud.stop();
    get(&device, PATH).status
}

#[test]
fn what_is_requested_again_by_another_user_is_not_stored_for_the_first() {
    let (device, artifact) = (device(), Artifact::new(1, LENGTH));
    device.cloud().serve(PATH, &artifact);
    assert_eq!(get(&device, PATH).status, 401);
    write(device.proxy.directory().path(), OTHER);
    let answer = get_settled(&device, PATH);
    assert_all(&answer, &artifact);
    assert!(!CacheStatus::of(&answer).is_stored);
    assert_eq!(entries(&device), 0);
    device.cloud().forget();
    // From now on, it is the device's user.
    assert_all(&get_settled(&device, PATH), &artifact);
    assert_all(&get(&device, PATH), &artifact);
    assert_eq!((entries(&device), device.cloud().sent(PATH)), (1, LENGTH));
    assert_eq!(status_of_the_first_user(device), 502);
}

#[test]
fn what_is_resumed_by_another_user_is_passed_on_and_not_stored() {
    let (device, artifact, gate) = (device(), Artifact::new(1, LENGTH), Gate::default());
    let (bytes, half) = (artifact.bytes(), 500_000);
    let first = once(&whole(&artifact)).send(&bytes[..half]).wait(&gate).break_off();
    let rest = format!(
        "HTTP/1.1 206 Partial Content\r\nETag: \"version-1\"\r\nContent-Length: {}\r\n\
         Content-Range: bytes {half}-{}/{LENGTH}\r\n\r\n",
        bytes.len() - half,
        LENGTH - 1
    );
    device.cloud().answer(PATH, first);
    device.cloud().answer(PATH, once(&rest).send(&bytes[half..]));
    let (mut client, _) = begin(&device, PATH, "");
    let begun = read(&mut client, 400_000);
    write(device.proxy.directory().path(), OTHER);
    device.proxy.signal(Signal::HUP);
    device.proxy.wait_for("credentials.toml: read again", SOON);
    gate.open();
    let all = [begun, read(&mut client, LENGTH - 400_000)].concat();
    assert_bytes(&all, &artifact, 0);
    settle(&device);
    assert_eq!(entries(&device), 0);
    assert_eq!(status_of_the_first_user(device), 502);
}

#[test]
fn what_is_confirmed_to_another_user_is_not_confirmed_to_the_first() {
    let (device, artifact) = (device(), Artifact::new(1, LENGTH));
    device.cloud().answer(PATH, once(&whole(&artifact)).send(artifact.bytes()));
    assert_all(&get_settled(&device, PATH), &artifact);
    assert_eq!(entries(&device), 1);
    device.cloud().answer(PATH, once(REFUSED));
    device.cloud().serve(PATH, &artifact);
    write(device.proxy.directory().path(), OTHER);
    assert_all(&get_settled(&device, PATH), &artifact);
    assert_eq!(status_of_the_first_user(device), 502);
}
