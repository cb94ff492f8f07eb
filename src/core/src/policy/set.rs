//! Sets of small numbers, for questions about everyone and every host at once.

/// A set of places in a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Set {
    words: Vec<u64>,
}

const BITS: usize = 64;

impl Set {
    /// Adds a place.
    pub(super) fn insert(&mut self, place: usize) {
        let (word, bit) = (place / BITS, place % BITS);
        if self.words.len() <= word {
            self.words.resize(word.saturating_add(1), 0);
        }
        if let Some(word) = self.words.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    /// Adds all of `other`.
    pub(super) fn add(&mut self, other: &Set) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine |= theirs;
        }
    }

    /// Takes out all of `other`.
    pub(super) fn remove_all(&mut self, other: &Set) {
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine &= !theirs;
        }
    }

    /// What both hold.
    pub(super) fn and(&self, other: &Set) -> Set {
        let words = self.words.iter().zip(&other.words).map(|(mine, theirs)| mine & theirs);
        Set { words: words.collect() }
    }

    /// What is here and not in `other`.
    pub(super) fn without(&self, other: &Set) -> Set {
        let mut left = self.clone();
        left.remove_all(other);
        left
    }

    /// Whether all of it is in `other`.
    pub(super) fn is_within(&self, other: &Set) -> bool {
        let theirs = other.words.iter().copied().chain(std::iter::repeat(0));
        self.words.iter().zip(theirs).all(|(mine, theirs)| mine & !theirs == 0)
    }

    /// Whether the two have something in common.
    pub(super) fn meets(&self, other: &Set) -> bool {
        self.words.iter().zip(&other.words).any(|(mine, theirs)| mine & theirs != 0)
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// The places, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(place, word)| {
            let start = place.saturating_mul(BITS);
            let set = move |bit: &usize| word & (1u64 << bit) != 0;
            (0..BITS).filter(set).map(move |bit| start.saturating_add(bit))
        })
    }
}

impl FromIterator<usize> for Set {
    fn from_iter<I: IntoIterator<Item = usize>>(places: I) -> Set {
        let mut set = Set::default();
        places.into_iter().for_each(|place| set.insert(place));
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sets_do_what_sets_of_the_library_do(
            a in prop::collection::btree_set(0usize..300, 0..20),
            b in prop::collection::btree_set(0usize..300, 0..20),
        ) {
            let set = |from: &BTreeSet<usize>| from.iter().copied().collect::<Set>();
            let back = |set: &Set| set.iter().collect::<BTreeSet<usize>>();
            let (x, y) = (set(&a), set(&b));
            prop_assert_eq!(back(&x.and(&y)), &a & &b);
            prop_assert_eq!(back(&x.without(&y)), &a - &b);
            let mut both = x.clone();
            both.add(&y);
            prop_assert_eq!(back(&both), &a | &b);
            prop_assert_eq!(x.is_within(&y), a.is_subset(&b));
            prop_assert_eq!(x.meets(&y), !a.is_disjoint(&b));
            prop_assert_eq!(x.is_empty(), a.is_empty());
        }
    }
}
