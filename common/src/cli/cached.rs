//! The functions by which a program reads its cache, for [`cache`](super::cache). Only the
//! Cumulocity Proxy has them.

use std::time::Duration;

use crate::error::Error;
use crate::settings::Settings;

/// An entry of the cache.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cached {
    /// Where it was downloaded from.
    pub url: String,
    /// The length in bytes.
    pub length: u64,
    /// The time since Cumulocity last confirmed that it is unchanged.
    pub age: Duration,
}

/// The functions by which a program reads its cache.
#[derive(Clone, Copy)]
pub struct CacheFiles {
    /// Lists all entries.
    pub list: fn(&Settings) -> Result<Vec<Cached>, Error>,
    /// Removes the entries with this path or ID, or all entries, and returns how many.
    pub remove: fn(&Settings, Option<&str>) -> Result<usize, Error>,
}

impl Cached {
    /// The path of the URL.
    pub(super) fn path(&self) -> &str {
        let host = self.url.split_once("://").map_or(&*self.url, |(_, rest)| rest);
        host.find('/').map_or("/", |at| &host[at..])
    }

    /// Whether `named` is the path of this entry, or the ID of its binary or event.
    pub fn is(&self, named: &str) -> bool {
        self.path() == named || Self::id(self.path()) == named
    }

    /// The ID in the path of a binary, or of the binary of an event; of an ID, the ID itself.
    pub fn id(path: &str) -> &str {
        let of_event = path.strip_suffix("/binaries").unwrap_or(path);
        of_event.rsplit('/').next().unwrap_or_default()
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
