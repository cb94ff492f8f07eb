//! From `policy_test.toml` to cases.

use std::collections::HashMap;
use std::net::IpAddr;

use super::{Case, Expected, FILE};
use crate::bundle::reader::{Empty, Item, Table, quote};
use crate::bundle::source::read_alone;
use crate::bundle::{Bundle, Diagnostics, Strength};
use crate::names::{ActorId, HostName, RuleName};
use crate::policy::judgement::Supposed;
use crate::policy::moment::Moment;
use crate::refusal::Reason;
use crate::statement::MAX_COMMAND;
use crate::time::UnixTime;

/// What a case says where it gives no reason: names a ticket, as rules like to have it.
const SOME_REASON: &str = "INC-1 CHG-1 OPS-1 #1: the reason of a case in policy_test.toml";

const MAX_NAME: usize = 200;
const MAX_TEXT: usize = 1024;
/// Eight steps of 255 persons.
const MAX_APPROVALS: u32 = 2040;

pub(super) fn parse(
    bytes: &[u8],
    bundle: &Bundle,
    now: UnixTime,
) -> Result<Vec<Case>, Diagnostics> {
    read_alone(FILE, bytes, |source| {
        source.read(|mut file| {
            let mut reading = Reading { bundle, now, names: HashMap::new() };
            let cases = file.tables("case", "[[case]]");
            let cases = cases.into_iter().filter_map(|table| reading.case(table)).collect();
            file.finish();
            cases
        })
    })
}

struct Reading<'a, 'b> {
    bundle: &'b Bundle,
    now: UnixTime,
    names: HashMap<&'a str, usize>,
}

impl<'a> Reading<'a, '_> {
    /// One case; `None` if it has problems, which refuse the file as a whole.
    fn case(&mut self, mut table: Table<'a>) -> Option<Case> {
        let name_item = table.required("name");
        let name = name_item.and_then(|item| self.name(item));
        let by = table.required("who").and_then(|item| self.actor(item));
        let subject = table.or("for_person", None, |item| self.actor(item).map(Some));
        let hosts = table.required("where").and_then(|item| self.hosts(item));
        let logins =
            table.required("as").and_then(|item| item.unique(Empty::Refused, Item::parse).whole());
        let span = table.required("for").and_then(Item::parse);
        let reason = table.or("reason", SOME_REASON, |item| item.line(MAX_TEXT));
        let break_glass =
            table.or("break_glass", None, |item| item.line(MAX_TEXT).map(|why| Some(why.into())));
        let command =
            table.or("command", None, |item| item.line(MAX_COMMAND).map(|one| Some(one.into())));
        let strength = table.or("strength", Strength::Any, Item::parse);
        let from = table.or("from", None, |item| address(item).map(Some));
        let at = table.or("at", None, |item| item.parse::<Moment>().map(Some));
        let expected = table.required("expect").and_then(|item| self.expected(item));
        let at = at?;
        let supposed = Supposed {
            by: by?,
            subject: subject?,
            hosts: hosts?,
            logins: logins?,
            span: span?,
            reason: reason?.to_owned(),
            break_glass: break_glass?,
            command: command?,
            strength: strength?,
            from: from?,
            at: at.map_or(self.now, |moment| moment.0),
        };
        // Only now: what is looked at is what the request says, not whether it is allowed.
        if let Err(error) = supposed.judge(self.bundle) {
            table.problem(error.to_string());
        }
        table.finish();
        Some(Case {
            name: name?,
            line: name_item?.line_number(),
            supposed,
            is_dated: at.is_some(),
            expected: expected?,
        })
    }

    fn name(&mut self, item: Item<'a>) -> Option<String> {
        let name = item.line(MAX_NAME)?;
        if let Some(line) = self.names.insert(name, item.line_number()) {
            item.problem_with_help(
                format!("there are two cases named {}", quote(name)),
                format!("the other is in line {line}"),
            );
            return None;
        }
        Some(name.to_owned())
    }

    fn actor(&self, item: Item<'_>) -> Option<ActorId> {
        let id = item.parse::<ActorId>()?;
        if self.bundle.people.get(&id).is_some() {
            return Some(id);
        }
        let ids = self.bundle.people.iter().map(|actor| actor.id.as_str());
        item.unknown(format!("there is nobody with the id `{id}`"), id.as_str(), ids);
        None
    }

    fn hosts(&self, item: Item<'_>) -> Option<Vec<HostName>> {
        item.unique(Empty::Refused, |item| {
            let name = item.parse::<HostName>()?;
            if self.bundle.hosts.get(&name).is_some() {
                return Some(name);
            }
            let names = self.bundle.hosts.iter().map(|host| host.name.as_str());
            item.unknown(format!("there is no host `{name}`"), name.as_str(), names);
            None
        })
        .whole()
    }

    fn rule(&self, item: Item<'_>) -> Option<RuleName> {
        let name = item.parse::<RuleName>()?;
        let policy = &self.bundle.policy;
        let allow = policy.allow.iter().map(|rule| &rule.name);
        let names = policy.deny.iter().map(|rule| &rule.name).chain(allow);
        if names.clone().any(|known| *known == name) {
            return Some(name);
        }
        item.unknown(
            format!("there is no rule `{name}`"),
            name.as_str(),
            names.map(RuleName::as_str),
        );
        None
    }

    fn expected(&self, item: Item<'_>) -> Option<Expected> {
        let mut table = item.table("expect")?;
        let refused = table.or("refused", None, |item| reason(item).map(Some));
        let rule = table.or("rule", None, |item| self.rule(item).map(Some));
        let text = table.or("text", None, |item| item.line(MAX_TEXT).map(|t| Some(t.to_owned())));
        let approvals = table.or("approvals", None, |item| {
            usize::try_from(item.integer(0, MAX_APPROVALS)?).ok().map(Some)
        });
        let auto = table.or("auto", None, |item| item.boolean().map(Some));
        let approvers = table.or("approvers", None, |item| {
            let mut ids = item.unique(Empty::Fine, |item| self.actor(item)).whole()?;
            ids.sort_unstable();
            Some(Some(ids))
        });
        let (refused, rule, text) = (refused?, rule?, text?);
        let (approvals, auto, approvers) = (approvals?, auto?, approvers?);
        let granted = approvals.is_some() || auto.is_some() || approvers.is_some();
        let expected = match refused {
            Some(_) if granted => {
                table.problem(
                    "a refused request has no approvals: `refused` goes with `rule` and `text` only"
                        .to_owned(),
                );
                None
            }
            Some(reason) => Some(Expected::Refused { reason, rule, text }),
            None if text.is_some() => {
                table.problem("`text` is found in a refusal: it needs `refused`".to_owned());
                None
            }
            None if !granted && rule.is_none() => {
                table.problem(
                    "nothing is expected: name `rule`, `approvals`, `auto`, `approvers` or `refused`"
                        .to_owned(),
                );
                None
            }
            None => Some(Expected::Allowed { rule, approvals, auto, approvers }),
        };
        table.finish();
        expected
    }
}

fn address(item: Item<'_>) -> Option<IpAddr> {
    let text = item.text()?;
    let address = text.parse().ok();
    if address.is_none() {
        item.problem_with_help(
            format!("{} is not an address", quote(text)),
            "write it like \"10.20.0.7\" or \"2001:db8::7\"",
        );
    }
    address
}

fn reason(item: Item<'_>) -> Option<Reason> {
    let text = item.text()?;
    let reason = text.parse().ok();
    if reason.is_none() {
        let known = Reason::ALL.iter().map(|reason| reason.as_str());
        item.unknown(format!("{} is not a reason of a refusal", quote(text)), text, known);
    }
    reason
}
