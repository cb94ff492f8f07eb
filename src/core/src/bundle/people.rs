//! `people.toml`: the people and machines whose keys may sign statements.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::reader::{Empty, Item, Table, quote};
use super::source::{Source, Span};
use super::who::Who;
use crate::key::SignerKey;
use crate::names::{ActorId, GroupName};

/// Someone whose keys may sign statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The stable id.
    pub id: ActorId,
    /// Person or machine.
    pub kind: ActorKind,
    /// Any of these keys speaks for the actor.
    pub keys: Vec<SignerKey>,
    /// The groups the actor is in.
    pub groups: BTreeSet<GroupName>,
}

/// What a machine may not do, and what is known of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActorKind {
    /// May request and decide.
    Person {
        /// The name shown to others.
        name: String,
        /// Where to reach the person; never identity.
        email: Option<String>,
    },
    /// May request, never decide.
    Machine,
}

impl Actor {
    /// Whether this is a person.
    pub fn is_person(&self) -> bool {
        match self.kind {
            ActorKind::Person { .. } => true,
            ActorKind::Machine => false,
        }
    }
}

/// Everyone, found by id or by key in constant time.
#[derive(Debug, Clone, Default)]
pub struct People {
    actors: Vec<Actor>,
    by_id: HashMap<ActorId, usize>,
    by_key: HashMap<SignerKey, usize>,
    groups: BTreeMap<GroupName, Members>,
}

/// Who is in a group.
#[derive(Debug, Clone, Default)]
struct Members {
    /// The persons' places in `actors`, ascending.
    persons: Vec<usize>,
    machines: usize,
}

impl People {
    /// The person or machine with this id.
    pub fn get(&self, id: &ActorId) -> Option<&Actor> {
        self.actors.get(*self.by_id.get(id)?)
    }

    /// The person or machine whose key this is.
    pub fn owner_of(&self, key: &SignerKey) -> Option<&Actor> {
        self.actors.get(*self.by_key.get(key)?)
    }

    /// Everyone, persons and machines, in an order the file alone decides.
    pub fn iter(&self) -> std::slice::Iter<'_, Actor> {
        self.actors.iter()
    }

    /// The names of all groups that someone is in.
    pub fn groups(&self) -> impl Iterator<Item = &GroupName> {
        self.groups.keys()
    }

    /// How many persons are in `group`; `None` if nobody, not even a machine, is in it.
    pub fn persons_in(&self, group: &GroupName) -> Option<usize> {
        Some(self.groups.get(group)?.persons.len())
    }

    /// How many machines are in `group`; `None` if nobody, not even a person, is in it.
    pub fn machines_in(&self, group: &GroupName) -> Option<usize> {
        Some(self.groups.get(group)?.machines)
    }

    /// The persons in `group`, in the file's order. Takes time by their number, not by everyone's.
    pub fn persons_of(&self, group: &GroupName) -> impl Iterator<Item = &Actor> + use<'_> {
        let members = self.groups.get(group).map(|members| members.persons.as_slice());
        members.unwrap_or_default().iter().filter_map(|place| self.actors.get(*place))
    }

    /// The persons that `who` names, each once, in the file's order. Takes time by the number of
    /// those who are named, not by everyone's.
    pub fn covered_by(&self, who: &[Who]) -> impl Iterator<Item = &Actor> + use<'_> {
        let mut places: Vec<usize> = self.places(who).collect();
        places.sort_unstable();
        places.dedup();
        places.into_iter().filter_map(|place| self.actors.get(place))
    }

    /// Where in `actors` the persons stand that `who` names: whoever is named twice comes twice.
    pub(super) fn places(&self, who: &[Who]) -> impl Iterator<Item = usize> {
        who.iter().flat_map(|who| self.places_of(who)).copied()
    }

    fn places_of(&self, who: &Who) -> &[usize] {
        match who {
            Who::Person(id) => match self.by_id.get(id) {
                Some(place) if self.actors.get(*place).is_some_and(Actor::is_person) => {
                    std::slice::from_ref(place)
                }
                _ => &[],
            },
            Who::Machine(_) => &[],
            Who::Group(group) => self.groups.get(group).map_or(&[], |members| &members.persons),
        }
    }

    /// Reads the file; `None` if it is not TOML.
    pub(super) fn read(source: &Source<'_>, admins: &[(ActorId, SignerKey)]) -> Option<People> {
        let mut reading = Reading {
            source,
            people: People::default(),
            id_spans: Vec::new(),
            admin_ids: admins.iter().map(|(id, _)| id).collect(),
            admin_keys: admins.iter().map(|(id, key)| (key, id)).collect(),
        };
        source.read_in_pieces(&["[[person]]", "[[machine]]"], |mut piece| {
            for table in piece.tables("person", "[[person]]") {
                reading.person(table);
            }
            for table in piece.tables("machine", "[[machine]]") {
                reading.machine(table);
            }
            piece.finish();
        })?;
        Some(reading.people)
    }
}

/// The file while it is read. An actor with a valid id is kept even if other fields are wrong, so
/// that rules which name it are not reported too.
struct Reading<'r> {
    source: &'r Source<'r>,
    people: People,
    /// Where each actor's id stands, in the order of `people.actors`.
    id_spans: Vec<Span>,
    admin_ids: BTreeSet<&'r ActorId>,
    admin_keys: HashMap<&'r SignerKey, &'r ActorId>,
}

impl Reading<'_> {
    fn person(&mut self, mut table: Table<'_>) {
        let id = table.required("id");
        let name = table.required("name").and_then(|item| item.line(MAX_NAME));
        let email = table.optional("email").and_then(email);
        let kind = ActorKind::Person { name: name.unwrap_or_default().to_owned(), email };
        self.actor(id, kind, table);
    }

    fn machine(&mut self, mut table: Table<'_>) {
        let id = table.required("id");
        self.actor(id, ActorKind::Machine, table);
    }

    /// Reads what persons and machines have in common.
    fn actor(&mut self, id_item: Option<Item<'_>>, kind: ActorKind, mut table: Table<'_>) {
        let id = id_item.and_then(|item| item.parse::<ActorId>());
        let keys = self.keys(table.required("keys"), id.as_ref());
        let groups = table.optional("groups").map(|item| item.unique(Empty::Fine, Item::parse));
        table.finish();

        let (Some(item), Some(id)) = (id_item, id) else {
            return;
        };
        let groups = groups.map(|list| list.found.into_iter().collect()).unwrap_or_default();
        self.add(item, Actor { id, kind, keys, groups });
    }

    fn keys(&self, list: Option<Item<'_>>, owner: Option<&ActorId>) -> Vec<SignerKey> {
        let items = list.and_then(|item| item.list(Empty::Refused)).unwrap_or_default();
        let mut keys: Vec<SignerKey> = Vec::with_capacity(items.len());
        for item in items {
            let Some(key) = item.parse::<SignerKey>() else {
                continue;
            };
            let admin = self.admin_keys.get(&key).filter(|admin| Some(**admin) != owner);
            if keys.contains(&key) {
                item.problem("this key is listed twice".to_owned());
            } else if let Some(other) = self.people.owner_of(&key) {
                item.problem_with_help(
                    format!("this key already belongs to `{}`", other.id),
                    "each person and machine needs keys of their own",
                );
            } else if let Some(admin) = admin {
                item.problem_with_help(
                    format!("this key belongs to the admin `{admin}`"),
                    format!("an admin who is also a person has the same id here: `{admin}`"),
                );
            } else {
                keys.push(key);
            }
        }
        keys
    }

    fn add(&mut self, item: Item<'_>, actor: Actor) {
        if let Some(place) = self.people.by_id.get(&actor.id) {
            let line = self.id_spans.get(*place).map_or(0, |first| self.source.line(*first));
            item.problem_with_help(
                format!("the id {} is taken", quote(actor.id.as_str())),
                format!("it is also in line {line}; people and machines share one space of ids"),
            );
            return;
        }
        if !actor.is_person() && self.admin_ids.contains(&actor.id) {
            item.problem_with_help(
                format!("`{}` is an admin, and a machine can not be one", actor.id),
                "give the machine another id",
            );
        }
        let place = self.people.actors.len();
        for group in &actor.groups {
            let members = self.people.groups.entry(group.clone()).or_default();
            match actor.kind {
                ActorKind::Person { .. } => members.persons.push(place),
                ActorKind::Machine => members.machines = members.machines.saturating_add(1),
            }
        }
        self.people.by_key.extend(actor.keys.iter().map(|key| (key.clone(), place)));
        self.people.by_id.insert(actor.id.clone(), place);
        self.people.actors.push(actor);
        self.id_spans.push(item.span());
    }
}

fn email(item: Item<'_>) -> Option<String> {
    let text = item.line(MAX_EMAIL)?;
    let parts = text.split_once('@');
    let sound = parts.is_some_and(|(user, domain)| {
        !user.is_empty() && !domain.is_empty() && !domain.contains('@')
    });
    if sound && !text.contains(char::is_whitespace) {
        return Some(text.to_owned());
    }
    item.problem(format!("{} is not an e-mail address", quote(text)));
    None
}

pub(super) const FILE: &str = "people.toml";
const MAX_NAME: usize = 100;
/// The longest address SMTP can carry (RFC 5321, errata 1690).
const MAX_EMAIL: usize = 254;
