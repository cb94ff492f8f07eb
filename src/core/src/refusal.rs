//! A "no" that a person can act on and a program can match.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why something is refused: stable names that survive the signer's socket and gRPC
        /// (`google.rpc.ErrorInfo.reason`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Reason] = &[$(Reason::$name,)*];

            /// The stable name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Reason::$name => $text,)*
                }
            }
        }
    };
}

reasons! {
    /// No rule allows it, or a rule forbids it.
    PolicyRefused = "POLICY_REFUSED",
    /// Approvals are missing.
    NotApproved = "NOT_APPROVED",
    /// An approver said no.
    Denied = "DENIED",
    /// The requester took it back.
    Cancelled = "CANCELLED",
    /// Not decided or not used in time.
    Lapsed = "LAPSED",
    /// The access is over.
    Ended = "ENDED",
    /// The requester gave the access back.
    Released = "RELEASED",
    /// The access was taken away.
    Revoked = "REVOKED",
    /// Approved, and the time it was asked for has not come.
    TooEarly = "TOO_EARLY",
    /// An earlier break-glass access of the same person has not been reviewed.
    ReviewNeeded = "REVIEW_NEEDED",
    /// The matter is settled: another decision or end changes nothing.
    Settled = "SETTLED",
    /// Not a canonical statement, or not a well-formed call.
    Malformed = "MALFORMED",
    /// A signature does not hold or is of a refused kind.
    BadSignature = "BAD_SIGNATURE",
    /// A statement for another CA.
    WrongCa = "WRONG_CA",
    /// A statement's date is too far from this clock.
    ClockSkew = "CLOCK_SKEW",
    /// The signing key is not the named person's, or the person is unknown.
    UnknownSigner = "UNKNOWN_SIGNER",
    /// The person may not do this.
    NotAllowed = "NOT_ALLOWED",
    /// No such request, or none the caller may see.
    UnknownRequest = "UNKNOWN_REQUEST",
    /// No such host, or its key is not known.
    UnknownHost = "UNKNOWN_HOST",
    /// This signer issues no host certificates: it has no host CA key, or the bundle names none.
    NoHostCa = "NO_HOST_CA",
    /// A prefix that several requests share.
    AmbiguousId = "AMBIGUOUS_ID",
    /// Another request already has this id.
    IdTaken = "ID_TAKEN",
    /// Another machine has the host's name.
    NameTaken = "NAME_TAKEN",
    /// There is no such join token.
    UnknownToken = "UNKNOWN_TOKEN",
    /// As many hosts have joined by the token as it allows.
    TokenSpent = "TOKEN_SPENT",
    /// The certificate must be bound to the client's address, and the request does not name it.
    SourceNeeded = "SOURCE_NEEDED",
    /// There is no bundle yet.
    NoBundle = "NO_BUNDLE",
    /// The bundle's version does not rise.
    StaleBundle = "STALE_BUNDLE",
    /// The bundle's files are not what was signed, or do not make sense.
    BundleRefused = "BUNDLE_REFUSED",
    /// Too few admins have signed.
    NotEnoughAdmins = "NOT_ENOUGH_ADMINS",
    /// A session is needed, and there is none or it is over.
    NoSession = "NO_SESSION",
    /// Too many calls or statements in a minute.
    Quota = "QUOTA",
    /// The log can not take an entry now, so nothing is issued.
    LogUnavailable = "LOG_UNAVAILABLE",
    /// The signer can not be reached now.
    SignerUnavailable = "SIGNER_UNAVAILABLE",
    /// The store can not take a record now.
    StoreUnavailable = "STORE_UNAVAILABLE",
    /// Something that should never be.
    Internal = "INTERNAL",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Reason::ALL.iter().copied().find(|reason| reason.as_str() == text).ok_or(())
    }
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|()| serde::de::Error::custom("unknown reason"))
    }
}

/// A refusal: a stable reason, a full sentence, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The stable reason.
    pub reason: Reason,
    /// What happened, to what: a full sentence without a line break.
    pub message: String,
    /// What to do, if there is something.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal without a hint.
    pub fn new(reason: Reason, message: impl Into<String>) -> Refusal {
        Refusal { reason, message: message.into(), hint: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Refusal {
        Refusal { hint: Some(hint.into()), ..self }
    }
}

impl From<crate::statement::StatementError> for Refusal {
    fn from(error: crate::statement::StatementError) -> Refusal {
        use crate::statement::StatementError as E;
        let reason = match &error {
            E::TooLong(_)
            | E::Signatures
            | E::Kind { .. }
            | E::Form { .. }
            | E::NotCanonical(_)
            | E::Field { .. } => Reason::Malformed,
            E::OtherCa { .. } => Reason::WrongCa,
            E::Signature(_) => Reason::BadSignature,
            E::NotAdmin(_) | E::AdminTwice(_) => Reason::UnknownSigner,
            E::Ahead { .. } | E::Stale { .. } => Reason::ClockSkew,
        };
        Refusal::new(reason, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_parses_back_and_is_unlike_any_other() {
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse::<Reason>(), Ok(*reason));
        }
        assert!("policy_refused".parse::<Reason>().is_err());
    }
}
