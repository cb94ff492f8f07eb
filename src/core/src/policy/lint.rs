//! Rules that can not do what they seem to, found before anybody meets them.
//!
//! Everything here is a rule's own fault or its neighbours', judged over the people and hosts that
//! are there. An error is what stays so whoever and whatever is added to a group or label; a warning
//! is what is so today, or deserves a look. Nothing is reported that is not so; some things that are
//! so are not found (see `shadow`).
//!
//! - `place`: where in `policy.toml` each rule and field stands;
//! - `shadow`: rules that earlier ones, or deny rules, leave nothing;
//! - `approvers`: approvals that cannot be given; `reach`: rules for nobody or nowhere, too wide ones,
//!   and groups without persons; `dates`: rules that were to be reviewed;
//! - `ways`: bastions that take no jumps to the hosts behind them.

mod approvers;
mod dates;
mod place;
mod reach;
mod shadow;
mod ways;

use std::collections::BTreeSet;
use std::fmt;

use super::census::{Crowd, HostKinds, requesters, subjects};
use super::set::Set;
use crate::bundle::{Allow, Bundle, BundleFiles, Diagnostic};
use crate::names::{Login, RuleName};
use crate::time::UnixTime;
use place::{Field, Places};

/// One thing that is wrong, or deserves a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of thing it is.
    pub kind: Kind,
    /// The rule it is about; `None` for what belongs to no rule.
    pub rule: Option<RuleName>,
    /// What is wrong, where, and what to do about it.
    pub at: Diagnostic,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The rule can never do what it says.
    Error,
    /// It is so today, or deserves a look.
    Warning,
}

impl Severity {
    /// As people and programs read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// What can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An earlier rule covers everything a rule covers.
    Shadowed,
    /// A deny rule refuses everything a rule covers.
    Denied,
    /// Nobody can ask under a rule.
    NobodyAsks,
    /// A rule covers no host, or no login that its hosts offer.
    NoHost,
    /// Nobody at all can approve under a rule.
    Unsatisfiable,
    /// Some of those who may ask can never get the approvals.
    OwnApproval,
    /// Nobody of those who may ask can break the glass.
    NobodyBreaksGlass,
    /// A rule's `review_by` is over.
    ReviewPast,
    /// A rule's `review_by` comes within [`NOTICE`].
    ReviewSoon,
    /// A rule covers every host there will ever be.
    EveryHost,
    /// Break-glass with any key.
    WeakBreakGlass,
    /// A deny rule forbids nothing.
    IdleDeny,
    /// A group that is to be told, or may read, holds no person.
    EmptyGroup,
    /// A bastion that hosts are behind takes no jumps.
    NoJump,
}

impl Kind {
    /// The stable name that programs get.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Shadowed => "shadowed",
            Kind::Denied => "denied",
            Kind::NobodyAsks => "nobody-asks",
            Kind::NoHost => "no-host",
            Kind::Unsatisfiable => "unsatisfiable",
            Kind::OwnApproval => "own-approval",
            Kind::NobodyBreaksGlass => "nobody-breaks-glass",
            Kind::ReviewPast => "review-past",
            Kind::ReviewSoon => "review-soon",
            Kind::EveryHost => "every-host",
            Kind::WeakBreakGlass => "weak-break-glass",
            Kind::IdleDeny => "idle-deny",
            Kind::EmptyGroup => "empty-group",
            Kind::NoJump => "no-jump",
        }
    }
}

/// How long before a rule's `review_by` it is spoken of, in seconds: 14 days.
pub const NOTICE: u32 = 14 * 86_400;

/// As the bundle's own problems are shown.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.at.to_string();
        let rest = shown.strip_prefix("error").unwrap_or(&shown);
        write!(f, "{}{rest}", self.severity.as_str())
    }
}

/// Everything that is to be said of the rules of `bundle`, which was read from `files`, at `now`: by file,
/// and in its order.
pub fn lint(bundle: &Bundle, files: &BundleFiles, now: UnixTime) -> Vec<Finding> {
    let crowd = Crowd::of(&bundle.people);
    let hosts = HostKinds::of(bundle);
    let views = bundle.policy.allow.iter().map(|rule| View::of(rule, &crowd, &hosts)).collect();
    Places::of(&files.policy, |places| {
        let mut lint = Lint { bundle, crowd, hosts, views, now, places, found: Vec::new() };
        lint.reach();
        lint.shadows();
        lint.approvals();
        lint.dates();
        lint.ways(&files.hosts);
        let mut found = lint.found;
        found.sort_by_key(|Finding { at, kind, .. }| (at.file, at.line, at.column, *kind));
        found
    })
}

/// A rule, and whom and what it reaches.
struct View<'b> {
    rule: &'b Allow,
    /// Who asks.
    requesters: Set,
    /// Who gets in.
    subjects: Set,
    /// The kinds of hosts it covers, whatever they offer.
    covered: Set,
    /// Those of them that offer one of its logins.
    hosts: Set,
    /// The logins that one of them offers.
    logins: BTreeSet<&'b Login>,
}

impl<'b> View<'b> {
    fn of(rule: &'b Allow, crowd: &Crowd<'b>, kinds: &HostKinds<'b>) -> View<'b> {
        let covered = kinds.covered(&rule.hosts);
        let (hosts, logins) = kinds.offering(&covered, &rule.logins);
        View {
            rule,
            requesters: requesters(rule, crowd),
            subjects: subjects(rule, crowd),
            covered,
            hosts,
            logins,
        }
    }
}

struct Lint<'b, 'p, 's> {
    bundle: &'b Bundle,
    crowd: Crowd<'b>,
    hosts: HostKinds<'b>,
    views: Vec<View<'b>>,
    now: UnixTime,
    places: &'p Places<'s>,
    found: Vec<Finding>,
}

impl Lint<'_, '_, '_> {
    /// Notes a finding about a field of a rule.
    fn note(
        &mut self,
        (severity, kind): (Severity, Kind),
        (rule, field): (&RuleName, Field),
        message: String,
        help: &str,
    ) {
        let at = self.places.diagnostic(Some(rule), field, message, help);
        self.found.push(Finding { severity, kind, rule: Some(rule.clone()), at });
    }
}

#[cfg(test)]
mod tests;
