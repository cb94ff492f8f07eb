//! The decision and the end: what others, and the requester, say of a request.

use serde::{Deserialize, Serialize};

use super::request::MAX_REASON;
use super::{V1, check_kind, check_moment, check_text, dated, no_repeats};
use crate::digest::{Digest, RootFingerprint};
use crate::names::{ActorId, HostName, Login};
use crate::statement::{Body, Kind, count_principals};
use crate::time::{Seconds, UnixTime};

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

    dated!();

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
    /// `by` ends a request.
    pub fn new(
        ca: RootFingerprint,
        by: ActorId,
        request: Digest,
        cause: Cause,
        reason: Option<String>,
        at: UnixTime,
    ) -> End {
        End { v: V1, r#type: Kind::End, ca, by, request, cause, reason, at }
    }
}

impl Cause {
    /// The word in the statement.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Cancel => "cancel",
            Cause::Release => "release",
            Cause::Revoke => "revoke",
        }
    }
}

impl Body for End {
    const KIND: Kind = Kind::End;

    dated!();

    fn check(&self) -> Result<(), String> {
        check_kind::<Self>(self.r#type)?;
        check_moment("at", self.at)?;
        if let Some(reason) = &self.reason {
            check_text("reason", reason, MAX_REASON)?;
        }
        Ok(())
    }
}
