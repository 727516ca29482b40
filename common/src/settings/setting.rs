//! One setting: what the table states about it. Knows no value.

use std::borrow::Cow;

/// One setting, as the table states it.
#[derive(Debug)]
pub struct Setting {
    /// Its index in the table.
    pub(super) index: usize,
    /// The name in files and on the command line.
    pub key: &'static str,
    /// What it means, in a sentence or two.
    pub meaning: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its default.
    pub fallback: Fallback,
    /// The programs that read it.
    pub used_by: &'static [Program],
    /// An example of a value.
    pub example: &'static str,
    /// Whether thin-edge.io lacks it, so that it is stored in `tedge-http.toml`.
    pub own: bool,
}

/// The default of a setting.
#[derive(Debug)]
pub enum Fallback {
    /// None: the setting stays unset.
    Unset,
    /// A constant.
    Const(&'static str),
    /// A path below the configuration directory.
    Below(&'static str),
    /// The value of the first of these keys that is set, else a constant if there is one.
    Like(&'static [&'static str], Option<&'static str>),
}

/// A program that reads settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The File Transfer Service.
    FileTransfer,
    /// The Cumulocity Proxy.
    C8yProxy,
    /// The `tedge` command.
    Tedge,
}

impl Program {
    /// The name of the program, which for a service is that of its unit.
    pub fn name(self) -> &'static str {
        match self {
            Self::FileTransfer => "tedge-file-transfer",
            Self::C8yProxy => "tedge-c8y-proxy",
            Self::Tedge => "tedge",
        }
    }
}

/// The environment variable of a setting: `TEDGE_HTTP_BIND_PORT`.
pub fn variable(key: &str) -> String {
    format!("TEDGE_{}", key.replace('.', "_").to_ascii_uppercase())
}

/// The type of a setting, as the table states it.
pub trait ValueType {
    /// What a text of this type becomes.
    type Value;

    /// What the documentation calls the type.
    const NAME: &'static str;
    /// What was expected, for a message, with its article.
    const EXPECTED: &'static str;
    /// How a file stores it.
    const SHAPE: Shape;

    /// The value that a text stands for; `None` if the type does not accept the text.
    fn parse(text: &str) -> Option<Self::Value>;

    /// The value of a setting that is not set: that of an empty text, if the type accepts it.
    fn unset() -> Option<Self::Value> {
        Self::parse("")
    }

    /// A text, valid or not, as it may be printed and logged: without secrets.
    fn shown(text: &str) -> Cow<'_, str> {
        text.into()
    }

    /// A text, valid or not, in the form that thin-edge.io prints and can read.
    fn canonical(text: &str) -> Cow<'_, str> {
        text.into()
    }
}

/// How a file stores a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A string.
    Text,
    /// A string, made absolute when it is written.
    Path(PathTo),
    /// An integer.
    Integer,
    /// true or false.
    Boolean,
    /// An integer, or a string with a unit.
    Quantity,
    /// A comma-separated string; an array of strings is also read.
    List,
}

/// The content at a path that a setting names. Root copies nothing else for the service that reads
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathTo {
    /// A certificate with its chain, PEM.
    Certificate,
    /// One private key, PEM.
    PrivateKey,
    /// The device's own private key, PEM. It may have signed the device's certificate.
    DeviceKey,
    /// CA certificates, PEM, in a file or in the files of a directory.
    Authorities,
    /// Revocation lists, in a file or in the files of a directory.
    RevocationLists,
    /// A file with a password.
    Password,
    /// A file with a user name and a password, TOML.
    Credentials,
    /// A file with access rules, TOML.
    Rules,
    /// A directory for data.
    Data,
}

/// A type at run time: what its [`ValueType`] states.
#[derive(Debug)]
pub struct Kind {
    /// [`ValueType::NAME`].
    pub name: &'static str,
    /// [`ValueType::EXPECTED`].
    pub expected: &'static str,
    /// [`ValueType::SHAPE`].
    pub shape: Shape,
    /// What is at the path, if the type is one.
    pub path_to: Option<PathTo>,
    /// Whether the type accepts a text.
    pub is_valid: fn(&str) -> bool,
    /// [`ValueType::shown`].
    pub shown: fn(&str) -> Cow<'_, str>,
    /// [`ValueType::canonical`].
    pub canonical: fn(&str) -> Cow<'_, str>,
}

impl Kind {
    /// What `T` states.
    pub const fn of<T: ValueType>() -> Self {
        let path_to = match T::SHAPE {
            Shape::Path(path_to) => Some(path_to),
            _ => None,
        };
        let is_valid = |text: &str| T::parse(text).is_some();
        let (name, expected, shape) = (T::NAME, T::EXPECTED, T::SHAPE);
        let (shown, canonical) = (T::shown, T::canonical);
        Self { name, expected, shape, path_to, is_valid, shown, canonical }
    }
}
