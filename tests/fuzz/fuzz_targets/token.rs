//! The answer that holds the device's token.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| c8y_proxy::fuzzing::token::check(data));
