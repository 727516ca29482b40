//! How a program looks into its cache, for [`cache`](super::cache). Only the Cumulocity Proxy can.

use std::time::Duration;

use crate::error::Error;
use crate::settings::Settings;

/// Something in the cache.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cached {
    /// Where it was downloaded from.
    pub url: String,
    /// In bytes.
    pub length: u64,
    /// For how long Cumulocity was not asked whether it is unchanged.
    pub age: Duration,
}

/// The functions by which a program looks into its cache.
#[derive(Clone, Copy)]
pub struct CacheFiles {
    /// Everything in it.
    pub list: fn(&Settings) -> Result<Vec<Cached>, Error>,
    /// Removes what has this path or ID, or everything, and returns how much that was.
    pub remove: fn(&Settings, Option<&str>) -> Result<usize, Error>,
}

impl Cached {
    /// The path of the URL.
    pub(super) fn path(&self) -> &str {
        let host = self.url.split_once("://").map_or(&*self.url, |(_, rest)| rest);
        host.find('/').map_or("/", |at| &host[at..])
    }

    /// Whether somebody means it who names a path, or the ID of a binary or an event.
    pub fn is(&self, named: &str) -> bool {
        let path = self.path();
        let of_event = path.strip_suffix("/binaries").unwrap_or(path);
        path == named || of_event.rsplit('/').next() == Some(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_cached_is_named_by_its_path_or_the_id_in_it() {
        let cached = |path| Cached {
            url: format!("https://t.example{path}"),
            length: 1,
            age: Duration::ZERO,
        };
        let binary = cached("/inventory/binaries/12");
        assert!(binary.is("12") && binary.is("/inventory/binaries/12"));
        assert!(!binary.is("2") && !binary.is("binaries") && !binary.is(""));
        let attached = cached("/event/events/34/binaries");
        assert!(attached.is("34") && attached.is("/event/events/34/binaries"));
        assert!(!attached.is("binaries"));
    }
}
