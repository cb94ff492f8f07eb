//! Reads `policy.toml`. What it names is checked against people and hosts by [`Known`].
//!
//! - `approval`: who must approve, and whether enough persons are there to do so;
//! - `terms`: how long, for which reason, from where; breaking glass and prolonging.

mod approval;
mod terms;

use std::collections::HashMap;

use super::known::Known;
use super::policy::{Allow, Deny, Permit, Policy, Selection, SourceRule, Strength};
use super::reader::{Empty, Item, Table, quote};
use super::reason::ReasonRule;
use super::rule_index::RuleIndex;
use crate::names::RuleName;
use crate::time::Seconds;
use terms::{duration, extend, reason, source};

/// Reads the file. Rules with problems are left out: the problems refuse the file as a whole.
pub(super) fn read(mut file: Table<'_>, known: Known<'_>) -> Policy {
    let mut rules = Rules { known, names: HashMap::new() };
    let deny = file.tables("deny", "[[deny]]");
    let deny: Vec<Deny> = deny.into_iter().filter_map(|table| rules.deny(table)).collect();
    let allow = file.tables("allow", "[[allow]]");
    let allow: Vec<Allow> = allow.into_iter().filter_map(|table| rules.allow(table)).collect();
    let auditors = file.or("auditors", Vec::new(), |item| known.who(item)).unwrap_or_default();
    file.finish();
    let index = RuleIndex::new(&deny, &allow);
    Policy { deny, allow, auditors, index }
}

struct Rules<'a, 'k> {
    known: Known<'k>,
    names: HashMap<RuleName, Item<'a>>,
}

impl<'a> Rules<'a, '_> {
    fn deny(&mut self, mut table: Table<'a>) -> Option<Deny> {
        let known = self.known;
        let name = self.name(&mut table);
        let who = table.or("who", Selection::All, |item| known.who(item).map(Selection::Only));
        let hosts =
            table.or("hosts", Selection::All, |item| known.hosts(item).map(Selection::Only));
        let logins = table.or("logins", Selection::All, |item| {
            known.logins(item, hosts.as_ref()).map(Selection::Only)
        });
        table.finish();
        Some(Deny { name: name?, who: who?, hosts: hosts?, logins: logins? })
    }

    fn allow(&mut self, mut table: Table<'a>) -> Option<Allow> {
        let known = self.known;
        let name = self.name(&mut table);
        let on_behalf = table.optional("on_behalf");
        let who = table.required("who").and_then(|item| match on_behalf {
            Some(_) => known.machines(item),
            None => known.who(item),
        });
        let on_behalf = match on_behalf {
            Some(item) => known
                .persons(item, Empty::Refused, "nobody can ask on behalf of a machine")
                .map(Some),
            None => Some(None),
        };
        let hosts = table.required("hosts").and_then(|item| known.hosts(item));
        let hosts = hosts.map(Selection::Only);
        let logins = table.required("logins").and_then(|item| known.logins(item, hosts.as_ref()));
        let max_for = table.required("max_for").and_then(|item| duration(item, MAX_FOR));
        let cert_for = table.required("cert_for").and_then(|item| {
            let cert_for = duration(item, MAX_CERT_FOR)?;
            if let Some(max_for) = max_for
                && cert_for > max_for
            {
                item.problem(format!("a certificate can not be longer than max_for, {max_for}"));
                return None;
            }
            Some(cert_for)
        });
        let reason = table.or("reason", ReasonRule::default(), reason);
        let approval = known.approval(&mut table);
        let decide_within =
            table.or("decide_within", HOUR, |item| duration(item, MAX_DECIDE_WITHIN));
        let use_within =
            table.or("use_within", QUARTER_HOUR, |item| duration(item, MAX_USE_WITHIN));
        let commands = table.or("commands", None, |item| {
            item.unique(Empty::Refused, Item::parse).whole().map(Some)
        });
        let for_commands = commands.as_ref().is_some_and(Option::is_some);
        let permit = table.or("permit", Vec::new(), |item| {
            let permit: Vec<Permit> = item.unique(Empty::Fine, Item::parse).whole()?;
            if for_commands && permit.iter().any(|permit| permit.exceeds_command()) {
                item.problem_with_help(
                    "beside `commands`, only `pty` can be permitted".to_owned(),
                    "whatever else there is opens more than the command",
                );
                return None;
            }
            Some(permit)
        });
        let source = table.or("source", SourceRule::Any, source);
        let subject_key = table.or("subject_key", Strength::Any, Item::parse);
        let break_glass = known.break_glass(&mut table, max_for);
        let extend = table.or("extend", None, |item| extend(item).map(Some));
        table.finish();
        let Selection::Only(hosts) = hosts? else {
            return None;
        };
        Some(Allow {
            name: name?,
            who: who?,
            on_behalf: on_behalf?,
            hosts,
            logins: logins?,
            max_for: max_for?,
            cert_for: cert_for?,
            reason: reason?,
            approval: approval?,
            decide_within: decide_within?,
            use_within: use_within?,
            permit: permit?.into_iter().collect(),
            commands: commands?,
            source: source?,
            subject_key: subject_key?,
            break_glass: break_glass?,
            extend: extend?,
        })
    }

    /// The rule's name, unlike all others.
    fn name(&mut self, table: &mut Table<'a>) -> Option<RuleName> {
        let item = table.required("name")?;
        let name = item.parse::<RuleName>()?;
        if let Some(other) = self.names.get(&name) {
            let line = other.line_number();
            item.problem_with_help(
                format!("there are two rules named {}", quote(name.as_str())),
                format!("the other is in line {line}; allow and deny rules share their names"),
            );
            return None;
        }
        self.names.insert(name.clone(), item);
        Some(name)
    }
}

const fn seconds(count: u32) -> Seconds {
    Seconds::new(count).expect("the constants below are not zero")
}

const HOUR: Seconds = seconds(3_600);
const QUARTER_HOUR: Seconds = seconds(900);

pub(super) const FILE: &str = "policy.toml";

const MAX_FOR: Seconds = seconds(24 * 3_600);
const MAX_CERT_FOR: Seconds = HOUR;
const MAX_DECIDE_WITHIN: Seconds = seconds(7 * 24 * 3_600);
const MAX_USE_WITHIN: Seconds = seconds(24 * 3_600);
