//! Syncing: when it happens, and that a slow sync delays only its own upload.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};

use crate::support::client::Client;
use crate::support::service::{Service, Setup};
use crate::support::wait::eventually;
use crate::{Secured, bytes, curl, put, request, start, stored};

/// Whether programs can be traced here; says so where they cannot.
pub(super) fn can_trace() -> bool {
    let traced = Command::new("strace").args(["-qq", "-e", "trace=none", "true"]).status();
    let can = traced.is_ok_and(|status| status.success());
    if !can {
        eprintln!("skipped: strace is not installed, or may not trace");
    }
    can
}

pub(super) fn trace(setup: &mut Setup, calls: &str, inject: &str) {
    let output = setup.directory().join("trace");
    let calls = format!("trace={calls}");
    let output = output.to_str().unwrap();
    let mut command =
        vec!["strace", "-D", "-f", "-y", "-qq", "-s", "24", "-o", output, "-e", &calls];
    if !inject.is_empty() {
        command.extend(["-e", inject]);
    }
    setup.wrap(&command);
}

const STALL: Duration = Duration::from_secs(2);

fn stalled(setup: &mut Setup) {
    trace(setup, "fsync,fdatasync", "inject=fsync,fdatasync:delay_enter=2000000");
}

#[test]
fn a_stalled_sync_holds_up_nobody_else() {
    if !can_trace() {
        return;
    }
    let secured = Secured::start(|setup, _| {
        stalled(setup);
        let files = setup.directory().join("data/file-transfer");
        fs::create_dir_all(&files).unwrap();
        fs::write(files.join("foo"), "content").unwrap();
    });
    let tls = secured.tls();
    let address = secured.service.address;
    assert_eq!(secured.client().exchange(request("GET", "foo")).text(), "content");

    let upload = std::thread::spawn(move || {
        let begun = Instant::now();
        let mut client = Client::connect_tls(address, &tls).unwrap();
        let status = client.exchange(put("bar", "content")).status;
        (status, begun.elapsed())
    });
    let mut kept = secured.client();
    let mut waits = Vec::new();
    while !upload.is_finished() {
        for is_new in [false, true] {
            let begun = Instant::now();
            let answer = if is_new {
                // An accept and a handshake as well.
                secured.client().exchange(request("GET", "foo"))
            } else {
                kept.exchange(request("GET", "foo"))
            };
            assert_eq!(answer.text(), "content");
            waits.push(begun.elapsed());
        }
    }
    let (status, took) = upload.join().unwrap();
    assert_eq!(status, 201);
    assert!(took >= STALL, "nothing was stalled: {took:?}");
    assert_quick(&mut waits);
}

/// Half of the answers come without delay. A busy machine can be slow now and then, which is not a
/// stall.
fn assert_quick(waits: &mut [Duration]) {
    waits.sort();
    assert!(waits.len() >= 20, "only {} answers during the stall", waits.len());
    let (median, most) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    assert!(median < Duration::from_millis(50), "an answer takes {median:?}");
    assert!(most < STALL / 2, "an answer took {most:?}");
}

#[test]
fn stalled_uploads_leave_room_for_a_download_from_the_disk() {
    if !can_trace() {
        return;
    }
    let service = start(|setup| {
        stalled(setup);
        let files = setup.directory().join("data/file-transfer");
        fs::create_dir_all(&files).unwrap();
        for number in 0..40 {
            fs::write(files.join(format!("cold-{number}")), bytes(300_000, number)).unwrap();
        }
    });
    let address = service.address;
    let uploads: Vec<_> = (0..6)
        .map(|number| {
            std::thread::spawn(move || {
                let begun = Instant::now();
                let status =
                    Client::connect(address).exchange(put(&format!("{number}"), "x")).status;
                (status, begun.elapsed())
            })
        })
        .collect();
    // An upload is on its way to the disk once its content is there.
    eventually("four uploads wait for the disk", Duration::from_secs(10), || syncs(&service) >= 2);
    let mut waits = Vec::new();
    for number in 0..20 {
        let name = format!("cold-{number}");
        let file = File::open(service.path("data/file-transfer").join(&name)).unwrap();
        file.sync_all().unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        let begun = Instant::now();
        let answer = Client::connect(address).exchange(request("GET", &name));
        assert!(answer.body == bytes(300_000, number), "other content");
        waits.push(begun.elapsed());
    }
    assert!(!uploads.iter().all(|upload| upload.is_finished()), "the uploads were not stalled");
    waits.sort();
    assert!(waits[waits.len() - 1] < STALL / 2, "a download took {:?}", waits[waits.len() - 1]);
    for upload in uploads {
        let (status, took) = upload.join().unwrap();
        assert_eq!(status, 201);
        assert!(took >= STALL, "nothing was stalled: {took:?}");
    }
}

/// How many syncs have begun, as far as the trace says.
fn syncs(service: &Service) -> usize {
    let trace = fs::read_to_string(service.path("trace")).unwrap_or_default();
    trace.lines().filter(|line| line.contains("sync(")).count()
}

/// What the program did for the disk until it sent an answer, each call where it ended; and the
/// service, whose directory is there as long as it is.
fn traced(
    run: impl FnOnce(&Service),
    configure: impl FnOnce(&mut Setup),
) -> (Vec<String>, Service) {
    let calls = "fsync,fdatasync,rename,renameat,renameat2,linkat,unlink,unlinkat,\
        write,writev,sendto,sendmsg";
    let service = start(|setup| {
        trace(setup, calls, "");
        configure(setup);
    });
    run(&service);
    let trace = service.path("trace");
    eventually("the answer is in the trace", Duration::from_secs(10), || {
        fs::read_to_string(&trace).is_ok_and(|trace| trace.contains("HTTP/1.1 20"))
    });
    let trace = fs::read_to_string(trace).unwrap();
    (joined(&trace), service)
}

/// The lines of a trace, with calls that were cut in two put together where they ended.
fn joined(trace: &str) -> Vec<String> {
    let mut unfinished = std::collections::HashMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let (thread, call) = line.split_once(' ').unwrap_or(("", line));
        let call = call.trim_start();
        if let Some(begin) = call.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, begin);
        } else if call.starts_with("<...") {
            calls.push(format!("{}{call}", unfinished.remove(thread).unwrap_or_default()));
        } else {
            calls.push(call.to_owned());
        }
    }
    calls
}

fn position(calls: &[String], what: &str, is_it: impl Fn(&str) -> bool) -> usize {
    calls.iter().position(|call| is_it(call)).unwrap_or_else(|| panic!("no {what} in {calls:#?}"))
}

fn synced_path(call: &str) -> Option<PathBuf> {
    let descriptor = call.strip_prefix("fsync(").or_else(|| call.strip_prefix("fdatasync("))?;
    let (_, path) = descriptor.split_once('<')?;
    Some(PathBuf::from(path.split_once('>')?.0))
}

fn is_sync_of(call: &str, path: &Path) -> bool {
    synced_path(call).is_some_and(|synced| synced == path)
}

fn is_answer(call: &str) -> bool {
    call.contains("HTTP/1.1 20")
}

fn is_naming(call: &str) -> bool {
    call.starts_with("rename") || call.starts_with("linkat(")
}

#[test]
fn an_upload_is_synced_then_named_then_its_directories_are_synced_then_answered() {
    if !can_trace() {
        return;
    }
    let upload = |service: &Service| {
        assert_eq!(curl(service, "a/b/foo").put("content").answer().status, 201);
    };
    let (calls, service) = traced(upload, |_| {});
    let files = service.path("data/file-transfer");
    let content = position(&calls, "sync of the content", |call| {
        // Where the file was before it had its name there is nothing now; directories stay.
        synced_path(call).is_some_and(|path| !path.is_dir())
    });
    let naming = position(&calls, "rename", is_naming);
    let answer = position(&calls, "answer", is_answer);
    assert!(content < naming && naming < answer, "{calls:#?}");
    for directory in [files.join("a/b"), files.join("a"), files] {
        let synced = calls.iter().rposition(|call| is_sync_of(call, &directory));
        assert!(synced.is_some_and(|synced| synced < answer), "{directory:?}: {calls:#?}");
    }
    let named = calls.iter().rposition(|call| is_sync_of(call, &calls_parent(&calls, naming)));
    assert!(named.is_some_and(|synced| synced > naming), "{calls:#?}");
}

/// The directory into which the file was renamed: the last descriptor or path of the call.
fn calls_parent(calls: &[String], naming: usize) -> PathBuf {
    let call = &calls[naming];
    let end = call.rfind("a/b").map(|at| at + 3);
    let end = end.unwrap_or_else(|| panic!("not into a/b: {call}"));
    let begin = call[..end].rfind(['<', '"']).map_or(0, |at| at + 1);
    PathBuf::from(&call[begin..end])
}

#[test]
fn a_deletion_is_synced_before_it_is_answered() {
    if !can_trace() {
        return;
    }
    let delete = |service: &Service| {
        assert_eq!(curl(service, "foo").method("DELETE").answer().status, 202);
    };
    let (calls, service) = traced(delete, |setup| {
        let files = setup.directory().join("data/file-transfer");
        fs::create_dir_all(&files).unwrap();
        fs::write(files.join("foo"), "content").unwrap();
    });
    let files = service.path("data/file-transfer");
    let deletion =
        position(&calls, "unlink", |call| call.starts_with("unlink") && call.contains("foo"));
    let sync = calls.iter().rposition(|call| is_sync_of(call, &files));
    let answer = position(&calls, "answer", is_answer);
    assert!(sync.is_some_and(|sync| deletion < sync && sync < answer), "{calls:#?}");
}

#[test]
fn without_sync_an_upload_is_still_renamed_and_nothing_is_synced() {
    if !can_trace() {
        return;
    }
    let upload = |service: &Service| {
        assert_eq!(curl(service, "a/foo").put("content").answer().status, 201);
        assert_eq!(stored(service).len(), 1);
    };
    let (calls, _) = traced(upload, |setup| setup.set_own("http.upload.sync", false));
    position(&calls, "rename", is_naming);
    assert!(!calls.iter().any(|call| call.contains("sync(")), "{calls:#?}");
}
