//! File systems that lack something: modes, a size, inodes, or room for a file of any size.

use rustix::process::Signal;

use super::stalled_disk::{can_trace, trace};
use crate::support::client::Client;
use crate::support::service::Service;
use crate::{assert_stored, bytes, curl, put, request, start};

/// A service whose files are on a file system that is mounted by this command, in a mount namespace
/// of its own; `None` if we are not root.
fn mounted(mount: &str, min_free: &str) -> Option<Service> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can mount a file system");
        return None;
    }
    Some(start(|setup| {
        let data = setup.directory().join("data");
        let image = setup.directory().join("image");
        let script = mount.replace("DATA", data.to_str().unwrap());
        let script = script.replace("IMAGE", image.to_str().unwrap()) + " && exec \"$@\"";
        setup.wrap(&["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
        setup.set_own("http.upload.min_free", min_free);
        setup.set_own("http.upload.sync", false);
    }))
}

#[test]
fn stores_files_where_a_file_system_has_no_modes() {
    if !can_trace() {
        return;
    }
    for error in ["EPERM", "EOPNOTSUPP"] {
        let inject = format!("inject=fchmod:error={error}");
        let service = start(|setup| trace(setup, "fchmod", &inject));
        for content in ["old", "new"] {
            let answer = curl(&service, "a/b/foo").put(content).answer();
            assert_eq!(answer.status, 201, "{error}: {}", service.log());
            assert_stored(&service, &[("a/b/foo", content.as_bytes())]);
        }
    }
}

#[test]
fn stores_files_where_a_file_system_does_not_know_its_size() {
    // ramfs says 0 blocks and 0 inodes.
    for min_free in ["0", "\"5%\"", "\"1G\""] {
        let Some(service) = mounted("mount -t ramfs none DATA", min_free) else { return };
        let content = bytes(1_000_000, 61);
        let file = service.directory().write("content", &content);
        for more in ["Expect:", "Transfer-Encoding: chunked"] {
            let answer = curl(&service, "a/foo").upload(&file).field(more).answer();
            assert_eq!(answer.status, 201, "{min_free}: {}", service.log());
            assert!(curl(&service, "a/foo").answer().body == content);
        }
    }
}

/// Uploads in directories of their own until one is refused.
fn fill(service: &Service, name: &str) -> usize {
    let mut client = Client::connect(service.address);
    for count in 0..2000 {
        match client.exchange(put(&format!("{name}-{count}/{}f", "d/".repeat(30)), "")).status {
            201 => {}
            507 => return count,
            other => panic!("{other}: {}", service.log()),
        }
    }
    panic!("2000 times 32 inodes, and none is kept free")
}

#[test]
fn inodes_stay_free_as_bytes_do() {
    let disks = [
        "mount -t tmpfs -o size=64m,nr_inodes=2000 none DATA",
        "truncate -s 64M IMAGE && mkfs.ext4 -q -N 2000 IMAGE && mount -o loop IMAGE DATA",
    ];
    for (disk, percent) in disks.iter().flat_map(|disk| [(disk, 10), (disk, 0)]) {
        let Some(service) = mounted(disk, &format!("\"{percent}%\"")) else { return };
        let data = service.path("data");
        let data = service.proc("root").join(data.strip_prefix("/").unwrap());
        let free = || rustix::fs::statvfs(&data).unwrap().f_favail;
        let floor = (rustix::fs::statvfs(&data).unwrap().f_files * percent).div_ceil(100);
        assert_eq!(curl(&service, "kept").put("kept").answer().status, 201);
        let count = fill(&service, "many");
        assert!(count > 40, "{disk}: {count}");
        assert!((floor..floor + 50).contains(&free()), "{disk}: {} inodes are free", free());
        // What needs an inode or two is refused as well at the very limit, but not before.
        while curl(&service, &format!("few-{}", free())).put("").answer().status == 201 {}
        assert_eq!(free(), floor, "{disk}");
        assert_eq!(curl(&service, "kept").answer().text(), "kept");

        // Others can go on once something is deleted: its directories are gone with it.
        let path = format!("many-0/{}f", "d/".repeat(30));
        assert_eq!(curl(&service, &path).method("DELETE").answer().status, 202);
        // tmpfs gives back what the marks took as well.
        assert!(free() >= floor + 32, "{disk}: {}", free());
        assert_eq!(curl(&service, "a/b").put("new").answer().status, 201, "{}", service.log());
    }
}

#[test]
fn a_file_above_the_size_limit_of_the_process_is_refused_and_ends_nothing_else() {
    let limit = "ulimit -f 4096; exec \"$@\"";
    let service = start(|setup| setup.wrap(&["sh", "-c", limit, "sh"]));
    let content = bytes(1_500_000, 63);
    let file = service.directory().write("content", &content);
    assert_eq!(curl(&service, "fits").upload(&file).answer().status, 201);

    let mut reader = Client::connect(service.address);
    reader.send(request("GET", "fits")).unwrap();
    assert_eq!(reader.head().status, 200);
    let file = service.directory().write("large", bytes(8_000_000, 65));
    for more in ["Transfer-Encoding: chunked", "Expect:"] {
        let got = curl(&service, "fits").upload(&file).field(more).run();
        assert_eq!((got.exit, got.answer.status), (0, 413), "{more}: {}", got.complaint);
    }
    reader.finish();
    assert!(reader.rest().unwrap() == content, "another client's download broke");
    assert_stored(&service, &[("fits", &content)]);
}

#[test]
fn signals_of_the_kernel_end_nothing() {
    let service = start(|_| {});
    for signal in [Signal::XFSZ, Signal::PIPE] {
        service.signal(signal);
        assert_eq!(curl(&service, "foo").put("content").answer().status, 201, "{signal:?}");
    }
    assert!(service.is_running());
}
