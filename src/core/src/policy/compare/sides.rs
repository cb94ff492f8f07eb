//! Two bundles over the same people and hosts.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::bundle::{Bundle, Host, HostPattern, People, Selection};
use crate::names::{ActorId, GroupName, HostName, Login};
use crate::policy::census::{Crowd, Patterns, approvers, requesters, subjects};
use crate::policy::set::Set;

/// Both bundles, with people and hosts sorted by what the rules of either can tell apart.
pub(super) struct Sides<'b> {
    pub(super) old: Side<'b>,
    pub(super) new: Side<'b>,
    /// Everyone of either, by the rules of both that are about them.
    pub(super) actors: Vec<(ActorKind, Vec<&'b ActorId>)>,
    /// The hosts of each kind; none where it stands for hosts that are to come.
    pub(super) hosts: Vec<Vec<&'b HostName>>,
}

/// One bundle: what its rules say of the kinds of hosts.
pub(super) struct Side<'b> {
    pub(super) bundle: &'b Bundle,
    /// The kinds that each allow rule covers, in the order of the file.
    pub(super) allow: Vec<Set>,
    /// The kinds that each deny rule is about.
    pub(super) deny: Vec<Set>,
    /// For each login, the kinds that offer it.
    pub(super) offered: BTreeMap<Login, Set>,
    patterns: Patterns<'b>,
    covered: Vec<Set>,
}

/// Somebody to both bundles.
#[derive(PartialEq, Eq, Hash, Clone, Default)]
pub(super) struct ActorKind {
    pub(super) old: Roles,
    pub(super) new: Roles,
}

/// The rules that are about somebody, by their places, and what else the policy lets them do.
#[derive(PartialEq, Eq, Hash, Clone, Default)]
pub(super) struct Roles {
    /// They may ask for themselves.
    pub(super) asks: Vec<usize>,
    /// A machine may ask for them.
    pub(super) through: Vec<usize>,
    /// They may ask for others.
    pub(super) asks_for: Vec<usize>,
    pub(super) approves: Vec<usize>,
    pub(super) denied: Vec<usize>,
    /// They may read all requests and the log.
    pub(super) audits: bool,
}

/// What a host is to one bundle: the patterns that cover it, and what it offers.
type Seen = (Vec<usize>, Arc<BTreeSet<Login>>);

impl<'b> Sides<'b> {
    pub(super) fn of(old: &'b Bundle, new: &'b Bundle) -> Sides<'b> {
        let (before, after) = (Patterns::of(&old.policy), Patterns::of(&new.policy));
        let mut places: HashMap<(Seen, Seen), usize> = HashMap::new();
        let mut seen: Vec<(Seen, Seen)> = Vec::new();
        let mut hosts: Vec<Vec<&HostName>> = Vec::new();
        let only_new = new.hosts.iter().filter(|host| old.hosts.get(&host.name).is_none());
        for host in old.hosts.iter().chain(only_new) {
            let in_bundle = |bundle: &'b Bundle| bundle.hosts.get(&host.name).unwrap_or(host);
            let see = |patterns: &Patterns<'_>, host: &Host| -> Seen {
                (patterns.covering(host), Arc::clone(&host.logins))
            };
            let key = (see(&before, in_bundle(old)), see(&after, in_bundle(new)));
            let place = *places.entry(key).or_insert_with_key(|key| {
                seen.push(key.clone());
                hosts.push(Vec::new());
                hosts.len().saturating_sub(1)
            });
            hosts.get_mut(place).into_iter().for_each(|kind| kind.push(&host.name));
        }
        // A pattern that covers no host yet stands for those that it will cover.
        let any: Arc<BTreeSet<Login>> = Arc::new(logins(old).chain(logins(new)).cloned().collect());
        for pattern in idle(&before, &after, &seen) {
            let alone = |patterns: &Patterns<'_>| -> Seen {
                (patterns.place(pattern).into_iter().collect(), Arc::clone(&any))
            };
            seen.push((alone(&before), alone(&after)));
            hosts.push(Vec::new());
        }
        let old_side = Side::of(old, before, seen.iter().map(|(was, _)| was));
        let new_side = Side::of(new, after, seen.iter().map(|(_, is)| is));
        Sides { old: old_side, new: new_side, actors: actors(old, new), hosts }
    }
}

impl<'b> Side<'b> {
    fn of<'s>(
        bundle: &'b Bundle,
        patterns: Patterns<'b>,
        seen: impl Iterator<Item = &'s Seen>,
    ) -> Side<'b> {
        let mut covered = vec![Set::default(); patterns.count()];
        let mut offered: BTreeMap<Login, Set> = BTreeMap::new();
        let mut all = Set::default();
        for (place, (covering, logins)) in seen.enumerate() {
            all.insert(place);
            for pattern in covering {
                covered.get_mut(*pattern).into_iter().for_each(|kinds| kinds.insert(place));
            }
            for login in logins.iter() {
                match offered.get_mut(login) {
                    Some(kinds) => kinds.insert(place),
                    None => {
                        offered.insert(login.clone(), [place].into_iter().collect());
                    }
                }
            }
        }
        let mut side =
            Side { bundle, allow: Vec::new(), deny: Vec::new(), offered, patterns, covered };
        let policy = &bundle.policy;
        side.allow = policy.allow.iter().map(|rule| side.union(&rule.hosts)).collect();
        side.deny = policy
            .deny
            .iter()
            .map(|rule| match &rule.hosts {
                Selection::All => all.clone(),
                Selection::Only(patterns) => side.union(patterns),
            })
            .collect();
        side
    }

    /// The kinds that a pattern of this bundle covers.
    pub(super) fn covered(&self, pattern: &HostPattern) -> Option<&Set> {
        self.covered.get(self.patterns.place(pattern)?)
    }

    fn union(&self, patterns: &[HostPattern]) -> Set {
        let mut all = Set::default();
        patterns.iter().filter_map(|pattern| self.covered(pattern)).for_each(|set| all.add(set));
        all
    }
}

fn logins(bundle: &Bundle) -> impl Iterator<Item = &Login> {
    bundle.policy.allow.iter().flat_map(|rule| &rule.logins)
}

/// The patterns of either that cover no host in either, in an order that the texts alone decide.
fn idle<'b>(
    before: &Patterns<'b>,
    after: &Patterns<'b>,
    seen: &[(Seen, Seen)],
) -> Vec<&'b HostPattern> {
    let used = |of: fn(&(Seen, Seen)) -> &Seen| -> HashSet<usize> {
        seen.iter().flat_map(|both| of(both).0.iter().copied()).collect()
    };
    let (used_before, used_after) = (used(|both| &both.0), used(|both| &both.1));
    let is_used = |patterns: &Patterns<'_>, used: &HashSet<usize>, pattern: &HostPattern| {
        patterns.place(pattern).is_some_and(|place| used.contains(&place))
    };
    let all = before.iter().chain(after.iter()).filter(|pattern| {
        !is_used(before, &used_before, pattern) && !is_used(after, &used_after, pattern)
    });
    let sorted: BTreeMap<String, &HostPattern> =
        all.map(|pattern| (pattern.to_string(), pattern)).collect();
    sorted.into_values().collect()
}

/// Everyone of either, by the rules of both that are about them.
fn actors<'b>(old: &'b Bundle, new: &'b Bundle) -> Vec<(ActorKind, Vec<&'b ActorId>)> {
    let (mut before, mut after) = (roles(old), roles(new));
    let mut kinds: HashMap<ActorKind, Vec<&ActorId>> = HashMap::new();
    let only_new = new.people.iter().filter(|actor| old.people.get(&actor.id).is_none());
    for actor in old.people.iter().chain(only_new) {
        let old = before.remove(&actor.id).unwrap_or_default();
        let new = after.remove(&actor.id).unwrap_or_default();
        kinds.entry(ActorKind { old, new }).or_default().push(&actor.id);
    }
    kinds.into_iter().collect()
}

fn roles(bundle: &Bundle) -> HashMap<&ActorId, Roles> {
    let crowd = Crowd::of(&bundle.people);
    let mut roles: Vec<Roles> = vec![Roles::default(); crowd.actors.len()];
    let mut note = |set: &Set, rule: usize, of: fn(&mut Roles) -> &mut Vec<usize>| {
        for place in set.iter() {
            roles.get_mut(place).into_iter().for_each(|roles| of(roles).push(rule));
        }
    };
    for (place, rule) in bundle.policy.allow.iter().enumerate() {
        match rule.on_behalf {
            None => note(&requesters(rule, &crowd), place, |roles| &mut roles.asks),
            Some(_) => {
                note(&requesters(rule, &crowd), place, |roles| &mut roles.asks_for);
                note(&subjects(rule, &crowd), place, |roles| &mut roles.through);
            }
        }
        note(&approvers(rule, &crowd), place, |roles| &mut roles.approves);
    }
    for (place, rule) in bundle.policy.deny.iter().enumerate() {
        let who = match &rule.who {
            Selection::All => (0..crowd.actors.len()).collect(),
            Selection::Only(who) => crowd.named(who),
        };
        note(&who, place, |roles| &mut roles.denied);
    }
    for place in crowd.named(&bundle.policy.auditors).iter() {
        roles.get_mut(place).into_iter().for_each(|roles| roles.audits = true);
    }
    crowd.actors.iter().map(|actor| &actor.id).zip(roles).collect()
}

/// The smallest group that holds all of `who`, if they are several.
pub(super) fn smallest_group(who: &[ActorId], people: &People) -> Option<GroupName> {
    let mut ids = who.iter();
    let (first, _) = (ids.next()?, who.get(1)?);
    let mut shared = people.get(first)?.groups.clone();
    for id in ids {
        let groups = &people.get(id)?.groups;
        shared.retain(|group| groups.contains(group));
    }
    let members =
        |group: &GroupName| people.iter().filter(|actor| actor.groups.contains(group)).count();
    shared.into_iter().min_by_key(|group| members(group))
}
