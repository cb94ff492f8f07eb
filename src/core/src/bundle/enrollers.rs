//! `[[enroller]]` in `hosts.toml`: who may vouch for hosts that the file does not list, and for which.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::host_pattern::{Glob, HostPattern};
use super::hosts::Host;
use super::people::People;
use super::reader::{Empty, Item, Table, quote};
use super::source::{Source, Span};
use crate::key::SignerKey;
use crate::names::{ActorId, HostName, LabelKey, LabelValue, Login};
use crate::statement::{MAX_HOST_LIFE, MAX_TOKEN_USES};
use crate::time::Seconds;

/// Most hosts of one enroller at a time, where the file does not say.
pub const DEFAULT_MAX_HOSTS: u32 = 1_000;
/// The most that the file may say.
const MOST_HOSTS: u32 = 100_000;

/// Somebody, mostly a machine, who vouches for hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enroller {
    /// The stable id, unlike that of any person or machine.
    pub id: ActorId,
    /// Any of these keys vouches.
    pub keys: Vec<SignerKey>,
    /// The names it may give; never one of a listed host.
    pub names: Vec<Glob>,
    /// The labels it may give. Others it may not.
    pub labels: BTreeMap<LabelKey, Values>,
    /// The logins it may give.
    pub logins: BTreeSet<Login>,
    /// The longest life of a host.
    pub max_for: Seconds,
    /// The most uses of one join token; `None` if it may lend none.
    pub max_uses: Option<u32>,
    /// The most hosts at a time.
    pub max_hosts: u32,
}

/// Which values a label may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    /// Each: `["*"]`.
    Any,
    /// One of these.
    Only(BTreeSet<LabelValue>),
}

impl Enroller {
    /// Whether it may give this name, as far as its globs say.
    pub fn may_name(&self, name: &HostName) -> bool {
        self.names.iter().any(|glob| glob.matches(name.as_str()))
    }

    /// Whether it may give this label.
    pub fn may_label(&self, key: &LabelKey, value: &LabelValue) -> bool {
        match self.labels.get(key) {
            Some(Values::Any) => true,
            Some(Values::Only(values)) => values.contains(value),
            None => false,
        }
    }
}

/// All enrollers, in the file's order.
#[derive(Debug, Clone, Default)]
pub struct Enrollers(Vec<Enroller>);

impl Enrollers {
    /// The enroller with this id.
    pub fn get(&self, id: &ActorId) -> Option<&Enroller> {
        // There are a handful.
        self.0.iter().find(|enroller| enroller.id == *id)
    }

    /// All enrollers.
    pub fn iter(&self) -> std::slice::Iter<'_, Enroller> {
        self.0.iter()
    }

    /// Whether a host that joins could be one that `pattern` covers. A glob counts where it plainly
    /// overlaps with one that is allowed.
    pub fn may_make(&self, pattern: &HostPattern) -> bool {
        self.0.iter().any(|enroller| match pattern {
            HostPattern::Name(name) => enroller.may_name(name),
            HostPattern::Glob(glob) => {
                let mut names = enroller.names.iter();
                names.any(|other| glob.is_within(other) || other.is_within(glob))
            }
            HostPattern::Labels(labels) => {
                labels.iter().all(|(key, value)| enroller.may_label(key, value))
            }
        })
    }

    /// Whether there could be a host with this name.
    pub fn may_name(&self, name: &HostName) -> bool {
        self.0.iter().any(|enroller| enroller.may_name(name))
    }
}

/// The enrollers while their file is read.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) enrollers: Enrollers,
    id_spans: Vec<Span>,
    /// Every glob, where it stands.
    names: Vec<(Glob, Span)>,
    keys: HashMap<SignerKey, Span>,
}

impl Reading {
    pub(super) fn enroller(&mut self, source: &Source<'_>, mut table: Table<'_>) {
        let id_item = table.required("id");
        let id = id_item.and_then(|item| item.parse::<ActorId>());
        let keys = table.required("keys").and_then(|item| self.keys(source, item));
        let names = table.required("names").and_then(|item| self.names(item));
        let labels = table.optional("labels").map_or_else(BTreeMap::new, labels);
        let logins = table
            .required("logins")
            .and_then(|item| item.unique(Empty::Refused, Item::parse::<Login>).whole());
        let max_for = table.required("max_for").and_then(max_for);
        let max_uses = table.or("max_uses", None, |item| item.integer(1, MAX_TOKEN_USES).map(Some));
        let max_hosts =
            table.or("max_hosts", DEFAULT_MAX_HOSTS, |item| item.integer(1, MOST_HOSTS));
        table.finish();

        let (Some(item), Some(id)) = (id_item, id) else { return };
        let place = self.enrollers.0.iter().position(|known| known.id == id);
        if let Some(first) = place.and_then(|place| self.id_spans.get(place)) {
            item.problem_with_help(
                format!("there are two enrollers with the id {}", quote(id.as_str())),
                format!("the first is in line {}", source.line(*first)),
            );
            return;
        }
        let (Some(keys), Some(names), Some(logins)) = (keys, names, logins) else { return };
        let (Some(max_for), Some(max_uses), Some(max_hosts)) = (max_for, max_uses, max_hosts)
        else {
            return;
        };
        self.id_spans.push(item.span());
        let logins = logins.into_iter().collect();
        let enroller = Enroller { id, keys, names, labels, logins, max_for, max_uses, max_hosts };
        self.enrollers.0.push(enroller);
    }

    fn keys(&mut self, source: &Source<'_>, item: Item<'_>) -> Option<Vec<SignerKey>> {
        let items = item.list(Empty::Refused)?;
        let mut keys = Vec::with_capacity(items.len());
        for item in items {
            let Some(key) = item.parse::<SignerKey>() else { continue };
            match self.keys.get(&key) {
                Some(first) => item.problem_with_help(
                    "this key stands twice".to_owned(),
                    format!(
                        "it is also in line {}; each enroller has its own",
                        source.line(*first)
                    ),
                ),
                None => {
                    self.keys.insert(key.clone(), item.span());
                    keys.push(key);
                }
            }
        }
        (!keys.is_empty()).then_some(keys)
    }

    fn names(&mut self, item: Item<'_>) -> Option<Vec<Glob>> {
        let items = item.list(Empty::Refused)?;
        let found: Vec<_> = items
            .into_iter()
            .filter_map(|item| Some((item.parse::<Glob>()?, item.span())))
            .collect();
        self.names.extend(found.iter().cloned());
        Some(found.into_iter().map(|(glob, _)| glob).collect())
    }

    /// A host that is listed must stay what the file says: no enroller may give its name, nor another
    /// that its host certificate is for.
    pub(super) fn check_names<'h>(
        &self,
        source: &Source<'_>,
        hosts: impl Iterator<Item = &'h Host> + Clone,
    ) {
        for (glob, at) in &self.names {
            let covered = |host: &&Host| host.names().any(|name| glob.matches(name.as_str()));
            if let Some(host) = hosts.clone().find(covered) {
                let by_name = glob.matches(host.name.as_str());
                let what = if by_name { "" } else { "an alias or the address of " };
                source.problem(
                    *at,
                    format!(
                        "{} covers {what}the host `{}`, which this file lists",
                        quote(glob.as_str()),
                        host.name
                    ),
                    Some(
                        "give hosts that join by themselves names of their own, like `ci-*`"
                            .to_owned(),
                    ),
                );
            }
        }
    }

    /// An enroller can be nobody who asks, decides or rules: neither by id nor by key.
    pub(super) fn check_others(
        &self,
        source: &Source<'_>,
        people: &People,
        admins: &[(ActorId, SignerKey)],
    ) {
        for (enroller, at) in self.enrollers.0.iter().zip(&self.id_spans) {
            let is_admin = admins.iter().any(|(id, _)| *id == enroller.id);
            if is_admin || people.get(&enroller.id).is_some() {
                source.problem(
                    *at,
                    format!("the id {} is taken", quote(enroller.id.as_str())),
                    Some(
                        "enrollers, people, machines and admins share one space of ids".to_owned(),
                    ),
                );
            }
        }
        for (key, at) in &self.keys {
            let admin = admins.iter().find(|(_, theirs)| theirs == key).map(|(id, _)| id);
            let owner = people.owner_of(key).map(|actor| &actor.id).or(admin);
            if let Some(owner) = owner {
                source.problem(
                    *at,
                    format!("this key belongs to `{owner}`"),
                    Some("an enroller needs a key of its own".to_owned()),
                );
            }
        }
    }
}

fn labels(item: Item<'_>) -> BTreeMap<LabelKey, Values> {
    let mut labels = BTreeMap::new();
    let Some(table) = item.table("labels") else {
        return labels;
    };
    for (name, key, value) in table.entries() {
        let key = key.parse().map_err(|error| name.problem(format!("{error}"))).ok();
        labels.extend(key.zip(values(value)));
    }
    labels
}

fn values(item: Item<'_>) -> Option<Values> {
    let items = item.list(Empty::Refused)?;
    if let [only] = items.as_slice()
        && only.text() == Some("*")
    {
        return Some(Values::Any);
    }
    let found = item.unique(Empty::Refused, Item::parse::<LabelValue>).whole()?;
    Some(Values::Only(found.into_iter().collect()))
}

fn max_for(item: Item<'_>) -> Option<Seconds> {
    let span = item.parse::<Seconds>()?;
    if span.get() <= MAX_HOST_LIFE {
        return Some(span);
    }
    item.problem(format!(
        "{span} is too long; a host is vouched for anew after {} d at most",
        MAX_HOST_LIFE / 86_400
    ));
    None
}
