//! One key of a TOML file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| common::fuzzing::patch::check(data));
