//! The content that `tedge http` sends: a text, a file or standard input, piece by piece. Of a file
//! it sends the same bytes as `cat` does.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};
use http_body::{Frame, SizeHint};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::progress::ProgressLine;
use crate::error::Error;
use crate::http::{Body, BodyError};
use crate::tasks::{Job, unblock};
use crate::walk::{Follow, walk};

/// The maximum number of bytes in one read.
const PIECE: usize = 64 * 1024;

type Input = Box<dyn Read + Send>;

/// The content of a request, until it is sent.
#[derive(Default)]
pub(super) struct RequestContent {
    media_type: Option<&'static str>,
    input: Arc<Mutex<Option<Input>>>,
    /// The length, if it is certain.
    length: Option<u64>,
    /// The probable length, for the progress line.
    expected: Option<u64>,
}

impl RequestContent {
    /// A text of the command line; `-` is standard input.
    pub(super) fn data(text: &str) -> Self {
        if text == "-" {
            return Self::new("application/json", io::stdin(), None);
        }
        let length = text.len() as u64;
        Self::new("application/json", Cursor::new(text.to_owned()), Some(length))
    }

    /// A file; `-` is standard input.
    pub(super) fn file(path: &str) -> Result<Self, Error> {
        let media_type = match path.rsplit_once('.') {
            Some((_, "json")) => "application/json",
            Some((_, "txt" | "log")) => "text/plain",
            _ => "application/octet-stream",
        };
        if path == "-" {
            return Ok(Self::new(media_type, io::stdin(), None));
        }
        let unreadable = |error| Error::Failed(format!("cannot read {path}: {error}"));
        let mut file = open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(Error::Failed(format!("cannot send {path}: it is a directory")));
        }
        if !metadata.is_file() {
            return Ok(Self::new(media_type, file, None));
        }
        // The size of files in /proc and /sys is wrong, and other files may grow or shrink. So the
        // length is sent only if the whole file has been read.
        let mut start = Vec::new();
        file.by_ref().take(PIECE as u64).read_to_end(&mut start).map_err(unreadable)?;
        if start.len() < PIECE {
            let length = start.len() as u64;
            return Ok(Self::new(media_type, Cursor::new(start), Some(length)));
        }
        let expected = Some(metadata.len());
        Ok(Self { expected, ..Self::new(media_type, Cursor::new(start).chain(file), None) })
    }

    fn new(
        media_type: &'static str,
        input: impl Read + Send + 'static,
        length: Option<u64>,
    ) -> Self {
        let input: Input = Box::new(input);
        let input = Arc::new(Mutex::new(Some(input)));
        Self { media_type: Some(media_type), input, length, expected: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.media_type.is_none() || self.length == Some(0)
    }

    /// The media type by the file name.
    pub(super) fn media_type(&self) -> HeaderValue {
        HeaderValue::from_static(self.media_type.unwrap_or("application/octet-stream"))
    }

    /// A body that sends the content when the gate opens.
    pub(super) fn body(&self, gate: Gate) -> Body {
        Body::stream(UploadBody {
            gate,
            input: Arc::clone(&self.input),
            rest: self.length,
            reading: None,
            progress: self.expected.and_then(|total| ProgressLine::new(Some(total), 0)),
        })
    }
}

/// Opens a file. As root, a link or a pipe of another user is an error.
fn open(path: &str) -> io::Result<File> {
    let end = walk(Path::new(path), Follow::to_read())?.ok_or(Errno::NOENT)?;
    Ok(end.open(OFlags::RDONLY)?.into())
}

/// The content while it is sent.
struct UploadBody {
    gate: Gate,
    input: Arc<Mutex<Option<Input>>>,
    rest: Option<u64>,
    reading: Option<Job<(Input, io::Result<Vec<u8>>)>>,
    progress: Option<ProgressLine>,
}

impl http_body::Body for UploadBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        ready!(this.gate.poll(cx));
        if this.rest == Some(0) {
            return Poll::Ready(None);
        }
        let reading = match &mut this.reading {
            Some(reading) => reading,
            None => {
                let input = lock(&this.input).take();
                let Some(input) = input else { return Poll::Ready(None) };
                this.reading.insert(unblock(move || read(input)))
            }
        };
        let (input, piece) = ready!(Pin::new(reading).poll(cx));
        this.reading = None;
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => return Poll::Ready(Some(Err(error.into()))),
        };
        if piece.is_empty() {
            return Poll::Ready(None);
        }
        *lock(&this.input) = Some(input);
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

fn read(mut input: Input) -> (Input, io::Result<Vec<u8>>) {
    let mut piece = vec![0; PIECE];
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

/// Holds the content of a request back until the service answers `100 Continue`: over plain HTTP it
/// may answer with a redirect to HTTPS instead, and then the content is sent there. Open by
/// default.
#[derive(Default)]
pub(super) struct Gate(Option<Arc<Mutex<GateState>>>);

#[derive(Default)]
struct GateState {
    is_open: bool,
    waker: Option<Waker>,
}

impl Gate {
    /// Opened by the `100 Continue` to this request.
    pub(super) fn closed(request: &mut Request<Body>) -> Self {
        let state = Arc::new(Mutex::new(GateState::default()));
        let opened = Arc::clone(&state);
        hyper::ext::on_informational(request, move |answer| {
            if answer.status() == StatusCode::CONTINUE {
                let mut state = lock(&opened);
                state.is_open = true;
                if let Some(waker) = state.waker.take() {
                    waker.wake();
                }
            }
        });
        Self(Some(state))
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let Some(state) = &self.0 else { return Poll::Ready(()) };
        let mut state = lock(state);
        if !state.is_open {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
