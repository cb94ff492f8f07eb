//! A request as the CA shows it, read from the signed bytes: its id, and all that was asked, are
//! computed here and never taken from what the CA says beside them.
//!
//! - `standing.rs`: where it stands in words, and how a command that waited for it ends;
//! - `waiting.rs`: the line of who waits; `ballot.rs`: what who decides is shown;
//! - `details.rs`, `timeline.rs`: every field, and what happened when;
//! - `row.rs`: the same for programs.

use jit_ssh_api::v1::{self, Status};
use jit_ssh_core::digest::{Digest, IdPrefix, RootFingerprint, ShortId};
use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::{self, Decision, End, Request, Verified};
use jit_ssh_core::time::UnixTime;

use crate::failure::Failure;

mod ballot;
mod details;
mod row;
mod standing;
mod timeline;
mod waiting;

pub(crate) use ballot::EarlierRow;
pub(crate) use details::lay_out;
pub(crate) use row::{RequestRow, StepRow, UseRow, basis_name};
pub(crate) use standing::step_words;
pub(crate) use timeline::{Event, timeline};
pub(crate) use waiting::Clock;

/// A request, verified, with what the CA says of it.
#[derive(Debug)]
pub(crate) struct View {
    /// The request as signed.
    pub(crate) request: Verified<Request>,
    /// The decisions whose signatures hold and that are about this request.
    pub(crate) decisions: Vec<(Verified<Decision>, bool)>,
    /// The ends whose signatures hold and that are about this request.
    pub(crate) ends: Vec<Verified<End>>,
    /// What the CA says of it.
    pub(crate) said: v1::AccessState,
}

/// How a person names a request: an id, the beginning of one, or a full digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequestRef {
    /// 4 to 10 characters.
    Prefix(IdPrefix),
    /// 64 hex digits.
    Digest(Digest),
}

impl std::str::FromStr for RequestRef {
    type Err = String;

    fn from_str(text: &str) -> Result<RequestRef, String> {
        let text = text.to_ascii_lowercase();
        if let Ok(digest) = text.parse() {
            return Ok(RequestRef::Digest(digest));
        }
        text.parse()
            .map(RequestRef::Prefix)
            .map_err(|e: jit_ssh_core::digest::DigestError| e.to_string())
    }
}

impl std::fmt::Display for RequestRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RequestRef::Prefix(prefix) => f.write_str(prefix.as_str()),
            RequestRef::Digest(digest) => digest.fmt(f),
        }
    }
}

impl RequestRef {
    /// Whether this is the request that is named, or one of those that could be.
    pub(crate) fn names(&self, request: &Verified<Request>) -> bool {
        match self {
            RequestRef::Prefix(prefix) => prefix.matches(&request.id()),
            RequestRef::Digest(digest) => *digest == request.digest(),
        }
    }

    /// Whether it is all of an id, or the digest: two requests do not have the same.
    pub(crate) fn is_whole(&self) -> bool {
        match self {
            RequestRef::Prefix(prefix) => prefix.as_str().len() >= ShortId::LEN,
            RequestRef::Digest(_) => true,
        }
    }

    /// Refuses another request than the one that was named.
    pub(crate) fn check(&self, view: &View) -> Result<(), Failure> {
        if self.names(&view.request) {
            return Ok(());
        }
        Err(Failure::untrue(format!("asked for the request {self}, the CA showed {}.", view.id())))
    }
}

/// The stable name of a status.
pub(crate) fn status_name(status: Status) -> &'static str {
    match status {
        Status::Unspecified => "unknown",
        Status::Pending => "pending",
        Status::Approved => "approved",
        Status::Active => "active",
        Status::Ended => "ended",
        Status::Denied => "denied",
        Status::Cancelled => "cancelled",
        Status::Lapsed => "lapsed",
        Status::Refused => "refused",
        Status::Released => "released",
        Status::Revoked => "revoked",
    }
}

impl View {
    /// Verifies what the CA sent.
    pub(crate) fn open(said: v1::AccessState, ca: &RootFingerprint) -> Result<View, Failure> {
        let untrue = |problem: &str| {
            Failure::untrue(format!("the CA showed a request that is none: {problem}."))
        };
        let signed = said.request.as_ref().ok_or_else(|| untrue("there is no statement"))?;
        let request: Verified<Request> = open_signed(signed, ca).map_err(|e| untrue(&e))?;
        let decisions = said.decisions.iter().filter_map(|decision| {
            let verified: Verified<Decision> =
                open_signed(decision.statement.as_ref()?, ca).ok()?;
            let about_this = verified.body().request == request.digest();
            about_this.then_some((verified, decision.counts))
        });
        let decisions = decisions.collect();
        let first = said.end.iter().filter(|_| said.ends.is_empty());
        let ends = said.ends.iter().chain(first).filter_map(|end| {
            let verified: Verified<End> = open_signed(end, ca).ok()?;
            (verified.body().request == request.digest()).then_some(verified)
        });
        let ends = ends.collect();
        Ok(View { request, decisions, ends, said })
    }

    /// The full digest, computed from the bytes.
    pub(crate) fn digest(&self) -> Digest {
        self.request.digest()
    }

    /// The short id, computed from the bytes.
    pub(crate) fn id(&self) -> ShortId {
        self.request.id()
    }

    /// What was asked.
    pub(crate) fn asked(&self) -> &Request {
        self.request.body()
    }

    /// Where it stands, as the CA says.
    pub(crate) fn status(&self) -> Status {
        self.said.status()
    }

    /// What was granted or asked: `login@host`, harmless.
    pub(crate) fn principals(&self) -> Vec<String> {
        if self.said.principals.is_empty() {
            return crate::grants::principals(self.asked())
                .iter()
                .map(ToString::to_string)
                .collect();
        }
        self.said.principals.iter().map(|principal| harmless(principal)).collect()
    }

    /// The commands that decide on it, as they can be typed: a no needs its reason.
    pub(crate) fn verdicts(&self) -> String {
        let id = self.id();
        format!("jit-ssh approve {id}, or: jit-ssh deny {id} --because TEXT")
    }

    /// What approves it, as the CA says.
    pub(crate) fn basis(&self) -> v1::Basis {
        self.said.basis()
    }

    /// Whether it went ahead without approvals and nobody has reviewed it yet.
    pub(crate) fn to_review(&self) -> bool {
        self.basis() == v1::Basis::BreakGlass && !self.said.reviewed
    }

    /// When it opens, if it is approved and that is still to come.
    pub(crate) fn opens_later(&self, now: UnixTime) -> Option<UnixTime> {
        let opens = UnixTime(self.said.opens_at);
        (self.status() == Status::Approved && opens > now).then_some(opens)
    }
}

fn open_signed<T: statement::Body>(
    signed: &v1::SignedStatement,
    ca: &RootFingerprint,
) -> Result<Verified<T>, String> {
    let [signature] = signed.signatures.as_slice() else {
        return Err("it has not exactly one signature".to_owned());
    };
    statement::open(&signed.statement, signature, ca).map_err(|e| e.to_string())
}

#[cfg(test)]
pub(crate) mod tests;
