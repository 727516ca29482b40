//! Slow and hostile peers, one kind after the other, beside a well-behaved client that must hardly
//! notice them.
//!
//! In `make test` each attack lasts a second, and the client has to be served. `make test-faults`
//! also measures time and memory, in turns with and without the attack.

mod attacks;
mod scene;

use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use attacks::{ATTACKS, Activity, Attack, SLOWHTTPTEST};
use scene::{Scene, Waits};

use crate::support::memory::Memory;
use crate::support::release;
use crate::support::wait::eventually;

const MB: u64 = 1024 * 1024;

/// The threads of executor and reactor, at most four that wait for the disk, and as many that are
/// about to become idle while the next calls already begin.
const THREADS: usize = 6;

/// How much longer a well-behaved client may wait beside an attack.
fn is_tolerable(calm: Duration, attacked: Duration) -> bool {
    attacked <= calm.mul_f64(1.1).max(calm + Duration::from_millis(5))
}

impl Attack {
    /// Runs beside `meanwhile`.
    fn beside<T>(&self, scene: &Scene, activity: &Activity, meanwhile: impl FnOnce() -> T) -> T {
        activity.stop.store(false, Relaxed);
        thread::scope(|scope| {
            let _stop = Stop(activity);
            scope.spawn(|| (self.run)(scene, activity));
            thread::sleep(Duration::from_millis(300));
            meanwhile()
        })
    }
}

/// Stops the attack when dropped, also by a panic.
struct Stop<'a>(&'a Activity);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Relaxed);
    }
}

#[test]
fn whoever_behaves_is_served_beside_whoever_does_not() {
    let scenes = [false, true].map(|is_tls| Scene::start(crate::PROGRAM, is_tls, &[]));
    for attack in &ATTACKS {
        let (scene, activity) = (&scenes[usize::from(attack.is_tls)], Activity::default());
        let threads = attack.beside(scene, &activity, || {
            scene.wait_for_answers(Duration::from_millis(700));
            scene.service.threads()
        });
        assert!(threads <= THREADS, "{}: {threads} threads", attack.name);
        assert!(activity.count.load(Relaxed) > 0, "{} did not take place", attack.name);
    }
}

#[test]
fn whoever_behaves_is_served_where_descriptors_are_few() {
    let scene = Scene::start(crate::PROGRAM, false, &["prlimit", "--nofile=64:64"]);
    for attack in ATTACKS.iter().filter(|attack| !attack.is_tls) {
        attack.beside(&scene, &Activity::default(), || {
            // Slow transfers may take all the room there is.
            scene.service.descriptors()
        });
        scene.wait_for_answers(Duration::from_millis(100));
    }
    assert!(!scene.service.log().contains("cannot accept"), "{}", scene.service.log());
}

#[test]
#[ignore = "takes minutes, and the machine for itself: make test-faults"]
fn whoever_behaves_waits_hardly_longer_beside_whoever_does_not() {
    let Some(program) = release::or_skip("tedge-file-transfer") else { return };
    let scenes = [false, true].map(|is_tls| Scene::start(&program, is_tls, &[]));
    let has_slowhttptest = Command::new("slowhttptest").arg("-h").output().is_ok();
    if !has_slowhttptest {
        eprintln!("skipped in part: slowhttptest is not installed");
    }
    let others = SLOWHTTPTEST.iter().filter(|_| has_slowhttptest);
    let failed: Vec<_> = ATTACKS
        .iter()
        .chain(others)
        .filter(|attack| !is_withstood(attack, &scenes[usize::from(attack.is_tls)]))
        .map(|attack| attack.name)
        .collect();
    assert!(failed.is_empty(), "not withstood: {failed:?}");
}

/// Measures without and with the attack in turns; again if the machine may have been busy.
fn is_withstood(attack: &Attack, scene: &Scene) -> bool {
    const TRIES: usize = 5;
    let begin = scene.service.memory();
    let activity = Activity::default();
    let mut is_withstood = false;
    for _ in 0..TRIES {
        let [mut calm, mut attacked] = [Waits::default(), Waits::default()];
        Memory::forget_peak(scene.service.pid());
        let mut threads = 0;
        for _ in 0..3 {
            calm.add(scene.wait_for_answers(Duration::from_secs(1)));
            attacked.add(attack.beside(scene, &activity, || {
                let waits = scene.wait_for_answers(Duration::from_secs(1));
                threads = threads.max(scene.service.threads());
                waits
            }));
            thread::sleep(Duration::from_millis(300));
        }
        let ([calm_kept, calm_new], [kept, new]) = (calm.p99(), attacked.p99());
        let peak = scene.service.memory().peak;
        eprintln!(
            "{:40} p99 kept {calm_kept:.1?} -> {kept:.1?}, new {calm_new:.1?} -> {new:.1?}; \
             {threads} threads, peak {:.1} MB, {} activity",
            attack.name,
            peak as f64 / MB as f64,
            activity.count.load(Relaxed)
        );
        assert!(threads <= THREADS, "{}: {threads} threads", attack.name);
        assert!(peak <= 16 * MB, "{}: {peak} bytes", attack.name);
        is_withstood = is_tolerable(calm_kept, kept) && is_tolerable(calm_new, new);
        if is_withstood {
            break;
        }
    }
    eventually("the memory is given back", Duration::from_secs(20), || {
        scene.service.memory().resident <= begin.resident + 2 * MB
    });
    is_withstood
}
