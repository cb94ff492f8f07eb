//! Typed ids. Parsing is the only door: a value that exists obeys its grammar.
//!
//! All grammars are strict ASCII without comma, space, glob, NUL or control characters (I4):
//! OpenSSH compares principals byte by byte, but accepts names that cut short or split in two.

mod jump;

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};

pub use jump::{Jump, Opens};

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {kind}: {expected}")]
pub struct NameError {
    kind: &'static str,
    text: String,
    expected: &'static str,
}

/// A set of allowed first and following characters with a length limit.
struct Grammar {
    kind: &'static str,
    expected: &'static str,
    first: fn(u8) -> bool,
    rest: fn(u8) -> bool,
    max: usize,
}

impl Grammar {
    fn check(&self, text: &str) -> Result<(), NameError> {
        let bytes = text.as_bytes();
        let fits = bytes.len() <= self.max
            && bytes.first().is_some_and(|&b| (self.first)(b))
            && bytes.iter().skip(1).all(|&b| (self.rest)(b));
        if fits {
            return Ok(());
        }
        Err(NameError {
            kind: self.kind,
            // The text may be hostile and long: show enough to recognise it.
            text: text.chars().take(80).collect(),
            expected: self.expected,
        })
    }
}

fn lower_or_digit(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $grammar:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                const GRAMMAR: Grammar = $grammar;
                GRAMMAR.check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize_from_str(deserializer)
            }
        }
    };
}

/// Deserialises a string through `FromStr`; shared by every typed text of the statements.
pub(crate) fn deserialize_from_str<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: fmt::Display,
{
    struct Visitor<T>(std::marker::PhantomData<T>);
    impl<T> de::Visitor<'_> for Visitor<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }
    deserializer.deserialize_str(Visitor(std::marker::PhantomData))
}

name! {
    /// The stable id of a person or a machine: who signs statements. One id space for both, never
    /// reused.
    ActorId, Grammar {
        kind: "person or machine id",
        expected: "1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit",
        first: lower_or_digit,
        rest: |b| lower_or_digit(b) || matches!(b, b'.' | b'_' | b'-'),
        max: 63,
    }
}

name! {
    /// The name of a host: the part after `@` in principals.
    HostName, Grammar {
        kind: "host name",
        expected: "1 to 63 of a-z, 0-9, '.' and '-', beginning with a letter or digit",
        first: lower_or_digit,
        rest: |b| lower_or_digit(b) || matches!(b, b'.' | b'-'),
        max: 63,
    }
}

name! {
    /// The account on a host that is logged in to: the part before `@` in principals.
    Login, Grammar {
        kind: "login",
        expected: "1 to 32 of a-z, 0-9, '.', '_' and '-', beginning with a letter or '_'",
        first: |b| b.is_ascii_lowercase() || b == b'_',
        rest: |b| lower_or_digit(b) || matches!(b, b'.' | b'_' | b'-'),
        max: 32,
    }
}

name! {
    /// A group of people and machines.
    GroupName, Grammar {
        kind: "group name",
        expected: "1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit",
        first: lower_or_digit,
        rest: |b| lower_or_digit(b) || matches!(b, b'.' | b'_' | b'-'),
        max: 63,
    }
}

name! {
    /// The name of an `allow` or `deny` rule, recorded with every certificate it led to.
    RuleName, Grammar {
        kind: "rule name",
        expected: "1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit",
        first: lower_or_digit,
        rest: |b| lower_or_digit(b) || matches!(b, b'.' | b'_' | b'-'),
        max: 63,
    }
}

name! {
    /// The key of a host label, such as `env`.
    LabelKey, Grammar {
        kind: "label key",
        expected: "1 to 63 of a-z, 0-9, '.', '_', '/' and '-', beginning with a letter or digit",
        first: lower_or_digit,
        rest: |b| lower_or_digit(b) || matches!(b, b'.' | b'_' | b'-' | b'/'),
        max: 63,
    }
}

name! {
    /// The value of a host label, such as `prod`.
    LabelValue, Grammar {
        kind: "label value",
        expected: "1 to 63 of A-Z, a-z, 0-9, '.', '_', '/' and '-', beginning with a letter or digit",
        first: |b| b.is_ascii_alphanumeric(),
        rest: |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/'),
        max: 63,
    }
}

/// One `login@host` pair, the only form of principal this CA can express.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal {
    login: Login,
    host: HostName,
}

impl Principal {
    /// Most principals of one certificate. OpenSSH stops at 256 (`SSHKEY_CERT_MAX_PRINCIPALS`).
    pub const MAX_COUNT: usize = 16;

    /// Joins a login and a host.
    pub fn new(login: Login, host: HostName) -> Self {
        Self { login, host }
    }

    /// The account.
    pub fn login(&self) -> &Login {
        &self.login
    }

    /// The host.
    pub fn host(&self) -> &HostName {
        &self.host
    }
}

impl FromStr for Principal {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (login, host) = text.split_once('@').ok_or_else(|| NameError {
            kind: "principal",
            text: text.chars().take(80).collect(),
            expected: "login@host",
        })?;
        Ok(Self::new(login.parse()?, host.parse()?))
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.login, self.host)
    }
}

impl Serialize for Principal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Principal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_from_str(deserializer)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_accept_their_grammar_and_refuse_everything_a_principal_must_not_hold() {
        for good in ["deploy", "_svc", "a", "web-1_x"] {
            assert!(good.parse::<Login>().is_ok(), "{good}");
        }
        for bad in ["", "1abc", "Deploy", "a b", "a,b", "root\0", "a\n", "a*", "a@b", "ä", "-a"] {
            assert!(bad.parse::<Login>().is_err(), "{bad:?}");
        }
        assert!("prod-host.eu".parse::<HostName>().is_ok());
        for bad in ["", "prod host", "prod,host", "prod_host", "Prod", ".prod", "p\0"] {
            assert!(bad.parse::<HostName>().is_err(), "{bad:?}");
        }
        let long = "a".repeat(63);
        assert!(long.parse::<HostName>().is_ok());
        assert!(format!("{long}a").parse::<HostName>().is_err());
    }

    #[test]
    fn a_principal_is_login_at_host_and_never_a_bare_login() {
        let principal: Principal = "deploy@prod-host".parse().unwrap();
        assert_eq!(principal.to_string(), "deploy@prod-host");
        for bad in ["deploy", "", "@", "deploy@", "@prod-host", "a@b@c", "deploy@prod-host,root@x"]
        {
            assert!(bad.parse::<Principal>().is_err(), "{bad:?}");
        }
    }
}
