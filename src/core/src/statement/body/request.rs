//! The request: somebody asks for access.

use serde::{Deserialize, Serialize};

use super::{Nonce, V1, check_kind, check_moment, check_text, dated, no_repeats};
use crate::bundle::Permit;
use crate::cidr::Cidr;
use crate::digest::{Digest, RootFingerprint};
use crate::key::SubjectKey;
use crate::names::{ActorId, HostName, Login};
use crate::statement::{Body, Kind, count_principals};
use crate::time::{Seconds, UnixTime};

/// Longest reason in bytes.
pub const MAX_REASON: usize = 1024;
/// Longest forced command in bytes.
pub const MAX_COMMAND: usize = 1024;
/// How far after it was made a request may ask access to begin, in seconds: 14 days.
pub const MAX_AHEAD: u32 = 14 * 86_400;
/// Most source ranges of one request.
const MAX_SOURCES: usize = 16;

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
    /// The access begins at this moment, if approved by then. Later than `at` by at most
    /// [`MAX_AHEAD`].
    pub not_before: Option<UnixTime>,
    /// Why.
    pub reason: String,
    /// The second reason, of who goes ahead without the approvals that the rule asks.
    pub break_glass: Option<String>,
    /// The request whose live access this one prolongs.
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

    dated!();

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
        if let Some(not_before) = self.not_before {
            check_moment("not_before", not_before)?;
            if not_before <= self.at || not_before > self.at.plus_secs(MAX_AHEAD) {
                return Err(format!(
                    "not_before: {not_before} is not within {} days after `at`; null means at once",
                    MAX_AHEAD / 86_400
                ));
            }
        }
        if let Some(second) = &self.break_glass {
            check_text("break_glass", second, MAX_REASON)?;
        }
        let special =
            [self.not_before.is_some(), self.break_glass.is_some(), self.extends.is_some()];
        if special.iter().filter(|present| **present).count() > 1 {
            return Err("not_before, break_glass and extends: at most one of them".to_owned());
        }
        Ok(())
    }
}

impl Request {
    /// When the access could begin at the earliest: at once, or at `not_before`.
    pub fn begins(&self) -> UnixTime {
        self.not_before.map_or(self.at, |not_before| not_before.max(self.at))
    }
}
