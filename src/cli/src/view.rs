//! A request as the CA shows it, read from the signed bytes: its id, and all that was asked, are
//! computed here and never taken from what the CA says beside them.

use jit_ssh_api::v1::{self, Status};
use jit_ssh_core::digest::{Digest, IdPrefix, RootFingerprint, ShortId};
use jit_ssh_core::names::{ActorId, HostName, Login};
use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::{self, Decision, Request, Verdict, Verified};
use jit_ssh_core::time::UnixTime;

use crate::failure::{Failure, Outcome};
use crate::text::{all_of, either, relative, span, utc};

mod row;

pub(crate) use row::RequestRow;

/// A request, verified, with what the CA says of it.
#[derive(Debug)]
pub(crate) struct View {
    /// The request as signed.
    pub(crate) request: Verified<Request>,
    /// The decisions whose signatures hold and that are about this request.
    pub(crate) decisions: Vec<(Verified<Decision>, bool)>,
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
    /// Refuses another request than the one that was named.
    pub(crate) fn check(&self, view: &View) -> Result<(), Failure> {
        let same = match self {
            RequestRef::Prefix(prefix) => prefix.matches(&view.id()),
            RequestRef::Digest(digest) => *digest == view.digest(),
        };
        if same {
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
        Ok(View { request, decisions, said })
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

    /// Who denied it, and why.
    fn denial(&self) -> Option<(&ActorId, &str)> {
        let denies = |decision: &&Decision| decision.verdict == Verdict::Deny;
        let denial = self.decisions.iter().map(|(decision, _)| decision.body()).find(denies)?;
        Some((&denial.by, denial.reason.as_deref().unwrap_or_default()))
    }

    /// How a command that waited for this request ends; `None` while there is still something to
    /// hope for.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let id = self.id();
        let anew = "ask anew with: jit-ssh login";
        // The CA's sentence, which names who and why; ours where it has none.
        let told = |otherwise: &str| match self.said.detail.as_str() {
            "" => format!("request {id} {otherwise}"),
            detail => detail.to_owned(),
        };
        let over = |name, otherwise: &str| {
            Some(Failure::new(Outcome::Over, name, told(otherwise)).hint(anew))
        };
        match self.status() {
            Status::Unspecified | Status::Pending | Status::Approved | Status::Active => None,
            Status::Denied => {
                let message = match self.denial() {
                    Some((by, why)) => format!("request {id} was denied by {by}: {why}"),
                    None => format!("request {id} was denied."),
                };
                Some(Failure::new(Outcome::Denied, "DENIED", message))
            }
            Status::Cancelled => over("CANCELLED", "was cancelled."),
            Status::Lapsed => over("LAPSED", "lapsed: nobody decided or used it in time."),
            Status::Ended => over("ENDED", "has come to its end."),
            Status::Released => over("RELEASED", "was given back."),
            Status::Revoked => over("REVOKED", "was taken away."),
            Status::Refused => {
                let message = told("is no longer allowed.");
                Some(Failure::new(Outcome::Refused, "POLICY_REFUSED", message).hint(anew))
            }
        }
    }

    /// One line on where it stands, harmless.
    pub(crate) fn standing(&self, now: UnixTime) -> String {
        let said = &self.said;
        let status = status_name(self.status());
        match self.status() {
            Status::Pending => format!(
                "{} waits for {}: {} of {} approvals; lapses {}",
                self.id(),
                either(&said.approvers),
                said.approvals_given,
                said.approvals_needed,
                relative(UnixTime(said.decide_by), now)
            ),
            Status::Approved => format!(
                "{} is approved; to be used {}",
                self.id(),
                before(UnixTime(said.use_by), now)
            ),
            Status::Active => {
                format!("{} is active until {}", self.id(), utc(UnixTime(said.access_until)))
            }
            _ => format!("{} is {status}: {}", self.id(), harmless(&said.detail)),
        }
    }

    /// Every field, one a line, for people. Everything asked comes from the signed bytes.
    pub(crate) fn details(&self, now: UnixTime) -> String {
        let said = &self.said;
        let mut lines = asked_lines(&self.request);
        lines.push(("status", self.standing(now)));
        if !said.rule.is_empty() {
            lines.push(("rule", harmless(&said.rule)));
        }
        for (decision, counts) in &self.decisions {
            lines.push(("decision", decision_line(decision.body(), *counts, now)));
        }
        if said.access_until > 0 {
            let until = UnixTime(said.access_until);
            lines.push(("access until", format!("{} ({})", utc(until), relative(until, now))));
            lines.push(("granted", all_of(&self.principals())));
        }
        for certificate in &said.certificates {
            let (at, end) = (UnixTime(certificate.at), UnixTime(certificate.valid_before));
            lines.push((
                "certificate",
                format!("serial {}, {} to {}", certificate.serial, utc(at), utc(end)),
            ));
        }
        lay_out(&lines)
    }
}

/// What was asked, field by field, from the signed bytes alone.
pub(crate) fn asked_lines(request: &Verified<Request>) -> Vec<(&'static str, String)> {
    let asked = request.body();
    let mut lines = vec![("request", request.id().to_string())];
    lines.push(("who", asked.by.to_string()));
    if asked.subject != asked.by {
        lines.push(("for whom", asked.subject.to_string()));
    }
    lines.push(("where", all_of(&asked.hosts.iter().map(HostName::as_str).collect::<Vec<_>>())));
    lines.push(("as", all_of(&asked.logins.iter().map(Login::as_str).collect::<Vec<_>>())));
    lines.push(("how long", asked.r#for.to_string()));
    lines.push(("why", harmless(&asked.reason)));
    let permits: Vec<_> = asked.permit.iter().map(|permit| permit.as_str()).collect();
    let permits =
        if permits.is_empty() { "nothing beside commands".to_owned() } else { all_of(&permits) };
    lines.push(("permit", permits));
    if !asked.source.is_empty() {
        let ranges: Vec<_> = asked.source.iter().map(ToString::to_string).collect();
        lines.push(("only from", all_of(&ranges)));
    }
    if let Some(command) = &asked.command {
        lines.push(("only command", harmless(command)));
    }
    lines.push(("asked at", utc(asked.at)));
    lines
        .push(("key to certify", format!("{} {}", asked.key.type_name(), asked.key.fingerprint())));
    lines.push(("signed by key", request.key().fingerprint()));
    lines
}

/// Lays out names and values in two columns.
pub(crate) fn lay_out(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    lines.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
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

fn decision_line(decision: &Decision, counts: bool, now: UnixTime) -> String {
    let mut line = match decision.bounds() {
        Some((span, hosts, logins)) => format!(
            "{} approves {span} as {} on {}",
            decision.by,
            all_of(&logins.iter().map(Login::as_str).collect::<Vec<_>>()),
            all_of(&hosts.iter().map(HostName::as_str).collect::<Vec<_>>())
        ),
        None => format!("{} denies", decision.by),
    };
    if let Some(reason) = &decision.reason {
        line.push_str(&format!(": {}", harmless(reason)));
    }
    line.push_str(&format!(
        " ({}{})",
        relative(decision.at, now),
        if counts { "" } else { "; does not count" }
    ));
    line
}

fn before(moment: UnixTime, now: UnixTime) -> String {
    if moment > now { format!("within {}", span(moment.since(now))) } else { "no more".to_owned() }
}

#[cfg(test)]
mod tests;
