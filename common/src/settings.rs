//! Settings: [`table`] defines each one once, [`layers`] reads environment and files, [`values`]
//! chooses the value that holds, [`load`] gives it a type, [`change`] writes one back.
//!
//! Nothing here prints. Nothing here opens a file that a setting names, except the device's
//! certificate, whose subject is the device's name.

mod change;
mod column;
mod device;
mod directory;
pub mod doc;
pub(crate) mod document;
mod found;
mod home;
mod layer;
mod layers;
mod load;
mod lock;
mod nearest;
pub(crate) mod patch;
mod replace;
mod setting;
mod table;
mod value;
mod values;

pub use change::change;
pub use column::{Column, Kind, PathTo, Shape};
pub(crate) use directory::Directory;
pub use found::Found;
pub use layer::Layer;
pub use load::{LoadedSettings, config_dir};
pub use nearest::nearest;
pub use setting::{Fallback, Program, Setting, variable};
pub use table::{OLD_SPELLINGS, SETTINGS, Settings, find};
pub use value::{AuthMethod, Count, Free, HostPort, List, Port, Proxy, Secret, Size, Text, items};
pub use values::Values;
