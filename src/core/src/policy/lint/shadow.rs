//! Rules that earlier ones, or deny rules, leave nothing.
//!
//! A rule is shadowed where one earlier rule covers every request that it covers. What several
//! earlier rules cover only together is not found. Where the earlier rule covers it whoever and
//! whatever there is, by how both name people, hosts and logins, that is an error; where it only does
//! over the people and hosts of today, a warning.

use super::place::Field;
use super::{Kind, Lint, Severity, View};
use crate::bundle::{Allow, Approval, Deny, HostPattern, Selection, SourceRule, Who};
use crate::names::RuleName;
use crate::policy::set::Set;

impl Lint<'_, '_, '_> {
    /// Rules that are never the first to fit.
    pub(super) fn shadows(&mut self) {
        let bundle = self.bundle;
        let denies: Vec<Denies<'_>> =
            bundle.policy.deny.iter().map(|rule| self.denies(rule)).collect();
        let mut found: Vec<(Severity, Kind, RuleName, RuleName)> = Vec::new();
        for (place, view) in self.views.iter().enumerate() {
            // What reaches nobody or nothing today is another finding.
            let reaches = !view.requesters.is_empty() && !view.logins.is_empty();
            let earlier = self.views.iter().take(place);
            let shadows: Vec<&View<'_>> =
                earlier.filter(|e| takes_all(e.rule, view.rule)).collect();
            let always = shadows.iter().find(|e| names_all(e.rule, view.rule));
            let today = || shadows.iter().find(|e| reaches && reaches_all(e, view));
            let name = &view.rule.name;
            if let Some(by) = always {
                found.push((Severity::Error, Kind::Shadowed, name.clone(), by.rule.name.clone()));
            } else if let Some(by) = today() {
                found.push((Severity::Warning, Kind::Shadowed, name.clone(), by.rule.name.clone()));
            } else if reaches && let Some(by) = denies.iter().find(|by| by.all_of(view)) {
                found.push((Severity::Warning, Kind::Denied, name.clone(), by.rule.name.clone()));
            }
        }
        for (severity, kind, rule, by) in found {
            let at = (&rule, Field::Name);
            match (kind, severity) {
                (Kind::Denied, _) => self.note(
                    (severity, kind),
                    at,
                    format!("the deny rule `{by}` refuses everything that `{rule}` covers"),
                    "take one of the two out, or narrow the deny rule",
                ),
                (_, Severity::Error) => self.note(
                    (severity, kind),
                    at,
                    format!("`{rule}` is never asked: the earlier rule `{by}` covers all it covers"),
                    "move it above that rule, or take it out",
                ),
                (_, Severity::Warning) => self.note(
                    (severity, kind),
                    at,
                    format!(
                        "with the people and hosts of today `{rule}` is never asked: the earlier rule `{by}` covers all it covers"
                    ),
                    "move it above that rule if it is to decide anything",
                ),
            }
        }
    }

    fn denies<'d>(&self, rule: &'d Deny) -> Denies<'d> {
        let who = match &rule.who {
            Selection::All => None,
            Selection::Only(who) => Some(self.crowd.named(who)),
        };
        Denies { rule, who, hosts: self.hosts.selected(&rule.hosts) }
    }
}

/// A deny rule, and what it is about.
struct Denies<'d> {
    rule: &'d Deny,
    /// `None`: everyone.
    who: Option<Set>,
    hosts: Set,
}

impl Denies<'_> {
    /// Whether it refuses everything that a rule covers.
    fn all_of(&self, view: &View<'_>) -> bool {
        let logins = match &self.rule.logins {
            Selection::All => true,
            Selection::Only(logins) => view.logins.iter().all(|login| logins.contains(login)),
        };
        let touched = |who: &Set| view.requesters.is_within(who) || view.subjects.is_within(who);
        logins && self.who.as_ref().is_none_or(touched) && view.hosts.is_within(&self.hosts)
    }
}

/// Whether `earlier` takes every request that `later` takes, as far as that does not hang on who asks
/// for which hosts and logins.
fn takes_all(earlier: &Allow, later: &Allow) -> bool {
    let speaks = earlier.on_behalf.is_some() == later.on_behalf.is_some();
    let longest = later.max_for <= earlier.max_for;
    let reason = earlier.reason.min.max(1) <= later.reason.min.max(1)
        && (earlier.reason.pattern.is_none() || earlier.reason.pattern == later.reason.pattern);
    // An extension goes by the rule of what it prolongs, so `extend` makes no difference.
    let break_glass = match (&earlier.break_glass, &later.break_glass) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(earlier), Some(later)) => {
            earlier.strength <= later.strength && later.max_for <= earlier.max_for
        }
    };
    let key = earlier.subject_key <= later.subject_key;
    // Of patterns that are not the same, it is not plain to see.
    let commands = match (&earlier.commands, &later.commands) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(earlier), Some(later)) => later.iter().all(|one| earlier.contains(one)),
    };
    let terms = longest && reason && break_glass && key && commands;
    speaks && terms && hours(earlier, later) && source(earlier, later)
}

/// Whether `earlier` is there whenever `later` is.
fn hours(earlier: &Allow, later: &Allow) -> bool {
    let Approval::Auto(earlier) = &earlier.approval else { return true };
    let (hours, review_by) = match &later.approval {
        Approval::Auto(auto) => (&auto.hours, auto.review_by),
        Approval::Steps(_) => (&None, None),
    };
    let same_hours = earlier.hours.is_none() || earlier.hours == *hours;
    let as_long = match (earlier.review_by, review_by) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(earlier), Some(later)) => later <= earlier,
    };
    same_hours && as_long
}

/// Whether `earlier` takes every request from where `later` does.
fn source(earlier: &Allow, later: &Allow) -> bool {
    match (&earlier.source, &later.source) {
        (SourceRule::Any, _) | (SourceRule::Client, SourceRule::Client) => true,
        // Each address of the later rule is one of the earlier rule's.
        (SourceRule::Only(earlier), SourceRule::Only(later)) => {
            later.iter().all(|range| earlier.iter().any(|wider| wider.covers(range)))
        }
        (SourceRule::Client | SourceRule::Only(_), _) => false,
    }
}

/// Whether `earlier` names everyone, every host and every login that `later` names, whoever and
/// whatever there is.
fn names_all(earlier: &Allow, later: &Allow) -> bool {
    let who = |earlier: &[Who], later: &[Who]| later.iter().all(|who| earlier.contains(who));
    let on_behalf = match (&earlier.on_behalf, &later.on_behalf) {
        (Some(earlier), Some(later)) => who(earlier, later),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    let covered =
        |narrow: &HostPattern| earlier.hosts.iter().any(|wide| names_within(narrow, wide));
    who(&earlier.who, &later.who)
        && on_behalf
        && later.hosts.iter().all(covered)
        && later.logins.iter().all(|login| earlier.logins.contains(login))
}

/// Whether every host that `narrow` could ever cover is covered by `wide`.
fn names_within(narrow: &HostPattern, wide: &HostPattern) -> bool {
    match (narrow, wide) {
        (narrow, wide) if narrow == wide => true,
        (_, HostPattern::Glob(glob)) if glob.as_str().bytes().all(|byte| byte == b'*') => true,
        (HostPattern::Name(name), HostPattern::Glob(glob)) => glob.matches(name.as_str()),
        (HostPattern::Labels(narrow), HostPattern::Labels(wide)) => {
            wide.iter().all(|label| narrow.contains(label))
        }
        _ => false,
    }
}

/// Whether `earlier` reaches everyone, every host and every login that `later` reaches today.
fn reaches_all(earlier: &View<'_>, later: &View<'_>) -> bool {
    later.logins.is_subset(&earlier.logins)
        && later.requesters.is_within(&earlier.requesters)
        && later.subjects.is_within(&earlier.subjects)
        && later.hosts.is_within(&earlier.covered)
}
