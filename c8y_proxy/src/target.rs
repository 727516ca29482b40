//! The upstream target of a request, byte for byte, and whether it may be requested. Pure. It uses
//! no URL parser, which would resolve, decode and encode.

use http::Uri;
use http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;

/// The prefix of the proxied API.
const MOUNT: &str = "/c8y";

/// A path that is percent-encoded more often than this is treated as one that revokes the token.
const DEPTH: usize = 8;

/// The upstream target of a request for `/c8y`, `/c8y/` or a path below it.
pub(crate) fn upstream(uri: &Uri) -> Option<PathAndQuery> {
    let target = uri.path_and_query()?.as_str();
    let rest = target.strip_prefix(MOUNT)?;
    match rest.as_bytes().first() {
        Some(b'/') => PathAndQuery::try_from(rest).ok(),
        None | Some(b'?') => PathAndQuery::try_from(format!("/{rest}")).ok(),
        Some(_) => None,
    }
}

/// The harm that a request for a path can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cost {
    /// None.
    Nothing,
    /// It ends the session of the token that it is sent with: `user/logout`.
    Session,
    /// It makes Cumulocity revoke the device's token, whichever client sends it.
    Token,
}

/// The harm that a request for this path can do. Cumulocity revokes the device's token when the
/// token is used for parts of its user interface: paths that end in `.js`, and paths below `apps`.
///
/// The path is judged as the most lenient server would read it: decoded any number of times, with
/// or without the encoded slashes; `;` parameters cut; `\` as `/` or not; cut at a decoded `?`, `#`
/// or control character; without trailing slashes, dots, blanks and control characters; `.`, `..`
/// and empty segments resolved; in lower case.
pub(crate) fn cost(path: &str) -> Cost {
    if is_plain(path) { Cost::Nothing } else { cost_in_lower_case(&path.to_ascii_lowercase()) }
}

/// Whether the path has nothing to decode or to drop, and does not contain `pps`, `.js` or `ogo`.
/// Nearly every path is plain, and this check costs a twentieth of the full one.
fn is_plain(path: &str) -> bool {
    let path = path.as_bytes();
    let is_suspicious = |end: usize| {
        matches!(
            path[..=end].last_chunk(),
            Some(
                [b'p' | b'P', b'p' | b'P', b's' | b'S']
                    | [b'.', b'j' | b'J', b's' | b'S']
                    | [b'o' | b'O', b'g' | b'G', b'o' | b'O']
            )
        )
    };
    path.iter().enumerate().all(|(end, byte)| match byte {
        b'%' => false,
        b's' | b'S' | b'o' | b'O' => !is_suspicious(end),
        byte => byte.is_ascii_graphic(),
    })
}

fn cost_in_lower_case(path: &str) -> Cost {
    let decoded = decoded_cost(path, decode).max(decoded_cost(path, decode_all_but_slashes));
    cost_as_it_is(path).max(decoded)
}

/// The harm after any number of decodings.
fn decoded_cost(path: &str, decode: fn(&str) -> String) -> Cost {
    let (mut encoded, mut cost) = (path.to_owned(), Cost::Nothing);
    for _ in 0..DEPTH {
        if !encoded.contains('%') {
            return cost;
        }
        let decoded = decode(&encoded);
        if decoded == encoded {
            return cost;
        }
        cost = cost.max(cost_as_it_is(&decoded));
        encoded = decoded;
    }
    Cost::Token
}

fn decode(path: &str) -> String {
    percent_decode_str(path).decode_utf8_lossy().to_ascii_lowercase()
}

/// For some servers an encoded slash is a character of a segment, which one `..` removes.
fn decode_all_but_slashes(path: &str) -> String {
    decode(&path.replace("%2f", "%252f").replace("%5c", "%255c"))
}

fn cost_as_it_is(path: &str) -> Cost {
    let ends = [path.find('?'), path.find('#'), path.find(is_removed), Some(path.len())];
    let readings = ends.into_iter().flatten().map(|end| path[..end].replace(is_removed, ""));
    let costs = readings.map(|path| cost_of(&path, &['/', '\\']).max(cost_of(&path, &['/'])));
    costs.max().unwrap_or(Cost::Nothing)
}

/// A character that a server may drop, or read as the end. Bytes that are not UTF-8 were replaced
/// by one.
fn is_removed(character: char) -> bool {
    character.is_control() || character == char::REPLACEMENT_CHARACTER
}

/// `+` is a blank for servers that decode a path like a form.
fn is_blank(character: char) -> bool {
    character.is_whitespace() || character == '+'
}

fn cost_of(path: &str, slashes: &[char]) -> Cost {
    // The minimum number of segments after dot segments are resolved: in all, and below the last
    // one that ends in `.js`.
    let (mut depth, mut below_js) = (0_usize, None);
    let (mut below_user, mut cost) = (false, Cost::Nothing);
    for segment in path.split(slashes) {
        let named = segment.split(';').next().unwrap_or_default().trim_matches(is_blank);
        let name = without_end(named);
        // Some servers read `logout.json` as `logout`.
        let stem = name.split('.').next();
        match depth {
            0 if name == "apps" => return Cost::Token,
            0 if name == "user" => below_user = true,
            0 | 1 if below_user && stem == Some("logout") => cost = Cost::Session,
            _ => {}
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
    if below_js == Some(0) { Cost::Token } else { cost }
}

/// A name without the dots and blanks at its end, which some file systems ignore.
fn without_end(name: &str) -> &str {
    name.trim_end_matches(|character| character == '.' || is_blank(character))
}

#[cfg(test)]
mod tests;
