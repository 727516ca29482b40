//! Certificates, requests and revocation lists.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| common::fuzzing::certificates::check(data));
