//! The name of a partial download: `.name.<entity tag in hexadecimal>.part`.

use std::ffi::{CStr, OsStr, OsString};
use std::fmt::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use http::HeaderValue;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use rustix::io::Errno;

/// The longest entity tag that is kept, in bytes.
const TAG_MAX: usize = 64;
/// The longest name that fits beside such a tag into the 255 bytes of a file's name.
const NAME_MAX: usize = 255 - ".".len() - ".".len() - 2 * TAG_MAX - ".part".len();

/// The name of the part of the file of this name, without a tag for what cannot be resumed.
pub(super) fn of(name: &[u8], tag: Option<&HeaderValue>) -> OsString {
    let tag = tag.map(|tag| hexadecimal(tag.as_bytes()) + ".").unwrap_or_default();
    with_end(name, &(tag + "part"))
}

/// A name that nobody can have guessed.
pub(super) fn random(name: &[u8]) -> Result<OsString, Errno> {
    let mut number = [0; 16];
    SystemRandom::new().fill(&mut number).map_err(|_| Errno::IO)?;
    Ok(with_end(name, &(hexadecimal(&number) + ".new")))
}

/// The entity tag that the name of a part of the file `name` holds.
pub(super) fn tag(part: &[u8], name: &[u8]) -> Option<HeaderValue> {
    let start = with_end(name, "");
    let digits = part.strip_prefix(start.as_bytes())?.strip_suffix(b".part")?;
    let pairs = digits.chunks(2);
    let bytes = pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    HeaderValue::from_bytes(&bytes.collect::<Option<Vec<u8>>>()?).ok().filter(is_strong)
}

/// Whether a tag says that bytes are the same, as a weak one does not, and can be kept in a name.
pub(super) fn is_strong(tag: &HeaderValue) -> bool {
    let tag = tag.as_bytes();
    tag.starts_with(b"\"") && tag.len() > 2 && tag.len() <= TAG_MAX
}

/// A name that the kernel gave.
pub(super) fn owned(name: &CStr) -> OsString {
    OsStr::from_bytes(name.to_bytes()).to_owned()
}

fn with_end(name: &[u8], end: &str) -> OsString {
    let digest = digest(&SHA256, name);
    let hashed = hexadecimal(digest.as_ref());
    let name = if name.len() > NAME_MAX { hashed.as_bytes() } else { name };
    OsString::from_vec([b".", name, b".", end.as_bytes()].concat())
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut digits = String::new();
    for byte in bytes {
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_part_tells_what_it_is_a_part_of() {
        let strong = HeaderValue::from_static("\"a/1\"");
        let part = of(b"x.bin", Some(&strong));
        assert_eq!(part, ".x.bin.22612f3122.part");
        assert_eq!(tag(part.as_bytes(), b"x.bin"), Some(strong));
        for other in [".x.bin.2.part", ".x.bin.zz.part", ".x.bin.0a.part", ".y.22612f3122.part"] {
            assert_eq!(tag(other.as_bytes(), b"x.bin"), None, "{other}");
        }
    }

    #[test]
    fn the_longest_name_with_the_longest_tag_fits() {
        let longest = HeaderValue::from_str(&format!("\"{}\"", "x".repeat(TAG_MAX - 2))).unwrap();
        for length in [1, NAME_MAX, NAME_MAX + 1, 255] {
            let name = vec![b'n'; length];
            let part = of(&name, Some(&longest));
            assert!(part.len() <= 255, "{}", part.len());
            assert_eq!(tag(part.as_bytes(), &name), Some(longest.clone()));
            assert!(random(&name).unwrap().len() <= 255);
        }
    }
}
