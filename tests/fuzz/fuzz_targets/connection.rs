//! All that a client can say on a connection to the File Transfer Service.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| file_transfer::fuzzing::connection::check(data));
