//! What a request cannot reach, with and without openat2.

use std::os::unix::fs::symlink;

use rustix::fs::inotify;
use rustix::io::Errno;

use super::Service;

#[test]
fn follows_and_opens_nothing_but_files() {
    for service in [Service::new(), Service::without_openat2()] {
        service.put_on_disk("d/file", b"x");
        service.put_on_disk("secret", b"secret");
        let outside = service.directory.parent().unwrap().parent().unwrap();
        symlink(outside, service.path("link")).unwrap();
        symlink("d", service.path("dirlink")).unwrap();
        symlink("nowhere", service.path("dangling")).unwrap();
        let fifo = service.path("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let socket = std::os::unix::net::UnixListener::bind(service.path("socket")).unwrap();
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&watch, &fifo, inotify::WatchFlags::OPEN).unwrap();

        for name in ["link", "dirlink/file", "dirlink/new", "dangling", "fifo", "socket", "fifo/x"]
        {
            let not_found = format!("File not found: {name:?}");
            assert_eq!(service.get(name, &[]).said(), (404, not_found.as_str()));
            let put = service.put(name, &[], "y");
            let first = name.split('/').next().unwrap();
            let sentence =
                format!("Cannot upload: {name:?}: {first:?} is neither a file nor a directory");
            assert_eq!(put.said(), (404, sentence.as_str()));
            assert_eq!(service.delete(name, &[]).status, 404, "{name}");
        }
        for name in ["d", "d/", "missing", "d/file/x", "missing/x"] {
            assert_eq!(service.get(name, &[]).status, 404, "{name}");
        }
        assert_eq!(service.get("d/file", &[]).text(), "x");
        assert_eq!(service.on_disk("secret").unwrap(), "secret");

        let mut events = [0; 256];
        assert_eq!(rustix::io::read(&watch, &mut events), Err(Errno::AGAIN), "a FIFO was opened");
        drop(socket);
    }
}
