//! The names that rules may use, and the check that a name in a rule is one of them.
//!
//! A rule that names what is not there is a slip that would make it mean something else than its
//! author thinks, so it is refused. A glob or label that fits no host yet is fine, and so are names and
//! logins that an enroller may give.

use super::host_pattern::HostPattern;
use super::hosts::Hosts;
use super::people::People;
use super::policy::Selection;
use super::reader::{Empty, Item};
use super::who::Who;
use crate::names::Login;

/// What rules may refer to; `None` where that file could not be read, and nothing is checked.
#[derive(Clone, Copy)]
pub(super) struct Known<'k> {
    pub(super) people: Option<&'k People>,
    pub(super) hosts: Option<&'k Hosts>,
}

impl Known<'_> {
    /// People who are all there.
    pub(super) fn who(self, item: Item<'_>) -> Option<Vec<Who>> {
        item.unique(Empty::Refused, |item| self.one_who(item)).whole()
    }

    /// Someone who is there, in the role that is named.
    pub(super) fn one_who(self, item: Item<'_>) -> Option<Who> {
        let who = item.parse::<Who>()?;
        let Some(people) = self.people else {
            return Some(who);
        };
        let ids_of = |persons: bool| {
            let actors = people.iter().filter(move |actor| actor.is_person() == persons);
            actors.map(|actor| actor.id.as_str())
        };
        match &who {
            Who::Person(id) | Who::Machine(id) => {
                let wants_person = matches!(who, Who::Person(_));
                let (kind, other) =
                    if wants_person { ("person", "machine") } else { ("machine", "person") };
                match people.get(id) {
                    Some(actor) if actor.is_person() == wants_person => return Some(who),
                    Some(_) => item.problem_with_help(
                        format!("`{id}` is not a {kind}"),
                        format!("write `{other}:{id}`"),
                    ),
                    None => {
                        let message = format!("there is no {kind} `{id}`");
                        item.unknown(message, id.as_str(), ids_of(wants_person));
                    }
                }
            }
            Who::Group(group) => {
                if people.persons_in(group).is_some() {
                    return Some(who);
                }
                let names = people.groups().map(|group| group.as_str());
                item.unknown(format!("nobody is in a group `{group}`"), group.as_str(), names);
            }
        }
        None
    }

    /// Persons, or groups with persons in them. `no_machine` says why a machine can not stand here.
    pub(super) fn persons(
        self,
        item: Item<'_>,
        empty: Empty,
        no_machine: &str,
    ) -> Option<Vec<Who>> {
        item.unique(empty, |item| {
            let who = self.one_who(item)?;
            match &who {
                Who::Person(_) => return Some(who),
                Who::Machine(_) => item.problem(no_machine.to_owned()),
                Who::Group(group) => {
                    if self.people.and_then(|people| people.persons_in(group)) != Some(0) {
                        return Some(who);
                    }
                    item.problem(format!("there is no person in group `{group}`"));
                }
            }
            None
        })
        .whole()
    }

    /// Machines, or groups with machines in them: who may ask on behalf of others.
    pub(super) fn machines(self, item: Item<'_>) -> Option<Vec<Who>> {
        item.unique(Empty::Refused, |item| {
            let who = self.one_who(item)?;
            let message = match &who {
                Who::Machine(_) => return Some(who),
                Who::Person(id) => format!("`{id}` is a person, and can not ask for others"),
                Who::Group(group) => {
                    if self.people.and_then(|people| people.machines_in(group)) != Some(0) {
                        return Some(who);
                    }
                    format!(
                        "there is no machine in group `{group}`, and persons can not ask for others"
                    )
                }
            };
            item.problem_with_help(
                message,
                "beside `on_behalf`, name machines only; give persons a rule of their own",
            );
            None
        })
        .whole()
    }

    /// Host patterns; hosts that are named exactly are there.
    pub(super) fn hosts(self, item: Item<'_>) -> Option<Vec<HostPattern>> {
        item.unique(Empty::Refused, |item| {
            let pattern = item.parse::<HostPattern>()?;
            match (&pattern, self.hosts) {
                (HostPattern::Name(name), Some(hosts))
                    if hosts.get(name).is_none() && !hosts.enrollers.may_name(name) =>
                {
                    let names = hosts.iter().map(|host| host.name.as_str());
                    item.unknown(format!("there is no host `{name}`"), name.as_str(), names);
                    None
                }
                _ => Some(pattern),
            }
        })
        .whole()
    }

    /// The logins of a rule about `patterns`: each must be offered by a host that the rule covers.
    pub(super) fn logins(
        self,
        item: Item<'_>,
        patterns: Option<&Selection<HostPattern>>,
    ) -> Option<Vec<Login>> {
        let covered = self.hosts.zip(patterns).map(|(hosts, patterns)| {
            hosts.iter().filter(move |host| match patterns {
                Selection::All => true,
                Selection::Only(patterns) => patterns.iter().any(|pattern| pattern.covers(host)),
            })
        });
        // A rule that covers no host yet can not be wrong about its hosts' logins.
        let covered = covered.filter(|hosts| hosts.clone().next().is_some());
        item.unique(Empty::Refused, |item| {
            let login = item.parse::<Login>()?;
            let may_join = |hosts: &Hosts| {
                hosts.enrollers.iter().any(|enroller| enroller.logins.contains(&login))
            };
            if let Some(hosts) = &covered
                && !hosts.clone().any(|host| host.logins.contains(&login))
                && !self.hosts.is_some_and(may_join)
            {
                let offered = hosts.clone().flat_map(|host| host.logins.iter().map(Login::as_str));
                let message = format!("no host of this rule has the login `{login}`");
                item.unknown(message, login.as_str(), offered);
                return None;
            }
            Some(login)
        })
        .whole()
    }
}
