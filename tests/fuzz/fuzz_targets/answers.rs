//! What the cloud answers, on its way to a client.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| c8y_proxy::fuzzing::answers::check(data));
