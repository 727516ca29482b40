//! X.509 by hand: DER, certificates, names, requests, revocation lists, and issuing.

pub mod certificate;
mod der;
pub mod issue;
mod list;
mod name;
mod request;
mod time;

pub use der::Malformed;
pub use list::RevocationList;
pub use name::Name;
pub use request::Request;
pub use time::Time;
