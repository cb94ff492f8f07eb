//! What somebody may do under one bundle.

use std::collections::BTreeMap;

use super::sides::{Roles, Side};
use crate::bundle::{Approval, Selection};
use crate::names::Login;
use crate::policy::set::Set;
use crate::time::Seconds;

/// What somebody may do under one bundle. Sets are of kinds of hosts.
#[derive(Default)]
pub(super) struct Rights<'s> {
    /// May ask for themselves, for so long, as so: each host under its longest time.
    pub(super) ask: BTreeMap<&'s Login, Lasting>,
    /// Would get in by asking, without anybody's approval: as the first rule has it.
    pub(super) auto: BTreeMap<&'s Login, Set>,
    /// May go ahead without the approvals, for a second reason.
    pub(super) break_glass: BTreeMap<&'s Login, Set>,
    /// A machine may ask for them.
    pub(super) through: BTreeMap<&'s Login, Lasting>,
    /// May ask for others.
    pub(super) ask_for: BTreeMap<&'s Login, Lasting>,
    /// May approve.
    pub(super) approve: Set,
}

/// Hosts by the longest access there. No host is in two sets.
#[derive(Default)]
pub(super) struct Lasting(pub(super) BTreeMap<Seconds, Set>);

impl Lasting {
    /// All hosts.
    pub(super) fn hosts(&self) -> Set {
        let mut all = Set::default();
        self.0.values().for_each(|set| all.add(set));
        all
    }

    fn add(&mut self, longest: Seconds, hosts: &Set) {
        let mut left = hosts.clone();
        for (known, theirs) in &mut self.0 {
            if *known >= longest {
                left.remove_all(theirs);
            } else {
                theirs.remove_all(&left);
            }
        }
        self.0.entry(longest).or_default().add(&left);
        self.0.retain(|_, hosts| !hosts.is_empty());
    }
}

impl<'s> Rights<'s> {
    /// What somebody with these roles may do.
    pub(super) fn of(roles: &Roles, side: &'s Side<'_>) -> Rights<'s> {
        let mut rights = Rights::default();
        let policy = &side.bundle.policy;
        let allow = |places: &[usize]| {
            let places: Vec<usize> = places.to_vec();
            places
                .into_iter()
                .filter_map(|place| Some((policy.allow.get(place)?, side.allow.get(place)?)))
        };
        // Which hosts an earlier rule has decided already.
        let mut decided: BTreeMap<&Login, Set> = BTreeMap::new();
        for (rule, hosts) in allow(&roles.asks) {
            for (login, hosts) in offering(&rule.logins, hosts, side) {
                let hosts = hosts.without(&denied(roles, side, login));
                if hosts.is_empty() {
                    continue;
                }
                rights.ask.entry(login).or_default().add(rule.max_for, &hosts);
                if rule.break_glass.is_some() {
                    rights.break_glass.entry(login).or_default().add(&hosts);
                }
                let decided = decided.entry(login).or_default();
                if matches!(rule.approval, Approval::Auto(_)) {
                    rights.auto.entry(login).or_default().add(&hosts.without(decided));
                }
                // What is for single commands decides nothing else.
                if rule.commands.is_none() {
                    decided.add(&hosts);
                }
            }
        }
        for (roles_of, into) in
            [(&roles.through, &mut rights.through), (&roles.asks_for, &mut rights.ask_for)]
        {
            for (rule, hosts) in allow(roles_of) {
                for (login, hosts) in offering(&rule.logins, hosts, side) {
                    let hosts = hosts.without(&denied(roles, side, login));
                    if !hosts.is_empty() {
                        into.entry(login).or_default().add(rule.max_for, &hosts);
                    }
                }
            }
        }
        for (rule, hosts) in allow(&roles.approves) {
            offering(&rule.logins, hosts, side).for_each(|(_, hosts)| rights.approve.add(&hosts));
        }
        rights
    }
}

/// Of some hosts those that offer each of these logins.
fn offering<'s>(
    logins: &'s [Login],
    hosts: &Set,
    side: &Side<'_>,
) -> impl Iterator<Item = (&'s Login, Set)> {
    logins.iter().filter_map(move |login| {
        let hosts = hosts.and(side.offered.get(login)?);
        (!hosts.is_empty()).then_some((login, hosts))
    })
}

/// Where a login is forbidden to somebody.
fn denied(roles: &Roles, side: &Side<'_>, login: &Login) -> Set {
    let mut all = Set::default();
    for place in &roles.denied {
        let rule = side.bundle.policy.deny.get(*place).zip(side.deny.get(*place));
        let about = rule.filter(|(rule, _)| match &rule.logins {
            Selection::All => true,
            Selection::Only(logins) => logins.contains(login),
        });
        about.into_iter().for_each(|(_, hosts)| all.add(hosts));
    }
    all
}
