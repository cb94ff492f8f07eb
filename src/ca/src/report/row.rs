//! One access, from what the log says of one request.

use std::collections::BTreeSet;
use std::iter::successors;

use jit_ssh_core::chain::Chain;
use jit_ssh_core::lifecycle::{Basis, Status};
use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::{Cause, End, Verified};
use jit_ssh_core::time::UnixTime;
use serde::Serialize;
use time::macros::format_description;

use crate::history::{Past, Said};
use crate::policy::config::count;
use crate::serve::ToldUse;
use crate::terminal::{formatted, utc};

/// One access. Times are Unix seconds.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    /// The request's id.
    id: String,
    /// Who used it.
    who: String,
    /// Who asked for it.
    by: String,
    /// Every `login@host`.
    principals: Vec<String>,
    asked_at: u64,
    /// From its first certificate on; where there is none, when it could have been used.
    from: u64,
    /// Its end, or when it was given back or taken away.
    until: u64,
    reason: String,
    /// The second reason, of who went ahead without approvals.
    break_glass: Option<String>,
    /// `approvals`, `auto` or `break-glass`.
    decided: &'static str,
    rule: String,
    approved_by: Vec<String>,
    /// Who looked at a break-glass access afterwards.
    reviewed_by: Vec<String>,
    /// The id of the request it prolonged.
    extends: Option<String>,
    certificates: usize,
    /// Whether there ever was a certificate.
    pub(super) certified: bool,
    /// `expired`, `live`, `released`, `revoked`, `unused`, `open`: not used yet, and it can still be; or
    /// `not begun`: a window that has not opened.
    ended: &'static str,
    ended_by: Option<String>,
    end_reason: Option<String>,
    /// Who logged in, as the hosts told; null where that is not known.
    uses: Option<Vec<UseRow>>,
}

/// One connection, as its host told it. Times are Unix seconds by the host's clock.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct UseRow {
    host: String,
    login: String,
    from: String,
    serial: u64,
    begun_at: Option<u64>,
    ended_at: Option<u64>,
    /// Whether the key that signed it is another than the bundle gives the host now.
    other_key: bool,
}

impl UseRow {
    fn of(used: &ToldUse) -> UseRow {
        let told = &used.told;
        UseRow {
            host: told.host.to_string(),
            login: told.login.to_string(),
            from: told.from.to_string(),
            serial: told.serial,
            begun_at: told.begun.map(|at| at.0),
            ended_at: told.ended.map(|(at, _)| at.0),
            other_key: used.other_key,
        }
    }
}

impl Row {
    /// The columns of `--csv`.
    pub(super) const HEADING: [&'static str; 20] = [
        "id",
        "who",
        "by",
        "principals",
        "asked_at",
        "from",
        "until",
        "reason",
        "break_glass",
        "decided",
        "rule",
        "approved_by",
        "reviewed_by",
        "extends",
        "certificates",
        "ended",
        "ended_by",
        "end_reason",
        "logins",
        "logins_from",
    ];

    /// The access of a request; `None` if nobody ever had any by it. `used` is what hosts told of it.
    pub(super) fn of(past: &Past, used: Option<Vec<ToldUse>>, now: UnixTime) -> Option<Row> {
        let said = past.last.as_ref();
        let certified = past.certificates.last();
        let granted = past.granted.as_ref();
        let grant = granted.and_then(|said| said.grant.as_ref());
        let (principals, from, until) = match (certified, grant) {
            (Some(last), _) => {
                let from = past.certificates.first().map_or(last.at, |first| first.at);
                (last.principals.clone(), from, last.access_until)
            }
            // Approved, and never used.
            (None, Some(grant)) if !ended_before(said) => {
                (grant.principals(), grant.counts_from, grant.access_until())
            }
            (None, _) => return None,
        };
        let end = first_end(&past.chain, until);
        if certified.is_none() && end.is_some_and(|end| end.body().request != past.chain.digest()) {
            // It fell with what it prolongs before anybody used it.
            return None;
        }
        let request = past.request();
        let rule = certified.map(|last| last.rule.to_string());
        let rule = rule.or_else(|| {
            let (rule, _) = granted?.decision.as_ref().ok()?;
            Some(rule.to_string())
        });
        let (ended, ended_by, end_reason) = ended(past, end, from, until, now);
        let decided = basis(past);
        let decisions = past.chain.decisions().iter().map(|d| d.body().by.to_string());
        let reviewed = decided == "break-glass";
        Some(Row {
            id: past.id().to_string(),
            who: request.subject.to_string(),
            by: request.by.to_string(),
            principals: principals.iter().map(ToString::to_string).collect(),
            asked_at: request.at.0,
            from: from.0,
            until: end.map_or(until, |end| end.body().at).0,
            reason: request.reason.clone(),
            break_glass: request.break_glass.clone(),
            decided,
            rule: rule.unwrap_or_default(),
            approved_by: match (reviewed, granted) {
                (false, Some(said)) => said.approvers.iter().map(ToString::to_string).collect(),
                (true, _) | (_, None) => Vec::new(),
            },
            reviewed_by: if reviewed { decisions.collect() } else { Vec::new() },
            extends: request.extends.map(|of| of.short_id().to_string()),
            certificates: past.certificates.len(),
            certified: certified.is_some(),
            ended,
            ended_by,
            end_reason,
            uses: used.map(|used| used.iter().map(UseRow::of).collect()),
        })
    }

    /// Whether it was not over by then.
    pub(super) fn lasts_until(&self, since: UnixTime) -> bool {
        self.until >= since.0
    }

    /// Whether its window has opened: before that nobody could have used it.
    pub(super) fn has_begun(&self) -> bool {
        self.ended != NOT_BEGUN
    }

    /// Whether it was not used yet, and can still be.
    pub(super) fn is_open(&self) -> bool {
        self.ended == OPEN
    }

    /// As [`Row::HEADING`] names them.
    pub(super) fn cells(&self) -> [String; 20] {
        [
            self.id.clone(),
            self.who.clone(),
            self.by.clone(),
            self.principals.join(" "),
            moment(self.asked_at),
            moment(self.from),
            moment(self.until),
            self.reason.clone(),
            self.break_glass.clone().unwrap_or_default(),
            self.decided.to_owned(),
            self.rule.clone(),
            self.approved_by.join(" "),
            self.reviewed_by.join(" "),
            self.extends.clone().unwrap_or_default(),
            self.certificates.to_string(),
            self.ended.to_owned(),
            self.ended_by.clone().unwrap_or_default(),
            self.end_reason.clone().unwrap_or_default(),
            self.uses.as_ref().map(|uses| uses.len().to_string()).unwrap_or_default(),
            self.addresses().join(" "),
        ]
    }

    /// Where the logins came from, each once.
    fn addresses(&self) -> Vec<&str> {
        let uses = self.uses.iter().flatten();
        let addresses: BTreeSet<&str> = uses.map(|used| used.from.as_str()).collect();
        addresses.into_iter().collect()
    }

    /// For people.
    pub(super) fn in_words(&self) -> String {
        let by =
            if self.by == self.who { String::new() } else { format!(" (asked by {})", self.by) };
        let leave = match self.decided {
            "auto" => "by itself".to_owned(),
            "break-glass" if self.reviewed_by.is_empty() => "break-glass, not reviewed".to_owned(),
            "break-glass" => format!("break-glass, reviewed by {}", self.reviewed_by.join(", ")),
            _ => format!("approved by {}", self.approved_by.join(", ")),
        };
        let certificates = match self.certificates {
            0 if !self.has_begun() || self.is_open() => "no certificate yet".to_owned(),
            0 => "never certified".to_owned(),
            certificates => count(certificates, "certificate"),
        };
        let used = match &self.uses {
            None => String::new(),
            Some(_) if !self.certified => String::new(),
            Some(uses) if uses.is_empty() => ", no login told".to_owned(),
            Some(uses) => {
                format!(", {} from {}", count(uses.len(), "login"), self.addresses().join(", "))
            }
        };
        let ended = match (&self.ended_by, &self.end_reason) {
            (Some(by), Some(reason)) => format!("{} by {by} ({reason})", self.ended),
            (Some(by), None) => format!("{} by {by}", self.ended),
            (None, _) if self.is_open() => "not used yet".to_owned(),
            (None, _) => self.ended.to_owned(),
        };
        let extends =
            self.extends.as_ref().map(|id| format!(", prolonging {id}")).unwrap_or_default();
        let glass = self.break_glass.as_ref().map(|why| format!("; {why}")).unwrap_or_default();
        let line = format!(
            "{}  {}{by}  {}  {} to {}  rule {}, {leave}{extends}; {certificates}{used}; {ended}  because {}{glass}",
            self.id,
            self.who,
            self.principals.join(", "),
            utc(UnixTime(self.from)),
            utc(UnixTime(self.until)),
            self.rule,
            self.reason
        );
        harmless(&line)
    }
}

/// How an access stands whose window has not opened.
const NOT_BEGUN: &str = "not begun";

/// How an access stands that was not used yet, and can still be.
const OPEN: &str = "open";

/// Whether a request was over before it had a certificate, though it was approved.
fn ended_before(said: Option<&Said>) -> bool {
    match said.map(|said| &said.status) {
        Some(Status::Denied { .. } | Status::Cancelled | Status::Revoked { .. }) => true,
        Some(
            Status::Pending
            | Status::Approved
            | Status::Active
            | Status::Ended
            | Status::Released
            | Status::LapsedUndecided
            | Status::LapsedUnused
            | Status::Refused(_),
        )
        | None => false,
    }
}

/// By whose leave. What was said when it was certified counts, also where the rule is gone since.
fn basis(past: &Past) -> &'static str {
    let said = past.granted.as_ref().and_then(|said| said.decision.as_ref().ok());
    match said {
        Some((_, Basis::Auto)) => "auto",
        Some((_, Basis::BreakGlass)) => "break-glass",
        Some((_, Basis::Approvals)) => "approvals",
        None if past.request().break_glass.is_some() => "break-glass",
        None => "approvals",
    }
}

/// Whether what is approved and has no certificate can still get its first before its access is over, as
/// far as its last entry says.
fn can_still_be_used(past: &Past, now: UnixTime) -> bool {
    past.last.as_ref().is_some_and(|said| {
        said.status == Status::Approved && said.use_by.is_some_and(|use_by| now <= use_by)
    })
}

/// The first end that came before the access was over: the request's own, or that of something it
/// prolongs, for it falls with that.
fn first_end(chain: &Chain, until: UnixTime) -> Option<&Verified<End>> {
    let row = successors(Some(chain), |chain| chain.prolonged());
    let ends = row.flat_map(Chain::ends).filter(|end| end.body().at < until);
    ends.min_by_key(|end| end.body().at)
}

fn ended(
    past: &Past,
    end: Option<&Verified<End>>,
    from: UnixTime,
    until: UnixTime,
    now: UnixTime,
) -> (&'static str, Option<String>, Option<String>) {
    if let Some(end) = end.map(Verified::body) {
        let how = match end.cause {
            Cause::Revoke => "revoked",
            Cause::Cancel | Cause::Release => "released",
        };
        return (how, Some(end.by.to_string()), end.reason.clone());
    }
    let how = match (past.certificates.is_empty(), now >= until) {
        (true, _) if now < from => NOT_BEGUN,
        (true, false) if can_still_be_used(past, now) => OPEN,
        (true, _) => "unused",
        (false, true) => "expired",
        (false, false) => "live",
    };
    (how, None, None)
}

/// A moment as spreadsheets and programs read it: RFC 3339, in UTC.
fn moment(unix: u64) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    formatted(UnixTime(unix), format).unwrap_or_else(|| unix.to_string())
}
