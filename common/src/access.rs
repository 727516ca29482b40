//! Who may do what: rules by client certificate and network, read from a TOML file.
//!
//! Rules only allow. What no rule allows is refused. Opens no file and no socket, and knows no
//! service: paths come as each service has decoded and checked them.

mod methods;
mod names;
mod network;
mod parse;
mod pattern;
mod rules;

pub use names::Names;
pub(crate) use parse::parse;
pub use pattern::Area;
pub use rules::{Client, Judge, Refusal, Rules};
