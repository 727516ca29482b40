//! The device's name: the subject of its certificate.

use std::io;
use std::path::Path;

use crate::regular;
use crate::x509::certificate::Certificate;
use crate::x509::pem::{self, Kind};

/// More than any certificate with its chain needs.
const MAX_SIZE: u64 = 1024 * 1024;

/// The common name of the first certificate in this file, `None` where there is no such file.
pub(super) fn name(path: &Path) -> Result<Option<String>, String> {
    let pem = match regular::read(path, MAX_SIZE) {
        Ok(pem) => pem,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    let name = common_name(&pem).filter(|name| !name.is_empty());
    let missing = || format!("{} is no PEM certificate with a common name", path.display());
    name.map(Some).ok_or_else(missing)
}

fn common_name(pem: &[u8]) -> Option<String> {
    let contents = pem::read(pem);
    let der = &contents.first(Kind::Certificate)?.der;
    Some(Certificate::parse(der).ok()?.common_name()?.into_owned())
}
