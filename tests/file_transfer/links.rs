//! Symbolic links: thin-edge.io's agents offer cached files to children by a link from
//! `<data.path>/file-transfer/<child>/…` to `<data.path>/cache/…`. No other link is followed, even
//! if a user who can create links changes them quickly.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::service::{SOON, Service};
use crate::{FILES, curl, put, put_head, request, start};

const LINK: &str = "child1/firmware_update/key";
const SECRET: &str = "secret of somebody else";

/// A service with a cached file that an agent has linked to, and secrets that nobody has offered.
fn with_a_link() -> Service {
    let service = start(|setup| {
        let data = setup.directory().join("data");
        for directory in ["cache/sub", "file-transfer/child1/firmware_update", "file-transfer/d"] {
            fs::create_dir_all(data.join(directory)).unwrap();
        }
        fs::write(data.join("cache/key"), "firmware").unwrap();
        fs::write(data.join("file-transfer/plain"), "plain").unwrap();
        fs::write(setup.directory().join("secret"), SECRET).unwrap();
        symlink("key", data.join("cache/link")).unwrap();
        symlink("sub", data.join("cache/dirlink")).unwrap();
        fs::write(data.join("cache/sub/key"), "firmware").unwrap();
    });
    let target = service.path("data/cache/key");
    symlink(target, service.path("data/file-transfer").join(LINK)).unwrap();
    service
}

fn link(service: &Service, target: &str) {
    let at = service.path("data/file-transfer").join(LINK);
    let _ = fs::remove_file(&at);
    symlink(target, at).unwrap();
}

#[test]
fn a_cached_file_is_served_replaced_and_deleted_through_its_link_alone() {
    let service = with_a_link();
    let cached = service.path("data/cache/key");
    for route in [FILES, "/te/v1/files"] {
        let mut client = Client::connect(service.address);
        let get = format!("GET {route}/{LINK} HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.exchange(&get).text(), "firmware");
        client.send(get.replace("GET", "HEAD")).unwrap();
        let head = client.head();
        assert_eq!((head.status, head.field("content-length")), (200, Some("8")));
    }
    let part = curl(&service, LINK).field("Range: bytes=4-").answer();
    assert_eq!((part.status, part.text().as_str()), (206, "ware"));

    assert_eq!(curl(&service, LINK).put("new").answer().status, 201);
    assert_eq!(curl(&service, LINK).answer().text(), "new");
    assert_eq!(fs::read_to_string(&cached).unwrap(), "firmware");

    link(&service, cached.to_str().unwrap());
    assert_eq!(curl(&service, LINK).method("DELETE").answer().status, 202);
    assert_eq!(curl(&service, LINK).answer().status, 404);
    assert_eq!(fs::read_to_string(&cached).unwrap(), "firmware");

    // The cache is replaced by its owner.
    link(&service, "../../../cache/key");
    fs::write(&cached, "firmware 2").unwrap();
    assert_eq!(curl(&service, LINK).answer().text(), "firmware 2");
}

#[test]
fn no_other_link_is_followed_replaced_or_deleted() {
    let service = with_a_link();
    let mut upload = Client::connect(service.address);
    upload.send(put_head("unfinished", 23, "")).unwrap();
    upload.send("half of it").unwrap();
    let reserved = service.path("data/file-transfer/.tedge-uploads");
    crate::support::wait::eventually("the upload has begun", Duration::from_secs(10), || {
        fs::read_dir(&reserved).is_ok_and(|mut names| names.next().is_some())
    });
    let temporary = fs::read_dir(&reserved).unwrap().next().unwrap().unwrap().path();
    fs::create_dir_all(service.path("data/elsewhere")).unwrap();

    let data = service.path("data");
    let [data, temporary] = [data.to_str().unwrap(), temporary.to_str().unwrap()];
    for target in [
        "/etc/passwd",
        "/proc/self/environ",
        "/dev/null",
        temporary,
        &format!("../../.tedge-uploads/{}", temporary.rsplit('/').next().unwrap()),
        &format!("{data}/../secret"),
        "../../../../secret",
        "..",
        "../../..",
        ".",
        "key",
        "../../d",
        &format!("{data}/cache"),
        &format!("{data}/cache/link"),
        &format!("{data}/cache/dirlink/key"),
        &format!("{data}/cache/nothing"),
        &format!("{data}/cache/key/x"),
        &format!("{data}x/cache/key"),
        data,
    ] {
        link(&service, target);
        for method in ["GET", "PUT", "DELETE"] {
            let mut client = Client::connect(service.address);
            let sent = match method {
                "PUT" => put(LINK, "new"),
                _ => request(method, LINK).into_bytes(),
            };
            let answer = client.exchange(sent);
            assert_eq!(answer.status, 404, "{method} of a link to {target}: {}", answer.text());
        }
        let at = service.path("data/file-transfer").join(LINK);
        assert_eq!(fs::read_link(at).unwrap().to_str().unwrap(), target);
    }
    assert_eq!(upload.exchange(" and the rest").status, 201);
    assert_eq!(fs::read_to_string(service.path("secret")).unwrap(), SECRET);
    assert_eq!(fs::read_to_string(service.path("data/cache/key")).unwrap(), "firmware");
}

#[test]
fn a_link_on_the_way_is_not_followed() {
    let service = with_a_link();
    symlink(service.path("data/cache"), service.path("data/file-transfer/cache")).unwrap();
    symlink("child1", service.path("data/file-transfer/child2")).unwrap();
    for path in ["cache/key", "child2/firmware_update/key", "child2/firmware_update/new"] {
        for method in ["GET", "DELETE"] {
            assert_eq!(curl(&service, path).method(method).answer().status, 404, "{method} {path}");
        }
        assert_eq!(curl(&service, path).put("new").answer().status, 404, "{path}");
    }
}

/// Somebody who may write in the directory swaps the link, and a directory that it leads through,
/// as fast as he can, while clients read, replace and delete.
#[test]
fn a_link_that_is_swapped_leads_nowhere_else() {
    let service = with_a_link();
    let files = service.path("data/file-transfer");
    let cache = service.path("data/cache");
    let secret = service.path("secret");
    let over = AtomicBool::new(false);
    let end = Instant::now() + Duration::from_secs(3);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (at, new) = (files.join(LINK), files.join("child1/new"));
            let targets =
                [cache.join("sub/key"), secret.clone(), "/etc/passwd".into(), files.join("..")];
            for number in (0..).take_while(|_| !over.load(Relaxed)) {
                symlink(&targets[number % 4], &new).unwrap();
                fs::rename(&new, &at).unwrap();
                // And what the good target leads through is a link to elsewhere for a moment.
                fs::rename(cache.join("sub"), cache.join("old")).unwrap();
                symlink("../..", cache.join("sub")).unwrap();
                fs::remove_file(cache.join("sub")).unwrap();
                fs::rename(cache.join("old"), cache.join("sub")).unwrap();
            }
        });
        // Where `sub/key` leads while `sub` is a link.
        fs::write(service.path("key"), SECRET).unwrap();
        let clients: Vec<_> = ["GET", "GET", "PUT", "DELETE"]
            .into_iter()
            .map(|method| {
                let service = &service;
                scope.spawn(move || {
                    let mut good = 0;
                    // At least one succeeds, on a slow disk later.
                    while Instant::now() < end || (good == 0 && Instant::now() < end + SOON) {
                        let mut client = Client::connect(service.address);
                        let sent = match method {
                            "PUT" => put(LINK, "uploaded"),
                            _ => request(method, LINK).into_bytes(),
                        };
                        let answer = client.exchange(sent);
                        let is_known = match (method, answer.status) {
                            ("GET", 200) => ["firmware", "uploaded"].contains(&&*answer.text()),
                            ("PUT", 201) | ("DELETE", 202) | (_, 404) => true,
                            _ => false,
                        };
                        assert!(is_known, "{method}: {} {}", answer.status, answer.text());
                        good += usize::from(answer.status < 300);
                    }
                    good
                })
            })
            .collect();
        let good: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
        over.store(true, Relaxed);
        for good in good {
            assert!(good.unwrap() > 0, "nothing was tried");
        }
    });
    assert_eq!(fs::read_to_string(&secret).unwrap(), SECRET);
    assert_eq!(fs::read_to_string(service.path("key")).unwrap(), SECRET);
    assert_eq!(fs::read_to_string(service.path("data/cache/sub/key")).unwrap(), "firmware");
}
