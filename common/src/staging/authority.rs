//! Whether a private key is that of a CA. It is if a CA's certificate with its public key is in one
//! of the certificates given, or in any file of a directory, whatever the names of the files are.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Dir, Mode, openat, statat};

use super::original::Unreadable;
use crate::regular_file;
use crate::x509::certificate::Certificate;
use crate::x509::key::{PrivateKey, Unusable};
use crate::x509::pem;

/// Whether one of these certificates, in DER, is that of a CA with this key.
pub(super) fn owns<'a>(mut certificates: impl Iterator<Item = &'a [u8]>, key: &[u8]) -> bool {
    certificates.any(|der| Certificate::parse(der).is_ok_and(|owner| is_key_of(&owner, key)))
}

/// Whether the certificate of a CA with this key is in a file of the directory. Follows links in
/// it: nothing of what is read here is handed over.
pub(super) fn is_in(directory: BorrowedFd<'_>, key: &[u8]) -> Result<bool, Unreadable> {
    const MAX_FILES: usize = 1000;
    const MAX_SIZE: u64 = 1024 * 1024;
    let listed = openat(directory, ".", regular_file::FLAGS, Mode::empty())?;
    for (count, entry) in Dir::new(listed)?.enumerate() {
        // Two entries are the directory itself and the one above.
        if count == MAX_FILES + 2 {
            return Err(Unreadable::NotHandedOver(format!(
                "is not copied for the service by root: its directory has more than {MAX_FILES} files, \
                 too many to check whether this is the key of a CA: move it to a directory with fewer"
            )));
        }
        let entry = entry?;
        let name = entry.file_name();
        // Checked before it is opened: opening a device can have effects.
        let is_regular = statat(directory, name, AtFlags::empty())
            .is_ok_and(|stat| regular_file::check(&stat, MAX_SIZE).is_ok());
        if !is_regular {
            continue;
        }
        let file = openat(directory, name, regular_file::FLAGS, Mode::empty())?;
        let Ok(bytes) = regular_file::read_open(file, MAX_SIZE) else { continue };
        let contents = pem::read(&bytes);
        if owns(contents.certificates(), key) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_key_of(owner: &Certificate<'_>, key: &[u8]) -> bool {
    let algorithms = crate::crypto::provider().signature_verification_algorithms;
    owner.is_authority()
        && match PrivateKey::of(owner.key, key) {
            Ok(key) => key.public().map_or(true, |public| public == owner.key.content()),
            Err(Unusable::Stranger) if owner.key.can_be_verified(algorithms) => false,
            // A key that ring cannot read is compared by its kind.
            Err(_) => PrivateKey::new(key).err() == Some(Unusable::Kind(owner.key.to_string())),
        }
}
