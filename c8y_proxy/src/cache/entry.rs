//! The file of an entry: the body, then a text with what else is known of it, then the offset of
//! this text. A file has its final name only when it is complete and on the disk.
//!
//! The text has one line for each: the URL, the validator, and each field of the answer.

use std::io;
use std::os::fd::OwnedFd;

use http::HeaderValue;
use http::header::{HeaderMap, HeaderName};
use rustix::fs::Stat;
use rustix::io::{pread, retry_on_intr};

use super::validator::Validator;

const MAGIC: [u8; 8] = *b"tedgeC1\n";
/// The length of the body, the length of the text, and [`MAGIC`].
const END: usize = 8 + 8 + MAGIC.len();
/// The longest text. Upstream's fields take at most 32 KiB.
const LONGEST: u64 = 40 * 1024;

/// What is known of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) url: String,
    pub(super) validator: Validator,
    pub(super) fields: HeaderMap,
    /// The length of the body in bytes.
    pub(super) length: u64,
}

impl Entry {
    /// The bytes that follow a body of this length.
    pub(super) fn encode(&self, body: u64) -> Vec<u8> {
        let (kind, updated) = match &self.validator {
            Validator::Tag => ("etag", ""),
            Validator::Date => ("last-modified", ""),
            Validator::Object(updated) => ("object ", updated.as_str()),
        };
        let mut parts: Vec<&[u8]> = vec![self.url.as_bytes(), b"\n", kind.as_bytes()];
        parts.push(updated.as_bytes());
        for (name, value) in &self.fields {
            parts.extend_from_slice(&[b"\n", name.as_str().as_bytes(), b":", value.as_bytes()]);
        }
        parts.push(b"\n");
        let text = parts.concat();
        let (body, length) = (body.to_le_bytes(), (text.len() as u64).to_le_bytes());
        [&text[..], &body, &length, &MAGIC].concat()
    }

    /// Reads the entry from a file. `None` if the file is not one of an entry. Waits for the disk.
    pub(super) fn read(file: &OwnedFd, stat: &Stat) -> io::Result<Option<Self>> {
        let size = stat.st_size as u64;
        let Some(at) = size.checked_sub(END as u64) else { return Ok(None) };
        let mut end = [0; END];
        read_at(file, &mut end, at)?;
        let number = |from: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&end[from..from + 8]);
            u64::from_le_bytes(bytes)
        };
        let (length, text) = (number(0), number(8));
        if end[16..] != MAGIC || text > LONGEST || length.checked_add(text) != Some(at) {
            return Ok(None);
        }
        let mut bytes = vec![0; text as usize];
        read_at(file, &mut bytes, length)?;
        Ok(Self::parse(&bytes, length))
    }

    fn parse(text: &[u8], length: u64) -> Option<Self> {
        let mut lines = text.strip_suffix(b"\n")?.split(|byte| *byte == b'\n');
        let url = String::from_utf8(lines.next()?.to_vec()).ok()?;
        let validator = match std::str::from_utf8(lines.next()?).ok()? {
            "etag" => Validator::Tag,
            "last-modified" => Validator::Date,
            object => Validator::Object(object.strip_prefix("object ")?.to_owned()),
        };
        let mut fields = HeaderMap::new();
        for line in lines {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            fields.append(name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?);
        }
        Some(Self { url, validator, fields, length })
    }
}

fn read_at(file: &OwnedFd, mut into: &mut [u8], mut at: u64) -> io::Result<()> {
    while !into.is_empty() {
        match retry_on_intr(|| pread(file, &mut *into, at))? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                into = &mut into[count..];
                at += count as u64;
            }
        }
    }
    Ok(())
}

/// Whether the fields are too long to be cached.
pub(super) fn is_too_long(entry: &Entry) -> bool {
    entry.encode(0).len() as u64 > LONGEST
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(content: &[u8]) -> OwnedFd {
        let path = std::env::temp_dir().join(format!(
            "tedge-entry-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let mut file = std::fs::File::options();
        let mut file = file.read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file.write_all(content).unwrap();
        file.into()
    }

    fn read(content: &[u8]) -> Option<Entry> {
        let file = file(content);
        Entry::read(&file, &rustix::fs::fstat(&file).unwrap()).unwrap()
    }

    fn entry() -> Entry {
        let mut fields = HeaderMap::new();
        fields.append("content-type", HeaderValue::from_static("text/plain"));
        fields.append("x-name", HeaderValue::from_bytes(b"Gr\xc3\xbc\xff: ").unwrap());
        fields.append("x-name", HeaderValue::from_static(""));
        let validator = Validator::Object("2024-05-06T07:08:09.123Z".into());
        Entry { url: "https://t.example/a".into(), validator, fields, length: 4 }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for validator in [Validator::Tag, Validator::Date, entry().validator] {
            let entry = Entry { validator, ..entry() };
            let content = [b"body".to_vec(), entry.encode(4)].concat();
            assert_eq!(read(&content), Some(entry));
        }
    }

    #[test]
    fn a_file_that_is_not_whole_is_not_an_entry() {
        let content = [b"body".to_vec(), entry().encode(4)].concat();
        for length in 0..content.len() {
            assert_eq!(read(&content[..length]), None, "{length}");
        }
        let with_more = [&content[..], b"x"].concat();
        assert_eq!(read(&with_more), None);
        let without_start = &content[1..];
        assert_eq!(read(without_start), None);
    }
}
