//! Sets of request methods.

/// The methods that rules can name. The first two are a read. All except the last are a read or a
/// write.
const NAMED: [&str; 7] = ["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH", "OPTIONS"];
const READ: u8 = 0b000_0011;
const WRITE: u8 = 0b011_1100;

/// Some of the methods that rules can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Methods(u8);

impl Methods {
    pub(super) const NONE: Self = Self(0);
    pub(super) const EXPECTED: &str = "expected \"read\" (GET, HEAD), \"write\" (PUT, DELETE, POST, PATCH) or a method in capitals";

    /// `read`, `write` or the name of a method.
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "read" => Some(Self(READ)),
            "write" => Some(Self(WRITE)),
            name => Some(Self::of(name)).filter(|named| *named != Self::NONE),
        }
    }

    /// The set with one method; empty if rules cannot name it.
    pub(super) fn of(name: &str) -> Self {
        NAMED.iter().position(|known| *known == name).map_or(Self::NONE, |at| Self(1 << at))
    }

    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The verb for this method, which follows `may not` in a message.
    pub(super) fn verb(method: &str) -> &str {
        let of = Self::of(method);
        if Self(READ).has(of) {
            "read"
        } else if Self(WRITE).has(of) {
            "write"
        } else {
            method
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_are_sets_of_methods() {
        let methods = |word: &str| {
            let set = Methods::parse(word)?;
            let held = NAMED.iter().filter(|name| set.has(Methods::of(name)));
            Some(held.copied().collect::<Vec<_>>().join(" "))
        };
        assert_eq!(methods("read").unwrap(), "GET HEAD");
        assert_eq!(methods("write").unwrap(), "PUT DELETE POST PATCH");
        assert_eq!(methods("OPTIONS").unwrap(), "OPTIONS");
        for bad in ["", "get", "Read", "READ", "TRACE", "GET ", "*"] {
            assert_eq!(methods(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_method_that_rules_cannot_name_is_in_no_set() {
        let all = Methods(0xff);
        for name in ["TRACE", "get", "PROPFIND", "read"] {
            assert!(!all.has(Methods::of(name)), "{name}");
        }
    }
}
