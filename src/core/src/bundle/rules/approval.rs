//! Reads who must approve, and checks that it can be done.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU8;

use crate::bundle::known::Known;
use crate::bundle::people::People;
use crate::bundle::policy::{Approval, Auto, Step, Steps, Strength};
use crate::bundle::reader::{Empty, Item, Table};
use crate::bundle::who::Who;

impl Known<'_> {
    /// Exactly one of `approvals` and `auto`: a rule without either approves nothing by accident.
    pub(super) fn approval(self, table: &mut Table<'_>) -> Option<Approval> {
        match (table.optional("approvals"), table.optional("auto")) {
            (Some(steps), None) => self.steps(steps).map(Approval::Steps),
            (None, Some(item)) => auto(item).map(Approval::Auto),
            (Some(_), Some(auto)) => {
                auto.problem("a rule has either `approvals` or `auto`, not both".to_owned());
                None
            }
            (None, None) => {
                table.problem(
                    "[[allow]] lacks the field `approvals`, or `auto = {}` to need none".to_owned(),
                );
                None
            }
        }
    }

    fn steps(self, item: Item<'_>) -> Option<Steps> {
        let items = item.list(Empty::Refused)?;
        let surplus = items.get(MAX_STEPS).copied();
        // All are read, so that all problems are found; none may be missing.
        let steps: Vec<_> = items.into_iter().map(|item| self.step(item)).collect();
        if let Some(surplus) = surplus {
            surplus.problem(format!("a rule has at most {MAX_STEPS} approval steps"));
            return None;
        }
        let steps = steps.into_iter().collect::<Option<Vec<_>>>()?;
        if let Some(people) = self.people
            && let Some(shortage) = Shortage::of(&steps, people)
        {
            item.problem_with_help(
                shortage.to_string(),
                "one person counts once over all steps: lower a `count`, or name more persons in one `from`",
            );
            return None;
        }
        Steps::new(steps)
    }

    fn step(self, item: Item<'_>) -> Option<Step> {
        let mut table = item.table("an approval step")?;
        let from = table
            .required("from")
            .and_then(|item| self.persons(item, Empty::Refused, "a machine can not approve"));
        let count = table.required("count").and_then(|item| {
            let count = item.integer(1, u32::from(u8::MAX))?;
            let count = u8::try_from(count).ok().and_then(NonZeroU8::new)?;
            if let Some(from) = &from {
                self.check_enough(item, count, from)?;
            }
            Some(count)
        });
        let strength = table.or("strength", Strength::Any, Item::parse);
        table.finish();
        Some(Step { from: from?, count: count?, strength: strength? })
    }

    fn check_enough(self, item: Item<'_>, count: NonZeroU8, from: &[Who]) -> Option<()> {
        let Some(people) = self.people else {
            return Some(());
        };
        let count = usize::from(count.get());
        let approvers = some_of(people, from, count).len();
        if approvers == count {
            return Some(());
        }
        item.problem_with_help(
            format!("{count} approvals are asked of {approvers} persons: nobody could satisfy it"),
            "lower `count`, or name more persons in `from`",
        );
        None
    }
}

fn auto(item: Item<'_>) -> Option<Auto> {
    let mut table = item.table("auto")?;
    let hours = table.or("hours", None, |item| item.parse().map(Some));
    let review_by = table.or("review_by", None, |item| item.parse().map(Some));
    table.finish();
    Some(Auto { hours: hours?, review_by: review_by? })
}

/// Steps that ask for more persons than they name together.
#[derive(Debug, thiserror::Error)]
#[error(
    "steps {} together ask for {asked} persons and name only {named}: nobody could satisfy them",
    .steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
)]
struct Shortage {
    /// Which, counted from 1.
    steps: Vec<usize>,
    asked: usize,
    named: usize,
}

impl Shortage {
    /// The fewest of `steps` that can not be satisfied by distinct persons; `None` if all can.
    ///
    /// Hall's theorem: distinct persons can be found for all steps exactly if no choice of steps
    /// asks for more persons than it names. There are few steps, so every choice is looked at.
    fn of(steps: &[Step], people: &People) -> Option<Shortage> {
        if steps.len() < 2 {
            return None;
        }
        let count = |step: &Step| usize::from(step.count.get());
        let total = steps.iter().map(count).fold(0, usize::saturating_add);
        let bits = || (0..MAX_STEPS).map(|place| 1u8 << place);

        // In which steps each person is. A step that names as many as all steps ask for is never
        // short, so more need not be looked at: a group may hold everyone.
        let mut steps_of: HashMap<usize, u8> = HashMap::new();
        for (bit, step) in bits().zip(steps) {
            for person in some_of(people, &step.from, total) {
                *steps_of.entry(person).or_default() |= bit;
            }
        }
        let mut persons: BTreeMap<u8, usize> = BTreeMap::new();
        for same in steps_of.into_values() {
            let known = persons.entry(same).or_default();
            *known = known.saturating_add(1);
        }

        let chosen =
            |choice: u8| bits().zip(steps).zip(1..).filter(move |((bit, _), _)| choice & bit != 0);
        let all = bits().zip(steps).fold(0u8, |all, (bit, _)| all | bit);
        let shortages = (1..=all).filter_map(|choice| {
            let asked = chosen(choice).map(|((_, step), _)| count(step)).sum();
            let named = persons.iter().filter(|(of, _)| choice & **of != 0).map(|(_, n)| n).sum();
            let steps = || chosen(choice).map(|(_, number)| number).collect();
            (asked > named).then(|| Shortage { steps: steps(), asked, named })
        });
        shortages.min_by_key(|shortage| shortage.steps.len())
    }
}

/// The places of distinct persons that `from` names: all of them, or `most`.
fn some_of(people: &People, from: &[Who], most: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    for place in people.places(from) {
        if found.len() >= most {
            break;
        }
        found.insert(place);
    }
    found
}

/// Every choice of steps is looked at; more than this nobody would wait for.
const MAX_STEPS: usize = 8;
