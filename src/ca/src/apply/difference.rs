//! What changes between two bundles, in people's words. Pure.

use std::collections::BTreeMap;
use std::fmt;

use jit_ssh_core::bundle::{
    Actor, ActorKind, Allow, Approval, Bundle, Deny, Host, Selection, SignerInfo, SourceRule,
};

/// One thing that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    what: String,
    how: How,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum How {
    Added(Vec<Field>),
    Removed,
    /// Fields with what they were and what they will be.
    Changed(Vec<(Field, String)>),
}

/// A field's name and value.
type Field = (&'static str, String);

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.how {
            How::Added(fields) => {
                write!(f, "+ {}", self.what)?;
                let told = fields.iter().filter(|(_, value)| !value.is_empty());
                told.into_iter().try_for_each(|(name, value)| write!(f, "\n    {name}: {value}"))
            }
            How::Removed => write!(f, "- {}", self.what),
            How::Changed(fields) => {
                write!(f, "~ {}", self.what)?;
                fields.iter().try_for_each(|((name, before), after)| {
                    let shown =
                        |value: &str| if value.is_empty() { "none" } else { value }.to_owned();
                    write!(f, "\n    {name}: {} -> {}", shown(before), shown(after))
                })
            }
        }
    }
}

/// What `new` changes; everything is new where there is no `old`.
pub(crate) fn between(old: Option<&Bundle>, new: &Bundle) -> Vec<Change> {
    let mut before = old.map(things).unwrap_or_default();
    let mut changes = Vec::new();
    for (key, after) in things(new) {
        let what = key.2.clone();
        match before.remove(&key) {
            None => changes.push((key, Change { what, how: How::Added(after) })),
            Some(before) => {
                let fields: Vec<(Field, String)> = before
                    .into_iter()
                    .zip(after)
                    .filter(|((_, before), (_, after))| before != after)
                    .map(|(before, (_, after))| (before, after))
                    .collect();
                if !fields.is_empty() {
                    changes.push((key, Change { what, how: How::Changed(fields) }));
                }
            }
        }
    }
    let gone = before.into_keys().map(|key| {
        let what = key.2.clone();
        (key, Change { what, how: How::Removed })
    });
    changes.extend(gone);
    changes.sort_by(|(a, _), (b, _)| a.cmp(b));
    changes.into_iter().map(|(_, change)| change).collect()
}

/// Where a thing stands: its file, its place there by kind, and what people call it.
type Key = (u8, u8, String);

/// Everything in a bundle, each thing with the same fields in the same order.
fn things(bundle: &Bundle) -> BTreeMap<Key, Vec<Field>> {
    let mut all = BTreeMap::new();
    for actor in bundle.people.iter() {
        let kind = if actor.is_person() { "person" } else { "machine" };
        all.insert((0, 0, format!("{kind} {}", actor.id)), person(actor));
    }
    for host in bundle.hosts.iter() {
        all.insert((1, 0, format!("host {}", host.name)), host_fields(host));
    }
    for rule in &bundle.policy.deny {
        all.insert((2, 0, format!("deny rule {}", rule.name)), deny(rule));
    }
    for rule in &bundle.policy.allow {
        all.insert((2, 1, format!("allow rule {}", rule.name)), allow(rule));
    }
    // The first allow rule that fits decides, so their order is a rule of its own.
    if bundle.policy.allow.len() > 1 {
        let names = list(bundle.policy.allow.iter().map(|rule| &rule.name));
        all.insert((2, 2, "order of the allow rules".to_owned()), vec![("order", names)]);
    }
    if !bundle.policy.auditors.is_empty() {
        let auditors = vec![("who", list(&bundle.policy.auditors))];
        all.insert((2, 3, "auditors".to_owned()), auditors);
    }
    for signer in bundle.signers.iter() {
        all.insert((3, 0, format!("signer {}", signer.number)), signer_fields(signer));
    }
    all
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn person(actor: &Actor) -> Vec<Field> {
    let (name, email) = match &actor.kind {
        ActorKind::Person { name, email } => (name.clone(), email.clone().unwrap_or_default()),
        ActorKind::Machine => (String::new(), String::new()),
    };
    vec![
        ("name", name),
        ("email", email),
        ("keys", list(actor.keys.iter().map(|key| key.fingerprint()))),
        ("groups", list(&actor.groups)),
    ]
}

fn host_fields(host: &Host) -> Vec<Field> {
    vec![
        ("address", host.address.clone().unwrap_or_default()),
        ("aliases", list(&host.aliases)),
        ("key", host.key.as_ref().map(|key| key.fingerprint()).unwrap_or_default()),
        ("labels", list(host.labels.iter().map(|(key, value)| format!("{key}={value}")))),
        ("logins", list(host.logins.iter())),
        ("via", host.via.as_ref().map(ToString::to_string).unwrap_or_default()),
    ]
}

fn selection<T: ToString>(selection: &Selection<T>) -> String {
    match selection {
        Selection::All => "all".to_owned(),
        Selection::Only(items) => list(items.iter().map(ToString::to_string)),
    }
}

fn deny(rule: &Deny) -> Vec<Field> {
    vec![
        ("who", selection(&rule.who)),
        ("hosts", selection(&rule.hosts)),
        ("logins", selection(&rule.logins)),
    ]
}

fn allow(rule: &Allow) -> Vec<Field> {
    let approvals = match &rule.approval {
        Approval::Auto(auto) => format!("none, it approves {auto}"),
        Approval::Steps(steps) => {
            let steps = steps.iter().map(|step| {
                format!("{} of {} (strength {})", step.count, list(&step.from), step.strength)
            });
            steps.collect::<Vec<_>>().join(" and ")
        }
    };
    let reason = &rule.reason;
    let pattern = reason.pattern.as_ref().map(|p| format!(", with {}", p.as_str()));
    let hint = reason.hint.as_ref().map(|hint| format!(" ({hint})"));
    let source = match &rule.source {
        SourceRule::Any => "any".to_owned(),
        SourceRule::Client => "client".to_owned(),
        SourceRule::Only(ranges) => list(ranges),
    };
    vec![
        ("who", list(&rule.who)),
        ("hosts", list(&rule.hosts)),
        ("logins", list(&rule.logins)),
        ("on_behalf", rule.on_behalf.as_deref().map(list).unwrap_or_default()),
        ("approvals", approvals),
        ("break_glass", rule.break_glass.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("extend", rule.extend.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("max_for", rule.max_for.to_string()),
        ("cert_for", rule.cert_for.to_string()),
        (
            "reason",
            format!(
                "at least {} characters{}{}",
                reason.min,
                pattern.unwrap_or_default(),
                hint.unwrap_or_default()
            ),
        ),
        ("decide_within", rule.decide_within.to_string()),
        ("use_within", rule.use_within.to_string()),
        ("permit", list(&rule.permit)),
        ("commands", rule.commands.as_deref().map(list).unwrap_or_default()),
        ("source", source),
        ("subject_key", rule.subject_key.to_string()),
    ]
}

fn signer_fields(signer: &SignerInfo) -> Vec<Field> {
    let host_ca_key = signer.host_ca_key.as_ref().map(|key| key.fingerprint());
    vec![
        ("ca_key", signer.ca_key.fingerprint()),
        ("host_ca_key", host_ca_key.unwrap_or_default()),
        ("log_key", signer.log_key.clone()),
    ]
}

#[cfg(test)]
mod tests;
