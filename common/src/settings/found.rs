//! A value as text, with the place where it was found.

use super::column::Shape;
use super::layer::Layer;
use super::setting::Setting;
use super::toml_read::Written;

/// A value in effect, not yet of its type.
#[derive(Clone, Debug)]
pub struct Found {
    /// The value as text.
    pub text: String,
    /// Where it came from.
    pub layer: Layer,
    /// The key that it was found under, which is another one for a default taken from there.
    pub(super) key: String,
    pub(super) is_right_shape: bool,
}

impl Found {
    /// The value as a person may see it: what is secret does not belong in a journal.
    pub fn shown(&self, setting: &Setting) -> &str {
        if setting.kind.is_secret { "…" } else { &self.text }
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
