//! The variables of the environment, and the values of settings.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| common::fuzzing::environment::check(data));
