//! The input is a path. If a path is below a directory for the rules, it is below it for every
//! server.

use super::target::Server;
use crate::access::read;

/// Panics where something does not hold.
pub fn check(path: &[u8]) {
    let Ok(path) = std::str::from_utf8(path) else { return };
    let Some(read) = read(path) else { return };
    let is_part = |part: &str| !["", ".", ".."].contains(&part);
    assert!(read.is_empty() || read.strip_suffix('/').unwrap().split('/').all(is_part), "{read}");
    if !read.starts_with("inventory/binaries/") {
        return;
    }
    // Each server decodes a path at least once.
    for times in 1..4 {
        for flags in 0..1 << 7 {
            let server = Server::with(times, flags);
            let names = server.names(path);
            let [first, second, ..] = &names[..] else { panic!("{path} as {server:?} reads it") };
            let is_below = first == b"inventory" && second == b"binaries";
            assert!(is_below, "{path} as {server:?} reads it: {names:?}");
        }
    }
}
