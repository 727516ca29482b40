//! The path of a request to the proxy, as access rules read it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| c8y_proxy::fuzzing::access::check(data));
