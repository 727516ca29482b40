//! An HTTP response as a client sees it, read off any stream.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};

use ring::digest::{SHA256, digest};

/// A response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The reason phrase.
    pub(crate) reason: String,
    /// Names in lower case, in the order in which they came.
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    /// The statuses of the interim responses before it.
    pub(crate) interim: Vec<u16>,
    pub(crate) body: Vec<u8>,
    /// Why the body is not whole.
    pub(crate) broken: Option<String>,
}

impl Answer {
    /// The value of the first field of that name (in lower case).
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let (_, value) = self.fields.iter().find(|(field, _)| field == name)?;
        Some(std::str::from_utf8(value).unwrap())
    }

    /// The values of all fields of that name (in lower case).
    pub(crate) fn values(&self, name: &str) -> Vec<&[u8]> {
        let fields = self.fields.iter().filter(|(field, _)| field == name);
        fields.map(|(_, value)| value.as_slice()).collect()
    }

    /// The SHA-256 of the body.
    pub(crate) fn digest(&self) -> Vec<u8> {
        digest(&SHA256, &self.body).as_ref().to_vec()
    }

    /// The body as text, for messages.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Reads a head, without what may follow it. `None` at the end of the stream.
    pub(crate) fn read_head(stream: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(status_line) = line(stream)? else { return Ok(None) };
        let mut words = status_line.splitn(3, |&byte| byte == b' ');
        let version = words.next().unwrap_or_default();
        let status = words.next().and_then(|word| std::str::from_utf8(word).ok());
        let status = status.and_then(|word| word.parse().ok());
        let reason = String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
        let (true, Some(status)) = (version.starts_with(b"HTTP/1."), status) else {
            return Err(malformed(&status_line));
        };
        let mut fields = Vec::new();
        loop {
            let line = line(stream)?.ok_or(ErrorKind::UnexpectedEof)?;
            if line.is_empty() {
                return Ok(Some(Self { status, reason, fields, ..Self::default() }));
            }
            let colon =
                line.iter().position(|&byte| byte == b':').ok_or_else(|| malformed(&line))?;
            let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
            fields.push((name, line[colon + 1..].trim_ascii().to_vec()));
        }
    }

    /// Reads a response to its end. `None` at the end of the stream; an error where the body is not
    /// whole.
    pub(crate) fn read(stream: &mut impl BufRead, is_head: bool) -> io::Result<Option<Self>> {
        let Some((answer, end)) = Self::read_to_end(stream, is_head)? else { return Ok(None) };
        end.map(|()| Some(answer))
    }

    /// Reads a response as far as it comes. An error where there is no head.
    pub(crate) fn read_broken(stream: &mut impl BufRead, is_head: bool) -> io::Result<Self> {
        let read = Self::read_to_end(stream, is_head)?;
        let (mut answer, end) = read.ok_or(ErrorKind::UnexpectedEof)?;
        answer.broken = end.err().map(|error| error.to_string());
        Ok(answer)
    }

    /// A final response, and whether its body is whole.
    fn read_to_end(
        stream: &mut impl BufRead,
        is_head: bool,
    ) -> io::Result<Option<(Self, io::Result<()>)>> {
        let mut interim = Vec::new();
        loop {
            let Some(mut answer) = Self::read_head(stream)? else { return Ok(None) };
            if (100..200).contains(&answer.status) && answer.status != 101 {
                interim.push(answer.status);
                continue;
            }
            answer.interim = interim;
            let is_empty = is_head || matches!(answer.status, 101 | 204 | 304);
            let end = if is_empty { Ok(()) } else { answer.read_body(stream) };
            return Ok(Some((answer, end)));
        }
    }

    fn read_body(&mut self, stream: &mut impl BufRead) -> io::Result<()> {
        if let Some(length) = self.field("content-length") {
            let length = length.parse().map_err(|_| malformed(length.as_bytes()))?;
            let read = stream.take(length).read_to_end(&mut self.body)?;
            return if read as u64 == length {
                Ok(())
            } else {
                Err(ErrorKind::UnexpectedEof.into())
            };
        }
        if self.field("transfer-encoding") != Some("chunked") {
            return stream.read_to_end(&mut self.body).map(drop);
        }
        loop {
            let size = line(stream)?.ok_or(ErrorKind::UnexpectedEof)?;
            let digits = std::str::from_utf8(&size).map_err(|_| malformed(&size))?;
            let size = u64::from_str_radix(digits, 16).map_err(|_| malformed(&size))?;
            let read = stream.by_ref().take(size).read_to_end(&mut self.body)?;
            if read as u64 != size {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            // Behind the last chunk there may be trailers.
            while !line(stream)?.ok_or(ErrorKind::UnexpectedEof)?.is_empty() {
                if size > 0 {
                    return Err(malformed(b"a chunk that is longer than it says"));
                }
            }
            if size == 0 {
                return Ok(());
            }
        }
    }

    /// All the responses in these bytes.
    pub(crate) fn all(bytes: &[u8]) -> Vec<Self> {
        let mut stream = BufReader::new(bytes);
        let mut answers = Vec::new();
        while let Some(answer) = Self::read(&mut stream, false).unwrap_or_else(|error| {
            panic!("{error} in {:?}", String::from_utf8_lossy(bytes));
        }) {
            answers.push(answer);
        }
        answers
    }
}

fn line(stream: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if stream.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if !line.ends_with(b"\r\n") {
        return Err(malformed(&line));
    }
    line.truncate(line.len() - 2);
    Ok(Some(line))
}

fn malformed(line: &[u8]) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("{:?}", String::from_utf8_lossy(line)))
}
