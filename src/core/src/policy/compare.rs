//! Who may do what after a change that they may not now, and the other way round.
//!
//! By meaning, not by text: what is compared is who could ask, approve or break the glass where and
//! as whom, and who could read everything, under the one bundle and under the other, whichever rules say so. A rule that is renamed,
//! split or said in other words changes nothing. A host that is new, or gone, is looked at as if it
//! were there in both, so that only what a rule or a label makes of it is told.
//!
//! - `sides`: both bundles over the same people and hosts; `rights`: what one may do under one of them;
//! - `words`: how a change reads; `reworked`: what changes in the rules though nobody gains or loses.

mod reworked;
mod rights;
mod sides;
mod words;

use std::collections::BTreeMap;

use crate::bundle::Bundle;
use crate::names::{ActorId, GroupName, RuleName};
pub use reworked::{Reworked, reworked};
use sides::Sides;

/// Something that some people gain or lose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shift {
    /// Which of both.
    pub direction: Direction,
    /// What, such as `ask as deploy on web-* for up to 30m`.
    pub what: String,
    /// The rules that give it; what is lost was given by them. None where no rule does, as for auditors.
    pub rules: Vec<RuleName>,
    /// Who, sorted; never empty.
    pub who: Vec<ActorId>,
    /// A group that holds all of them, the smallest there is, if they are several.
    pub group: Option<GroupName>,
}

/// Whether something is gained or lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// It was not so, and will be.
    Gains,
    /// It was so, and will not be.
    Loses,
}

/// What people gain and lose by going from `old` to `new`: losses first.
pub fn compare(old: &Bundle, new: &Bundle) -> Vec<Shift> {
    let sides = Sides::of(old, new);
    let mut told: BTreeMap<(Direction, String, Vec<RuleName>), Vec<ActorId>> = BTreeMap::new();
    for (kind, ids) in &sides.actors {
        for said in words::changes(kind, &sides) {
            told.entry(said).or_default().extend(ids.iter().map(|id| (*id).clone()));
        }
    }
    let mut shifts: Vec<Shift> = told
        .into_iter()
        .map(|((direction, what, rules), mut who)| {
            who.sort_unstable();
            let group = match direction {
                Direction::Gains => sides::smallest_group(&who, &new.people),
                Direction::Loses => sides::smallest_group(&who, &old.people),
            };
            Shift { direction, what, rules, who, group }
        })
        .collect();
    shifts.sort_by(|a, b| {
        let key = |shift: &Shift| (shift.direction == Direction::Gains, shift.who.first().cloned());
        key(a).cmp(&key(b))
    });
    shifts
}

#[cfg(test)]
mod tests;
