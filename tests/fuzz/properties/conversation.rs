//! What a client says on one connection, put together from the bytes of an input: requests that
//! are well formed or nearly so, one behind the other, cut anywhere. And whether what it hears
//! is what a server may say to that. Whoever carries it there and back is no concern of this.

/// Requests on one connection, as bytes, and what is known of them.
pub(crate) struct Conversation {
    /// What is sent, a piece at a time.
    pub(crate) pieces: Vec<Vec<u8>>,
    /// The requests before the first whose end is in doubt.
    sound: Vec<Sound>,
    /// The most requests that somebody could find in what follows those.
    doubtful: usize,
    /// Whether a request expects `100-continue`.
    expects: bool,
    /// What may be stored, where that is known.
    pub(crate) contents: Option<Vec<Vec<u8>>>,
}

struct Sound {
    is_head: bool,
    asks_health: bool,
}

const FILE: &str = "/tedge/file-transfer/a";
const SMUGGLED: &str = "GET /health HTTP/1.1\r\nHost: smuggled\r\n\r\n";
const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n\
    form\r\n--b--\r\n";

const METHODS: [&str; 11] = [
    "GET", "PUT", "HEAD", "DELETE", "POST", "OPTIONS", "TRACE", "get", "PRI", "CONNECT", "M-SEARCH",
];
const TARGETS: [&str; 15] = [
    FILE,
    "/tedge/file-transfer/a/b",
    "/health",
    "/te/v1/files/a",
    "/tedge/file-transfer/c/d/",
    "/tedge/file-transfer/",
    "/tedge/file-transfer/..%2f..%2fetc/passwd",
    "/tedge/file-transfer/%2e%2e/%00%ff",
    "/tedge/file-transfer/.tedge-uploads/1-1",
    "http://x/health",
    "http://x:99999/tedge/file-transfer/a?b#c",
    "//",
    "*",
    "/",
    "x:80",
];
const VERSIONS: [&str; 6] =
    ["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1"];
/// Lines that leave no doubt about where a request ends.
const FIELDS: [&str; 30] = [
    "Host: x",
    "Host: x:8000",
    "Host: x:99999",
    "Host: a b",
    "Connection: close",
    "Connection: keep-alive",
    "Connection: upgrade\r\nUpgrade: websocket",
    "Expect: 100-continue",
    "Expect: a-pony",
    "Range: bytes=0-0",
    "Range: bytes=-2",
    "Range: bytes=9-",
    "Range: bytes=0-0,2-3,1-",
    "Range: bytes=18446744073709551615-",
    "If-Match: *",
    "If-Match: \"x\"",
    "If-None-Match: *",
    "If-None-Match: W/\"",
    "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
    "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
    "If-Range: \"x\"",
    "Content-Type: multipart/form-data; boundary=b",
    "Content-Type: multipart/form-data; boundary=\"\\",
    "Content-Digest: sha-256=:AAAA:",
    "Repr-Digest: sha-512=:",
    "Content-Range: bytes 0-1/2",
    "Trailer: x",
    "TE: trailers",
    "X: \u{80}\u{ff}",
    "X:",
];
/// Lines that do, or that are none.
const ODD_FIELDS: [&str; 12] = [
    "Content-Length: 3",
    "Content-Length: 0, 0",
    "Content-Length: 18446744073709551616",
    "Content-Length: -1",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: chunked, gzip",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding : chunked",
    "X: a\r\n folded",
    ": x",
    "X: a\0b",
    "X: a\rContent-Length: 3",
];
const BROKEN_CHUNKS: [&str; 8] = [
    "3\r\nabc\r\n",
    "3\r\nabcd\r\n0\r\n\r\n",
    "-1\r\na\r\n0\r\n\r\n",
    "ffffffffffffffff\r\na\r\n0\r\n\r\n",
    "10000000000000000\r\na\r\n0\r\n\r\n",
    "3 \r\nabc\r\n0\r\n\r\n",
    "3;\nabc\r\n0\r\n\r\n",
    "0\r\nx\r\n\r\n",
];

impl Conversation {
    /// Any bytes describe one.
    pub(crate) fn decode(input: &[u8]) -> Self {
        let mut input = Input(input);
        let cut = input.byte();
        let mut bytes = Vec::new();
        let mut conversation = Self {
            pieces: Vec::new(),
            sound: Vec::new(),
            doubtful: 0,
            expects: false,
            contents: Some(vec![Vec::new(), b"form".to_vec()]),
        };
        let mut doubt = None;
        while !input.0.is_empty() && conversation.sound.len() < 16 && bytes.len() < 400_000 {
            let begin = bytes.len();
            let sound = conversation.request(&mut input, &mut bytes);
            match (sound, doubt) {
                (Some(sound), None) => conversation.sound.push(sound),
                (None, None) => doubt = Some(begin),
                _ => {}
            }
        }
        conversation.expects = count(&bytes.to_ascii_lowercase(), b"100-continue") > 0;
        if let Some(begin) = doubt {
            conversation.contents = None;
            // One more may be told that it is none.
            conversation.doubtful = count(&bytes[begin..], b"HTTP/1.") + 1;
        }
        conversation.pieces = match cut {
            0 => vec![bytes],
            1 if bytes.len() <= 600 => bytes.chunks(1).map(<[u8]>::to_vec).collect(),
            size => bytes.chunks(usize::from(size) * 37).map(<[u8]>::to_vec).collect(),
        };
        conversation
    }

    /// Appends one request; `None` where it is in doubt where it ends.
    fn request(&mut self, input: &mut Input<'_>, bytes: &mut Vec<u8>) -> Option<Sound> {
        let method = input.pick_or_raw(&METHODS);
        let target = input.pick_or_raw(&TARGETS);
        let version = input.pick_or_raw(&VERSIONS);
        let mut is_sound = method.is_listed && target.is_listed && version.is_listed;
        is_sound &= version.bytes.starts_with(b"HTTP/1.") && method.bytes != b"CONNECT";
        let line = [&*method.bytes, b" ", &target.bytes, b" ", &version.bytes, b"\r\n"].concat();
        bytes.extend(line);

        let fields = input.byte();
        if fields & 1 == 0 {
            bytes.extend(b"Host: x\r\n");
        }
        for _ in 0..(fields >> 1) % 8 {
            let field = match input.byte() {
                kind if kind < 200 => FIELDS[usize::from(kind) % FIELDS.len()].into(),
                kind if kind < 240 => {
                    is_sound = false;
                    ODD_FIELDS[usize::from(kind) % ODD_FIELDS.len()].into()
                }
                kind if kind < 250 => {
                    let times = usize::from(input.byte()).max(1);
                    vec![FIELDS[usize::from(kind) % FIELDS.len()]; times].join("\r\n").into_bytes()
                }
                _ => {
                    is_sound = false;
                    input.raw()
                }
            };
            bytes.extend(field);
            bytes.extend(b"\r\n");
        }
        is_sound &= self.body(input, bytes, version.bytes == b"HTTP/1.0");
        is_sound.then(|| Sound {
            is_head: method.bytes == b"HEAD",
            asks_health: method.bytes == b"GET" && &*target.bytes == b"/health",
        })
    }

    /// Ends the head and appends a body. False where it is in doubt where that ends.
    fn body(&mut self, input: &mut Input<'_>, bytes: &mut Vec<u8>, is_old: bool) -> bool {
        let kind = input.byte() % 10;
        let content: Vec<u8> = match input.byte() % 6 {
            _ if kind == 0 => Vec::new(),
            0 => Vec::new(),
            1 => b"content".to_vec(),
            2 => SMUGGLED.into(),
            3 => FORM.into(),
            4 => vec![b'x'; usize::from(input.byte()) * 256],
            _ => input.raw(),
        };
        if let Some(contents) = &mut self.contents {
            contents.push(content.clone());
        }
        let length = |length: usize| format!("Content-Length: {length}\r\n");
        let head = match kind {
            0 => String::new(),
            1..=3 => length(content.len()),
            4 | 5 => "Transfer-Encoding: chunked\r\n".to_owned(),
            6 => length(content.len()).repeat(2),
            7 => length(content.len() + usize::from(input.byte())),
            8 => length(content.len()) + "Transfer-Encoding: Chunked\r\n",
            _ => "Transfer-Encoding: chunked\r\n".to_owned(),
        };
        bytes.extend(head.as_bytes());
        bytes.extend(b"\r\n");
        match kind {
            4 | 5 => {
                let size = usize::from(input.byte()).max(1) * 16;
                let extension = ["", ";a=b", ";a=\"b\"", " ;a"][usize::from(input.byte() % 4)];
                for chunk in content.chunks(size) {
                    bytes.extend(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
                    bytes.extend(chunk);
                    bytes.extend(b"\r\n");
                }
                let trailer = ["", "", "X: y\r\n", "Content-Length: 3\r\nHost: y\r\n"];
                let trailer = trailer[usize::from(input.byte() % 4)];
                bytes.extend(format!("0\r\n{trailer}\r\n").as_bytes());
                !is_old && extension != " ;a"
            }
            9 => {
                let chunks = BROKEN_CHUNKS[usize::from(input.byte()) % BROKEN_CHUNKS.len()];
                bytes.extend(chunks.as_bytes());
                false
            }
            _ => {
                bytes.extend(content);
                kind <= 3
            }
        }
    }

    /// Panics where a server may not say this.
    pub(crate) fn judge(&self, heard: &[u8]) {
        let problem = self.judge_from(heard, 0).err();
        assert!(problem.is_none(), "{}\nin {}", problem.unwrap_or_default(), shown(heard));
        let is_answered = !self.sound.is_empty();
        assert!(!is_answered || !heard.is_empty(), "no answer to a request that is whole");
    }

    fn judge_from(&self, heard: &[u8], answered: usize) -> Result<(), String> {
        if heard.is_empty() {
            return Ok(());
        }
        let (head, rest) = Head::parse(heard)?;
        if head.status == 100 {
            let is_wanted = self.expects && head.fields.is_empty();
            return if is_wanted { self.judge_from(rest, answered) } else { Err("100".into()) };
        }
        if answered >= self.sound.len() + self.doubtful {
            return Err(format!("an answer too many, number {}", answered + 1));
        }
        head.check()?;
        let sound = self.sound.get(answered);
        if sound.is_some_and(|sound| sound.asks_health) && head.status == 200 {
            let expected = br#"{"status":"up"}"#;
            if !rest.starts_with(expected) {
                return Err("another answer than the one that was asked for".into());
            }
        }
        let without = |rest| self.judge_from(rest, answered + 1);
        let with = |rest| self.judge_from(head.skip_body(rest)?, answered + 1);
        match sound {
            _ if head.status == 304 || head.status == 204 => without(rest),
            Some(sound) if sound.is_head => without(rest),
            Some(_) => with(rest),
            // Whether it was a HEAD is anybody's guess.
            None => with(rest).or_else(|_| without(rest)),
        }
    }
}

struct Head {
    status: u16,
    fields: Vec<(String, String)>,
}

impl Head {
    fn parse(heard: &[u8]) -> Result<(Self, &[u8]), String> {
        let end = find(heard, b"\r\n\r\n").ok_or("a head without an end")?;
        let head = std::str::from_utf8(&heard[..end]).map_err(|error| error.to_string())?;
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap_or_default();
        let status = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "));
        let status = status.and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| format!("no status line: {line:?}"))?;
        let mut fields = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(": ").ok_or_else(|| format!("{line:?}"))?;
            let is_token = |c: char| c.is_ascii_alphanumeric() || c == '-';
            if name.is_empty() || !name.chars().all(is_token) || value.contains(char::is_control) {
                return Err(format!("no field: {line:?}"));
            }
            fields.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        Ok((Self { status, fields }, &heard[end + 4..]))
    }

    fn field(&self, name: &str) -> Option<&str> {
        Some(&*self.fields.iter().find(|(field, _)| field == name)?.1)
    }

    fn check(&self) -> Result<(), String> {
        // 501 is for a Transfer-Encoding that is not chunked.
        if !(200..500).contains(&self.status) && self.status != 501 {
            return Err(format!("the status {}", self.status));
        }
        for single in ["content-length", "transfer-encoding", "date", "connection", "etag"] {
            if self.fields.iter().filter(|(name, _)| name == single).count() > 1 {
                return Err(format!("{single} twice"));
            }
        }
        if self.field("content-length").is_some() && self.field("transfer-encoding").is_some() {
            return Err("two framings".into());
        }
        Ok(())
    }

    fn skip_body<'a>(&self, rest: &'a [u8]) -> Result<&'a [u8], String> {
        if let Some(length) = self.field("content-length") {
            let length: usize = length.parse().map_err(|_| format!("{length:?}"))?;
            return rest.get(length..).ok_or_else(|| "less than Content-Length says".into());
        }
        match self.field("transfer-encoding") {
            Some(coding) => Err(format!("nothing here is sent {coding}")),
            None => Err("a body without an end".into()),
        }
    }
}

struct Input<'a>(&'a [u8]);

struct Word {
    bytes: Vec<u8>,
    is_listed: bool,
}

impl Input<'_> {
    /// Zeros follow the end.
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn raw(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte()).min(self.0.len());
        let (now, later) = self.0.split_at(length);
        self.0 = later;
        now.to_vec()
    }

    fn pick_or_raw(&mut self, words: &[&str]) -> Word {
        match self.byte() {
            255 => Word { bytes: self.raw(), is_listed: false },
            index => {
                let word = words[usize::from(index) % words.len()];
                Word { bytes: word.into(), is_listed: true }
            }
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn count(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).filter(|window| *window == wanted).count()
}

fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(4000)].escape_ascii().to_string()
}
