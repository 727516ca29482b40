//! Settings: [`table`] defines each one once, [`layers`] reads environment and files, [`values`]
//! chooses the value that holds, [`load`] gives it a type, [`write`] writes one back.
//!
//! Nothing here prints. Nothing here opens a file that a setting names, except the device's
//! certificate, whose subject is the device's name.

mod column;
mod device;
mod directory;
pub mod documentation;
mod files;
mod found;
mod layer;
mod layers;
mod load;
mod lock;
mod replace;
mod setting;
mod spelling;
mod table;
pub(crate) mod toml_patch;
pub(crate) mod toml_read;
mod types;
mod values;
mod write;

pub use column::{Column, Kind, PathTo, Shape};
pub(crate) use directory::Directory;
pub use found::Found;
pub use layer::Layer;
pub use load::{LoadedSettings, config_dir};
pub use setting::{Fallback, Program, Setting, variable};
pub use spelling::nearest;
pub use table::{OLD_SPELLINGS, SETTINGS, Settings, find};
pub use types::{AuthMethod, Count, Free, HostPort, List, Port, Proxy, Secret, Size, Text, items};
pub use values::Values;
pub use write::change;
