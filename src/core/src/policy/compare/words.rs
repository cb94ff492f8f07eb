//! What changes for somebody, and how it reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::rights::{Lasting, Rights};
use super::sides::{ActorKind, Roles, Sides};
use super::{Direction, Shift};
use crate::names::{Login, RuleName};
use crate::policy::set::Set;
use crate::time::Seconds;

/// Most hosts, and most people, that are named one by one.
const SHOWN: usize = 3;

/// One thing told: which way, what, and the rules behind it.
pub(super) type Told = (Direction, String, Vec<RuleName>);

/// One thing that changes for somebody.
struct Atom<'r> {
    direction: Direction,
    verb: String,
    login: Option<&'r Login>,
    longest: Option<Seconds>,
    /// The kinds of hosts where it does; may be empty.
    hosts: Set,
    /// The rules that can be behind it.
    rules: fn(&Roles) -> &Vec<usize>,
}

/// All that changes for people of a kind, in words.
pub(super) fn changes(kind: &ActorKind, sides: &Sides<'_>) -> Vec<Told> {
    let before = Rights::of(&kind.old, &sides.old);
    let after = Rights::of(&kind.new, &sides.new);
    let mut atoms = Vec::new();
    asking(&before, &after, &mut atoms);
    let through = "get in, where a machine asks for them,";
    lasting(through, [&before.through, &after.through], |r| &r.through, None, &mut atoms);
    let others = "ask for others";
    lasting(others, [&before.ask_for, &after.ask_for], |r| &r.asks_for, None, &mut atoms);
    plain("break the glass", [&before.break_glass, &after.break_glass], &mut atoms);
    for (direction, hosts) in [
        (Direction::Gains, after.approve.without(&before.approve)),
        (Direction::Loses, before.approve.without(&after.approve)),
    ] {
        let verb = "approve".to_owned();
        let (login, longest) = (None, None);
        atoms.push(Atom { direction, verb, login, longest, hosts, rules: |r| &r.approves });
    }
    let mut told = tell(atoms, kind, sides);
    let direction = match (kind.old.audits, kind.new.audits) {
        (false, true) => Some(Direction::Gains),
        (true, false) => Some(Direction::Loses),
        (false, false) | (true, true) => None,
    };
    // No rule gives it: `auditors` stands above them.
    told.extend(direction.map(|direction| (direction, READING.to_owned(), Vec::new())));
    told
}

/// What an auditor may do.
const READING: &str = "read all requests and the log";

/// Asking for oneself, with and without approvals.
fn asking<'r>(before: &Rights<'r>, after: &Rights<'r>, atoms: &mut Vec<Atom<'r>>) {
    let autos = [&before.auto, &after.auto];
    lasting("ask", [&before.ask, &after.ask], |r| &r.asks, Some(autos), atoms);
    // Who could ask before, and still can, and now needs nobody, or needs somebody.
    for login in logins(autos) {
        let asks =
            |rights: &Rights<'_>| rights.ask.get(login).map(Lasting::hosts).unwrap_or_default();
        let stays = asks(before).and(&asks(after));
        let [was, is] = autos.map(|autos| autos.get(login).cloned().unwrap_or_default());
        for (direction, hosts) in [
            (Direction::Gains, is.without(&was).and(&stays)),
            (Direction::Loses, was.without(&is).and(&stays)),
        ] {
            let verb = "go without approval".to_owned();
            let (login, longest) = (Some(login), None);
            atoms.push(Atom { direction, verb, login, longest, hosts, rules: |r| &r.asks });
        }
    }
}

/// What has a longest time: what is new or gone, and what is now longer or shorter. `alone`: where no
/// approval is needed for it, before and after.
fn lasting<'r>(
    verb: &str,
    [before, after]: [&BTreeMap<&'r Login, Lasting>; 2],
    rules: fn(&Roles) -> &Vec<usize>,
    alone: Option<[&BTreeMap<&'r Login, Set>; 2]>,
    atoms: &mut Vec<Atom<'r>>,
) {
    let none = Lasting::default();
    for login in logins([before, after]) {
        let was = before.get(login).unwrap_or(&none);
        let is = after.get(login).unwrap_or(&none);
        for (direction, here, there, side) in
            [(Direction::Gains, is, was, 1usize), (Direction::Loses, was, is, 0)]
        {
            let known = there.hosts();
            let alone = alone.and_then(|alone| alone.get(side)?.get(login)).cloned();
            let alone = alone.unwrap_or_default();
            for (longest, hosts) in &here.0 {
                let hosts = hosts.without(&known);
                for (verb, hosts) in [
                    (format!("{verb} without approval"), hosts.and(&alone)),
                    (verb.to_owned(), hosts.without(&alone)),
                ] {
                    let (login, longest) = (Some(login), Some(*longest));
                    atoms.push(Atom { direction, verb, login, longest, hosts, rules });
                }
            }
        }
        for (was_long, was) in &was.0 {
            for (is_long, is) in &is.0 {
                let direction = match is_long.cmp(was_long) {
                    std::cmp::Ordering::Greater => Direction::Gains,
                    std::cmp::Ordering::Less => Direction::Loses,
                    std::cmp::Ordering::Equal => continue,
                };
                let [from, to] = match direction {
                    Direction::Gains => [was_long, is_long],
                    Direction::Loses => [is_long, was_long],
                };
                let verb = format!("{verb} for up to {to} instead of {from}");
                let (login, longest, hosts) = (Some(login), None, was.and(is));
                atoms.push(Atom { direction, verb, login, longest, hosts, rules });
            }
        }
    }
}

/// What one may or may not.
fn plain<'r>(
    verb: &str,
    [before, after]: [&BTreeMap<&'r Login, Set>; 2],
    atoms: &mut Vec<Atom<'r>>,
) {
    for login in logins([before, after]) {
        let [was, is] = [before, after].map(|side| side.get(login).cloned().unwrap_or_default());
        for (direction, hosts) in
            [(Direction::Gains, is.without(&was)), (Direction::Loses, was.without(&is))]
        {
            let (verb, login, longest) = (verb.to_owned(), Some(login), None);
            atoms.push(Atom { direction, verb, login, longest, hosts, rules: |r| &r.asks });
        }
    }
}

fn logins<'r, T>(sides: [&BTreeMap<&'r Login, T>; 2]) -> BTreeSet<&'r Login> {
    sides.into_iter().flat_map(BTreeMap::keys).copied().collect()
}

/// Puts what changes into words; logins of which the same is told are told of together.
fn tell(atoms: Vec<Atom<'_>>, kind: &ActorKind, sides: &Sides<'_>) -> Vec<Told> {
    type Same = (Direction, String, String, Option<Seconds>, Vec<RuleName>);
    let mut parts: BTreeMap<Same, BTreeSet<&Login>> = BTreeMap::new();
    for atom in atoms.iter().filter(|atom| !atom.hosts.is_empty()) {
        let (places, rules) = places(atom, kind, sides);
        let same = (atom.direction, atom.verb.clone(), places, atom.longest, rules);
        parts.entry(same).or_default().extend(atom.login);
    }
    let join = |((direction, verb, places, longest, rules), logins): (Same, BTreeSet<&Login>)| {
        let logins: Vec<&str> = logins.iter().map(|login| login.as_str()).collect();
        let logins =
            if logins.is_empty() { String::new() } else { format!(" as {}", logins.join(", ")) };
        let longest = longest.map(|longest| format!(" for up to {longest}")).unwrap_or_default();
        (direction, format!("{verb}{logins} on {places}{longest}"), rules)
    };
    parts.into_iter().map(join).collect()
}

/// Where it changes, by the patterns of the rules behind it where they say just that, else by hosts;
/// and these rules.
fn places(atom: &Atom<'_>, kind: &ActorKind, sides: &Sides<'_>) -> (String, Vec<RuleName>) {
    let (side, roles) = match atom.direction {
        Direction::Gains => (&sides.new, &kind.new),
        Direction::Loses => (&sides.old, &kind.old),
    };
    let offered = atom.login.and_then(|login| side.offered.get(login));
    let mut texts: Vec<String> = Vec::new();
    let mut rules = Vec::new();
    let mut left = atom.hosts.clone();
    for place in (atom.rules)(roles) {
        let rule = side.bundle.policy.allow.get(*place).zip(side.allow.get(*place));
        let behind = rule.filter(|(rule, hosts)| {
            hosts.meets(&atom.hosts) && atom.login.is_none_or(|login| rule.logins.contains(login))
        });
        let Some((rule, _)) = behind else { continue };
        rules.push(rule.name.clone());
        for pattern in &rule.hosts {
            let covered = side.covered(pattern).cloned().unwrap_or_default();
            let covered = offered.map_or(covered.clone(), |offered| covered.and(offered));
            if covered.meets(&left) && covered.is_within(&atom.hosts) {
                texts.push(pattern.to_string());
                left.remove_all(&covered);
            }
        }
    }
    let mut names = left.iter().filter_map(|place| sides.hosts.get(place)).flatten();
    texts.extend(names.by_ref().take(SHOWN).map(ToString::to_string));
    let more = names.count();
    if more > 0 {
        texts.push(format!("{more} more hosts"));
    }
    (texts.join(", "), rules)
}

/// `carol gains: ask as deploy on web-* for up to 30m (rule sre-web)`.
impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shift { direction, what, rules, who, group } = self;
        let named = |most: usize| {
            who.iter().take(most).map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        match (who.len(), group) {
            (count, _) if count <= SHOWN => f.write_str(&named(count))?,
            (count, Some(group)) => write!(f, "{count} of group:{group}")?,
            (count, None) => {
                let more = count.saturating_sub(SHOWN);
                write!(f, "{} and {more} more", named(SHOWN))?;
            }
        }
        let verb = match (direction, who.len()) {
            (Direction::Gains, 1) => "gains",
            (Direction::Gains, _) => "gain",
            (Direction::Loses, 1) => "loses",
            (Direction::Loses, _) => "lose",
        };
        write!(f, " {verb}: {what}")?;
        let names: Vec<String> = rules.iter().take(SHOWN).map(ToString::to_string).collect();
        let more = if rules.len() > SHOWN { ", ..." } else { "" };
        match rules.len() {
            0 => Ok(()),
            1 => write!(f, " (rule {})", names.join(", ")),
            _ => write!(f, " (rules {}{more})", names.join(", ")),
        }
    }
}
