//! How rules name people: `person:ID`, `machine:ID`, `group:NAME`.

use std::fmt;
use std::str::FromStr;

use super::people::Actor;
use super::reader::quote;
use crate::names::{ActorId, GroupName, NameError};

/// One person, one machine, or everyone in a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// The person with this id; never a machine.
    Person(ActorId),
    /// The machine with this id; never a person.
    Machine(ActorId),
    /// Everyone in the group, persons and machines.
    Group(GroupName),
}

impl Who {
    /// Every way in which a rule can name `actor`: themselves first, then their groups.
    pub fn all_of(actor: &Actor) -> impl Iterator<Item = Who> {
        let own = if actor.is_person() {
            Who::Person(actor.id.clone())
        } else {
            Who::Machine(actor.id.clone())
        };
        std::iter::once(own).chain(actor.groups.iter().cloned().map(Who::Group))
    }

    /// Whether `actor` is meant. Exact: no prefix, no case folding.
    pub fn covers(&self, actor: &Actor) -> bool {
        match self {
            Who::Person(id) => actor.is_person() && actor.id == *id,
            Who::Machine(id) => !actor.is_person() && actor.id == *id,
            Who::Group(group) => actor.groups.contains(group),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Person(id) => write!(f, "person:{id}"),
            Who::Machine(id) => write!(f, "machine:{id}"),
            Who::Group(group) => write!(f, "group:{group}"),
        }
    }
}

/// Why a text does not name people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhoError {
    /// No known word before the colon.
    #[error("{} does not say who; write `person:ID`, `machine:ID` or `group:NAME`", quote(.0))]
    Form(String),
    /// The part after the colon is no name.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl FromStr for Who {
    type Err = WhoError;

    fn from_str(text: &str) -> Result<Self, WhoError> {
        match text.split_once(':') {
            Some(("person", id)) => Ok(Who::Person(id.parse()?)),
            Some(("machine", id)) => Ok(Who::Machine(id.parse()?)),
            Some(("group", name)) => Ok(Who::Group(name.parse()?)),
            _ => Err(WhoError::Form(text.to_owned())),
        }
    }
}
