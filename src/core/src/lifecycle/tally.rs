//! Who counts for which approval step.
//!
//! One person counts once over all steps, so this is a matching of persons to places in steps.
//! Approvals are taken in the order in which they were given; each counts if all that counted before
//! still have a place beside it. So the persons who count do not depend on the order in which the
//! statements became known, and an approval that counted is never put aside by a later one.

use crate::names::ActorId;

/// How far one step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepTally {
    /// Approvals the step asks for; never zero.
    pub needed: usize,
    /// Approvals that count for it.
    pub given: usize,
}

/// Persons and the steps they count for.
pub(super) struct Tally<'c> {
    steps: Vec<Places<'c>>,
}

struct Places<'c> {
    needed: usize,
    /// Who has a place, with all steps that each could count for.
    taken: Vec<Candidate<'c>>,
}

/// A person with the steps, by place, that their approval is good for.
#[derive(Clone)]
pub(super) struct Candidate<'c> {
    pub(super) person: &'c ActorId,
    pub(super) steps: Vec<usize>,
}

impl<'c> Tally<'c> {
    /// Steps that ask for so many persons each.
    pub(super) fn new(needed: impl Iterator<Item = usize>) -> Tally<'c> {
        Tally { steps: needed.map(|needed| Places { needed, taken: Vec::new() }).collect() }
    }

    /// Counts a person if there is a place; whether there was.
    pub(super) fn add(&mut self, candidate: Candidate<'c>) -> bool {
        !self.has(candidate.person) && self.place(candidate, &mut vec![false; self.steps.len()])
    }

    /// Gives the candidate a place, moving others to their other steps where that makes one.
    fn place(&mut self, candidate: Candidate<'c>, tried: &mut [bool]) -> bool {
        for step in candidate.steps.clone() {
            match tried.get_mut(step) {
                Some(tried) if !*tried => *tried = true,
                _ => continue,
            }
            let Some(places) = self.steps.get_mut(step) else { continue };
            if places.taken.len() < places.needed {
                places.taken.push(candidate);
                return true;
            }
            let others = places.taken.clone();
            for (seat, other) in others.into_iter().enumerate() {
                if self.place(other, tried) {
                    if let Some(seat) = self.steps.get_mut(step).and_then(|p| p.taken.get_mut(seat))
                    {
                        *seat = candidate;
                    }
                    return true;
                }
            }
        }
        false
    }

    fn has(&self, person: &ActorId) -> bool {
        self.steps.iter().any(|places| places.taken.iter().any(|seat| seat.person == person))
    }

    /// Whether every place is taken.
    pub(super) fn is_complete(&self) -> bool {
        self.steps.iter().all(|places| places.taken.len() == places.needed)
    }

    /// How far each step is.
    pub(super) fn steps(&self) -> Vec<StepTally> {
        let tally =
            |places: &Places<'_>| StepTally { needed: places.needed, given: places.taken.len() };
        self.steps.iter().map(tally).collect()
    }
}
