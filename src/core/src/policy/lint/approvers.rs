//! Approvals that can not be given: by nobody at all, or not to some of those who may ask.
//!
//! One person counts once over all steps, so this is a matching of persons to places in steps. By
//! Hall's theorem there is one exactly if no choice of steps asks for more persons than it names. Who
//! asks does not count: a choice of steps that names just as many as it asks for is lost to everyone
//! it names. There are at most 8 steps, so every choice is looked at.

use std::collections::{BTreeMap, HashMap};

use super::place::Field;
use super::{Kind, Lint, Severity, View};
use crate::bundle::{Approval, Steps};
use crate::policy::set::Set;

/// Most names of one finding.
const SHOWN: usize = 5;

/// Who is left without approvals.
enum Stuck {
    /// Everyone: the steps ask for more persons with such keys than there are.
    All,
    /// These, who would have to approve for themselves.
    These(Set),
}

impl Lint<'_, '_, '_> {
    /// Rules whose approvals can not be given.
    pub(super) fn approvals(&mut self) {
        let mut found = Vec::new();
        for view in &self.views {
            let Approval::Steps(steps) = &view.rule.approval else { continue };
            if view.requesters.is_empty() || view.subjects.is_empty() {
                continue;
            }
            let name = view.rule.name.clone();
            match self.stuck(view, steps) {
                None => {}
                Some(Stuck::All) => found.push((
                    Severity::Error,
                    Kind::Unsatisfiable,
                    name.clone(),
                    format!(
                        "nobody can get in under `{name}`: there are not enough persons with keys of the strength it asks for"
                    ),
                    "list security keys (sk-*) for them in people.toml, or ask for fewer or weaker approvals",
                )),
                Some(Stuck::These(stuck)) if view.subjects.is_within(&stuck) => found.push((
                    Severity::Error,
                    Kind::Unsatisfiable,
                    name.clone(),
                    format!(
                        "nobody can get in under `{name}`: each would have to approve for themselves ({})",
                        self.list(&stuck)
                    ),
                    "name more persons in `from`, or lower a `count`",
                )),
                Some(Stuck::These(stuck)) => found.push((
                    Severity::Warning,
                    Kind::OwnApproval,
                    name.clone(),
                    format!(
                        "under `{name}` nobody can let in {}: without them there are too few who could approve",
                        self.list(&stuck)
                    ),
                    "name more persons in `from`, or leave these to another rule",
                )),
            }
        }
        for (severity, kind, rule, message, help) in found {
            self.note((severity, kind), (&rule, Field::Approvals), message, help);
        }
    }

    /// Who can not get the approvals; `None` if all can.
    fn stuck(&self, view: &View<'_>, steps: &Steps) -> Option<Stuck> {
        let mut steps_of: HashMap<usize, u8> = HashMap::new();
        let bits = || (0..8u32).map(|place| 1u8 << place);
        for (bit, step) in bits().zip(steps) {
            let persons = self.crowd.able(&self.crowd.persons(&step.from), step.strength);
            for person in persons.iter() {
                *steps_of.entry(person).or_default() |= bit;
            }
        }
        let mut persons: BTreeMap<u8, usize> = BTreeMap::new();
        for steps in steps_of.values() {
            let known = persons.entry(*steps).or_default();
            *known = known.saturating_add(1);
        }
        let all = bits().zip(steps).fold(0u8, |all, (bit, _)| all | bit);
        // The steps of all choices that have nobody to spare.
        let mut tight = Vec::new();
        for choice in 1..=all {
            let chosen = bits().zip(steps).filter(|(bit, _)| choice & bit != 0);
            let asked: usize = chosen.map(|(_, step)| usize::from(step.count.get())).sum();
            let named: usize =
                persons.iter().filter(|(of, _)| choice & **of != 0).map(|(_, count)| *count).sum();
            if asked > named {
                return Some(Stuck::All);
            }
            if asked == named {
                tight.push(choice);
            }
        }
        let is_lost = |person: &usize| {
            steps_of.get(person).is_some_and(|of| tight.iter().any(|choice| choice & of != 0))
        };
        let lost: Set = view.subjects.iter().filter(is_lost).collect();
        (!lost.is_empty()).then_some(Stuck::These(lost))
    }

    fn list(&self, who: &Set) -> String {
        let (ids, count) = self.crowd.names(who, SHOWN);
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        match count.saturating_sub(ids.len()) {
            0 => ids.join(", "),
            more => format!("{} and {more} more", ids.join(", ")),
        }
    }
}
