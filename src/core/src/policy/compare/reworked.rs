//! What changes in the rules themselves, field by field, whoever gains or loses by it.
//!
//! Somebody who may approve by one rule gains nothing where another rule names them too, and yet other
//! people decide there: this says so. Where it finds nothing, and nobody gains or loses, the two bundles
//! decide alike.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Shift;
use super::sides::Sides;
use crate::bundle::{Allow, Approval, Bundle, Deny, Selection, SourceRule, Step, Strength, Who};
use crate::names::{ActorId, HostName, RuleName};
use crate::policy::census::Crowd;

/// Most names in one sentence.
const SHOWN: usize = 5;

/// Something about one rule, or about all of them, that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reworked {
    /// The rule; `None` for what is about more than one.
    pub rule: Option<RuleName>,
    /// What, such as `approvals now from group:x instead of group:y`.
    pub what: String,
}

/// `rule sre-prod: approvals now from group:x instead of group:y`.
impl fmt::Display for Reworked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Some(rule) => write!(f, "rule {rule}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// What changes in the rules, and in whom and what they are about, by going from `old` to `new`.
/// `shifts` is what [`compare`](super::compare) finds: people and hosts of a rule whose text stays are
/// told of only where it does not tell of them.
pub fn reworked(old: &Bundle, new: &Bundle, shifts: &[Shift]) -> Vec<Reworked> {
    let mut found = Found(Vec::new());
    deny_rules(old, new, &mut found);
    allow_rules(old, new, shifts, &mut found);
    order(old, new, &mut found);
    let auditors = [old, new].map(|bundle| set(&bundle.policy.auditors));
    found.field(None, "auditors", &auditors[0], &auditors[1]);
    things(old, new, &mut found);
    found.0
}

struct Found(Vec<Reworked>);

impl Found {
    fn say(&mut self, rule: Option<&RuleName>, what: String) {
        self.0.push(Reworked { rule: rule.cloned(), what });
    }

    fn field(&mut self, rule: Option<&RuleName>, name: &str, before: &str, after: &str) {
        if before != after {
            let shown =
                |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
            self.say(rule, format!("{name} now {} instead of {}", shown(after), shown(before)));
        }
    }
}

/// Items in one order, so that another order in the file is no change.
fn set<T: ToString>(items: &[T]) -> String {
    let items: BTreeSet<String> = items.iter().map(ToString::to_string).collect();
    items.into_iter().collect::<Vec<_>>().join(", ")
}

fn selection<T: ToString>(items: &Selection<T>) -> String {
    match items {
        Selection::All => "all".to_owned(),
        Selection::Only(items) => set(items),
    }
}

fn deny_rules(old: &Bundle, new: &Bundle, found: &mut Found) {
    let by_name = |bundle: &'_ Bundle| -> BTreeMap<RuleName, Deny> {
        bundle.policy.deny.iter().map(|rule| (rule.name.clone(), rule.clone())).collect()
    };
    let (before, after) = (by_name(old), by_name(new));
    for (name, rule) in &before {
        let Some(now) = after.get(name) else {
            found.say(Some(name), "forbids nothing any more: it is gone".to_owned());
            continue;
        };
        found.field(Some(name), "who", &selection(&rule.who), &selection(&now.who));
        found.field(Some(name), "hosts", &selection(&rule.hosts), &selection(&now.hosts));
        found.field(Some(name), "logins", &selection(&rule.logins), &selection(&now.logins));
    }
    for name in after.keys().filter(|name| !before.contains_key(*name)) {
        found.say(Some(name), "new, it forbids".to_owned());
    }
}

fn allow_rules(old: &Bundle, new: &Bundle, shifts: &[Shift], found: &mut Found) {
    let sides = Sides::of(old, new);
    let crowds = [Crowd::of(&old.people), Crowd::of(&new.people)];
    let places: BTreeMap<&RuleName, usize> =
        new.policy.allow.iter().enumerate().map(|(place, rule)| (&rule.name, place)).collect();
    let known: BTreeSet<&RuleName> = old.policy.allow.iter().map(|rule| &rule.name).collect();
    for (place, before) in old.policy.allow.iter().enumerate() {
        let name = &before.name;
        let now = places.get(name).and_then(|to| Some((*to, new.policy.allow.get(*to)?)));
        let Some((to, after)) = now else {
            found.say(Some(name), "allows nothing any more: it is gone".to_owned());
            continue;
        };
        for (field, before, after) in fields(before, after) {
            found.field(Some(name), field, &before, &after);
        }
        approvals(name, &before.approval, &after.approval, found);
        people(before, after, &crowds, shifts, found);
        let [was, is] = [sides.old.allow.get(place), sides.new.allow.get(to)];
        let names = |kinds: Option<&crate::policy::set::Set>| -> BTreeSet<&HostName> {
            let kinds = kinds.into_iter().flat_map(|kinds| kinds.iter());
            kinds.filter_map(|kind| sides.hosts.get(kind)).flatten().copied().collect()
        };
        let told = shifts.iter().any(|shift| shift.rules.contains(name));
        if before.hosts == after.hosts && was != is && !told {
            members(name, "hosts", &names(was), &names(is), found);
        }
    }
    for (place, rule) in new.policy.allow.iter().enumerate() {
        if !known.contains(&rule.name) {
            let next = place.checked_add(1).and_then(|next| new.policy.allow.get(next));
            let place =
                next.map_or("last of all".to_owned(), |next| format!("before {}", next.name));
            found.say(Some(&rule.name), format!("new, {place}"));
        }
    }
}

/// Every field of a rule but its approvals, as it was and as it will be.
fn fields(before: &Allow, after: &Allow) -> Vec<(&'static str, String, String)> {
    let texts = |rule: &Allow| -> Vec<(&'static str, String)> {
        // Taken apart, so that a field that is added to rules is not forgotten here.
        let Allow {
            name: _,
            who,
            on_behalf,
            hosts,
            logins,
            max_for,
            cert_for,
            reason,
            approval: _,
            decide_within,
            use_within,
            permit,
            commands,
            source,
            subject_key,
            break_glass,
            extend,
        } = rule;
        let glass = break_glass.as_ref();
        let pattern = reason.pattern.as_ref().map(|pattern| format!("{:?}", pattern.as_str()));
        vec![
            ("who", set(who)),
            ("on_behalf", on_behalf.as_deref().map(set).unwrap_or_default()),
            ("hosts", set(hosts)),
            ("logins", set(logins)),
            ("max_for", max_for.to_string()),
            ("cert_for", cert_for.to_string()),
            ("reason of at least", format!("{} characters", reason.min)),
            ("reason like", pattern.unwrap_or_default()),
            ("hint for the reason", reason.hint.clone().unwrap_or_default()),
            ("decide_within", decide_within.to_string()),
            ("use_within", use_within.to_string()),
            ("permit", set(&permit.iter().collect::<Vec<_>>())),
            (
                "source",
                match source {
                    SourceRule::Any => "any".to_owned(),
                    SourceRule::Client => "client".to_owned(),
                    SourceRule::Only(ranges) => set(ranges),
                },
            ),
            ("commands", commands.as_deref().map(set).unwrap_or_default()),
            ("subject_key", subject_key.to_string()),
            (
                "break_glass",
                glass
                    .map(|glass| format!("{} with strength {}", glass.max_for, glass.strength))
                    .unwrap_or_default(),
            ),
            ("break_glass telling", glass.map(|glass| set(&glass.notify)).unwrap_or_default()),
            ("extend", extend.as_ref().map(ToString::to_string).unwrap_or_default()),
        ]
    };
    let pairs = texts(before).into_iter().zip(texts(after));
    pairs.map(|((name, before), (_, after))| (name, before, after)).collect()
}

fn approvals(rule: &RuleName, before: &Approval, after: &Approval, found: &mut Found) {
    let rest = |step: &Step| (step.count, step.strength);
    if let (Approval::Steps(before), Approval::Steps(after)) = (before, after)
        && let ([was], [is]) = (before.iter().as_slice(), after.iter().as_slice())
        && rest(was) == rest(is)
    {
        let [was, is] = [set(&was.from), set(&is.from)];
        if was != is {
            found.say(Some(rule), format!("approvals now from {is} instead of {was}"));
        }
        return;
    }
    let text = |approval: &Approval| match approval {
        Approval::Auto(auto) => format!("given {auto}"),
        Approval::Steps(steps) => {
            let step = |step: &Step| {
                format!("{} from {} with strength {}", step.count, set(&step.from), step.strength)
            };
            steps.iter().map(step).collect::<Vec<_>>().join(" and ")
        }
    };
    found.field(Some(rule), "approvals", &text(before), &text(after));
}

/// Whom a rule names, where it names them as before and groups or keys changed.
fn people(
    before: &Allow,
    after: &Allow,
    [old, new]: &[Crowd<'_>; 2],
    shifts: &[Shift],
    found: &mut Found,
) {
    let lists = |rule: &Allow| -> Vec<(String, Vec<Who>, Strength)> {
        let any = Strength::Any;
        let mut lists = vec![("who".to_owned(), rule.who.clone(), any)];
        lists.extend(rule.on_behalf.iter().map(|who| ("on_behalf".to_owned(), who.clone(), any)));
        if let Approval::Steps(steps) = &rule.approval {
            for step in steps {
                let name = format!("those who approve from {}", set(&step.from));
                lists.push((name, step.from.clone(), step.strength));
            }
        }
        let notify = rule.break_glass.iter().map(|glass| glass.notify.clone());
        lists.extend(notify.map(|who| ("those who are told of break_glass".to_owned(), who, any)));
        lists
    };
    for (name, who, strength) in lists(after) {
        // Another text is told as such.
        if !lists(before).iter().any(|was| *was == (name.clone(), who.clone(), strength)) {
            continue;
        }
        let ids = |crowd: &Crowd<'_>| -> BTreeSet<ActorId> {
            let all =
                if name.starts_with("those") { crowd.persons(&who) } else { crowd.named(&who) };
            let (ids, _) = crowd.names(&crowd.able(&all, strength), usize::MAX);
            ids.into_iter().cloned().collect()
        };
        let told = |id: &ActorId| {
            shifts.iter().any(|shift| shift.rules.contains(&after.name) && shift.who.contains(id))
        };
        let (was, is) = (ids(old), ids(new));
        let untold = was.symmetric_difference(&is).any(|id| !told(id));
        if untold {
            members(&after.name, &name, &was, &is, found);
        }
    }
}

/// Who or what a rule no longer names, and who or what it names now.
fn members<T: Ord + fmt::Display>(
    rule: &RuleName,
    field: &str,
    was: &BTreeSet<T>,
    is: &BTreeSet<T>,
    found: &mut Found,
) {
    let new: Vec<&T> = is.difference(was).collect();
    let gone: Vec<&T> = was.difference(is).collect();
    let mut parts = Vec::new();
    if !new.is_empty() {
        parts.push(format!("now also {}", some(&new)));
    }
    if !gone.is_empty() {
        parts.push(format!("no longer {}", some(&gone)));
    }
    if !parts.is_empty() {
        found.say(Some(rule), format!("{field}, {}", parts.join(", ")));
    }
}

/// The first few of many.
fn some<T: fmt::Display>(items: &[T]) -> String {
    let shown: Vec<String> = items.iter().take(SHOWN).map(ToString::to_string).collect();
    match items.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The first rule that fits decides, so another order of the same rules is another policy.
fn order(old: &Bundle, new: &Bundle, found: &mut Found) {
    let names = |bundle: &Bundle| -> Vec<RuleName> {
        bundle.policy.allow.iter().map(|rule| rule.name.clone()).collect()
    };
    let (before, after) = (names(old), names(new));
    let both = |of: &[RuleName], other: &[RuleName]| -> Vec<RuleName> {
        of.iter().filter(|name| other.contains(name)).cloned().collect()
    };
    let (was, is) = (both(&before, &after), both(&after, &before));
    let from = was.iter().zip(&is).position(|(was, is)| was != is);
    let Some(from) = from else { return };
    // Only the stretch that is in another order.
    let same = was.iter().rev().zip(is.iter().rev()).take_while(|(was, is)| was == is).count();
    let stretch = |names: &[RuleName]| {
        let names = names.get(from..names.len().saturating_sub(same)).unwrap_or_default();
        some(names)
    };
    found.say(None, format!("order of the rules: {} instead of {}", stretch(&is), stretch(&was)));
}

/// Hosts that are there or not, and the keys people sign with: no rule says a word about them.
fn things(old: &Bundle, new: &Bundle, found: &mut Found) {
    let names = |bundle: &Bundle| -> BTreeSet<HostName> {
        bundle.hosts.iter().map(|host| host.name.clone()).collect()
    };
    let (was, is) = (names(old), names(new));
    for (verb, names) in [("new", &is - &was), ("gone", &was - &is)] {
        let names: Vec<HostName> = names.into_iter().collect();
        match names.len() {
            0 => {}
            1 => found.say(None, format!("{verb} host: {}", some(&names))),
            _ => found.say(None, format!("{verb} hosts: {}", some(&names))),
        }
    }
    let other_keys = new.people.iter().filter(|actor| {
        old.people.get(&actor.id).is_some_and(|before| {
            let keys = |keys: &[crate::key::SignerKey]| -> BTreeSet<String> {
                keys.iter().map(|key| key.fingerprint()).collect()
            };
            keys(&before.keys) != keys(&actor.keys)
        })
    });
    let other_keys: Vec<&ActorId> = other_keys.map(|actor| &actor.id).collect();
    if !other_keys.is_empty() {
        found.say(None, format!("other keys to sign with: {}", some(&other_keys)));
    }
}

#[cfg(test)]
mod tests;
