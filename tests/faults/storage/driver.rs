//! Takes each step with the real program and the model, and compares them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::disk::{Disk, Kind};
use super::model::Model;
use super::requests::{condition_line, inject, range_lines, with, wrapped};
use super::steps::{Condition, Content, Envelope, Farewell, Fault, PATHS, Range, Step};
use super::tamper::Tamper;
use super::totals::TOTALS;
use crate::support::service::{SOON, Service};
use crate::support::wait::eventually;
use crate::support::{answer::Answer, client::Client};
use crate::{put, put_head, request};

/// What is free is a matter of so many bytes more or less: a file is more than its content.
const METADATA: u64 = 256 * 1024;

pub(super) struct Driver {
    service: Service,
    model: Model,
    /// Entity tag and date of each file, as the service has told them.
    validators: BTreeMap<String, (String, String)>,
    /// A temporary file could not be removed, so it stays until the next start.
    is_littered: bool,
    /// Empty directories that a fault or a kill has left. They may stay.
    leftovers: BTreeSet<String>,
    /// Gone after the service.
    disk: Disk,
}

impl Driver {
    pub(super) fn new(disk: Disk) -> Self {
        let service = disk.start();
        let (model, validators) = (Model::default(), BTreeMap::new());
        Self { service, model, validators, is_littered: false, leftovers: BTreeSet::new(), disk }
    }

    pub(super) fn run(mut self, steps: &[Step]) {
        TOTALS.sequences.fetch_add(1, Relaxed);
        for step in steps {
            TOTALS.steps.fetch_add(1, Relaxed);
            self.take(step.clone());
            self.compare();
        }
        self.kill_and_start();
        self.compare();
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Put { path, content, envelope, condition } => {
                self.upload(path, content, envelope, condition);
            }
            Step::Get { path, is_head, range, condition } => {
                self.download(path, is_head, range, condition);
            }
            Step::Delete { path, condition } => {
                let status = self.model.deletion_status(path, condition);
                let line = condition_line(condition, self.validators.get(path));
                let answer = self.exchange(with(request("DELETE", path), &line));
                assert_eq!(answer.status, status, "{}", answer.text());
                if status == 202 {
                    self.model.delete(path);
                }
            }
            Step::FaultyPut { path, content, fault } => {
                let status = self.model.upload_status(path, Condition::None);
                let after = self.after_upload(path, content, status);
                self.tampered(fault, &put(path, content.bytes()), status, after, path);
            }
            Step::FaultyDelete { path, fault } => {
                let status = self.model.deletion_status(path, Condition::None);
                let mut after = self.model.clone();
                after.delete(path);
                self.tampered(fault, request("DELETE", path).as_bytes(), status, after, path);
            }
            Step::Race { path, contents } => self.race(path, contents),
            Step::Abort { path, content, sent, farewell } => {
                self.abort(path, content, sent, farewell);
            }
            Step::Kill { path, content, after } => {
                let answer = thread::scope(|scope| {
                    let answer = scope.spawn(|| self.try_exchange(&put(path, content.bytes())));
                    thread::sleep(Duration::from_micros(after));
                    self.service.kill();
                    answer.join().unwrap()
                });
                let status = self.model.upload_status(path, Condition::None);
                let after = self.after_upload(path, content, status);
                self.killed(answer, status, after, path);
            }
            Step::KillAt { path, content, call, nth } => {
                let status = self.model.upload_status(path, Condition::None);
                let after = self.after_upload(path, content, status);
                self.killed_at(call, nth, &put(path, content.bytes()), status, after, path);
            }
            Step::KillDeleteAt { path, call } => {
                let status = self.model.deletion_status(path, Condition::None);
                let mut after = self.model.clone();
                after.delete(path);
                self.killed_at(call, 1, request("DELETE", path).as_bytes(), status, after, path);
            }
            Step::Stop { path, content } => self.stop(path, content),
            Step::Fill { leave } => self.disk.fill(leave),
            Step::Empty => self.disk.empty(),
            Step::Chmod { path, mode } => {
                if let Some(file) = self.model.files.get_mut(path) {
                    let file_path = self.disk.files().join(path);
                    fs::set_permissions(file_path, Permissions::from_mode(mode)).unwrap();
                    file.mode = mode;
                }
            }
        }
    }

    fn upload(
        &mut self,
        path: &'static str,
        content: Content,
        envelope: Envelope,
        condition: Condition,
    ) {
        let status = self.model.upload_status(path, condition);
        let line = condition_line(condition, self.validators.get(path));
        let may_fail = self.may_not_fit(content.length);
        let answer = self.exchange(with(wrapped(path, &content.bytes(), envelope), &line));
        let after = self.after_upload(path, content, status);
        match answer.status {
            507 if may_fail && status == 201 => self.adopt(&after, path, false),
            found => {
                assert_eq!(found, status, "{}", answer.text());
                assert!(found != 201 || self.fits(content.length), "stored more than there is");
                self.model = after;
            }
        }
        if answer.status == 201 {
            let tag = answer.field("etag").unwrap().to_owned();
            let replaced = self.validators.insert(path.to_owned(), (tag.clone(), String::new()));
            assert!(replaced.is_none_or(|(old, _)| old != tag), "the tag of another version");
        }
    }

    fn download(&self, path: &str, is_head: bool, range: Range, condition: Condition) {
        let expected = self.model.download(path, is_head, range, condition);
        let line = condition_line(condition, self.validators.get(path)) + &range_lines(range);
        let method = if is_head { "HEAD" } else { "GET" };
        let sent = with(request(method, path), &line);
        let answer = if is_head {
            let mut client = Client::connect(self.service.address);
            client.send(sent).unwrap();
            TOTALS.requests.fetch_add(1, Relaxed);
            client.head()
        } else {
            self.exchange(sent)
        };
        assert_eq!(answer.status, expected.status, "{}", answer.text());
        assert_eq!(answer.field("content-range"), expected.content_range.as_deref());
        if matches!(answer.status, 200 | 206) {
            let length = expected.content.len().to_string();
            assert_eq!(answer.field("content-length"), Some(&*length));
            assert!(is_head || answer.body == expected.content, "other bytes");
        }
    }

    /// One request while the disk is tampered with.
    fn tampered(&mut self, fault: Fault, sent: &[u8], status: u16, after: Model, path: &str) {
        TOTALS.faults.fetch_add(1, Relaxed);
        let may_fail = self.may_not_fit(sent.len());
        let tamper = Tamper::attach(self.service.pid(), &inject(fault));
        let answer = self.exchange(sent);
        drop(tamper);
        let (is_new, may_be_new) = (answer.status == status, fault.is_late(status));
        match fault {
            _ if is_new && status < 300 => {
                // A directory that could not be removed stays.
                if matches!(fault, Fault::Fails { call: "unlinkat", .. }) {
                    self.leftovers.extend(self.disk.look().0.empty_directories());
                }
                self.expect(&after);
            }
            _ if is_new => {}
            Fault::Fails { call, .. } if matches!(answer.status, 500 | 507) => {
                self.is_littered |= call == "unlinkat";
                self.adopt(&after, path, may_be_new);
            }
            _ if answer.status == 507 && may_fail => self.adopt(&after, path, false),
            _ => panic!("{} in place of {status}: {}", answer.status, answer.text()),
        }
        self.validators.remove(path);
    }

    fn killed_at(
        &mut self,
        call: &str,
        nth: usize,
        sent: &[u8],
        status: u16,
        after: Model,
        path: &str,
    ) {
        TOTALS.faults.fetch_add(1, Relaxed);
        let inject = format!("inject={call}:signal=KILL:when={nth}");
        let tamper = Tamper::attach(self.service.pid(), &inject);
        let answer = self.try_exchange(sent);
        self.service.kill();
        drop(tamper);
        self.killed(answer, status, after, path);
    }

    /// Judges what a killed program has left, and starts it again.
    fn killed(&mut self, answer: Option<Answer>, status: u16, after: Model, path: &str) {
        match answer.map(|answer| answer.status) {
            Some(found) if found == status && found < 300 => self.expect(&after),
            // Directories on the way may have been made before the disk was full.
            Some(507) => self.adopt(&after, path, false),
            Some(found) => assert_eq!(found, status),
            None => self.adopt(&after, path, true),
        }
        self.validators.remove(path);
        self.kill_and_start();
    }

    fn kill_and_start(&mut self) {
        TOTALS.kills.fetch_add(1, Relaxed);
        self.service.kill();
        self.start();
    }

    fn start(&mut self) {
        self.service = self.disk.start();
        self.is_littered = false;
        let (_, temporaries) = self.disk.look();
        assert!(temporaries.is_empty(), "left after a start: {temporaries:?}");
    }

    fn race(&mut self, path: &'static str, contents: [Content; 2]) {
        let status = self.model.upload_status(path, Condition::None);
        let may_fail = self.may_not_fit(contents[0].length + contents[1].length);
        let answers = thread::scope(|scope| {
            let this = &*self;
            contents
                .map(|content| scope.spawn(move || this.try_exchange(&put(path, content.bytes()))))
                .map(|client| client.join().unwrap().expect("an answer").status)
        });
        let mut candidates = Vec::new();
        for (answer, content) in answers.into_iter().zip(contents) {
            assert!(answer == status || (may_fail && answer == 507), "{answer}, not {status}");
            if answer == 201 {
                candidates.push(self.after_upload(path, content, status));
            }
        }
        let (found, _) = self.disk.look();
        match candidates.is_empty() {
            true if status == 201 => {
                self.adopt(&self.after_upload(path, contents[0], 201), path, false)
            }
            true => self.expect(&self.model.clone()),
            false => {
                let is_whole = candidates.iter().any(|it| it.files == found.files);
                assert!(is_whole, "neither upload is there whole: {found:?}");
                self.model = found;
            }
        }
        self.validators.remove(path);
    }

    fn abort(&self, path: &str, content: Content, sent: usize, farewell: Farewell) {
        let bytes = content.bytes();
        let head = put_head(path, bytes.len() as u64 + 1, "");
        let mut client = Client::connect(self.service.address);
        // It may be refused meanwhile.
        let _ = client.send(head);
        let _ = client.send(&bytes[..bytes.len() * sent / 100]);
        TOTALS.requests.fetch_add(1, Relaxed);
        match farewell {
            Farewell::Reset => client.reset(),
            Farewell::Close => drop(client),
            Farewell::HalfClose => {
                client.finish();
                let answer = client.try_answer().ok().flatten();
                assert!(answer.is_none_or(|answer| answer.status >= 400), "half a file is stored");
            }
        }
    }

    fn stop(&mut self, path: &'static str, content: Content) {
        let status = self.model.upload_status(path, Condition::None);
        let (head, bytes) = (put_head(path, content.length as u64, ""), content.bytes());
        let is_long = content.length > 1 && !self.may_not_fit(content.length) && !self.is_littered;
        if status != 201 || !is_long {
            assert_eq!(self.service.stop().code(), 0);
            return self.start();
        }
        let (now, later) = bytes.split_at(bytes.len() / 2);
        let mut client = Client::connect(self.service.address);
        client.send(head).unwrap();
        client.send(now).unwrap();
        eventually("the upload has begun", Duration::from_secs(10), || {
            !self.disk.look().1.is_empty()
        });
        self.service.signal(Signal::TERM);
        assert_eq!(client.exchange(later).status, 201);
        assert_eq!(self.service.ended(SOON).code(), 0);
        self.model = self.after_upload(path, content, 201);
        self.validators.remove(path);
        self.start();
    }

    /// What there will be once an upload is answered with that status.
    fn after_upload(&self, path: &str, content: Content, status: u16) -> Model {
        let mut after = self.model.clone();
        if status == 201 {
            after.store(path, content.bytes());
        }
        after
    }

    fn fits(&self, length: usize) -> bool {
        self.disk.kind == Kind::Plain || length as u64 <= 8 << 20
    }

    fn may_not_fit(&self, length: usize) -> bool {
        self.disk.kind != Kind::Plain && self.disk.free() < length as u64 + METADATA
    }

    fn expect(&mut self, after: &Model) {
        let (found, _) = self.disk.look();
        assert_eq!(found.files, after.files, "what was promised is not on the disk");
        self.check_directories(&found);
        self.model = found;
    }

    /// Directories are there for files, or were left by a fault.
    fn check_directories(&self, found: &Model) {
        let unexpected = &found.empty_directories() - &self.leftovers;
        assert!(unexpected.is_empty() || !self.disk.has_marks(), "empty: {unexpected:?}");
    }

    /// Takes what is on the disk for what is stored, where something has failed half-way.
    fn adopt(&mut self, after: &Model, path: &str, may_be_new: bool) {
        let (found, _) = self.disk.look();
        let old_files = Model { files: self.model.files.clone(), ..after.clone() };
        let after = if may_be_new { after } else { &old_files };
        assert!(
            found.is_between(&self.model, after),
            "{path} is neither as before nor as after\nbefore: {:#?}\nafter: {after:#?}\nfound: \
             {found:#?}",
            self.model
        );
        self.leftovers.extend(found.empty_directories());
        self.model = found;
    }

    /// The service, the disk and the model have to agree.
    fn compare(&mut self) {
        eventually("no temporary file is left", Duration::from_secs(10), || {
            self.is_littered || self.disk.look().1.is_empty()
        });
        let (found, _) = self.disk.look();
        assert_eq!(found.files, self.model.files, "the disk and the model differ");
        self.check_directories(&found);
        self.model = found;
        for path in PATHS {
            let answer = self.exchange(request("GET", path));
            let Some(file) = self.model.files.get(path) else {
                assert_eq!(answer.status, 404, "{path}");
                self.validators.remove(path);
                continue;
            };
            assert!(answer.status == 200 && answer.body == file.content, "{path} differs");
            let field = |name| answer.field(name).unwrap().to_owned();
            let now = (field("etag"), field("last-modified"));
            let before = self.validators.insert(path.to_owned(), now.clone());
            let same = before.is_none_or(|(tag, _)| tag == now.0);
            assert!(same, "{path} has another tag, and nobody has changed it");
        }
    }

    fn exchange(&self, sent: impl AsRef<[u8]>) -> Answer {
        self.try_exchange(sent.as_ref()).expect("an answer")
    }

    /// `None` where the connection breaks before an answer.
    fn try_exchange(&self, sent: &[u8]) -> Option<Answer> {
        TOTALS.requests.fetch_add(1, Relaxed);
        let socket = std::net::TcpStream::connect(self.service.address).ok()?;
        let mut client = Client::over(socket);
        // It may be answered before it has sent all.
        let _ = client.send(sent);
        client.try_answer().ok().flatten()
    }
}
