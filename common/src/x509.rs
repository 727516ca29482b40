//! X.509 by hand: DER and PEM, certificates, names, keys, requests, revocation lists, issuing.
//!
//! The layer below `tls`: verifies and makes single signatures. Knows no configuration of TLS, no
//! file and no setting.

pub mod certificate;
mod der;
pub mod issue;
pub mod key;
mod list;
mod name;
pub mod pem;
pub mod signature;
mod time;

pub use certificate::CertificateRequest;
pub use der::Malformed;
pub use list::{IndexedList, RevocationList};
pub use name::Name;
pub use signature::PublicKey;
pub use time::Time;
