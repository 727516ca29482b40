//! The type of settings that name paths of requests: `*` is any part, and a slash at the end means
//! everything below.

use super::setting::{Shape, ValueType};
use super::types::{items, value_type};

value_type!(
    /// Paths of requests, separated by commas.
    Paths = Vec<String>, "list",
    "a comma-separated list of paths such as /service/a/ or /service/*/b: a slash, and between \
     slashes * or letters, digits, -, ., _ and ~",
    Shape::List, |text| {
        let paths: Vec<String> = items(text).map(str::to_owned).collect();
        paths.iter().all(|path| is_pattern(path)).then_some(paths)
    }
);

/// Whether a request that is cached can have such a path. Others are passed on.
fn is_pattern(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_part = |part: &str| {
        let is_name = part.bytes().all(is_plain) && !part.bytes().all(|byte| byte == b'.');
        is_name || part == "*"
    };
    let parts = path.strip_prefix('/').map(|path| path.strip_suffix('/').unwrap_or(path));
    path == "/" || parts.is_some_and(|parts| parts.split('/').all(is_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_never_cached_is_refused() {
        for path in ["/", "/a", "/a/", "/a/*/c", "/*", "/*/", "/a.b/..c/-_~", "", "/a, /b/"] {
            assert!(Paths::parse(path).is_some(), "{path}");
        }
        for path in [
            "a", "//", "/a//b", "/a//", "/a/../b/", "/a/./b", "/...", "/a?b", "/a%2f/", "/a;b",
            "/a b", "/a*/b", "/**", "/ü", "/a#b", "/a,b",
        ] {
            assert!(Paths::parse(path).is_none(), "{path}");
        }
    }
}
