//! The function by which a program fetches the device's token, for [`c8y`](super::c8y). Only the
//! Cumulocity Proxy has it.

use crate::error::Error;
use crate::settings::Settings;

/// A token, and what is known of it.
#[derive(Debug)]
pub struct FetchedToken {
    /// The token itself.
    pub secret: String,
    /// The user that the token is for.
    pub user: String,
    /// The tenant of the user.
    pub tenant: String,
    /// Where the token came from.
    pub source: String,
    /// When the token expires.
    pub until: String,
}

/// The function by which a program fetches a token.
#[derive(Clone, Copy)]
pub struct TokenFetcher(pub fn(&Settings) -> Result<FetchedToken, Error>);
