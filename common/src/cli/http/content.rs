//! What `tedge http` sends: a text, a file or standard input, a piece at a time.
//!
//! In clear nothing is sent before the service has said `100 Continue`: it may answer with the
//! way to HTTPS instead, and then the content is still there to be sent that way.

use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use async_io::Timer;
use blocking::Task;
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};
use http_body::{Frame, SizeHint};

use super::progress::Progress;
use super::unreadable;
use crate::cli::Stop;
use crate::http::{Body, BodyError};

/// How much is read at once.
const PIECE: usize = 64 * 1024;
/// How long a service may take to say that the content may come.
const PATIENCE: Duration = Duration::from_secs(60);

type Input = Box<dyn Read + Send>;

/// The content of a request, until it is sent.
#[derive(Default)]
pub(super) struct Content {
    kind: Option<&'static str>,
    source: Option<Arc<Mutex<Option<Input>>>>,
    length: Option<u64>,
    shows_progress: bool,
}

impl Content {
    /// What stands on the command line, `-` for standard input.
    pub(super) fn data(text: String) -> Self {
        if text == "-" {
            return Self::new("application/json", Box::new(io::stdin()), None);
        }
        let length = text.len() as u64;
        Self::new("application/json", Box::new(io::Cursor::new(text)), Some(length))
    }

    /// A file, `-` for standard input.
    pub(super) fn file(path: &str) -> Result<Self, Stop> {
        let kind = match path.rsplit_once('.') {
            Some((_, "json")) => "application/json",
            Some((_, "txt" | "log")) => "text/plain",
            _ => "application/octet-stream",
        };
        if path == "-" {
            return Ok(Self::new(kind, Box::new(io::stdin()), None));
        }
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) =
            opened.map_err(|error| unreadable(&format!("cannot read {path}"), &error))?;
        if metadata.is_dir() {
            return Err(unreadable(
                "cannot send",
                &io::Error::other(format!("{path} is a directory")),
            ));
        }
        let length = metadata.is_file().then_some(metadata.len());
        let shows_progress = length.is_some();
        Ok(Self { shows_progress, ..Self::new(kind, Box::new(file), length) })
    }

    fn new(kind: &'static str, input: Input, length: Option<u64>) -> Self {
        let source = Some(Arc::new(Mutex::new(Some(input))));
        Self { kind: Some(kind), source, length, shows_progress: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.source.is_none() || self.length == Some(0)
    }

    /// The media type, as far as it can be told.
    pub(super) fn kind(&self) -> HeaderValue {
        HeaderValue::from_static(self.kind.unwrap_or("application/octet-stream"))
    }

    /// The body that sends it once the gate is open.
    pub(super) fn body(&self, gate: Gate) -> Body {
        Body::stream(Outgoing {
            gate,
            source: self.source.clone().unwrap_or_default(),
            rest: self.length,
            reading: None,
            progress: self.shows_progress.then(|| Progress::new(self.length, 0)).flatten(),
        })
    }
}

/// Keeps a body back until the service wants it. Open by default.
#[derive(Default)]
pub(super) struct Gate(Option<(Arc<Mutex<Door>>, Timer)>);

#[derive(Default)]
struct Door {
    is_open: bool,
    waker: Option<Waker>,
}

impl Gate {
    /// Opened by the `100 Continue` to this request.
    pub(super) fn closed(request: &mut Request<Body>) -> Self {
        let door = Arc::new(Mutex::new(Door::default()));
        let opened = Arc::clone(&door);
        hyper::ext::on_informational(request, move |answer| {
            if answer.status() == StatusCode::CONTINUE {
                let mut door = opened.lock().unwrap_or_else(PoisonError::into_inner);
                door.is_open = true;
                if let Some(waker) = door.waker.take() {
                    waker.wake();
                }
            }
        });
        Self(Some((door, Timer::after(PATIENCE))))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let Some((door, late)) = &mut self.0 else { return Poll::Ready(Ok(())) };
        let mut open = door.lock().unwrap_or_else(PoisonError::into_inner);
        if !open.is_open {
            open.waker = Some(cx.waker().clone());
            drop(open);
            ready!(Pin::new(late).poll(cx));
            return Poll::Ready(Err("the service does not say that it may come".into()));
        }
        drop(open);
        self.0 = None;
        Poll::Ready(Ok(()))
    }
}

/// Content on its way.
struct Outgoing {
    gate: Gate,
    source: Arc<Mutex<Option<Input>>>,
    rest: Option<u64>,
    reading: Option<Task<(Input, io::Result<Vec<u8>>)>>,
    progress: Option<Progress>,
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Err(error) = ready!(this.gate.poll(cx)) {
            return Poll::Ready(Some(Err(error)));
        }
        if this.rest == Some(0) {
            return Poll::Ready(None);
        }
        let reading = match &mut this.reading {
            Some(reading) => reading,
            None => {
                let input = this.source.lock().unwrap_or_else(PoisonError::into_inner).take();
                let Some(input) = input else { return Poll::Ready(None) };
                let room = this.rest.map_or(PIECE, |rest| rest.min(PIECE as u64) as usize);
                this.reading.insert(blocking::unblock(move || read(input, room)))
            }
        };
        let (input, piece) = ready!(Pin::new(reading).poll(cx));
        this.reading = None;
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => return Poll::Ready(Some(Err(error.into()))),
        };
        if piece.is_empty() {
            let cut = |_| Err("the file has become shorter meanwhile".into());
            return Poll::Ready(this.rest.map(cut));
        }
        *this.source.lock().unwrap_or_else(PoisonError::into_inner) = Some(input);
        this.rest = this.rest.map(|rest| rest.saturating_sub(piece.len() as u64));
        if let Some(progress) = &mut this.progress {
            progress.add(piece.len());
        }
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.rest.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn read(mut input: Input, room: usize) -> (Input, io::Result<Vec<u8>>) {
    let mut piece = vec![0; room];
    loop {
        match input.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => {
                let read = read.map(|count| {
                    piece.truncate(count);
                    piece
                });
                return (input, read);
            }
        }
    }
}
