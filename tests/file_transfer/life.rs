//! A service's life: the addresses it is bound to, systemd, its log, and how it ends.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, prlimit};

use crate::support::client::{Client, PATIENCE, has_ipv6};
use crate::support::curl::Curl;
use crate::support::service::{SOON, Service};
use crate::support::wait::{eventually, within};
use crate::{bytes, curl, put_head, request, run, start, stored};

#[test]
fn an_upload_and_a_download_under_way_are_finished_before_the_end() {
    let service = start(|_| {});
    let content = bytes(30_000_000, 47);
    let file = service.directory().write("content", &content);
    curl(&service, "old").upload(&file).answer();

    let mut download = Client::connect(service.address);
    download.send(request("GET", "old")).unwrap();
    assert_eq!(download.head().status, 200);
    let mut upload = Client::connect(service.address);
    upload.send(put_head("new", content.len() as u64, "Expect: 100-continue\r\n")).unwrap();
    assert_eq!(upload.head().status, 100);
    upload.send(&content[..1_000_000]).unwrap();
    let mut idle = Client::connect(service.address);
    assert_eq!(idle.exchange("GET /health HTTP/1.1\r\nHost: x\r\n\r\n").status, 200);

    service.signal(Signal::TERM);
    assert_eq!(idle.rest().unwrap(), b"", "an idle connection is closed at once");
    eventually("no new connection is taken", SOON, || TcpStream::connect(service.address).is_err());
    upload.send(&content[1_000_000..]).unwrap();
    assert_eq!(upload.answer().status, 201);
    assert_eq!(download.skip(content.len() as u64).unwrap(), content.len() as u64);
    let ended = service.ended(SOON);
    assert_eq!(ended.code(), 0, "{}", ended.log);
    assert!(stored(&service)["file-transfer/new"] == content);
}

#[test]
fn each_signal_to_stop_ends_an_idle_service_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let service = start(|_| {});
        let _idle = Client::connect(service.address);
        let begun = Instant::now();
        service.signal(signal);
        let ended = service.ended(SOON);
        assert_eq!(ended.code(), 0, "{}", ended.log);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
}

/// A service with an upload that will not end.
fn with_an_endless_upload() -> (Service, Client) {
    let service = start(|_| {});
    let mut upload = Client::connect(service.address);
    upload.send(put_head("foo", 1000, "Expect: 100-continue\r\n")).unwrap();
    assert_eq!(upload.head().status, 100);
    upload.send("some").unwrap();
    (service, upload)
}

#[test]
fn a_second_signal_ends_the_service_at_once() {
    let (service, _upload) = with_an_endless_upload();
    service.signal(Signal::TERM);
    eventually("no new connection is taken", SOON, || TcpStream::connect(service.address).is_err());
    assert!(service.is_running(), "{}", service.log());
    let begun = Instant::now();
    service.signal(Signal::TERM);
    service.ended(SOON);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
#[ignore = "takes a minute: `long_limits` runs it beside the others"]
fn a_transfer_that_does_not_end_is_cut_off_after_thirty_seconds() {
    let (service, _upload) = with_an_endless_upload();
    let begun = Instant::now();
    service.signal(Signal::TERM);
    let ended = service.ended(Duration::from_secs(45));
    let took = begun.elapsed();
    assert_eq!(ended.code(), 0, "{}", ended.log);
    assert!(took > Duration::from_secs(28) && took < Duration::from_secs(36), "{took:?}");
}

#[test]
fn health_is_not_up_while_draining() {
    let (service, mut upload) = with_an_endless_upload();
    // A request that is under way when the end is announced is answered, and tells.
    let mut asking = Client::connect(service.address);
    asking.send("GET /health HTTP/1.1\r\nHost: x\r\n").unwrap();
    assert_eq!(curl(&service, "other").answer().status, 404);
    service.signal(Signal::TERM);
    eventually("no new connection is taken", SOON, || TcpStream::connect(service.address).is_err());
    asking.send("\r\n").unwrap();
    let answer = asking.answer();
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.field("connection"), Some("close"));
    assert_eq!(upload.exchange(vec![b'x'; 996]).status, 201);
    assert_eq!(service.ended(SOON).code(), 0);
}

#[test]
fn a_limit_of_descriptors_that_is_too_low_ends_the_start_and_is_named() {
    for limit in [20, 63] {
        let limit_option = format!("--nofile={limit}");
        let ended = run(|setup| setup.wrap(&["prlimit", &limit_option]));
        assert_eq!(ended.code(), 78, "{}", ended.log);
        let said = format!("the limit of open files is {limit}, and at least 64 are needed");
        assert!(ended.log.contains(&said), "{}", ended.log);
        assert!(ended.log.contains("LimitNOFILE="), "{}", ended.log);
    }
}

#[test]
fn systemd_is_told_of_the_beginning_the_end_and_every_heartbeat() {
    let directory = crate::support::directory::Directory::new();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let service = start(|setup| {
        setup.environment("NOTIFY_SOCKET", path.to_str().unwrap());
        setup.environment("WATCHDOG_USEC", "400000");
    });
    let next = |wanted: &str| {
        let end = Instant::now() + PATIENCE;
        let mut buffer = [0; 4096];
        while Instant::now() < end {
            let count = socket.recv(&mut buffer).unwrap();
            if String::from_utf8_lossy(&buffer[..count]).lines().any(|line| line == wanted) {
                return;
            }
        }
        panic!("systemd was not told {wanted}");
    };
    next("READY=1");
    within(Duration::from_millis(1200), || (0..3).for_each(|_| next("WATCHDOG=1")));
    // As when all descriptors are in use: no further one can be opened.
    let none = Rlimit { current: Some(3), maximum: Some(3) };
    prlimit(Some(service.pid()), Resource::Nofile, none).unwrap();
    for _ in 0..3 {
        next("WATCHDOG=1");
    }
    service.signal(Signal::TERM);
    next("STOPPING=1");
    service.ended(SOON);
}

#[test]
fn both_families_are_served_at_the_unspecified_address() {
    if !has_ipv6() {
        return;
    }
    let service = start(|setup| setup.set_raw("http.bind.address", "\"::\""));
    let port = service.address.port();
    for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        let address: SocketAddr = address.parse().unwrap();
        assert_eq!(Client::connect(address).exchange(request("GET", "foo")).status, 404);
    }
    let six = start(|setup| setup.set_raw("http.bind.address", "\"::1\""));
    assert!(six.address.is_ipv6());
    assert_eq!(Curl::new(&six.url("/health")).answer().status, 200);
}

#[test]
fn an_address_that_is_not_there_yet_is_bound_with_a_warning() {
    // TEST-NET-1 is nobody's.
    let service = start(|setup| setup.set_raw("http.bind.address", "\"192.0.2.77\""));
    let ended = service.stop();
    assert_eq!(ended.code(), 0);
    let said = |line: &&str| line.contains("WARN") && line.contains("192.0.2.77 is not");
    assert_eq!(ended.log.lines().filter(said).count(), 1, "{}", ended.log);
}

#[test]
fn the_port_can_be_bound_again_at_once() {
    let service = start(|_| {});
    let port = service.address.port();
    let mut client = Client::connect(service.address);
    assert_eq!(client.exchange(request("GET", "foo")).status, 404);
    service.kill();
    let again = start(|setup| setup.set_raw("http.bind.port", port));
    assert_eq!(again.address.port(), port);
}

#[test]
fn requests_are_logged_one_line_each_when_asked_for() {
    let quiet = start(|_| {});
    curl(&quiet, "foo").put("content").answer();
    assert!(!quiet.log().contains("PUT"), "{}", quiet.log());

    let by_argument = start(|setup| {
        setup.argument("--log-level");
        setup.argument("debug");
    });
    let by_environment = start(|setup| setup.environment("RUST_LOG", "debug"));
    for service in [by_argument, by_environment] {
        curl(&service, "foo").put("content").answer();
        curl(&service, "nope").answer();
        let log = service.wait_for("nope", SOON);
        let lines: Vec<_> = log.lines().filter(|line| line.contains("/file-transfer/")).collect();
        assert_eq!(lines.len(), 2, "{log}");
        assert!(lines[0].contains("PUT") && lines[0].contains("201"), "{log}");
        assert!(lines[1].contains("GET") && lines[1].contains("404"), "{log}");
    }
}

#[test]
fn under_systemd_lines_have_a_priority_and_no_time() {
    let plain = start(|_| {});
    assert!(!plain.log().starts_with('<'), "{}", plain.log());
    // systemd names device and inode of the stream that it gave us.
    let script = "export JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2); exec \"$@\"";
    let service = start(|setup| setup.wrap(&["sh", "-c", script, "sh"]));
    let log = service.log();
    assert!(
        log.lines().all(|line| {
            let mut bytes = line.bytes();
            bytes.next() == Some(b'<')
                && bytes.next().is_some_and(|priority| (b'0'..=b'7').contains(&priority))
                && bytes.next() == Some(b'>')
        }),
        "{log}"
    );
    assert!(!log.contains(&today()), "{log}");
}

fn today() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%d"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn secrets_never_reach_the_log() {
    let service = start(|setup| {
        setup.argument("--log-level");
        setup.argument("trace");
    });
    for field in [
        "Authorization: Bearer s3cr3t-value",
        "Authorization: Basic s3cr3t-value",
        "Cookie: XSRF-TOKEN=s3cr3t-value",
        "Proxy-Authorization: Basic s3cr3t-value",
    ] {
        curl(&service, "foo").field(field).answer();
    }
    curl(&service, "last").answer();
    assert!(!service.wait_for("last", SOON).contains("s3cr3t-value"), "{}", service.log());
}

#[test]
fn a_read_only_disk_is_507_and_says_so() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can take rights away");
        return;
    }
    let service = start(|setup| {
        let files = setup.directory().join("data/file-transfer");
        fs::create_dir_all(&files).unwrap();
        fs::write(files.join("old"), "old").unwrap();
        let script = format!(
            "mount --bind {0} {0} && mount -o remount,ro,bind {0} && exec \"$@\"",
            files.parent().unwrap().display()
        );
        setup.wrap(&["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
    });
    for (request, text) in [
        (
            curl(&service, "foo").put("content"),
            "Cannot upload: \"foo\": the file system is read-only",
        ),
        (
            curl(&service, "a/foo").put("content"),
            "Cannot upload: \"a/foo\": the file system is read-only",
        ),
        (
            curl(&service, "old").method("DELETE"),
            "Cannot delete: \"old\": the file system is read-only",
        ),
    ] {
        let answer = request.answer();
        assert_eq!((answer.status, answer.text().trim_end()), (507, text));
    }
    assert_eq!(curl(&service, "old").answer().text(), "old");
    let log = service.wait_for("foo", SOON);
    assert!(log.to_lowercase().contains("read-only"), "the cause is not in the log: {log}");
}

#[test]
fn help_and_version_are_no_failures() {
    for argument in ["--help", "--version"] {
        let output = Command::new(crate::PROGRAM).arg(argument).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{argument}");
        assert!(!output.stdout.is_empty(), "{argument}");
    }
}
