//! The properties that must hold for any input: those of the fuzz targets (`tests/fuzz`), and their
//! corpus as a test. Not part of a shipped program.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

#[path = "../../tests/fuzz/properties/access.rs"]
pub mod access;
#[path = "../../tests/fuzz/properties/answers.rs"]
pub mod answers;
#[path = "../../tests/fuzz/properties/target.rs"]
pub mod target;
#[path = "../../tests/fuzz/properties/token.rs"]
pub mod token;

#[cfg(test)]
#[path = "../../tests/fuzz/properties/corpus.rs"]
mod corpus;

#[cfg(test)]
mod tests {
    use super::{access, answers, corpus, target, token};

    #[test]
    fn every_input_that_is_kept_is_handled_rightly() {
        corpus::check_all("access", access::check);
        corpus::check_all("answers", answers::check);
        corpus::check_all("target", target::check);
        corpus::check_all("token", token::check);
    }
}
