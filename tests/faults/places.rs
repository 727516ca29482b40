//! As many hostile peers as there are places, and two and five times as many: every other client is
//! served within five seconds, and a client that transfers 2 KB a second finishes.
//!
//! `make test` has sixteen places and five times as many peers, all kinds side by side;
//! `make test-faults` has as many places as a device, and one crowd after the other.

mod kinds;

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use kinds::{KINDS, Kind, Scene};

use crate::support::answer::Answer;
use crate::support::release;
use crate::support::wait::eventually;
use crate::{bytes, put_head, request};

/// What nobody waits longer for, whoever else comes.
const LIMIT: Duration = Duration::from_secs(5);

/// Where the honest come from.
const CLIENT: Ipv4Addr = Ipv4Addr::LOCALHOST;
const MODEM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// When the hostile peers go, and how often one has got a connection.
#[derive(Default)]
struct Crowd {
    stop: AtomicBool,
    connected: AtomicUsize,
}

/// Ends a crowd, also if something fails meanwhile: the peers that wait for the service too.
struct Stop<'a>(&'a Crowd, &'a Scene);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Relaxed);
        self.1.service.kill();
    }
}

/// So many peers of one kind beside those who behave; what went wrong.
fn try_crowd(
    program: &Path,
    kind: &Kind,
    places: usize,
    size: usize,
    time: Duration,
) -> Option<String> {
    let scene = Scene::start(program, kind, places);
    let crowd = Crowd::default();
    thread::scope(|scope| {
        let _stop = Stop(&crowd, &scene);
        for number in 0..size {
            let (scene, crowd) = (&scene, &crowd);
            scope.spawn(move || {
                while !crowd.stop.load(Relaxed) {
                    let Ok(mut client) = scene.connect(kind, number) else {
                        thread::sleep(Duration::from_millis(100));
                        continue;
                    };
                    crowd.connected.fetch_add(1, Relaxed);
                    // Until it is closed; then it comes again, and spares the machine.
                    let _closed = (kind.hold)(&mut client, &crowd.stop);
                    thread::sleep(Duration::from_millis(50));
                }
            });
        }
        eventually("every place is taken", Duration::from_secs(20), || {
            scene.service.sockets() >= places && crowd.connected.load(Relaxed) >= places
        });
        let modem = scope.spawn(|| upload_slowly(&scene, time));
        let begun = Instant::now();
        let mut longest = Duration::ZERO;
        while begun.elapsed() < time {
            let asked = Instant::now();
            if let Err(error) = ask(&scene) {
                return Some(format!("a client is not served in {:?}: {error}", asked.elapsed()));
            }
            longest = longest.max(asked.elapsed());
            thread::sleep(Duration::from_millis(200));
        }
        eprintln!(
            "{:40} {size:4} peers, {places:3} places: {} connections, longest wait {longest:.1?}",
            kind.name,
            crowd.connected.load(Relaxed)
        );
        if longest > LIMIT {
            return Some(format!("a client waits {longest:.1?}"));
        }
        modem.join().unwrap().err().map(|error| format!("the modem does not finish: {error}"))
    })
}

/// Does `act` again where a connection, idle for a moment, had to make room: clients do so as well,
/// and that counts as waiting.
fn soon(act: impl Fn() -> io::Result<Answer>) -> Result<Answer, String> {
    let begun = Instant::now();
    loop {
        match act() {
            Ok(answer) => return Ok(answer),
            Err(error) if begun.elapsed() > LIMIT => return Err(error.to_string()),
            Err(_) => {}
        }
    }
}

/// A small file, over a new connection.
fn ask(scene: &Scene) -> Result<(), String> {
    let answer = soon(|| {
        let mut client = scene.connect_from(CLIENT)?;
        client.send(request("GET", "small"))?;
        client.try_answer()?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    })?;
    if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
}

/// 2 KB a second for as long as that.
fn upload_slowly(scene: &Scene, time: Duration) -> Result<(), String> {
    let content = bytes(2000 * time.as_secs() as usize, 83);
    let answer = soon(|| {
        let mut client = scene.connect_from(MODEM)?;
        client.send(put_head("modem", content.len() as u64, ""))?;
        let begun = Instant::now();
        for (piece, number) in content.chunks(400).zip(1..) {
            client.send(piece)?;
            if client.has_news() {
                break;
            }
            // What a busy machine holds up is made up for.
            let next = begun + Duration::from_millis(200) * number;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        client.set_patience(4 * LIMIT);
        client.try_answer()?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    })?;
    if answer.status == 201 { Ok(()) } else { Err(format!("{answer:?}")) }
}

#[test]
fn however_many_hold_on_nobody_else_waits_for_more_than_five_seconds() {
    const PLACES: usize = 16;
    let program = Path::new(crate::PROGRAM);
    let try_kind = |kind| try_crowd(program, kind, PLACES, 5 * PLACES, Duration::from_secs(13));
    let mut failed = Vec::new();
    // With more at once, a busy machine is too slow for the pace of a modem.
    for kinds in KINDS.chunks(4) {
        let ended: Vec<_> = thread::scope(|scope| {
            let running: Vec<_> = kinds.iter().map(|kind| scope.spawn(|| try_kind(kind))).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let failures = kinds.iter().zip(ended);
        failed.extend(failures.filter_map(|(kind, end)| Some(format!("{}: {}", kind.name, end?))));
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
#[ignore = "takes ten minutes: make test-faults"]
fn however_many_hold_on_to_a_device_nobody_else_waits_for_more_than_five_seconds() {
    const PLACES: usize = 128;
    let Some(program) = release::or_skip("tedge-file-transfer") else { return };
    let mut failed = Vec::new();
    for kind in &KINDS {
        for times in [1, 2, 5] {
            let time = Duration::from_secs(20);
            let failure = try_crowd(Path::new(&program), kind, PLACES, times * PLACES, time);
            failed
                .extend(failure.map(|failure| format!("{}, {times} times: {failure}", kind.name)));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
