//! The fields of each statement type, in their canonical order, and what they obey by themselves.
//!
//! - `request.rs`, `decision.rs`: the request; the decision and the end;
//! - `report.rs`: what a host tells of its logins;
//! - `enrolment.rs`: the host that joins by itself, and the token that lets it;
//! - here: the bundle and the session, and what all of them share.

mod decision;
mod enrolment;
mod report;
mod request;

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

pub use decision::{Cause, Decision, End, Verdict};
pub use enrolment::{Host, MAX_HOST_LIFE, MAX_TOKEN_LIFE, MAX_TOKEN_USES, Token};
pub use report::{Closed, Event, Happened, MAX_EVENTS, Report};
pub use request::{MAX_AHEAD, MAX_COMMAND, MAX_REASON, Request};

use super::{Body, Kind};
use crate::digest::{Digest, RootFingerprint};
use crate::names::{ActorId, deserialize_from_str};
use crate::time::{Seconds, UnixTime};

/// What every statement answers alike: which CA it is for, and when it was made.
macro_rules! dated {
    () => {
        fn ca(&self) -> &RootFingerprint {
            &self.ca
        }

        fn at(&self) -> UnixTime {
            self.at
        }
    };
}
use dated;

/// The format version: always 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct V1;

impl Serialize for V1 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for V1 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            1 => Ok(V1),
            other => {
                Err(D::Error::custom(format!("version {other} is unknown; this is version 1")))
            }
        }
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Kind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| D::Error::custom("unknown statement type"))
    }
}

/// 16 random bytes that make a statement unlike any other. Shown as 32 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nonce(pub [u8; 16]);

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Nonce {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "a nonce is 32 lower-case hex digits";
        let mut out = [0u8; 16];
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != out.len() || !rest.is_empty() {
            return Err(FORM);
        }
        for (byte, pair) in out.iter_mut().zip(pairs) {
            let text = std::str::from_utf8(pair).map_err(|_| FORM)?;
            *byte = u8::from_str_radix(text, 16).map_err(|_| FORM)?;
        }
        // from_str_radix takes upper case and a sign too: one spelling only.
        if Nonce(out).to_string() == text { Ok(Nonce(out)) } else { Err(FORM) }
    }
}

impl Serialize for Nonce {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Nonce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_from_str(deserializer)
    }
}

/// Admins set people, hosts, policy and signers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    v: V1,
    r#type: Kind,
    /// The CA this is for.
    pub ca: RootFingerprint,
    /// Rises by every change; a lower one is refused.
    pub version: u64,
    /// SHA-256 of `people.toml`.
    pub people: Digest,
    /// SHA-256 of `hosts.toml`.
    pub hosts: Digest,
    /// SHA-256 of `policy.toml`.
    pub policy: Digest,
    /// SHA-256 of `signers.toml`.
    pub signers: Digest,
    /// When it was made.
    pub at: UnixTime,
}

impl Bundle {
    /// A bundle of these files.
    pub fn new(
        ca: RootFingerprint,
        version: u64,
        files: &crate::bundle::BundleFiles,
        at: UnixTime,
    ) -> Bundle {
        Bundle {
            v: V1,
            r#type: Kind::Bundle,
            ca,
            version,
            people: Digest::of(&files.people),
            hosts: Digest::of(&files.hosts),
            policy: Digest::of(&files.policy),
            signers: Digest::of(&files.signers),
            at,
        }
    }

    /// The files it names, each as `read` gives it for its name and SHA-256. Unchecked.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn files<E>(
        &self,
        read: impl Fn(&'static str, Digest) -> Result<Vec<u8>, E>,
    ) -> Result<crate::bundle::BundleFiles, E> {
        Ok(crate::bundle::BundleFiles {
            people: read("people.toml", self.people)?,
            hosts: read("hosts.toml", self.hosts)?,
            policy: read("policy.toml", self.policy)?,
            signers: read("signers.toml", self.signers)?,
        })
    }

    /// Whether `files` are the ones the admins signed.
    pub fn names(&self, files: &crate::bundle::BundleFiles) -> bool {
        self.people == Digest::of(&files.people)
            && self.hosts == Digest::of(&files.hosts)
            && self.policy == Digest::of(&files.policy)
            && self.signers == Digest::of(&files.signers)
    }
}

impl Body for Bundle {
    const KIND: Kind = Kind::Bundle;

    dated!();

    fn check(&self) -> Result<(), String> {
        check_kind::<Self>(self.r#type)?;
        check_moment("at", self.at)?;
        if self.version == 0 {
            return Err("version: the first is 1".to_owned());
        }
        Ok(())
    }
}

/// Somebody opens a session for reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    v: V1,
    r#type: Kind,
    /// The CA asked.
    pub ca: RootFingerprint,
    /// Who reads and signs.
    pub by: ActorId,
    /// How long.
    pub r#for: Seconds,
    /// When it was made.
    pub at: UnixTime,
    /// What makes it unlike any other.
    pub nonce: Nonce,
}

impl Session {
    /// A session of `span` from now on.
    pub fn new(
        ca: RootFingerprint,
        by: ActorId,
        span: Seconds,
        at: UnixTime,
        nonce: Nonce,
    ) -> Session {
        Session { v: V1, r#type: Kind::Session, ca, by, r#for: span, at, nonce }
    }
}

impl Body for Session {
    const KIND: Kind = Kind::Session;

    dated!();

    fn check(&self) -> Result<(), String> {
        check_kind::<Self>(self.r#type)?;
        check_moment("at", self.at)
    }
}

fn check_kind<T: Body>(found: Kind) -> Result<(), String> {
    if found == T::KIND { Ok(()) } else { Err(format!("type: {found} where {} belongs", T::KIND)) }
}

fn check_moment(field: &str, moment: UnixTime) -> Result<(), String> {
    if moment.0 == 0 || moment > UnixTime::MAX {
        return Err(format!("{field}: {moment} is no time in Unix seconds"));
    }
    Ok(())
}

fn check_text(field: &str, text: &str, max: usize) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err(format!("{field}: must say something"));
    }
    if text.len() > max {
        return Err(format!("{field}: {} bytes; at most {max}", text.len()));
    }
    if text.contains(char::is_control) {
        return Err(format!("{field}: control characters and line breaks are not allowed"));
    }
    Ok(())
}

fn no_repeats<T: PartialEq + fmt::Debug>(field: &str, items: &[T]) -> Result<(), String> {
    // The lists are short: MAX_BYTES bounds them to a few thousand, honest ones have a handful.
    for (place, item) in items.iter().enumerate() {
        if items.iter().take(place).any(|earlier| earlier == item) {
            return Err(format!("{field}: {item:?} stands twice"));
        }
        if place > 64 {
            return Err(format!("{field}: more than 64 items"));
        }
    }
    Ok(())
}
