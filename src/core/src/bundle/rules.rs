//! Reads `policy.toml`. What it names is checked against people and hosts by [`Known`]; what this
//! version can not honour yet is refused here.

use std::collections::HashMap;
use std::num::NonZeroU8;

use super::known::Known;
use super::policy::{
    Allow, Approval, Auto, Deny, Policy, Selection, SourceRule, Step, Steps, Strength,
};
use super::reader::{Empty, Item, Table, quote};
use super::reason::ReasonRule;
use super::who::Who;
use crate::names::RuleName;
use crate::time::Seconds;

/// Reads the file. Rules with problems are left out: the problems refuse the file as a whole.
pub(super) fn read(mut file: Table<'_>, known: Known<'_>) -> Policy {
    let mut rules = Rules { known, names: HashMap::new() };
    let deny = file.tables("deny", "[[deny]]");
    let deny = deny.into_iter().filter_map(|table| rules.deny(table)).collect();
    let allow = file.tables("allow", "[[allow]]");
    let allow = allow.into_iter().filter_map(|table| rules.allow(table)).collect();
    let auditors = file.or("auditors", Vec::new(), |item| known.who(item)).unwrap_or_default();
    file.finish();
    Policy { deny, allow, auditors }
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
        let who = table.required("who").and_then(|item| known.who(item));
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
        let permit =
            table.or("permit", Vec::new(), |item| item.unique(Empty::Fine, Item::parse).whole());
        let source = table.or("source", SourceRule::Any, source);
        for field in ["on_behalf", "break_glass", "extend"] {
            table.not_yet(field);
        }
        table.finish();
        let Selection::Only(hosts) = hosts? else {
            return None;
        };
        Some(Allow {
            name: name?,
            who: who?,
            hosts,
            logins: logins?,
            max_for: max_for?,
            cert_for: cert_for?,
            reason: reason?,
            approval: approval?,
            decide_within: decide_within?,
            use_within: use_within?,
            permit: permit?.into_iter().collect(),
            source: source?,
            on_behalf: None,
            break_glass: None,
            extend: None,
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

impl Known<'_> {
    /// Exactly one of `approvals` and `auto`: a rule without either approves nothing by accident.
    fn approval(self, table: &mut Table<'_>) -> Option<Approval> {
        match (table.optional("approvals"), table.optional("auto")) {
            (Some(steps), None) => self.steps(steps),
            (None, Some(auto)) => {
                let mut auto = auto.table("auto")?;
                auto.not_yet("hours");
                auto.not_yet("review_by");
                auto.finish();
                Some(Approval::Auto(Auto::default()))
            }
            (Some(_), Some(auto)) => {
                auto.problem("a rule has either `approvals` or `auto`, not both".to_owned());
                None
            }
            (None, None) => {
                table.problem(
                    "[[allow]] lacks the field `approvals`, or `auto = {}` to need none".to_owned(),
                );
                None
            }
        }
    }

    fn steps(self, item: Item<'_>) -> Option<Approval> {
        let items = item.list(Empty::Refused)?;
        if let Some(second) = items.get(1) {
            second.problem_with_help(
                "more than one approval step is not supported by this version yet".to_owned(),
                "keep one step; all who may approve can stand in its `from`",
            );
        }
        // All are read, so that all problems are found; none may be missing.
        let steps: Vec<_> = items.into_iter().map(|item| self.step(item)).collect();
        let steps = steps.into_iter().collect::<Option<Vec<_>>>()?;
        Steps::new(steps).map(Approval::Steps)
    }

    fn step(self, item: Item<'_>) -> Option<Step> {
        let mut table = item.table("an approval step")?;
        let from = table.required("from").and_then(|item| self.approvers(item));
        let count = table.required("count").and_then(|item| {
            let count = item.integer(1, u32::from(u8::MAX))?;
            let count = u8::try_from(count).ok().and_then(NonZeroU8::new)?;
            self.check_enough(item, count, from.as_deref()?)?;
            Some(count)
        });
        let strength = table.or("strength", Strength::Any, |item| {
            let strength = item.parse::<Strength>()?;
            if strength > Strength::Any {
                item.problem_with_help(
                    format!("strength `{strength}` is not supported by this version yet"),
                    "use `any`; this is refused because ignoring it could allow too much",
                );
            }
            Some(strength)
        });
        table.finish();
        Some(Step { from: from?, count: count?, strength: strength? })
    }

    /// Who may approve: persons only.
    fn approvers(self, item: Item<'_>) -> Option<Vec<Who>> {
        item.unique(Empty::Refused, |item| {
            let who = self.one_who(item)?;
            match &who {
                Who::Person(_) => return Some(who),
                Who::Machine(_) => item.problem("a machine can not approve".to_owned()),
                Who::Group(group) => {
                    if self.people.and_then(|people| people.persons_in(group)) != Some(0) {
                        return Some(who);
                    }
                    item.problem(format!("there is no person in group `{group}`"));
                }
            }
            None
        })
        .whole()
    }

    fn check_enough(self, item: Item<'_>, count: NonZeroU8, from: &[Who]) -> Option<()> {
        let Some(people) = self.people else {
            return Some(());
        };
        let count = usize::from(count.get());
        let approvers = people
            .iter()
            .filter(|actor| actor.is_person() && from.iter().any(|who| who.covers(actor)))
            .take(count)
            .count();
        if approvers == count {
            return Some(());
        }
        item.problem_with_help(
            format!("{count} approvals are asked of {approvers} persons: nobody could satisfy it"),
            "lower `count`, or name more persons in `from`",
        );
        None
    }
}

fn duration(item: Item<'_>, max: Seconds) -> Option<Seconds> {
    let duration = item.parse::<Seconds>()?;
    if duration > max {
        item.problem(format!("{duration} is too long; at most {max} is accepted here"));
        return None;
    }
    Some(duration)
}

fn reason(item: Item<'_>) -> Option<ReasonRule> {
    let mut table = item.table("reason")?;
    let min = table.or("min", 1, |item| item.integer(1, MAX_REASON_MIN));
    let pattern = table.or("pattern", None, |item| item.parse().map(Some));
    let hint = table.or("hint", None, |item| item.line(MAX_HINT).map(|hint| Some(hint.to_owned())));
    table.finish();
    let min = usize::try_from(min?).ok()?;
    Some(ReasonRule { min, pattern: pattern?, hint: hint? })
}

fn source(item: Item<'_>) -> Option<SourceRule> {
    if item.is_list() {
        return item.unique(Empty::Refused, Item::parse).whole().map(SourceRule::Only);
    }
    match item.text()? {
        "any" => Some(SourceRule::Any),
        "client" => Some(SourceRule::Client),
        other => {
            item.problem_with_help(
                format!("{} is not a source", quote(other)),
                "write \"any\", \"client\", or a list of ranges like [\"10.0.0.0/8\"]",
            );
            None
        }
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
const MAX_REASON_MIN: u32 = 200;
const MAX_HINT: usize = 200;
