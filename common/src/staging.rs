//! The files that root copies for a service that may not read them, and how the service finds them.

mod authority;
mod directory;
mod find;
mod guard;
mod hand_over;
mod original;
mod refresh;
mod secrets;
#[cfg(test)]
mod tests;
mod walk;

pub use find::read;
pub(crate) use find::{ListedPath, entries, renew};
pub(crate) use guard::guard;
pub(crate) use hand_over::stage;
pub use original::{Unreadable, user};
pub use refresh::refresh;
pub use secrets::{BasicCredentials, credentials, password};
