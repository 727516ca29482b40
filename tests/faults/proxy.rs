//! The proxy between a flaky cloud and a flaky broker: fault after fault while clients keep asking,
//! and every promise of its contract is checked.
//!
//! `make test` makes each fault once and briefly. `make test-faults` runs for half an hour with
//! each source of tokens, or for `TEDGE_FAULTS_SECONDS`. `TEDGE_FAULTS_SEED` repeats a run in the
//! same order; `TEDGE_FAULTS_ONLY` selects the faults whose names contain it.
#![allow(dead_code, reason = "what the tests stand on is shared by several test programs")]
#![allow(clippy::unwrap_used, reason = "this is all test code")]
#![allow(clippy::disallowed_methods, reason = "tests have no executor to stall")]

#[path = "../support"]
mod support {
    pub(crate) mod answer;
    pub(crate) mod bridge;
    pub(crate) mod broker;
    pub(crate) mod certificates;
    pub(crate) mod client;
    pub(crate) mod cloud;
    pub(crate) mod directory;
    pub(crate) mod memory;
    pub(crate) mod mqtt;
    pub(crate) mod namespace;
    pub(crate) mod release;
    pub(crate) mod service;
    pub(crate) mod wait;
    pub(crate) mod websocket;
}

#[path = "proxy"]
mod proxy {
    pub(crate) mod audit;
    pub(crate) mod chance;
    pub(crate) mod clients;
    pub(crate) mod faults;
    pub(crate) mod names;
    pub(crate) mod network;
    pub(crate) mod tally;
    pub(crate) mod world;
}

use std::env;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proxy::audit::Audit;
use proxy::chance::Chance;
use proxy::clients::Setting;
use proxy::faults::{Fault, Sign};
use proxy::world::World;
use rustix::process::Signal;
use support::wait::eventually;

/// How many clients ask, beside a third as many WebSockets.
const CLIENTS: u64 = 8;

/// Longer than this is a long run: faults last, and what shows late is waited for.
const LONG: Duration = Duration::from_secs(300);

/// What may stand in the log for a minute: a line for each complaint, and its coming and going.
const LINES: usize = 100;

/// What SIGHUP has the proxy say here.
const RELOAD: &str = " CAs from c8y.root_cert_path";

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().expect(name))
}

#[test]
fn every_answer_is_the_clouds_or_honest_and_the_proxy_is_soon_well_again() {
    let Some(world) = World::start(1, "mqtt") else {
        eprintln!("skipped: no network with a cable of our own can be made here");
        return;
    };
    Run::new(world, 1, Duration::ZERO).all(1);
}

#[test]
#[ignore = "half an hour: make test-faults"]
fn the_same_holds_for_half_an_hour() {
    for_half_an_hour("mqtt");
}

#[test]
#[ignore = "half an hour: make test-faults"]
fn the_same_holds_for_half_an_hour_with_tokens_over_https() {
    for_half_an_hour("https");
}

#[test]
#[ignore = "half an hour: make test-faults"]
fn the_same_holds_for_half_an_hour_with_tokens_from_either() {
    for_half_an_hour("auto");
}

fn for_half_an_hour(source: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let seed = number("TEDGE_FAULTS_SEED").unwrap_or(now);
    let seconds = number("TEDGE_FAULTS_SECONDS").unwrap_or(1800);
    eprintln!("TEDGE_FAULTS_SECONDS={seconds} TEDGE_FAULTS_SEED={seed}");
    let world =
        World::start(seed, source).expect("root, network namespaces, /dev/net/tun and python3");
    assert!(world.clock.is_some(), "the clock cannot be moved: install libfaketime");
    Run::new(world, seed, Duration::from_secs(seconds)).all(seed);
}

/// A run of all faults.
struct Run {
    world: World,
    audit: Audit,
    chance: Chance,
    duration: Duration,
    faults: usize,
}

impl Run {
    fn new(world: World, seed: u64, duration: Duration) -> Self {
        let (audit, chance) = (Audit::default(), Chance::new(seed));
        Self { world, audit, chance, duration, faults: 0 }
    }

    fn all(&mut self, seed: u64) {
        // All well: what the proxy is at rest, when it has done everything once.
        let clients = self.world.setting.start(CLIENTS, seed);
        thread::sleep(Duration::from_secs(5));
        self.end(clients);
        self.world.setting.tally.check();
        let first = self.world.at_rest(None);
        eprintln!("at rest: {first:?}");

        let setting = Arc::clone(&self.world.setting);
        setting.over.store(false, Relaxed);
        let clients = setting.start(CLIENTS, seed + 1);
        let only = env::var("TEDGE_FAULTS_ONLY").unwrap_or_default();
        let mut faults = Fault::ALL.to_vec();
        faults.retain(|fault| format!("{fault:?}").contains(&only));
        if self.world.clock.is_none() {
            eprintln!("no libfaketime here: the clock stays right");
            faults.retain(|fault| !matches!(fault, Fault::ClockForward | Fault::ClockBack));
        }
        let start = Instant::now();
        loop {
            let mut round = faults.clone();
            self.chance.shuffle(&mut round);
            for fault in round {
                self.fault(fault);
            }
            if start.elapsed() >= self.duration {
                break;
            }
            eprintln!("after {:.0?}: {}", start.elapsed(), setting.tally);
        }
        self.end(clients);
        let took = start.elapsed();
        let last = self.world.at_rest(Some(&first));
        self.audit.check_times(&setting.tally);
        let minutes = |time: Duration| time.as_secs() as usize / 60 + 2;
        eprintln!(
            "{} faults in {took:.0?}, {}; {} numbered requests reached the cloud, {} of them \
             POSTs; at rest {first:?} before, {last:?} after; seed {seed}",
            self.faults, setting.tally, self.audit.seen, self.audit.posts,
        );
        assert!(self.world.proxy.is_running());
        let (lines, most) = (self.world.proxy.log().lines().count(), LINES * minutes(took));
        assert!(lines <= most, "{lines} lines in the log in {took:.0?}");
        setting.tally.check();
    }

    /// One fault, from the moment it happens until the proxy is well again.
    fn fault(&mut self, fault: Fault) {
        let is_long = self.duration >= LONG;
        let tally = Arc::clone(&self.world.setting);
        let tally = &tally.tally;
        tally.forget_reasons();
        let start = Instant::now();
        fault.inject(&mut self.world, &mut self.chance);
        let time = if is_long { 4_000 + self.chance.below(12_000) } else { 1_200 };
        self.hold(fault, || start.elapsed() >= Duration::from_millis(time));
        let (words, limit) = match fault.sign(&self.world.source) {
            Sign::Soon(words) => (words, Duration::from_secs(20)),
            // A request on a connection of before is told after a minute.
            Sign::Late(words) if is_long => (words, Duration::from_secs(75)),
            _ => ("", Duration::ZERO),
        };
        let start = Instant::now();
        self.hold(fault, || words.is_empty() || tally.is_told(words) || start.elapsed() > limit);
        if !words.is_empty() && !tally.is_told(words) {
            tally.violation(format!("{fault:?} is not told within {limit:?} by {words:?}"));
        }
        if matches!(fault, Fault::ClockForward | Fault::ClockBack) {
            self.check_clock();
        }
        fault.mend(&mut self.world);
        let recovered = self.world.recovered(fault.recovery());
        let told = tally.forget_reasons();
        match recovered {
            Ok(time) => eprintln!("{fault:?}: well again in {time:.1?}; told: {told:?}"),
            Err(what) => tally.violation(format!("{fault:?}: {what}, told: {told:?}")),
        }
        self.faults += 1;
        self.audit.take(&self.world.cloud.shared(), tally);
    }

    /// Keeps a fault until `enough`.
    fn hold(&mut self, fault: Fault, enough: impl Fn() -> bool) {
        let mut next = Instant::now();
        while !enough() {
            if Instant::now() >= next {
                next += Duration::from_secs(1);
                fault.go_on(&self.world);
                self.audit.take(&self.world.cloud.shared(), &self.world.setting.tally);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The proxy's clock is a day wrong, as its log says when it is asked to say something.
    fn check_clock(&self) {
        let proxy = &self.world.proxy;
        let now = Command::new("date").args(["-u", "+%F"]).output().unwrap();
        let today = String::from_utf8(now.stdout).unwrap();
        eventually("the clock jumps", Duration::from_secs(20), || {
            let lines = proxy.log().lines().filter(|line| line.contains(RELOAD)).count();
            proxy.signal(Signal::HUP);
            let log = proxy.wait_for_lines(RELOAD, lines + 1, Duration::from_secs(10));
            let said = log.lines().rfind(|line| line.contains(RELOAD)).unwrap();
            !said.starts_with(today.trim())
        });
    }

    fn end(&mut self, clients: Vec<thread::JoinHandle<()>>) {
        let setting: &Setting = &self.world.setting;
        setting.over.store(true, Relaxed);
        for client in clients {
            client.join().unwrap();
        }
        self.audit.take(&self.world.cloud.shared(), &setting.tally);
    }
}
