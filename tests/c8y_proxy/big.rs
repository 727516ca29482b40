//! Bodies of any size, in little memory.
//!
//! The budgets hold for the release build, see [`release`]. What must not grow is tested with any
//! build.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::cloud::body::{blocks, blocks_digest};
use crate::support::cloud::{Cloud, Script};
use crate::support::device::{Device, Outside, PROGRAM, SOON, Source, options};
use crate::support::memory::Memory;
use crate::support::release;
use crate::support::service::Service;
use crate::support::wait::eventually;

const KB: u64 = 1024;
const MB: u64 = 1024 * KB;

fn release() -> Option<String> {
    release::or_skip("tedge-c8y-proxy")
}

fn start(program: &str) -> Device {
    let outside = Outside::new();
    let proxy = Service::start(program, |setup| outside.settings(setup));
    let device = Device { proxy, outside };
    device.warm();
    device
}

/// Downloads at once; returns the peak of resident memory.
fn download(device: &Device, count: usize, length: u64) -> u64 {
    let path = device.cloud().add_binary(length);
    let digest = blocks_digest(length);
    thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| {
                let mut client = device.connect();
                client.send(format!("GET /c8y{path} HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap();
                let head = client.head();
                assert_eq!(
                    (head.status, head.field("content-length")),
                    (200, Some(&*length.to_string()))
                );
                assert_eq!(client.digest(length).unwrap(), digest);
            });
        }
    });
    device.proxy.memory().peak
}

fn upload(device: &Device, length: u64) {
    let mut client = device.connect();
    let head = format!("PUT /c8y/x HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    client.send(head).unwrap();
    for block in blocks(length) {
        client.send(block).unwrap();
    }
    let answer = client.answer();
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"got it"[..]));
}

#[test]
fn four_downloads_of_100_mb_at_once_take_little_memory() {
    let device = start(PROGRAM);
    let idle = device.proxy.memory().resident;
    let peak = download(&device, 4, 100 * MB);
    assert!(peak.saturating_sub(idle) < 6 * MB, "{idle} at idle, {peak} at the peak");
    let Some(program) = release() else { return };
    let peak = download(&start(&program), 4, 100 * MB);
    assert!(peak < 10 * MB, "{peak} at the peak");
}

#[test]
fn an_upload_of_1_gb_takes_little_memory() {
    let device = start(PROGRAM);
    let idle = device.proxy.memory().resident;
    let length = 1000 * MB;
    device.cloud().answer("/x", Script::answer("200 OK", b"got it"));
    upload(&device, length);
    let request = device.cloud().requests("/x").remove(0);
    assert_eq!((request.length, request.digest), (length, Some(blocks_digest(length))));
    let peak = device.proxy.memory().peak;
    assert!(peak.saturating_sub(idle) < 3 * MB, "{idle} at idle, {peak} at the peak");
}

#[test]
fn a_client_that_reads_slowly_does_not_fill_the_memory() {
    let device = start(PROGRAM);
    let idle = device.proxy.memory().resident;
    let path = device.cloud().add_binary(200 * MB);
    let mut clients: Vec<_> = (0..10).map(|_| device.connect()).collect();
    for client in &mut clients {
        client.send(format!("GET /c8y{path} HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap();
        client.head();
    }
    thread::sleep(Duration::from_secs(3));
    let peak = device.proxy.memory().peak;
    assert!(peak.saturating_sub(idle) < 6 * MB, "{idle} at idle, {peak} at the peak");
}

#[test]
fn a_cloud_that_reads_slowly_does_not_fill_the_memory() {
    use std::io::Write;
    let device = start(PROGRAM);
    let idle = device.proxy.memory().resident;
    device.cloud().answer("/x", Script::new().hold());
    let mut clients: Vec<_> = (0..10).map(|_| device.connect()).collect();
    let head = "PUT /c8y/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n";
    for client in &mut clients {
        client.send(head).unwrap();
        let mut stream = client.socket();
        stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        // Until no client reads any more.
        while stream.write(&[0; 64 * 1024]).is_ok() {}
    }
    let peak = device.proxy.memory().peak;
    assert!(peak.saturating_sub(idle) < 6 * MB, "{idle} at idle, {peak} at the peak");
}

#[test]
fn the_program_is_small_on_disk() {
    let Some(program) = release() else { return };
    let size = fs::metadata(&program).unwrap().len();
    // This limit holds for programs with the standard library as Rust ships it. The packages use
    // one that is built for size: 2.9 MB on amd64.
    assert!(size <= 3400 * KB, "the program has {size} bytes");
}

#[test]
fn an_idle_proxy_that_is_connected_to_the_broker_takes_little_memory() {
    let Some(program) = release() else { return };
    let device = start(&program);
    eventually("the pool's threads are gone", SOON * 2, || device.proxy.threads() <= 4);
    // Memory of the handshakes is returned after a short time without requests. Resident memory
    // also includes the code of the program and of the C library that the kernel has mapped.
    let (mut memory, start) = (device.proxy.memory(), Instant::now());
    let is_little = |memory: &Memory| memory.resident <= 6144 * KB && memory.private <= 921 * KB;
    while !is_little(&memory) && start.elapsed() < SOON * 2 {
        thread::sleep(Duration::from_millis(100));
        memory = device.proxy.memory();
    }
    assert!(is_little(&memory), "{memory:?}");
}

#[test]
fn sixteen_downloads_and_uploads_of_100_mb_at_once_take_little_memory() {
    let Some(program) = release() else { return };
    let device = start(&program);
    device.cloud().answer("/x", Script::answer("200 OK", b"got it"));
    let length = 100 * MB;
    let peak = thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| upload(&device, length));
        }
        download(&device, 16, length)
    });
    assert!(peak.max(device.proxy.memory().peak) <= 10 * MB, "{:?}", device.proxy.memory());
}

#[test]
fn a_token_over_https_takes_at_most_a_tenth_of_a_megabyte_more_than_a_password() {
    let Some(program) = release() else { return };
    // Private memory at rest, after a hundred requests and, with a token, five fetches.
    let private = |source: Option<Source>| {
        let mut options = options();
        options.user = Some(("t12345/ben".into(), "secret".into()));
        let mut outside = Outside::with(Cloud::start(options).unwrap());
        outside.source = source.unwrap_or(Source::Mqtt);
        let proxy = Service::start(&program, |setup| {
            outside.settings(setup);
            if source.is_none() {
                let file = setup.directory().join("credentials.toml");
                fs::write(file, "[c8y]\nusername = \"t12345/ben\"\npassword = \"secret\"\n")
                    .unwrap();
                setup.set("c8y.auth_method", "basic");
            }
        });
        let device = Device { proxy, outside };
        for _ in 0..5 {
            device.cloud().tokens().revoke_all();
            (0..20).for_each(|_| device.warm());
        }
        eventually("the pool's threads are gone", SOON * 2, || device.proxy.threads() <= 4);
        let mut least = u64::MAX;
        // Free memory is given back a few seconds after the last client has gone.
        let start = Instant::now();
        while start.elapsed() < SOON {
            least = least.min(device.proxy.memory().private);
            thread::sleep(Duration::from_millis(100));
        }
        eprintln!("{source:?}: {} KB, {} threads", least / KB, device.proxy.threads());
        least
    };
    let (basic, https) = (private(None), private(Some(Source::Https)));
    assert!(https <= basic + MB / 10, "{} KB and {} KB", https / KB, basic / KB);
}
