//! The function by which a program fetches the device's token, for [`c8y`](super::c8y). Only the
//! Cumulocity Proxy has it.

use crate::error::Error;
use crate::settings::Settings;

/// A token, and its description for a person.
#[derive(Debug)]
pub struct FetchedToken {
    /// The token itself.
    pub secret: String,
    /// Its user, its source and its expiry, each on a line.
    pub description: String,
}

/// The function by which a program fetches a token.
#[derive(Clone, Copy)]
pub struct TokenFetcher(pub fn(&Settings) -> Result<FetchedToken, Error>);
