//! Full load with 24 MB for the program, its buffers and the files that it reads and writes: every
//! client is answered, if late, and the program survives.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::support::certificates::{Authority, Key};
use crate::support::client::{self, Client};
use crate::support::release;
use crate::support::service::Service;
use crate::{PROGRAM, bytes, prepare, put_head, request};

const LIMIT: u64 = 24 * 1024 * 1024;

/// A control group with a memory limit. It is removed when the value is dropped and no process is
/// in it.
struct Group(PathBuf);

impl Group {
    /// `Err` says why there can be none.
    fn new() -> Result<Self, String> {
        let name = format!("tedge-test-{}", std::process::id());
        let mut reasons = Vec::new();
        for (hierarchy, file) in [
            ("/sys/fs/cgroup", "memory.max"),
            ("/sys/fs/cgroup/unified", "memory.max"),
            // The first version of control groups, if the second does not control memory.
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ] {
            let group = Self(Path::new(hierarchy).join(&name));
            match group.limit(file) {
                Ok(()) => return Ok(group),
                Err(error) => reasons.push(format!("{hierarchy}: {error}")),
            }
        }
        Err(reasons.join("; "))
    }

    fn limit(&self, file: &str) -> io::Result<()> {
        fs::create_dir(&self.0)?;
        if file == "memory.max" {
            // The second version may be set up without memory.
            let parent = self.0.parent().unwrap_or(&self.0);
            fs::write(parent.join("cgroup.subtree_control"), "+memory")?;
        }
        fs::metadata(self.0.join("cgroup.procs"))?;
        fs::write(self.0.join(file), LIMIT.to_string())
    }

    /// How often the kernel has killed somebody in it for lack of memory.
    fn kills(&self) -> u64 {
        let events = ["memory.events", "memory.oom_control"]
            .iter()
            .find_map(|file| fs::read_to_string(self.0.join(file)).ok())
            .unwrap();
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.and_then(|kills| kills.parse().ok()).unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn full_load_in_24_megabytes_of_memory_is_survived() {
    let group = match Group::new() {
        Ok(group) => group,
        Err(reason) => return eprintln!("skipped: no control group can be made: {reason}"),
    };
    let program = release::built("tedge-file-transfer").unwrap_or_else(|| PROGRAM.to_owned());
    let mut tls = None;
    let service = Service::start(&program, |setup| {
        prepare(setup);
        let authority = Authority::new(setup.directory(), "ca");
        let pair = authority.server("server", Key::P256);
        setup.set("http.cert_path", pair.cert);
        setup.set("http.key_path", pair.key);
        tls = Some(client::tls(&authority.cert, None));
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", group.0.display());
        setup.wrap(&["sh", "-c", &enter, "sh"]);
    });
    let (tls, content) = (tls.unwrap(), bytes(5_000_000, 81));
    let connect = || {
        let client = Client::connect_tls(service.address, &tls)?;
        // 600 MB go through a page cache of some megabytes: on a slow disk that takes minutes.
        client.set_patience(Duration::from_secs(600));
        io::Result::Ok(client)
    };
    let upload = |name: &str| {
        let mut client = connect()?;
        client.send(put_head(name, content.len() as u64, ""))?;
        client.send(&content)?;
        let answer = client.try_answer()?;
        io::Result::Ok(answer.map(|answer| answer.status))
    };
    assert_eq!(upload("source").unwrap(), Some(201));

    let [served, refused] = [AtomicU64::new(0), AtomicU64::new(0)];
    std::thread::scope(|scope| {
        for number in 0..60 {
            let (connect, upload, served, refused) = (&connect, &upload, &served, &refused);
            let content = &content;
            scope.spawn(move || match upload(&format!("{number}")).unwrap() {
                Some(201) => served.fetch_add(1, Relaxed),
                Some(503) => refused.fetch_add(1, Relaxed),
                other => panic!("an upload is answered with {other:?}"),
            });
            scope.spawn(move || {
                let mut client = connect().unwrap();
                client.send(request("GET", "source")).unwrap();
                let answer = client.answer();
                assert!(answer.status == 503 || answer.body == *content, "{}", answer.status);
                let counter = if answer.status == 503 { refused } else { served };
                counter.fetch_add(1, Relaxed);
            });
        }
    });
    assert!(service.is_running() && group.kills() == 0, "killed for lack of memory");
    assert_eq!(upload("more").unwrap(), Some(201));
    eprintln!("in 24 MB: {served:?} transfers of 5 MB served, {refused:?} refused");
    service.stop();
}
