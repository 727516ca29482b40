//! PEM files -> rustls configurations for servers and clients; their reload; certificates and
//! refusals in words.
//!
//! It opens no socket and knows no HTTP. Files are read with blocking calls: at start, or on a
//! thread that may wait.

mod admission;
mod authorities;
pub mod certificate;
mod client;
mod der;
mod explain;
mod identity;
pub mod issue;
mod list;
mod name;
pub mod pem;
mod pinned;
mod request;
mod server;
mod stamp;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod time;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use client::{ClientFiles, LoadedClient};
pub use der::Malformed;
pub use explain::{explain, explain_io};
pub use list::RevocationList;
pub use name::Name;
pub use request::Request;
pub use server::{Loaded, Server, ServerFiles, recheck};
pub use time::Time;

/// The application protocol that is agreed on in a handshake (ALPN).
const HTTP: &[u8] = b"http/1.1";

/// The cryptography that everything here uses: ring's.
///
/// Its suites stand in the order in which this machine is quick at them. Without instructions
/// for AES, as on a Raspberry Pi, ChaCha20 is some three times as quick.
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    let has_aes = has_aes();
    provider.cipher_suites.sort_by_key(|suite| {
        let name = suite.suite().as_str().unwrap_or_default();
        let is_quick = name.contains("AES_128") == has_aes && !name.contains("AES_256");
        (suite.tls13().is_none(), !is_quick)
    });
    Arc::new(provider)
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    // HWCAP2_AES of 32-bit ARM; elsewhere the bit means something else.
    cfg!(target_arch = "arm") && rustix::param::linux_hwcap().1 & 1 != 0
}

#[cfg(test)]
mod suites {
    use super::*;

    #[test]
    fn the_quickest_suite_of_each_version_comes_first() {
        let quick = if has_aes() { "AES_128" } else { "CHACHA20" };
        let suites = provider().cipher_suites.clone();
        let first = |is_newest: bool| {
            let suite = suites.iter().find(|suite| suite.tls13().is_some() == is_newest);
            suite.unwrap().suite().as_str().unwrap().to_owned()
        };
        assert!(first(true).contains(quick), "{}", first(true));
        assert!(first(false).contains(quick), "{}", first(false));
    }
}
