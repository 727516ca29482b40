//! The cryptography for TLS and X.509: ring's, through rustls.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The cryptography that everything here uses: ring's.
///
/// The suites that are fastest on this machine come first. Without instructions for AES, as on a
/// Raspberry Pi, ChaCha20 is about three times as fast as AES.
pub(crate) fn provider() -> Arc<CryptoProvider> {
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
mod tests {
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
