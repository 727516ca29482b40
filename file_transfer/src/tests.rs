//! The service without a socket, over directories of their own: a file per side of it.

mod downloads;
mod limits;
mod links;
mod mounts;
mod paths;
mod replaced;
mod start;
mod uncounted;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::http::{Body, BodyError, HeaderMap, Request, Response, Routes};
use common::net::Arrival;
use common::settings::Free;
use futures_lite::future::block_on;
use http_body::Frame;

use crate::State;
use crate::storage::{Limits, Options, Storage};

/// A service over an empty directory, which goes with it.
struct Service {
    routes: Routes,
    storage: Storage,
    directory: PathBuf,
}

/// A response, read to its end.
#[derive(Debug)]
struct Answer {
    status: u16,
    fields: HeaderMap,
    content: Vec<u8>,
}

impl Service {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = options(new_directory());
        change(&mut options);
        Self::of(options, |options| Storage::open(options).unwrap())
    }

    fn over(directory: PathBuf) -> Self {
        Self::of(options(directory), |options| Storage::open(options).unwrap())
    }

    fn without_openat2() -> Self {
        Self::of(options(new_directory()), Storage::without_openat2)
    }

    fn of(options: Options, open: impl FnOnce(Options) -> Storage) -> Self {
        let directory = options.directory.clone();
        let storage = open(options);
        let routes = crate::routes(State::new(storage.clone(), Arc::default()));
        Self { routes, storage, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn put_on_disk(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, content))
            .unwrap();
        path
    }

    fn on_disk(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.path(name)).ok()
    }

    async fn begin(
        &self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: Body,
    ) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(body).unwrap();
        let (head, body) = request.into_parts();
        let express = self.routes.express(&head, Arrival::begin());
        let answer = self.routes.answer(Request::from_parts(head, body)).await.response;
        if let Some(express) = express {
            assert_eq!((express.status(), express.headers()), (answer.status(), answer.headers()));
            return express;
        }
        answer
    }

    fn send(&self, method: &str, target: &str, fields: &[(&str, &str)], body: Body) -> Answer {
        block_on(async { Answer::read(self.begin(method, target, fields, body).await).await })
    }

    fn get(&self, name: &str, fields: &[(&str, &str)]) -> Answer {
        self.send("GET", &format!("/tedge/file-transfer/{name}"), fields, Body::Empty)
    }

    fn put(&self, name: &str, fields: &[(&str, &str)], content: &str) -> Answer {
        let target = format!("/tedge/file-transfer/{name}");
        self.send("PUT", &target, fields, Body::text(content.to_owned()))
    }

    fn delete(&self, name: &str, fields: &[(&str, &str)]) -> Answer {
        self.send("DELETE", &format!("/tedge/file-transfer/{name}"), fields, Body::Empty)
    }

    /// Fails where an unfinished upload stays for long.
    fn assert_no_leftovers(&self) {
        self.assert_no_leftovers_in("");
    }

    /// As above, on a file system that is mounted there.
    fn assert_no_leftovers_in(&self, mount: &str) {
        let reserved = self.path(mount).join(crate::path::RESERVED);
        let begin = Instant::now();
        while std::fs::read_dir(&reserved).is_ok_and(|mut entries| entries.next().is_some()) {
            assert!(begin.elapsed() < Duration::from_secs(10), "unfinished uploads stay");
            std::thread::yield_now();
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        std::fs::remove_dir_all(self.directory.parent().unwrap()).ok();
    }
}

impl Answer {
    async fn read(response: Response<Body>) -> Self {
        let (head, mut body) = response.into_parts();
        let mut content = Vec::new();
        while let Some(chunk) = body.chunk().await {
            content.extend_from_slice(&chunk.unwrap());
        }
        Self { status: head.status.as_u16(), fields: head.headers, content }
    }

    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.content).unwrap()
    }

    /// Status and sentence, as a person sees them.
    fn said(&self) -> (u16, &str) {
        (self.status, self.text().trim_end())
    }
}

/// Directory in a directory of its own; neither name is there yet.
pub(crate) fn new_directory() -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // Whatever the umask is: here it is none that a service would like.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("file-transfer-test-{}-{number}", std::process::id());
    let parent = std::env::temp_dir().join(name);
    std::fs::create_dir(&parent).unwrap();
    parent.join("file-transfer")
}

fn options(directory: PathBuf) -> Options {
    Options {
        directory,
        max_size: None,
        min_free: Free::Bytes(0),
        sync: true,
        limits: Limits::default(),
    }
}

fn mode(path: &Path) -> u32 {
    std::os::unix::fs::MetadataExt::mode(&std::fs::symlink_metadata(path).unwrap()) & 0o7777
}

/// A body of unknown length that comes in these chunks, and then breaks, hangs or ends.
struct Chunks {
    chunks: VecDeque<Bytes>,
    then: Then,
}

#[derive(Clone, Copy)]
enum Then {
    End,
    Break,
    Hang,
}

fn chunks(chunks: &[&str], then: Then) -> Body {
    let chunks = chunks.iter().map(|chunk| Bytes::copy_from_slice(chunk.as_bytes())).collect();
    Body::stream(Chunks { chunks, then })
}

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match (self.chunks.pop_front(), self.then) {
            (Some(chunk), _) => Poll::Ready(Some(Ok(Frame::data(chunk)))),
            (None, Then::End) => Poll::Ready(None),
            (None, Then::Break) => Poll::Ready(Some(Err("the connection is gone".into()))),
            (None, Then::Hang) => Poll::Pending,
        }
    }
}
