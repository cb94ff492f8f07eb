//! Rules for nobody or nowhere, rules that reach further than one thinks, and groups without persons.

use super::place::Field;
use super::{Finding, Kind, Lint, Severity};
use crate::bundle::{Deny, HostPattern, Selection, Strength, Who};
use crate::names::RuleName;

/// A finding before it has its place.
struct Said {
    severity: Severity,
    kind: Kind,
    rule: RuleName,
    field: Field,
    message: String,
    help: &'static str,
}

impl Lint<'_, '_, '_> {
    /// What is to be said of whom and what the rules reach.
    pub(super) fn reach(&mut self) {
        let allow = (0..self.views.len()).flat_map(|place| self.allow(place));
        let deny = self.bundle.policy.deny.iter().filter_map(|rule| self.idle(rule));
        let said: Vec<Said> = allow.chain(deny).collect();
        for Said { severity, kind, rule, field, message, help } in said {
            self.note((severity, kind), (&rule, field), message, help);
        }
        self.auditors();
    }

    fn allow(&self, place: usize) -> Vec<Said> {
        let Some(view) = self.views.get(place) else { return Vec::new() };
        let rule = view.rule;
        let mut said = Vec::new();
        let mut say = |severity, kind, field, message, help| {
            said.push(Said { severity, kind, rule: rule.name.clone(), field, message, help });
        };
        if view.requesters.is_empty() {
            say(
                Severity::Error,
                Kind::NobodyAsks,
                Field::Who,
                format!("nobody can ask under `{}`: none of `who` is there to do so", rule.name),
                "name somebody in `who`, or take the rule out",
            );
        } else if view.subjects.is_empty() {
            say(
                Severity::Error,
                Kind::NobodyAsks,
                Field::OnBehalf,
                format!(
                    "nobody can be asked for under `{}`: `on_behalf` holds no person",
                    rule.name
                ),
                "name persons in `on_behalf`, or take the rule out",
            );
        }
        let may_come = || {
            let enrollers = &self.bundle.hosts.enrollers;
            rule.hosts.iter().any(|pattern| enrollers.may_make(pattern))
        };
        if view.covered.is_empty() && !may_come() {
            say(
                Severity::Warning,
                Kind::NoHost,
                Field::Hosts,
                format!("`{}` covers no host that is there", rule.name),
                "look for a slip in the names and labels, or keep it for hosts that come later",
            );
        }
        if let Some(pattern) = rule.hosts.iter().find(|pattern| is_everything(pattern)) {
            say(
                Severity::Warning,
                Kind::EveryHost,
                Field::Hosts,
                format!(
                    "`{}` covers every host, those that come later too: `{pattern}`",
                    rule.name
                ),
                "name hosts or labels, so that a new host is nobody's by accident",
            );
        }
        if let Some(break_glass) = &rule.break_glass {
            if break_glass.strength == Strength::Any {
                say(
                    Severity::Warning,
                    Kind::WeakBreakGlass,
                    Field::BreakGlass,
                    format!(
                        "under `{}` any key of a requester is enough to go ahead without approvals",
                        rule.name
                    ),
                    "give break_glass the strength \"hardware\": then somebody must touch a key",
                );
            } else if !view.requesters.is_empty()
                && self.crowd.able(&view.requesters, break_glass.strength).is_empty()
            {
                say(
                    Severity::Warning,
                    Kind::NobodyBreaksGlass,
                    Field::BreakGlass,
                    format!(
                        "nobody can go ahead without approvals under `{}`: nobody of `who` has a security key",
                        rule.name
                    ),
                    "list a security key (sk-*) for them in people.toml, or take break_glass out",
                );
            }
            for who in self.without_persons(&break_glass.notify) {
                say(
                    Severity::Warning,
                    Kind::EmptyGroup,
                    Field::BreakGlass,
                    format!("`{}` tells {who}, and no person is in it", rule.name),
                    "name a group with persons in it, or take it out of `notify`",
                );
            }
        }
        said
    }

    fn idle(&self, rule: &Deny) -> Option<Said> {
        let hosts = self.hosts.selected(&rule.hosts);
        let nobody = match &rule.who {
            Selection::All => self.crowd.actors.is_empty(),
            Selection::Only(who) => self.crowd.named(who).is_empty(),
        };
        let may_come = match &rule.hosts {
            Selection::All => false,
            Selection::Only(patterns) => {
                patterns.iter().any(|pattern| self.bundle.hosts.enrollers.may_make(pattern))
            }
        };
        let nothing = match &rule.logins {
            _ if may_come => false,
            Selection::All => hosts.is_empty(),
            Selection::Only(logins) => self.hosts.offering(&hosts, logins).0.is_empty(),
        };
        let (field, what) = match (nobody, nothing) {
            (true, _) => (Field::Who, "nobody there is meant"),
            (_, true) => (Field::Hosts, "no host there is meant"),
            (false, false) => return None,
        };
        // Before the first people and hosts every rule is idle, and that is no news.
        if self.crowd.actors.is_empty() || self.hosts.kinds.is_empty() {
            return None;
        }
        Some(Said {
            severity: Severity::Warning,
            kind: Kind::IdleDeny,
            rule: rule.name.clone(),
            field,
            message: format!("the deny rule `{}` forbids nothing: {what}", rule.name),
            help: "look for a slip in the names and labels, or keep it for what comes later",
        })
    }

    fn auditors(&mut self) {
        let empty: Vec<Who> = self.without_persons(&self.bundle.policy.auditors).cloned().collect();
        for who in empty {
            let at = self.places.diagnostic(
                None,
                Field::Auditors,
                format!("{who} may read all requests and the log, and no person is in it"),
                "name a group with persons in it, or take it out of `auditors`",
            );
            let (severity, kind) = (Severity::Warning, Kind::EmptyGroup);
            self.found.push(Finding { severity, kind, rule: None, at });
        }
    }

    /// The groups among these that no person is in.
    fn without_persons<'w>(&self, who: &'w [Who]) -> impl Iterator<Item = &'w Who> {
        who.iter().filter(|who| match who {
            Who::Group(group) => self.bundle.people.persons_in(group).unwrap_or(0) == 0,
            Who::Person(_) | Who::Machine(_) => false,
        })
    }
}

/// A glob that any name fits.
fn is_everything(pattern: &HostPattern) -> bool {
    match pattern {
        HostPattern::Glob(glob) => {
            let text = glob.as_str();
            text.contains('*') && text.bytes().all(|byte| b"*?".contains(&byte))
        }
        HostPattern::Name(_) | HostPattern::Labels(_) => false,
    }
}
