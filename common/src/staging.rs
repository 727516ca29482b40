//! What root hands to a service, and how the service finds it.

mod copies;
mod directory;
mod hand_over;
mod walk;

pub use copies::{copy, read};
pub(crate) use copies::{directory as runtime_directory, renew};
pub(crate) use hand_over::stage;
