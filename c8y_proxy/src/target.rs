//! The target of a request upstream, byte for byte, and whether it may be asked for. Pure, and no
//! URL parser, which would resolve, decode and encode.

use http::Uri;
use http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;

/// Where the proxied API is mounted.
const MOUNT: &str = "/c8y";

/// A path that is percent-encoded more often than this counts as one that costs the token.
const DEPTH: usize = 8;

/// The target upstream of a request for `/c8y`, `/c8y/` or something below it.
pub(crate) fn upstream(uri: &Uri) -> Option<PathAndQuery> {
    let target = uri.path_and_query()?.as_str();
    let rest = target.strip_prefix(MOUNT)?;
    match rest.as_bytes().first() {
        Some(b'/') => PathAndQuery::try_from(rest).ok(),
        None | Some(b'?') => PathAndQuery::try_from(format!("/{rest}")).ok(),
        Some(_) => None,
    }
}

/// Whether Cumulocity would answer this path by revoking the device's token, as it does for the
/// parts of its user interface: what ends in `.js`, and what is below `apps`.
///
/// The path is judged as the laxest server would read it: decoded any number of times, with or
/// without the encoded slashes; `;` parameters cut, `\` as `/` or not, cut at a decoded `?`, `#` or
/// control character; without trailing slashes, dots, blanks and control characters; `.`, `..` and
/// empty segments resolved; in lower case.
pub(crate) fn revokes_the_token(path: &str) -> bool {
    !is_plain(path) && is_revoking(&path.to_ascii_lowercase())
}

/// Whether the path has nothing to decode or to drop, and neither `pps` nor `.js` anywhere. Nearly
/// every path is plain, and this costs a twentieth of judging how servers would read it.
fn is_plain(path: &str) -> bool {
    let is_kept = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
    let is_suspicious = |part: &[u8]| {
        matches!(part, [b'p' | b'P', b'p' | b'P', b's' | b'S'] | [b'.', b'j' | b'J', b's' | b'S'])
    };
    path.bytes().all(is_kept) && !path.as_bytes().windows(3).any(is_suspicious)
}

fn is_revoking(path: &str) -> bool {
    is_of_the_interface(path)
        || leads_to_the_interface(path, decode)
        || leads_to_the_interface(path, decode_all_but_slashes)
}

/// Whether the path is one of the interface once it is decoded, however often.
fn leads_to_the_interface(path: &str, decode: fn(&str) -> String) -> bool {
    let mut encoded = path.to_owned();
    for _ in 0..DEPTH {
        if !encoded.contains('%') {
            return false;
        }
        let decoded = decode(&encoded);
        if decoded == encoded {
            return false;
        }
        if is_of_the_interface(&decoded) {
            return true;
        }
        encoded = decoded;
    }
    true
}

fn decode(path: &str) -> String {
    percent_decode_str(path).decode_utf8_lossy().to_ascii_lowercase()
}

/// To some servers an encoded slash is a character of a segment, which one `..` removes.
fn decode_all_but_slashes(path: &str) -> String {
    decode(&path.replace("%2f", "%252f").replace("%5c", "%255c"))
}

fn is_of_the_interface(path: &str) -> bool {
    let ends = [path.find('?'), path.find('#'), path.find(is_removed), Some(path.len())];
    let mut readings = ends.into_iter().flatten().map(|end| path[..end].replace(is_removed, ""));
    readings.any(|path| is_an_asset(&path, &['/', '\\']) || is_an_asset(&path, &['/']))
}

/// What a server may drop, or take for the end. Bytes that are not UTF-8 were replaced by one.
fn is_removed(character: char) -> bool {
    character.is_control() || character == char::REPLACEMENT_CHARACTER
}

/// `+` is a blank for servers that decode a path as a form.
fn is_blank(character: char) -> bool {
    character.is_whitespace() || character == '+'
}

fn is_an_asset(path: &str, slashes: &[char]) -> bool {
    // How many segments there are at least once dot segments are resolved, in all and below the
    // last one that ends in `.js`.
    let (mut depth, mut below_js) = (0_usize, None);
    for segment in path.split(slashes) {
        let named = segment.split(';').next().unwrap_or_default().trim_matches(is_blank);
        let name = without_end(named);
        if depth == 0 && name == "apps" {
            return true;
        }
        if named == ".." {
            depth = depth.saturating_sub(1);
            below_js = below_js.map(|below: usize| below.saturating_sub(1));
        } else if !name.is_empty() {
            depth += 1;
            below_js = below_js.map(|below| below + 1);
        }
        if name.ends_with(".js") || without_end(segment).ends_with(".js") {
            below_js = Some(0);
        }
    }
    below_js == Some(0)
}

/// A name without the dots and blanks at its end, which some file systems ignore.
fn without_end(name: &str) -> &str {
    name.trim_end_matches(|character| character == '.' || is_blank(character))
}

#[cfg(test)]
mod tests;
