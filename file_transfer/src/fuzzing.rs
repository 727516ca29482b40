//! The properties that must hold for any input: those of the fuzz targets (`tests/fuzz`), and their
//! corpus as a test. Not part of a shipped program.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

#[path = "../../tests/fuzz/properties/conditions.rs"]
pub mod conditions;
// Its corpus is sent to the real program, see tests/faults/bytes.rs.
#[cfg(feature = "fuzzing")]
#[path = "../../tests/fuzz/properties/connection.rs"]
pub mod connection;
#[path = "../../tests/fuzz/properties/multipart.rs"]
pub mod multipart;
#[path = "../../tests/fuzz/properties/path.rs"]
pub mod path;

#[cfg(test)]
#[path = "../../tests/fuzz/properties/corpus.rs"]
mod corpus;

#[cfg(test)]
mod tests {
    use super::{conditions, corpus, multipart, path};

    #[test]
    fn every_input_that_is_kept_is_handled_rightly() {
        corpus::check_all("path", path::check);
        corpus::check_all("conditions", conditions::check);
        corpus::check_all("multipart", multipart::check);
        #[cfg(feature = "fuzzing")]
        corpus::check_all("connection", super::connection::check);
    }
}
