//! The envelope of an upload.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| file_transfer::fuzzing::multipart::check(data));
