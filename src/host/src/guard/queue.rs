//! Who waits for their turn, each person in a lane of their own. No I/O.

use std::collections::{BTreeMap, VecDeque};

/// A queue in which nobody waits behind all that somebody else has brought.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    /// What each person waits for, oldest first; nobody has an empty lane.
    lanes: BTreeMap<String, VecDeque<T>>,
    /// Whose turn it is next.
    turns: VecDeque<String>,
    length: usize,
    room: usize,
}

impl<T> Queue<T> {
    /// An empty queue with room for so many.
    pub(crate) fn new(room: usize) -> Queue<T> {
        Queue { lanes: BTreeMap::new(), turns: VecDeque::new(), length: 0, room }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Whether nobody else may come now. Where one person has more than half of the room, others may:
    /// it is that person who has to make room.
    pub(crate) fn is_full(&self) -> bool {
        let longest = self.lanes.values().map(VecDeque::len).max().unwrap_or(0);
        self.length >= self.room && longest <= self.room / 2
    }

    /// Puts `item` at the end of this person's lane. Gives back who has no room, and whose it is: the
    /// newest of whoever has most.
    pub(crate) fn push(&mut self, who: &str, item: T) -> Option<(String, T)> {
        if !self.lanes.contains_key(who) {
            self.turns.push_back(who.to_owned());
        }
        self.lanes.entry(who.to_owned()).or_default().push_back(item);
        self.length = self.length.saturating_add(1);
        if self.length <= self.room {
            return None;
        }
        let (longest, lane) = self.lanes.iter_mut().max_by_key(|(_, lane)| lane.len())?;
        let (longest, last) = (longest.clone(), lane.pop_back()?);
        self.taken_from(&longest);
        Some((longest, last))
    }

    /// Takes the oldest of the person whose turn it is, who is behind all others then.
    pub(crate) fn next(&mut self) -> Option<T> {
        let who = self.turns.pop_front()?;
        let item = self.lanes.get_mut(&who)?.pop_front();
        self.turns.push_back(who.clone());
        self.taken_from(&who);
        item
    }

    /// One has gone from this person's lane.
    fn taken_from(&mut self, who: &str) {
        self.length = self.length.saturating_sub(1);
        if self.lanes.get(who).is_some_and(VecDeque::is_empty) {
            self.lanes.remove(who);
            self.turns.retain(|other| other != who);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(queue: &mut Queue<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.next()).collect()
    }

    #[test]
    fn persons_take_turns_and_each_keeps_their_own_order() {
        let mut queue = Queue::new(10);
        for item in 1..=4 {
            assert_eq!(queue.push("alice", item), None);
        }
        assert_eq!((queue.push("bob", 11), queue.push("carol", 21)), (None, None));
        assert_eq!(queue.next(), Some(1));
        assert_eq!(queue.push("bob", 12), None);
        assert_eq!(all(&mut queue), [11, 21, 2, 12, 3, 4]);
        assert_eq!((queue.len(), queue.next()), (0, None));
        // Whoever has gone is nobody who waits.
        assert_eq!(queue.push("bob", 13), None);
        assert_eq!(all(&mut queue), [13]);
    }

    #[test]
    fn where_there_is_no_room_it_goes_from_who_has_most() {
        let mut queue = Queue::new(4);
        for item in 1..=4 {
            assert_eq!(queue.push("alice", item), None);
        }
        assert!(!queue.is_full(), "others may come");
        assert_eq!(queue.push("alice", 5), Some(("alice".to_owned(), 5)));
        assert_eq!(queue.push("bob", 11), Some(("alice".to_owned(), 4)));
        assert!(!queue.is_full());
        assert_eq!(queue.push("bob", 12), Some(("alice".to_owned(), 3)));
        assert!(queue.is_full(), "nobody has more than half");
        assert_eq!(all(&mut queue), [1, 11, 2, 12]);
        assert!(!queue.is_full());
    }
}
