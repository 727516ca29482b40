//! The target of a request to the proxy, and the guard of the token.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| c8y_proxy::fuzzing::target::check(data));
