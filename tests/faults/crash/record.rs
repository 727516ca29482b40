//! The system calls by which a service changes its disk, as strace records them.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::service::{Service, Setup};
use crate::support::wait::eventually;

/// Directories and files, by number; names come and go.
pub(super) type Id = usize;

/// The directory of the settings' `data.path`.
pub(super) const ROOT: Id = 0;

/// One completed operation.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Mkdir {
        directory: Id,
        name: String,
        id: Id,
    },
    Create {
        directory: Id,
        name: String,
        id: Id,
    },
    Write {
        id: Id,
        offset: usize,
        data: Vec<u8>,
    },
    Rename {
        from: (Id, String),
        to: (Id, String),
        id: Id,
    },
    Unlink {
        directory: Id,
        name: String,
    },
    /// What was done to this before operation number so-and-so is synced.
    Sync {
        id: Id,
        covers: usize,
    },
    /// A client has received its answer.
    Answer,
}

/// Operations of several services on one directory, one after the other.
#[derive(Default)]
pub(super) struct Recording {
    pub(super) ops: Vec<Op>,
    /// What has a name now, by its path below the directory.
    names: HashMap<String, Id>,
    ids: Id,
}

const TRACE: &str = "trace";

/// Has strace write down what the service will do; `inject` is as for its `-e`.
pub(super) fn trace(setup: &mut Setup, inject: Option<&str>) {
    let output = setup.directory().join(TRACE);
    let calls = "trace=openat,mkdir,mkdirat,pwrite64,fsync,fdatasync,renameat,renameat2,unlinkat,\
                 fchmod,write,writev,sendto,sendmsg";
    let mut command = vec!["strace", "-D", "-f", "-y", "-q", "-s", "1000000", "-o"];
    command.extend([output.to_str().unwrap(), "-e", calls]);
    command.extend(inject.iter().flat_map(|inject| ["-e", inject]));
    setup.wrap(&command);
}

impl Recording {
    /// Appends what was traced of a service that has ended.
    pub(super) fn append(&mut self, service: &Service) {
        let trace = service.path(TRACE);
        let pid = service.pid().as_raw_nonzero().to_string();
        let is_end = |line: &str| {
            let rest = line.strip_prefix(&pid).unwrap_or_default();
            rest.starts_with(' ') && rest.trim_start().starts_with("+++ ")
        };
        let mut text = String::new();
        eventually("the trace is complete", Duration::from_secs(20), || {
            text = fs::read_to_string(&trace).unwrap();
            text.lines().any(is_end)
        });
        fs::remove_file(trace).unwrap();

        let root = service.path("data");
        self.names.insert(String::new(), ROOT);
        // By thread: a call that has begun, and how many were done before.
        let mut begun: HashMap<&str, (&str, usize)> = HashMap::new();
        for line in text.lines() {
            let (thread, call) = line.split_once(' ').unwrap();
            let call = call.trim_start();
            if let Some(begin) = call.strip_suffix(" <unfinished ...>") {
                // What a client may have seen from now on.
                if is_answer(begin) {
                    self.ops.push(Op::Answer);
                }
                begun.insert(thread, (begin, self.ops.len()));
            } else if let Some((_, end)) =
                call.strip_prefix("<... ").and_then(|call| call.split_once(" resumed>"))
            {
                let (begin, before) = begun.remove(thread).unwrap();
                if !is_answer(begin) {
                    self.done(&format!("{begin}{end}"), before, &root);
                }
            } else if is_answer(call) {
                self.ops.push(Op::Answer);
            } else {
                self.done(call, self.ops.len(), &root);
            }
        }
    }

    /// One call, whole. What has failed, or was not made in truth, does not count.
    fn done(&mut self, line: &str, before: usize, root: &Path) {
        let Some((call, outcome)) = line.rsplit_once(" = ") else { return };
        if outcome.starts_with('-') || outcome.starts_with('?') || outcome.contains("INJECTED") {
            return;
        }
        let Some((name, arguments)) = call.trim_end().split_once('(') else { return };
        let arguments = Arguments { text: arguments, root };
        let op = match name {
            "openat" if arguments.text.contains("O_CREAT") => {
                let Some((directory, name)) = self.entry(&arguments, 0) else { return };
                let id = self.new_id(&arguments, 0);
                Op::Create { directory, name, id }
            }
            "mkdir" => {
                let Some(name) = arguments.below(0) else { return };
                self.ids += 1;
                self.names.insert(name.clone(), self.ids);
                Op::Mkdir { directory: ROOT, name, id: self.ids }
            }
            "mkdirat" => {
                let Some((directory, name)) = self.entry(&arguments, 0) else { return };
                let id = self.new_id(&arguments, 0);
                Op::Mkdir { directory, name, id }
            }
            "pwrite64" => {
                let Some(&id) = arguments.path(0).and_then(|path| self.names.get(&path)) else {
                    return;
                };
                let length: usize = outcome.trim().parse().unwrap();
                let data = arguments.bytes()[..length].to_vec();
                let offset = arguments.text.trim_end_matches(')').rsplit_once(", ").unwrap().1;
                Op::Write { id, offset: offset.parse().unwrap(), data }
            }
            "renameat" | "renameat2" => {
                let (Some(from), Some(to)) = (self.entry(&arguments, 0), self.entry(&arguments, 1))
                else {
                    return;
                };
                let id = self.names.remove(&arguments.whole(0).unwrap()).unwrap();
                self.names.insert(arguments.whole(1).unwrap(), id);
                Op::Rename { from, to, id }
            }
            "unlinkat" => {
                let Some((directory, name)) = self.entry(&arguments, 0) else { return };
                self.names.remove(&arguments.whole(0).unwrap());
                Op::Unlink { directory, name }
            }
            "fsync" | "fdatasync" => {
                let Some(&id) = arguments.path(0).and_then(|path| self.names.get(&path)) else {
                    return;
                };
                Op::Sync { id, covers: before }
            }
            _ => return,
        };
        self.ops.push(op);
    }

    /// The n-th pair of a directory's descriptor and a name in it, where that is below the root.
    fn entry(&self, arguments: &Arguments<'_>, nth: usize) -> Option<(Id, String)> {
        let directory = *self.names.get(&arguments.path(nth)?)?;
        Some((directory, arguments.quoted(nth).to_owned()))
    }

    fn new_id(&mut self, arguments: &Arguments<'_>, nth: usize) -> Id {
        self.ids += 1;
        self.names.insert(arguments.whole(nth).unwrap(), self.ids);
        self.ids
    }
}

fn is_answer(call: &str) -> bool {
    call.contains("\"HTTP/1.1 ")
}

/// The text between the parentheses of a call.
struct Arguments<'a> {
    text: &'a str,
    root: &'a Path,
}

impl Arguments<'_> {
    /// The path of the n-th descriptor, relative to the root; `None` where it is elsewhere.
    fn path(&self, nth: usize) -> Option<String> {
        // Before a content, which has no angle bracket, nor has a name.
        let descriptor = self.text.split('<').nth(nth + 1)?.split_once('>')?.0;
        let path = Path::new(descriptor).strip_prefix(self.root).ok()?;
        Some(path.to_str()?.to_owned())
    }

    /// The n-th name, which is a path itself, relative to the root.
    fn below(&self, nth: usize) -> Option<String> {
        let path = Path::new(self.quoted(nth)).strip_prefix(self.root).ok()?;
        Some(path.to_str()?.to_owned())
    }

    /// The n-th text in quotes; our names need no escapes.
    fn quoted(&self, nth: usize) -> &str {
        self.text.split('"').nth(nth * 2 + 1).unwrap()
    }

    /// The first text in quotes, without the escapes that strace gives it, which are those of C.
    fn bytes(&self) -> Vec<u8> {
        let text = self.text.split_once('"').unwrap().1.as_bytes();
        let (mut bytes, mut at) = (Vec::with_capacity(text.len()), 0);
        while text[at] != b'"' {
            if text[at] != b'\\' {
                bytes.push(text[at]);
                at += 1;
                continue;
            }
            let is_octal = |digit: &&u8| matches!(digit, b'0'..=b'7');
            let digits = text[at + 1..].iter().take(3).take_while(is_octal);
            let (value, length) = digits.fold((0_u32, 0), |(value, length), digit| {
                (value * 8 + u32::from(digit - b'0'), length + 1)
            });
            if length > 0 {
                bytes.push(u8::try_from(value).unwrap());
                at += 1 + length;
                continue;
            }
            bytes.push(match text[at + 1] {
                b't' => b'\t',
                b'n' => b'\n',
                b'v' => 0x0b,
                b'f' => 0x0c,
                b'r' => b'\r',
                other => other,
            });
            at += 2;
        }
        bytes
    }

    /// The path of the n-th name.
    fn whole(&self, nth: usize) -> Option<String> {
        let (directory, name) = (self.path(nth)?, self.quoted(nth));
        Some(if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") })
    }
}
