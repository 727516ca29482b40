//! All settings, read and changed.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| common::fuzzing::settings::check(data));
