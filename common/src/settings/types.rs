//! The types of settings: which texts each type accepts, and what they become. Those that name
//! hosts are in [`super::hosts`]. Knows neither keys nor where a text came from.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::setting::{PathTo, Shape, ValueType};

impl<T: ValueType> ValueType for Option<T> {
    type Value = Option<T::Value>;

    const NAME: &'static str = T::NAME;
    const EXPECTED: &'static str = T::EXPECTED;
    const SHAPE: Shape = T::SHAPE;

    fn parse(text: &str) -> Option<Self::Value> {
        T::parse(text).map(Some)
    }

    fn unset() -> Option<Self::Value> {
        Some(None)
    }

    fn shown(text: &str) -> Cow<'_, str> {
        T::shown(text)
    }

    fn canonical(text: &str) -> Cow<'_, str> {
        T::canonical(text)
    }
}

/// Implements [`ValueType`], for a new type if a comment stands before its name. The last argument
/// writes a value in its canonical form.
macro_rules! value_type {
    ($(#[$doc:meta])+ $name:ident = $value:ty, $($rest:tt)+) => {
        $(#[$doc])+
        #[derive(Debug)]
        pub enum $name {}

        value_type!($name => $value, $($rest)+);
    };
    (
        $type:ty => $value:ty,
        $name:literal, $expected:literal, $shape:expr, $parse:expr $(, $canonical:expr)? $(,)?
    ) => {
        impl ValueType for $type {
            type Value = $value;

            const NAME: &'static str = $name;
            const EXPECTED: &'static str = $expected;
            const SHAPE: Shape = $shape;

            fn parse(text: &str) -> Option<$value> {
                ($parse)(text)
            }

            $(fn canonical(text: &str) -> Cow<'_, str> {
                Self::parse(text).map_or(text.into(), |value| $canonical(value).into())
            })?
        }
    };
}

pub(super) use value_type;

value_type!(
    /// Any text.
    Text = String, "text", "a text that is not empty", Shape::Text, |text: &str| {
        (!text.is_empty()).then(|| text.to_owned())
    }
);
value_type!(
    /// The port of a server; 0 takes a free one.
    Port = u16, "port", "a port number, 0 to 65535", Shape::Integer, digits
);
value_type!(
    /// The port of a server that others start.
    BrokerPort = u16, "port", "a port number, 1 to 65535", Shape::Integer, |text| {
        digits(text).filter(|&port| port > 0)
    }
);
value_type!(
    /// The beginning of topics.
    TopicPrefix = String, "text", "a topic without + and #, other than c8y-internal", Shape::Text, |text: &str| {
        let is_prefix = !text.is_empty() && !text.contains(['+', '#']) && text != "c8y-internal";
        is_prefix.then(|| text.to_owned())
    }
);
value_type!(
    /// The first part of topics.
    TopicRoot = String, "text", "a topic without + and #, such as te", Shape::Text, |text: &str| {
        (!text.is_empty() && !text.contains(['+', '#'])).then(|| text.to_owned())
    }
);
value_type!(
    /// The part of a device's topics after the root: four parts, of which the last may be missing.
    TopicId = String, "text", "a topic of four parts without + and #, such as device/main//", Shape::Text,
    |text: &str| {
        let missing = 3_usize.checked_sub(text.matches('/').count())?;
        let is_topic = !text.is_empty() && !text.contains(['+', '#']);
        is_topic.then(|| format!("{text}{}", "/".repeat(missing)))
    },
    String::from
);
value_type!(
    /// A maximum number of connections. One of them may wait for its answer for hours, so one is too
    /// few.
    Count = usize, "count", "a number, at least 2", Shape::Integer, |text| {
        // TOML has no larger integers than i64.
        digits(text).filter(|&count| count >= 2 && i64::try_from(count).is_ok())
    }
);
value_type!(
    /// A number of bytes, with an optional unit.
    Size = u64, "size", "a number of bytes, such as 1048576, 500k, 20M or 2G", Shape::Quantity, bytes
);
value_type!(
    /// A number of bytes, at least 1.
    Total = u64, "size", "a number of bytes, at least 1, such as 1048576, 500k, 20M or 2G", Shape::Quantity,
    |text| bytes(text).filter(|&bytes| bytes > 0 && i64::try_from(bytes).is_ok())
);
value_type!(
    /// A maximum age: at least a second, at most a hundred years.
    Age = Duration, "duration", "a duration from 1s to 36500d, such as 90s, 30m, 12h or 90d", Shape::Quantity,
    |text| duration(text).filter(|age| (1..=OLDEST).contains(&age.as_secs()))
);
value_type!(Duration => Self,
    "duration",
    "a number of seconds, or one with a unit, such as 90s, 30m, 12h or 90d",
    Shape::Quantity,
    duration
);
value_type!(bool => Self, "true or false", "true or false", Shape::Boolean, |text: &str| text.parse().ok());
macro_rules! path_types {
    ($($name:ident = $path_to:ident;)+) => {$(
        value_type!(
            #[doc = concat!("A path to [`PathTo::", stringify!($path_to), "`].")]
            $name = PathBuf, "path", "a path", Shape::Path(PathTo::$path_to), path
        );
    )+};
}

path_types! {
    CertificatePath = Certificate;
    KeyPath = PrivateKey;
    DeviceKeyPath = DeviceKey;
    CaPath = Authorities;
    CrlPath = RevocationLists;
    PasswordPath = Password;
    CredentialsPath = Credentials;
    RulesPath = Rules;
    DataPath = Data;
}

/// A text that must never be displayed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub(super) String);

impl Secret {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl ValueType for Secret {
    type Value = Self;

    const NAME: &'static str = Text::NAME;
    const EXPECTED: &'static str = Text::EXPECTED;
    const SHAPE: Shape = Text::SHAPE;

    fn parse(text: &str) -> Option<Self> {
        Text::parse(text).map(Self)
    }

    fn shown(_: &str) -> Cow<'_, str> {
        "…".into()
    }
}

value_type!(
    /// Texts, separated by commas.
    List = Vec<String>, "list", "a comma-separated list", Shape::List, |text| {
        Some(items(text).map(str::to_owned).collect())
    }
);
/// The items of a comma-separated list.
pub fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// The space that must stay free on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Free {
    /// A part of the file system's size, in percent, 0 to 100.
    Percent(u8),
    /// A number of bytes.
    Bytes(u64),
}

value_type!(Free => Self,
    "percent or size",
    "a percentage or a number of bytes, such as 5% or 100M",
    Shape::Quantity,
    |text: &str| {
        match text.strip_suffix('%') {
            Some(percent) => digits(percent).filter(|&percent| percent <= 100).map(Self::Percent),
            None => bytes(text).map(Self::Bytes),
        }
    }
);

/// How the device authenticates to the cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// By its certificate, in exchange for a token.
    Certificate,
    /// By user name and password.
    Basic,
    /// Basic if there are credentials, else certificate.
    Auto,
}

value_type!(AuthMethod => Self, "certificate, basic or auto", "certificate, basic or auto", Shape::Text, |text| {
    match text {
        "certificate" => Some(Self::Certificate),
        "basic" => Some(Self::Basic),
        "auto" => Some(Self::Auto),
        _ => None,
    }
});

/// Where the device's token comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFrom {
    /// The local MQTT broker, over its bridge to the cloud.
    Mqtt,
    /// The cloud itself, over mutual TLS.
    Https,
    /// The broker, or the cloud itself if the broker provides none.
    Auto,
}

value_type!(TokenFrom => Self, "mqtt, https or auto", "mqtt, https or auto", Shape::Text, |text| {
    match text {
        "mqtt" => Some(Self::Mqtt),
        "https" => Some(Self::Https),
        "auto" => Some(Self::Auto),
        _ => None,
    }
});

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text))
}

/// A number written with digits only: no sign, no spaces.
fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A hundred years, in seconds. Milliseconds since 1970 can be added to it.
const OLDEST: u64 = 36_500 * 24 * 60 * 60;

/// The units k, M and G are powers of 1024.
fn bytes(text: &str) -> Option<u64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let shift = match unit {
        "" => 0,
        "k" | "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return None,
    };
    digits::<u64>(number)?.checked_mul(1 << shift)
}

/// Without a unit, in seconds.
fn duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    digits::<u64>(number)?.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, expected) in [
            ("0", Some(0)),
            ("500k", Some(500 << 10)),
            ("20M", Some(20 << 20)),
            ("2G", Some(2 << 30)),
            ("", None),
            ("M", None),
            ("-1", None),
            ("1.5G", None),
            ("1 G", None),
            ("17179869184G", None),
        ] {
            assert_eq!(Size::parse(text), expected, "{text}");
        }
        assert_eq!(Free::parse("5%"), Some(Free::Percent(5)));
        assert_eq!(Free::parse("1k"), Some(Free::Bytes(1024)));
        assert_eq!(Free::parse("101%"), None);
    }

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [
            ("0", Some(0)),
            ("90", Some(90)),
            ("90s", Some(90)),
            ("30m", Some(1_800)),
            ("12h", Some(43_200)),
            ("90d", Some(7_776_000)),
            ("", None),
            ("h", None),
            ("1.5h", None),
            ("1 h", None),
            ("1w", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(Duration::parse(text), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn a_total_is_no_zero_and_an_age_no_zero_and_no_eternity() {
        for (text, total) in [
            ("0", None),
            ("0G", None),
            ("1", Some(1)),
            ("9223372036854775807", Some(i64::MAX as u64)),
            ("9223372036854775808", None),
            ("18446744073709551615", None),
            ("18446744073709551615k", None),
        ] {
            assert_eq!(Total::parse(text), total, "{text}");
        }
        for (text, seconds) in [
            ("0", None),
            ("0d", None),
            ("1", Some(1)),
            ("36500d", Some(OLDEST)),
            ("36501d", None),
            ("18446744073709551615", None),
            ("213503982334602d", None),
        ] {
            assert_eq!(Age::parse(text), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn a_topic_root_has_no_wildcards() {
        assert_eq!(TopicRoot::parse("a/b").as_deref(), Some("a/b"));
        for root in ["", "a+b", "#", "a/+"] {
            assert_eq!(TopicRoot::parse(root), None, "{root}");
        }
    }

    #[test]
    fn numbers_are_digits_in_range() {
        assert_eq!(Port::parse("65535"), Some(65535));
        assert_eq!(Port::parse("65536"), None);
        assert_eq!(Port::parse("+80"), None);
        assert_eq!(Count::parse("1"), None);
        assert_eq!(Count::parse("2"), Some(2));
        assert_eq!(Count::parse("10000000000000000000"), None);
    }
}
