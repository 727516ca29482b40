//! How a program fetches the device's token, for [`c8y`](super::c8y). Only the Cumulocity Proxy can.

use crate::error::Error;
use crate::settings::Settings;

/// A token, and its description for a person.
#[derive(Debug)]
pub struct Token {
    /// The token itself.
    pub secret: String,
    /// Its subject, its source and its end, each on a line.
    pub description: String,
}

/// The function by which a program fetches a token.
#[derive(Clone, Copy)]
pub struct TokenFetcher(pub fn(&Settings) -> Result<Token, Error>);
