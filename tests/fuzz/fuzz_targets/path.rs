//! The path of a request.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| file_transfer::fuzzing::path::check(data));
