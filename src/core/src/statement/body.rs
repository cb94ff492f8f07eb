//! The fields of each statement type, in their canonical order.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use super::{Body, Kind, count_principals};
use crate::bundle::Permit;
use crate::cidr::Cidr;
use crate::digest::{Digest, RootFingerprint};
use crate::key::SubjectKey;
use crate::names::{ActorId, HostName, Login, deserialize_from_str};
use crate::time::{Seconds, UnixTime};

/// Longest reason in bytes.
pub const MAX_REASON: usize = 1024;
/// Longest forced command in bytes.
pub const MAX_COMMAND: usize = 1024;
/// Most source ranges of one request.
const MAX_SOURCES: usize = 16;

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
#[derive(Clone, Copy, PartialEq, Eq)]
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

/// Somebody asks for access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    v: V1,
    r#type: Kind,
    /// The CA asked.
    pub ca: RootFingerprint,
    /// Who asks and signs.
    pub by: ActorId,
    /// Who will use the access.
    pub subject: ActorId,
    /// The key to certify.
    pub key: SubjectKey,
    /// The hosts, at least one.
    pub hosts: Vec<HostName>,
    /// The accounts on each of them, at least one.
    pub logins: Vec<Login>,
    /// How long, from approval on.
    pub r#for: Seconds,
    /// Not before this moment. Only null in this version.
    pub not_before: Option<UnixTime>,
    /// Why.
    pub reason: String,
    /// The second reason of a break-glass request. Only null in this version.
    pub break_glass: Option<String>,
    /// The request this one prolongs. Only null in this version.
    pub extends: Option<Digest>,
    /// What the session may do beyond running a command; the rule may grant less.
    pub permit: Vec<Permit>,
    /// The addresses the certificate is to be used from; empty for what the rule says.
    pub source: Vec<Cidr>,
    /// The only command to run, if the requester wants to be held to one.
    pub command: Option<String>,
    /// When it was made.
    pub at: UnixTime,
    /// What makes it unlike any other.
    pub nonce: Nonce,
}

impl Request {
    /// A request by and for one person, with nothing optional asked.
    #[allow(clippy::too_many_arguments, reason = "each is a field of the statement")]
    pub fn new(
        ca: RootFingerprint,
        by: ActorId,
        key: SubjectKey,
        hosts: Vec<HostName>,
        logins: Vec<Login>,
        span: Seconds,
        reason: String,
        at: UnixTime,
        nonce: Nonce,
    ) -> Request {
        Request {
            v: V1,
            r#type: Kind::Request,
            ca,
            subject: by.clone(),
            by,
            key,
            hosts,
            logins,
            r#for: span,
            not_before: None,
            reason,
            break_glass: None,
            extends: None,
            permit: Vec::new(),
            source: Vec::new(),
            command: None,
            at,
            nonce,
        }
    }
}

impl Body for Request {
    const KIND: Kind = Kind::Request;

    fn ca(&self) -> &RootFingerprint {
        &self.ca
    }

    fn at(&self) -> UnixTime {
        self.at
    }

    fn check(&self) -> Result<(), String> {
        check_kind::<Self>(self.r#type)?;
        check_moment("at", self.at)?;
        no_repeats("hosts", &self.hosts)?;
        no_repeats("logins", &self.logins)?;
        no_repeats("permit", &self.permit)?;
        no_repeats("source", &self.source)?;
        count_principals(self.hosts.len(), self.logins.len())?;
        if self.source.len() > MAX_SOURCES {
            return Err(format!("source: {} ranges; at most {MAX_SOURCES}", self.source.len()));
        }
        check_text("reason", &self.reason, MAX_REASON)?;
        if let Some(command) = &self.command {
            check_text("command", command, MAX_COMMAND)?;
        }
        unsupported("not_before", self.not_before.is_some())?;
        unsupported("break_glass", self.break_glass.is_some())?;
        unsupported("extends", self.extends.is_some())
    }
}

/// What an approver says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Yes, within the given bounds.
    Approve,
    /// No.
    Deny,
}

/// Somebody approves or denies a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    v: V1,
    r#type: Kind,
    /// The CA asked.
    pub ca: RootFingerprint,
    /// Who decides and signs.
    pub by: ActorId,
    /// The request decided.
    pub request: Digest,
    /// Yes or no.
    pub verdict: Verdict,
    /// How long an approval allows; null in a denial.
    pub r#for: Option<Seconds>,
    /// The hosts an approval allows, equal to or fewer than asked; null in a denial.
    pub hosts: Option<Vec<HostName>>,
    /// The logins an approval allows, equal to or fewer than asked; null in a denial.
    pub logins: Option<Vec<Login>>,
    /// Why; a denial needs a reason.
    pub reason: Option<String>,
    /// When it was made.
    pub at: UnixTime,
}

impl Decision {
    /// An approval within these bounds.
    #[allow(clippy::too_many_arguments, reason = "each is a field of the statement")]
    pub fn approve(
        ca: RootFingerprint,
        by: ActorId,
        request: Digest,
        span: Seconds,
        hosts: Vec<HostName>,
        logins: Vec<Login>,
        reason: Option<String>,
        at: UnixTime,
    ) -> Decision {
        Decision {
            v: V1,
            r#type: Kind::Decision,
            ca,
            by,
            request,
            verdict: Verdict::Approve,
            r#for: Some(span),
            hosts: Some(hosts),
            logins: Some(logins),
            reason,
            at,
        }
    }

    /// A denial.
    pub fn deny(
        ca: RootFingerprint,
        by: ActorId,
        request: Digest,
        reason: String,
        at: UnixTime,
    ) -> Decision {
        Decision {
            v: V1,
            r#type: Kind::Decision,
            ca,
            by,
            request,
            verdict: Verdict::Deny,
            r#for: None,
            hosts: None,
            logins: None,
            reason: Some(reason),
            at,
        }
    }

    /// What an approval allows; `None` for a denial.
    pub fn bounds(&self) -> Option<(Seconds, &[HostName], &[Login])> {
        match (self.verdict, self.r#for, &self.hosts, &self.logins) {
            (Verdict::Approve, Some(span), Some(hosts), Some(logins)) => {
                Some((span, hosts, logins))
            }
            _ => None,
        }
    }
}

impl Body for Decision {
    const KIND: Kind = Kind::Decision;

    fn ca(&self) -> &RootFingerprint {
        &self.ca
    }

    fn at(&self) -> UnixTime {
        self.at
    }

    fn check(&self) -> Result<(), String> {
        check_kind::<Self>(self.r#type)?;
        check_moment("at", self.at)?;
        if let Some(reason) = &self.reason {
            check_text("reason", reason, MAX_REASON)?;
        }
        match (self.verdict, self.r#for, &self.hosts, &self.logins, &self.reason) {
            (Verdict::Approve, Some(_), Some(hosts), Some(logins), _) => {
                no_repeats("hosts", hosts)?;
                no_repeats("logins", logins)?;
                count_principals(hosts.len(), logins.len())
            }
            (Verdict::Approve, ..) => {
                Err("for, hosts and logins: an approval names all three".to_owned())
            }
            (Verdict::Deny, None, None, None, Some(_)) => Ok(()),
            (Verdict::Deny, None, None, None, None) => Err("reason: a denial needs one".to_owned()),
            (Verdict::Deny, ..) => {
                Err("for, hosts and logins: a denial has null for all three".to_owned())
            }
        }
    }
}

/// How a request or access is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The requester takes the request back before a certificate exists.
    Cancel,
    /// The requester gives live access back.
    Release,
    /// An approver or admin takes live access away.
    Revoke,
}

/// Somebody ends a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    v: V1,
    r#type: Kind,
    /// The CA asked.
    pub ca: RootFingerprint,
    /// Who ends it and signs.
    pub by: ActorId,
    /// The request ended.
    pub request: Digest,
    /// How.
    pub cause: Cause,
    /// Why, if told.
    pub reason: Option<String>,
    /// When it was made.
    pub at: UnixTime,
}

impl End {
    /// The requester takes a request back.
    pub fn cancel(
        ca: RootFingerprint,
        by: ActorId,
        request: Digest,
        reason: Option<String>,
        at: UnixTime,
    ) -> End {
        End { v: V1, r#type: Kind::End, ca, by, request, cause: Cause::Cancel, reason, at }
    }
}

impl Body for End {
    const KIND: Kind = Kind::End;

    fn ca(&self) -> &RootFingerprint {
        &self.ca
    }

    fn at(&self) -> UnixTime {
        self.at
    }

    fn check(&self) -> Result<(), String> {
        check_kind::<Self>(self.r#type)?;
        check_moment("at", self.at)?;
        if let Some(reason) = &self.reason {
            check_text("reason", reason, MAX_REASON)?;
        }
        unsupported("cause release or revoke", self.cause != Cause::Cancel)
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

    fn ca(&self) -> &RootFingerprint {
        &self.ca
    }

    fn at(&self) -> UnixTime {
        self.at
    }

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

    fn ca(&self) -> &RootFingerprint {
        &self.ca
    }

    fn at(&self) -> UnixTime {
        self.at
    }

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

fn unsupported(field: &str, present: bool) -> Result<(), String> {
    if present { Err(format!("{field}: not supported by this version")) } else { Ok(()) }
}
