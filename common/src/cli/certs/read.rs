//! Reads PEM for `tedge certs`, and says what is wrong with it.

use std::fmt;
use std::io::{self, BufReader};
use std::path::Path;

use crate::error::Error;
use crate::tls::source::{self, SectionKind};

/// The PEM sections of a file, or of standard input where it is called `-`.
pub(super) fn sections(path: &Path) -> Result<Vec<(SectionKind, Vec<u8>)>, Error> {
    let read = if path == Path::new("-") {
        source::sections(BufReader::new(io::stdin().lock()))
    } else {
        source::open(path).and_then(source::sections)
    };
    read.map_err(|what| invalid(path, what))
}

/// The first section of this kind in a file.
pub(super) fn section(path: &Path, wanted: SectionKind) -> Result<Option<Vec<u8>>, Error> {
    let found = sections(path)?.into_iter().find(|(kind, _)| *kind == wanted);
    Ok(found.map(|(_, der)| der))
}

pub(super) fn invalid(path: &Path, what: impl fmt::Display) -> Error {
    Error::Failed(format!("{} {what}", path.display()))
}
