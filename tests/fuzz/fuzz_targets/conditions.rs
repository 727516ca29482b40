//! Ranges and preconditions.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| file_transfer::fuzzing::conditions::check(data));
