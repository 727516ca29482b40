//! Uploads that do not fit: into `http.upload.max_size`, or onto the disk.
//!
//! The small disks are in mount namespaces of the programs' own, so nothing stays mounted.

use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::statvfs;

use crate::support::client::Client;
use crate::support::service::{Service, Setup};
use crate::support::wait::eventually;
use crate::{assert_stored, bytes, curl, put_head, start};

#[test]
fn a_file_larger_than_allowed_is_refused_before_it_is_read() {
    let service = start(|setup| setup.set_own("http.upload.max_size", "\"2k\""));
    let exact = "x".repeat(2048);
    assert_eq!(curl(&service, "foo").put(&exact).answer().status, 201);
    let mut client = Client::connect(service.address);
    client.send(put_head("foo", 2049, "")).unwrap();
    // The content is not there to be read.
    assert_eq!(client.head().status, 413);
    let text = curl(&service, "foo").put(&"x".repeat(2049)).answer().text();
    let said = "Cannot upload: \"foo\" is larger than the 2048 bytes of http.upload.max_size";
    assert_eq!(text.trim_end(), said);
    assert_stored(&service, &[("foo", exact.as_bytes())]);
}

#[test]
fn a_file_of_unknown_length_is_refused_once_it_is_larger_than_allowed() {
    let service = start(|setup| setup.set_own("http.upload.max_size", 100_000));
    curl(&service, "foo").put("old").answer();
    let file = service.directory().write("large", bytes(5_000_000, 27));
    let chunked = curl(&service, "foo").upload(&file).field("Transfer-Encoding: chunked");
    let got = chunked.run();
    assert_eq!((got.exit, got.answer.status), (0, 413), "{}", got.complaint);
    let form = format!("file=@{}", file.display());
    let got = curl(&service, "foo").args(["-X", "PUT", "-F", &form]).run();
    assert_eq!((got.exit, got.answer.status), (0, 413), "{}", got.complaint);
    assert_stored(&service, &[("foo", b"old")]);
    // The envelope of a form does not count.
    let file = service.directory().write("exact", bytes(100_000, 27));
    let form = format!("file=@{}", file.display());
    let exact = curl(&service, "foo").args(["-X", "PUT", "-F", &form]).answer();
    assert_eq!(exact.status, 201, "{}", exact.text());
}

/// A service whose files are on a disk of 8 MB; `None` where it takes root and we are not.
fn on_a_small_disk(min_free: &str) -> Option<Service> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can mount a small disk");
        return None;
    }
    Some(start(|setup: &mut Setup| {
        let data = setup.directory().join("data");
        let mount = format!("mount -t tmpfs -o size=8m none {} && exec \"$@\"", data.display());
        setup.wrap(&["unshare", "--mount", "--propagation", "private", "sh", "-c", &mount, "sh"]);
        setup.set_own("http.upload.min_free", min_free);
    }))
}

/// The data directory as the program sees it.
fn data(service: &Service) -> PathBuf {
    let path = service.path("data");
    service.proc("root").join(path.strip_prefix("/").unwrap())
}

fn free(service: &Service) -> u64 {
    let disk = statvfs(data(service)).unwrap();
    disk.f_bavail * disk.f_frsize
}

fn assert_refused_and_given_back(service: &Service, size: usize) {
    let old = bytes(1_000_000, 29);
    let file = service.directory().write("old", &old);
    assert_eq!(curl(service, "foo").upload(&file).answer().status, 201);
    let before = free(service);

    let mut client = Client::connect(service.address);
    client.send(put_head("foo", size as u64, "Expect: 100-continue\r\n")).unwrap();
    let head = client.head();
    assert_eq!(head.status, 507, "before the content is read");
    drop(client);

    let file = service.directory().write("large", bytes(size, 31));
    for more in ["Transfer-Encoding: chunked", "Expect:"] {
        for name in ["foo", "a/new"] {
            let got = curl(service, name).upload(&file).field(more).run();
            assert_eq!((got.exit, got.answer.status), (0, 507), "{more}: {}", got.complaint);
            let said = got.answer.text();
            assert!(said.starts_with(&format!("Cannot upload: {name:?}: ")), "{said}");
            assert!(said.trim_end().ends_with(": delete files"), "{said}");
        }
    }
    assert!(curl(service, "foo").answer().body == old, "the old file is damaged");
    eventually("the space is given back", Duration::from_secs(10), || {
        // A directory that was made on the way may stay.
        free(service) + 16 * 1024 >= before
    });
    assert_eq!(curl(service, "small").put("fits").answer().status, 201);
    assert_eq!(curl(service, "small").answer().text(), "fits");
}

#[test]
fn an_upload_that_fills_the_disk_is_refused_and_its_space_given_back() {
    let Some(service) = on_a_small_disk("0") else { return };
    assert_refused_and_given_back(&service, 9_000_000);
}

#[test]
fn an_upload_that_leaves_too_little_is_refused_and_its_space_given_back() {
    let Some(service) = on_a_small_disk("\"4M\"") else { return };
    assert_refused_and_given_back(&service, 5_000_000);
}

#[test]
fn five_percent_of_the_disk_stay_free_by_default() {
    let Some(service) = on_a_small_disk("\"5%\"") else { return };
    let most = free(&service) as usize - 8 * 1024 * 1024 / 20;
    let file = service.directory().write("large", bytes(most + 8192, 33));
    assert_eq!(curl(&service, "foo").upload(&file).answer().status, 507);
    let file = service.directory().write("large", bytes(most - 65_536, 33));
    assert_eq!(curl(&service, "foo").upload(&file).answer().status, 201);
}
