//! The type of a setting: the values that it takes, how a file stores them, and what they mean to
//! code that treats some settings differently. Knows no setting and no value.

/// The type of a setting, as the table states it: the values that it takes, and what they mean to
/// code that treats some settings differently.
pub trait Column {
    /// What a text of this type becomes.
    type Value;

    /// What the documentation calls the type.
    const NAME: &'static str;
    /// What was expected, for a message, with its article.
    const EXPECTED: &'static str;
    /// How a file holds it.
    const SHAPE: Shape;
    /// Whether it may be shown to nobody.
    const IS_SECRET: bool = false;

    /// The value that a text stands for.
    fn parse(text: &str) -> Option<Self::Value>;

    /// The value of a setting that is not set, where the type has room for it.
    fn unset() -> Option<Self::Value> {
        None
    }
}

/// How a file holds a value.
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
    /// A comma-separated string; an array of strings is read, too.
    List,
}

/// What is at a path that a setting names, and so what root may hand to the service that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathTo {
    /// A certificate with its chain, PEM.
    Certificate,
    /// One private key, PEM.
    PrivateKey,
    /// CA certificates, PEM, in a file or in the files of a directory.
    Authorities,
    /// Revocation lists, in a file or in the files of a directory.
    RevocationLists,
    /// A file with a password.
    Password,
    /// A file with a user name and a password, TOML.
    Credentials,
    /// A directory for data.
    Data,
}

/// What is known about a column at run time.
#[derive(Debug)]
pub struct Kind {
    /// [`Column::NAME`].
    pub name: &'static str,
    /// [`Column::EXPECTED`].
    pub expected: &'static str,
    /// [`Column::SHAPE`].
    pub shape: Shape,
    /// What the path leads to, where it is one.
    pub path_to: Option<PathTo>,
    /// [`Column::IS_SECRET`].
    pub is_secret: bool,
    /// Whether a text is a value of the type.
    pub is_valid: fn(&str) -> bool,
}

impl Kind {
    /// What is known about `T`.
    pub const fn of<T: Column>() -> Self {
        Self {
            name: T::NAME,
            expected: T::EXPECTED,
            shape: T::SHAPE,
            path_to: match T::SHAPE {
                Shape::Path(path_to) => Some(path_to),
                _ => None,
            },
            is_secret: T::IS_SECRET,
            is_valid: |text| T::parse(text).is_some(),
        }
    }
}

impl<T: Column> Column for Option<T> {
    type Value = Option<T::Value>;

    const NAME: &'static str = T::NAME;
    const EXPECTED: &'static str = T::EXPECTED;
    const SHAPE: Shape = T::SHAPE;
    const IS_SECRET: bool = T::IS_SECRET;

    fn parse(text: &str) -> Option<Self::Value> {
        T::parse(text).map(Some)
    }

    fn unset() -> Option<Self::Value> {
        Some(None)
    }
}

/// Makes a type a column, a new one where there is no type that says as much as the column.
macro_rules! column {
    ($(#[$doc:meta])+ $column:ident = $value:ty, $($rest:tt)+) => {
        $(#[$doc])+
        #[derive(Debug)]
        pub enum $column {}

        column!($column => $value, $($rest)+);
    };
    ($column:ty => $value:ty, $name:literal, $expected:literal, $shape:expr, $parse:expr $(,)?) => {
        impl Column for $column {
            type Value = $value;

            const NAME: &'static str = $name;
            const EXPECTED: &'static str = $expected;
            const SHAPE: Shape = $shape;

            fn parse(text: &str) -> Option<$value> {
                ($parse)(text)
            }
        }
    };
}
pub(super) use column;
