//! How rules name hosts: `prod-host`, `web-*`, `label:env=prod,role=web`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::hosts::Host;
use super::reader::quote;
use crate::names::{HostName, LabelKey, LabelValue, NameError, deserialize_from_str};

/// One host, or all hosts with such a name or such labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// The host with exactly this name.
    Name(HostName),
    /// Every host whose whole name fits.
    Glob(Glob),
    /// Every host that has all these labels; never empty, sorted by key.
    Labels(Vec<(LabelKey, LabelValue)>),
}

impl HostPattern {
    /// Whether `host` is meant.
    pub fn covers(&self, host: &Host) -> bool {
        match self {
            HostPattern::Name(name) => host.name == *name,
            HostPattern::Glob(glob) => glob.matches(host.name.as_str()),
            HostPattern::Labels(labels) => {
                labels.iter().all(|(key, value)| host.labels.get(key) == Some(value))
            }
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Name(name) => name.fmt(f),
            HostPattern::Glob(glob) => glob.fmt(f),
            HostPattern::Labels(labels) => {
                f.write_str("label:")?;
                for (place, (key, value)) in labels.iter().enumerate() {
                    let comma = if place == 0 { "" } else { "," };
                    write!(f, "{comma}{key}={value}")?;
                }
                Ok(())
            }
        }
    }
}

/// Why a text does not name hosts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostPatternError {
    /// A word before a colon that is not `label`.
    #[error("{} does not name hosts; write a name, a glob like `web-*`, or `label:key=value`", quote(.0))]
    Form(String),
    /// A label without `=`.
    #[error("{} is not a label; write `label:key=value` or `label:key=value,key=value`", quote(.0))]
    Label(String),
    /// One key twice, which no host can satisfy unless the values are equal too.
    #[error("the label `{0}` stands there twice")]
    Twice(LabelKey),
    /// A glob that no host name can fit.
    #[error("{} can not fit a host name, which is 1 to 63 of a-z, 0-9, '.' and '-'", quote(.0))]
    Glob(String),
    /// A name outside its grammar.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        match text.split_once(':') {
            Some(("label", labels)) => parse_labels(labels),
            Some(_) => Err(HostPatternError::Form(text.to_owned())),
            None if text.contains(['*', '?']) => text.parse().map(HostPattern::Glob),
            None => Ok(HostPattern::Name(text.parse()?)),
        }
    }
}

fn parse_labels(text: &str) -> Result<HostPattern, HostPatternError> {
    let mut labels = Vec::new();
    for label in text.split(',') {
        let (key, value) =
            label.split_once('=').ok_or_else(|| HostPatternError::Label(label.to_owned()))?;
        labels.push((key.parse::<LabelKey>()?, value.parse::<LabelValue>()?));
    }
    labels.sort();
    let twice = labels.windows(2).find_map(|pair| match pair {
        [(one, _), (other, _)] if one == other => Some(one.clone()),
        _ => None,
    });
    match twice {
        Some(key) => Err(HostPatternError::Twice(key)),
        None => Ok(HostPattern::Labels(labels)),
    }
}

/// A host name with `*` (any characters, also none) and `?` (exactly one character). Without either it
/// is one name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Glob(Box<str>);

impl Glob {
    /// Longest glob: a host name and a star.
    const MAX: usize = 64;

    /// The glob as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether every name that fits this one fits `wide` too; `false` where that is not plain to see.
    pub fn is_within(&self, wide: &Glob) -> bool {
        // A star of the narrow one is text that only a star of the wide one takes.
        let plain = !self.0.contains(['*', '?']);
        self == wide || (wide.matches(&self.0) && (plain || !wide.0.contains('?')))
    }

    /// Whether the whole of `name` fits.
    pub fn matches(&self, name: &str) -> bool {
        let (mut glob, mut name) = (self.0.as_bytes(), name.as_bytes());
        // What to try next if the text after the last star does not fit here.
        let mut retry: Option<(&[u8], &[u8])> = None;
        loop {
            match (glob, name) {
                ([b'*', glob_rest @ ..], _) => {
                    retry = Some((glob_rest, name));
                    glob = glob_rest;
                }
                ([g, glob_rest @ ..], [n, name_rest @ ..]) if *g == b'?' || g == n => {
                    (glob, name) = (glob_rest, name_rest);
                }
                ([], []) => return true,
                _ => match retry {
                    Some((after_star, [_, later @ ..])) => {
                        retry = Some((after_star, later));
                        (glob, name) = (after_star, later);
                    }
                    _ => return false,
                },
            }
        }
    }
}

impl Serialize for Glob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_from_str(deserializer)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Glob {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        let fits = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-*?".contains(&byte)
        };
        if text.is_empty() || text.len() > Self::MAX || !text.bytes().all(fits) {
            return Err(HostPatternError::Glob(text.to_owned()));
        }
        Ok(Glob(text.into()))
    }
}
