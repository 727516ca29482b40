//! A web server with one page, `page.html`, that tries what a page can try against a service and
//! reports what it saw.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const PAGE: &str = include_str!("page.html");

/// How long pages may take, all together, on a busy machine.
const LIMIT: Duration = Duration::from_secs(50);

/// A running server; its port is free again when it is dropped.
pub(crate) struct Pages {
    listener: TcpListener,
    reports: Receiver<String>,
    thread: Option<JoinHandle<()>>,
}

impl Pages {
    pub(crate) fn serve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (sender, reports) = channel();
        let accepting = listener.try_clone().unwrap();
        let thread = Some(thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                let sender = sender.clone();
                // A browser may go in the middle of a request.
                thread::spawn(move || answer(stream, &sender));
            }
        }));
        Self { listener, reports, thread }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The page, from `host`, with these words for its script.
    pub(crate) fn url(&self, host: &str, words: &[(&str, &str)]) -> String {
        let query: Vec<_> =
            words.iter().map(|(word, text)| format!("{word}={}", escaped(text))).collect();
        format!("http://{host}:{}/?{}", self.address().port(), query.join("&"))
    }

    /// Where pages report to.
    pub(crate) fn report_url(&self) -> String {
        format!("http://{}/report", self.address())
    }

    /// Waits for so many reports; what each attempt looked like, by tag and kind.
    pub(crate) fn reports(&self, count: usize) -> BTreeMap<String, String> {
        let mut outcomes = BTreeMap::new();
        for number in 0..count {
            let report = self.reports.recv_timeout(LIMIT);
            let report = report.unwrap_or_else(|_| panic!("{number} reports only, of {count}"));
            for line in report.lines() {
                let mut words = line.splitn(3, ' ');
                let [tag, kind, outcome] = [(); 3].map(|()| words.next().unwrap_or_default());
                outcomes.insert(format!("{tag}-{kind}"), outcome.to_owned());
            }
        }
        outcomes
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // This wakes the thread that accepts; only then the port is free.
        let _awake = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

fn answer(stream: TcpStream, reports: &Sender<String>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    stream.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? <= 2 {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let (status, page) = match first.split(' ').nth(1).unwrap_or_default() {
        "/report" => {
            // Nobody waits any more at the end of a test.
            let _unheard = reports.send(String::from_utf8_lossy(&body).into_owned());
            ("204 No Content", "")
        }
        path if path.starts_with("/?") || path == "/" => ("200 OK", PAGE),
        _ => ("404 Not Found", ""),
    };
    let length = page.len();
    write!(
        stream.get_mut(),
        "HTTP/1.1 {status}\r\nX-Page: 1\r\nContent-Type: text/html; charset=utf-8\r\n\
         Cache-Control: no-store\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{page}"
    )
}

/// As `encodeURIComponent` does.
fn escaped(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(
            |byte| if is_plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") },
        )
        .collect()
}
