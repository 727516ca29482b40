//! The access rules: what each client may do, by its certificate and its network. They are read
//! from a TOML file.
//!
//! A rule can only allow. A request that no rule allows is refused. Opens no file and no socket,
//! and knows no service: each service decodes and checks the paths.

mod methods;
mod names;
mod network;
mod parse;
mod pattern;
mod rules;

pub use names::Names;
pub(crate) use parse::parse;
pub use pattern::Area;
pub use rules::{Forbidden, Judge, Requester, Rules};
