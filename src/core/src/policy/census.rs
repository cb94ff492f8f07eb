//! People and hosts sorted by what rules can tell apart, so that questions about all of them take
//! time by kinds, not by heads.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::set::Set;
use crate::bundle::{
    Actor, Allow, Approval, Bundle, Glob, Host, HostPattern, People, Policy, Selection, Strength,
    Who,
};
use crate::names::{ActorId, GroupName, HostName, LabelKey, LabelValue, Login};

/// Globs with their places, by the text before their first `*` or `?`.
type ByPrefix<'b> = HashMap<&'b [u8], Vec<(usize, &'b Glob)>>;

/// Every host pattern of some rules, each once, found by the hosts it may cover.
#[derive(Default)]
pub(super) struct Patterns<'b> {
    places: HashMap<&'b HostPattern, usize>,
    names: HashMap<&'b HostName, usize>,
    /// By length and text of what stands before the first `*` or `?`.
    globs: BTreeMap<usize, ByPrefix<'b>>,
    /// By their first label.
    labels: HashMap<(&'b LabelKey, &'b LabelValue), Vec<(usize, &'b HostPattern)>>,
}

impl<'b> Patterns<'b> {
    /// Those of all rules of a policy.
    pub(super) fn of(policy: &'b Policy) -> Patterns<'b> {
        let deny = policy.deny.iter().flat_map(|deny| match &deny.hosts {
            Selection::All => &[][..],
            Selection::Only(patterns) => patterns.as_slice(),
        });
        let allow = policy.allow.iter().flat_map(|allow| &allow.hosts);
        let mut all = Patterns::default();
        deny.chain(allow).for_each(|pattern| all.add(pattern));
        all
    }

    fn add(&mut self, pattern: &'b HostPattern) {
        let place = self.places.len();
        if self.places.contains_key(pattern) {
            return;
        }
        self.places.insert(pattern, place);
        match pattern {
            HostPattern::Name(name) => {
                self.names.insert(name, place);
            }
            HostPattern::Glob(glob) => {
                let text = glob.as_str().as_bytes();
                let length = text.iter().take_while(|byte| !b"*?".contains(byte)).count();
                let start = text.get(..length).unwrap_or_default();
                self.globs.entry(length).or_default().entry(start).or_default().push((place, glob));
            }
            HostPattern::Labels(labels) => {
                if let Some((key, value)) = labels.first() {
                    self.labels.entry((key, value)).or_default().push((place, pattern));
                }
            }
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'b HostPattern> {
        self.places.keys().copied()
    }

    /// Where a pattern stands among the others.
    pub(super) fn place(&self, pattern: &HostPattern) -> Option<usize> {
        self.places.get(pattern).copied()
    }

    /// Where the patterns stand that cover a host, in order.
    pub(super) fn covering(&self, host: &Host) -> Vec<usize> {
        let mut found: Vec<usize> = self.names.get(&host.name).copied().into_iter().collect();
        let name = host.name.as_str();
        for (length, by_start) in &self.globs {
            let start = name.as_bytes().get(..*length).and_then(|start| by_start.get(start));
            let fits = |(_, glob): &&(usize, &Glob)| glob.matches(name);
            found.extend(start.into_iter().flatten().filter(fits).map(|(place, _)| place));
        }
        for label in host.labels.iter() {
            let fits = |(_, pattern): &&(usize, &HostPattern)| pattern.covers(host);
            let same = self.labels.get(&label).into_iter().flatten();
            found.extend(same.filter(fits).map(|(place, _)| place));
        }
        found.sort_unstable();
        found
    }
}

/// Hosts that no rule tells apart.
pub(super) struct HostKind<'b> {
    /// What they offer.
    pub(super) logins: Arc<BTreeSet<Login>>,
    /// The hosts, in the file's order.
    pub(super) hosts: Vec<&'b HostName>,
}

/// The hosts of a bundle, sorted by what its rules can tell apart.
pub(super) struct HostKinds<'b> {
    patterns: Patterns<'b>,
    pub(super) kinds: Vec<HostKind<'b>>,
    /// For each pattern, the kinds it covers.
    covered: Vec<Set>,
    all: Set,
}

impl<'b> HostKinds<'b> {
    pub(super) fn of(bundle: &'b Bundle) -> HostKinds<'b> {
        let patterns = Patterns::of(&bundle.policy);
        let mut places: HashMap<(Vec<usize>, Arc<BTreeSet<Login>>), usize> = HashMap::new();
        let mut kinds: Vec<HostKind<'b>> = Vec::new();
        let mut covered = vec![Set::default(); patterns.count()];
        for host in bundle.hosts.iter() {
            let logins = &host.logins;
            let covering = patterns.covering(host);
            let place = *places.entry((covering, Arc::clone(logins))).or_insert_with_key(|key| {
                let place = kinds.len();
                for pattern in &key.0 {
                    if let Some(kinds) = covered.get_mut(*pattern) {
                        kinds.insert(place);
                    }
                }
                kinds.push(HostKind { logins: Arc::clone(logins), hosts: Vec::new() });
                place
            });
            if let Some(kind) = kinds.get_mut(place) {
                kind.hosts.push(&host.name);
            }
        }
        let all = (0..kinds.len()).collect();
        HostKinds { patterns, kinds, covered, all }
    }

    /// The kinds that these patterns cover.
    pub(super) fn covered(&self, patterns: &[HostPattern]) -> Set {
        let mut found = Set::default();
        for pattern in patterns {
            let kinds = self.patterns.place(pattern).and_then(|place| self.covered.get(place));
            kinds.into_iter().for_each(|kinds| found.add(kinds));
        }
        found
    }

    /// The same of a deny rule's hosts.
    pub(super) fn selected(&self, hosts: &Selection<HostPattern>) -> Set {
        match hosts {
            Selection::All => self.all.clone(),
            Selection::Only(patterns) => self.covered(patterns),
        }
    }

    /// Of some kinds those that offer one of `logins`, and the logins that one of them offers.
    pub(super) fn offering<'l>(
        &self,
        kinds: &Set,
        logins: &'l [Login],
    ) -> (Set, BTreeSet<&'l Login>) {
        let mut offered = BTreeSet::new();
        let offers = |place: &usize| {
            let Some(kind) = self.kinds.get(*place) else { return false };
            let here: Vec<&Login> =
                logins.iter().filter(|login| kind.logins.contains(*login)).collect();
            offered.extend(here.iter().copied());
            !here.is_empty()
        };
        let kinds = kinds.iter().filter(offers).collect();
        (kinds, offered)
    }
}

/// Everyone of a bundle, found by how rules name them.
pub(super) struct Crowd<'b> {
    pub(super) actors: Vec<&'b Actor>,
    persons: Set,
    by_id: HashMap<&'b ActorId, usize>,
    groups: HashMap<&'b GroupName, Set>,
    /// Those with a security key.
    hardware: Set,
}

impl<'b> Crowd<'b> {
    pub(super) fn of(people: &'b People) -> Crowd<'b> {
        let actors: Vec<&Actor> = people.iter().collect();
        let mut crowd = Crowd {
            persons: Set::default(),
            by_id: actors.iter().enumerate().map(|(place, actor)| (&actor.id, place)).collect(),
            groups: HashMap::new(),
            hardware: Set::default(),
            actors: Vec::new(),
        };
        for (place, actor) in actors.iter().enumerate() {
            if actor.is_person() {
                crowd.persons.insert(place);
            }
            if can_sign_with(actor, Strength::Hardware) {
                crowd.hardware.insert(place);
            }
            for group in &actor.groups {
                crowd.groups.entry(group).or_default().insert(place);
            }
        }
        crowd.actors = actors;
        crowd
    }

    /// All that these name, persons and machines.
    pub(super) fn named(&self, who: &[Who]) -> Set {
        let mut found = Set::default();
        for who in who {
            match who {
                Who::Person(id) | Who::Machine(id) => {
                    let meant = |place: &&usize| {
                        self.actors.get(**place).is_some_and(|actor| who.covers(actor))
                    };
                    let place = self.by_id.get(id).filter(meant);
                    place.into_iter().for_each(|place| found.insert(*place));
                }
                Who::Group(group) => {
                    self.groups.get(group).into_iter().for_each(|members| found.add(members));
                }
            }
        }
        found
    }

    /// The persons that these name.
    pub(super) fn persons(&self, who: &[Who]) -> Set {
        self.named(who).and(&self.persons)
    }

    /// The machines that these name.
    pub(super) fn machines(&self, who: &[Who]) -> Set {
        self.named(who).without(&self.persons)
    }

    /// Those of `set` who have a key for signatures of this strength.
    pub(super) fn able(&self, set: &Set, strength: Strength) -> Set {
        match strength {
            Strength::Any => set.clone(),
            Strength::Hardware | Strength::Verified => set.and(&self.hardware),
        }
    }

    /// Who they are, at most `most` of them, and how many there are.
    pub(super) fn names(&self, set: &Set, most: usize) -> (Vec<&'b ActorId>, usize) {
        let ids = set.iter().filter_map(|place| self.actors.get(place)).map(|actor| &actor.id);
        (ids.take(most).collect(), set.iter().count())
    }
}

/// Whether somebody has a key that can sign with this strength. Whether a security key can check its
/// user shows only when it signs.
pub(super) fn can_sign_with(actor: &Actor, strength: Strength) -> bool {
    match strength {
        Strength::Any => true,
        Strength::Hardware | Strength::Verified => {
            actor.keys.iter().any(|key| key.is_security_key())
        }
    }
}

/// Who asks under a rule: the machines, where they ask for others.
pub(super) fn requesters(rule: &Allow, crowd: &Crowd<'_>) -> Set {
    match rule.on_behalf {
        None => crowd.named(&rule.who),
        Some(_) => crowd.machines(&rule.who),
    }
}

/// Who gets in under a rule: those who ask for themselves, or whom machines ask for.
pub(super) fn subjects(rule: &Allow, crowd: &Crowd<'_>) -> Set {
    match &rule.on_behalf {
        None => crowd.named(&rule.who),
        Some(persons) => crowd.persons(persons),
    }
}

/// Whom the steps of a rule ask; nobody for a rule that approves by itself.
pub(super) fn approvers(rule: &Allow, crowd: &Crowd<'_>) -> Set {
    let mut all = Set::default();
    if let Approval::Steps(steps) = &rule.approval {
        for step in steps {
            all.add(&crowd.able(&crowd.persons(&step.from), step.strength));
        }
    }
    all
}
