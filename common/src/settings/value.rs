//! The value of a setting as text, and the layer that it came from.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use super::setting::{Setting, Shape, ValueType};
use super::toml_read::Written;
use crate::error::Error;

/// A value that holds for a setting, before it is parsed.
#[derive(Clone, Debug)]
pub struct RawValue {
    /// The value as text.
    pub text: String,
    /// Its origin.
    pub layer: Layer,
    /// The key under which it was found: another one if the default is the value of that key.
    pub(super) key: String,
    /// Whether a file may store a value of this type in this form.
    pub(super) is_right_shape: bool,
}

impl RawValue {
    /// The value as it may be printed and logged: without what is secret.
    pub fn shown(&self, setting: &Setting) -> Cow<'_, str> {
        (setting.kind.shown)(&self.text)
    }

    pub(super) fn new(key: &str, written: Written, layer: Layer, shape: Shape) -> Self {
        let from_file = matches!(layer, Layer::File { .. });
        let (text, is_right_shape) = match written {
            Written::Text(text) => {
                (text, !from_file || !matches!(shape, Shape::Integer | Shape::Boolean))
            }
            Written::Integer(number) => {
                (number.to_string(), matches!(shape, Shape::Integer | Shape::Quantity))
            }
            Written::Boolean(truth) => (truth.to_string(), shape == Shape::Boolean),
            Written::List(items) => (items.join(","), shape == Shape::List),
            Written::Other(text) => (text, false),
        };
        Self { text, layer, key: key.to_owned(), is_right_shape }
    }
}

/// The value of a setting, parsed.
pub(super) fn typed<T: ValueType>(
    setting: &Setting,
    found: Option<&RawValue>,
) -> Result<T::Value, Error> {
    let parsed = match found {
        Some(value) if value.is_right_shape => T::parse(&value.text),
        Some(_) => None,
        None => T::unset(),
    };
    parsed.ok_or_else(|| refusal(setting, found))
}

/// The error of a setting whose value its type does not accept.
pub(super) fn refusal(setting: &Setting, found: Option<&RawValue>) -> Error {
    let expected = setting.kind.expected;
    Error::Configuration(match found {
        Some(value) => {
            let RawValue { layer, key, .. } = value;
            format!("{key} is '{}' in {layer}: expected {expected}", value.shown(setting))
        }
        None => format!("{} is not set: expected {expected}", setting.key),
    })
}

/// The origin of a value. Displayed for messages, after "in" or "from".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Layer {
    /// No layer has a value.
    #[default]
    Default,
    /// A line of a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A variable of the environment.
    Environment(String),
    /// The command line.
    Argument,
    /// The subject of a certificate.
    Certificate(PathBuf),
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File { path, line } => write!(f, "{}, line {line}", path.display()),
            Self::Environment(variable) => f.write_str(variable),
            Self::Argument => f.write_str("the command line"),
            Self::Certificate(path) => write!(f, "{}", path.display()),
        }
    }
}
