//! The whole server behind a stream: what a client says on one connection goes through hyper,
//! routes, handlers and storage, and what comes back is judged. Each input has a directory of its
//! own, in memory where there is room for it.

#![allow(clippy::disallowed_methods, reason = "the fuzzer has no executor to stall")]

use std::fs;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_io::Async;
use common::net::block_on;
use common::settings::Free;
use futures_lite::future::zip;
use futures_lite::{AsyncReadExt, AsyncWriteExt};

use crate::State;
use crate::path::RESERVED;
use crate::storage::{Limits, Options, Storage};

#[path = "conversation.rs"]
mod conversation;

use conversation::Conversation;

/// Panics where something does not hold.
pub fn check(input: &[u8]) {
    let conversation = Conversation::decode(input);
    let directory = Directory::new();
    let storage = Storage::open(Options {
        directory: directory.0.clone(),
        max_size: Some(60_000),
        min_free: Free::Bytes(0),
        sync: false,
        limits: Limits::default(),
    });
    let routes = crate::routes(State::new(storage.unwrap(), Arc::new(AtomicBool::new(false))));

    // A stream of the kernel's that is no TCP serves as well, and costs a tenth.
    let (client, server) = UnixStream::pair().unwrap();
    let server = TcpStream::from(OwnedFd::from(server));
    let talk = talk(&conversation, Async::new(client).unwrap());
    let (heard, ()) = block_on(zip(talk, common::fuzzing::serve(routes, server))).unwrap();

    conversation.judge(&heard);
    if let Some(contents) = &conversation.contents {
        check_stored(&directory.0, contents);
    }
}

async fn talk(conversation: &Conversation, stream: Async<UnixStream>) -> Vec<u8> {
    let say = async {
        for piece in &conversation.pieces {
            // It may have been cut off.
            if (&stream).write_all(piece).await.is_err() {
                return;
            }
            futures_lite::future::yield_now().await;
        }
        let _ = stream.get_ref().shutdown(std::net::Shutdown::Write);
    };
    let hear = async {
        let mut heard = Vec::new();
        // What came before a reset counts.
        let _ = (&stream).read_to_end(&mut heard).await;
        heard
    };
    zip(say, hear).await.1
}

/// Files are whole, whichever they are.
fn check_stored(directory: &Path, contents: &[Vec<u8>]) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() == RESERVED {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            check_stored(&entry.path(), contents);
        } else {
            let stored = fs::read(entry.path()).unwrap();
            let is_whole = contents.iter().any(|content| {
                *content == stored || content.windows(stored.len()).any(|part| part == stored)
            });
            assert!(is_whole, "{:?} was never sent: {}", entry.path(), stored.escape_ascii());
        }
    }
}

struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(parent.join(format!("tedge-fuzz-{}-{number}", std::process::id())))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
