//! Finds the rules that may be about a request without asking every one of them: a thousand teams
//! with a rule each must not make each other's requests slower.

use std::collections::HashMap;

use super::host_pattern::HostPattern;
use super::hosts::Host;
use super::people::Actor;
use super::policy::{Allow, Deny, Selection};
use super::who::Who;
use crate::names::{HostName, LabelKey, LabelValue};

/// Places of rules in their file, by what they name first.
#[derive(Debug, Clone, Default)]
pub(super) struct RuleIndex {
    allow: HashMap<Who, Vec<usize>>,
    /// Deny rules that name people.
    deny_who: HashMap<Who, Vec<usize>>,
    /// Those that are about everyone, by a host's name, by one of its labels, and the others.
    deny_name: HashMap<HostName, Vec<usize>>,
    deny_label: HashMap<LabelKey, HashMap<LabelValue, Vec<usize>>>,
    deny_any: Vec<usize>,
}

impl RuleIndex {
    /// The index of these rules.
    pub(super) fn new(deny: &[Deny], allow: &[Allow]) -> RuleIndex {
        let mut index = RuleIndex::default();
        for (place, rule) in allow.iter().enumerate() {
            for who in &rule.who {
                index.allow.entry(who.clone()).or_default().push(place);
            }
        }
        for (place, rule) in deny.iter().enumerate() {
            index.add_deny(place, rule);
        }
        index
    }

    fn add_deny(&mut self, place: usize, rule: &Deny) {
        if let Selection::Only(who) = &rule.who {
            for who in who {
                self.deny_who.entry(who.clone()).or_default().push(place);
            }
            return;
        }
        let Selection::Only(patterns) = &rule.hosts else {
            self.deny_any.push(place);
            return;
        };
        for pattern in patterns {
            match pattern {
                HostPattern::Name(name) => {
                    self.deny_name.entry(name.clone()).or_default().push(place);
                }
                // A host must have all of the labels, so it has the first.
                HostPattern::Labels(labels) if !labels.is_empty() => {
                    for (key, value) in labels.iter().take(1) {
                        let values = self.deny_label.entry(key.clone()).or_default();
                        values.entry(value.clone()).or_default().push(place);
                    }
                }
                HostPattern::Labels(_) | HostPattern::Glob(_) => self.deny_any.push(place),
            }
        }
    }

    /// Places of the allow rules that name `requester`, rising.
    pub(super) fn allow(&self, requester: &Actor) -> Vec<usize> {
        sorted(Who::all_of(requester).filter_map(|who| self.allow.get(&who)))
    }

    /// Places of the deny rules that may touch one of `actors` on one of `hosts`, rising.
    pub(super) fn deny(&self, actors: &[&Actor], hosts: &[&Host]) -> Vec<usize> {
        let by_who = actors
            .iter()
            .flat_map(|actor| Who::all_of(actor))
            .filter_map(|who| self.deny_who.get(&who));
        let by_name = hosts.iter().filter_map(|host| self.deny_name.get(&host.name));
        let by_label = hosts
            .iter()
            .flat_map(|host| host.labels.iter())
            .filter_map(|(key, value)| self.deny_label.get(key)?.get(value));
        sorted(by_who.chain(by_name).chain(by_label).chain([&self.deny_any]))
    }
}

fn sorted<'i>(places: impl Iterator<Item = &'i Vec<usize>>) -> Vec<usize> {
    let mut all: Vec<usize> = places.flatten().copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}
