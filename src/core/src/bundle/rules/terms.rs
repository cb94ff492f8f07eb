//! The terms of an allow rule that are about time, reason and place.

use std::num::NonZeroU8;

use super::MAX_FOR;
use crate::bundle::known::Known;
use crate::bundle::policy::{BreakGlass, Extend, SourceRule, Strength};
use crate::bundle::reader::{Empty, Item, Table, quote};
use crate::bundle::reason::ReasonRule;
use crate::time::Seconds;

/// A duration of at most `max`.
pub(super) fn duration(item: Item<'_>, max: Seconds) -> Option<Seconds> {
    let duration = item.parse::<Seconds>()?;
    if duration > max {
        item.problem(format!("{duration} is too long; at most {max} is accepted here"));
        return None;
    }
    Some(duration)
}

pub(super) fn reason(item: Item<'_>) -> Option<ReasonRule> {
    let mut table = item.table("reason")?;
    let min = table.or("min", 1, |item| item.integer(1, MAX_REASON_MIN));
    let pattern = table.or("pattern", None, |item| item.parse().map(Some));
    let hint = table.or("hint", None, |item| item.line(MAX_HINT).map(|hint| Some(hint.to_owned())));
    table.finish();
    let min = usize::try_from(min?).ok()?;
    Some(ReasonRule { min, pattern: pattern?, hint: hint? })
}

pub(super) fn source(item: Item<'_>) -> Option<SourceRule> {
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

/// How far live access may be prolonged.
pub(super) fn extend(item: Item<'_>) -> Option<Extend> {
    let mut table = item.table("extend")?;
    let max = table.required("max").and_then(|item| duration(item, MAX_FOR));
    let times = table.required("times").and_then(|item| item.integer(1, MAX_EXTENSIONS));
    table.finish();
    let times = u8::try_from(times?).ok().and_then(NonZeroU8::new)?;
    Some(Extend { max: max?, times })
}

impl Known<'_> {
    /// Going ahead without approvals in a rule of at most `max_for`, which is `None` where it could
    /// not be read. Outer `None` if the field is there and wrong.
    pub(super) fn break_glass(
        self,
        rule: &mut Table<'_>,
        max_for: Option<Seconds>,
    ) -> Option<Option<BreakGlass>> {
        let Some(item) = rule.optional("break_glass") else {
            return Some(None);
        };
        let approved_by_rule =
            rule.optional("auto").is_some() && rule.optional("approvals").is_none();
        if approved_by_rule {
            item.problem_with_help(
                "nobody is asked beside `auto`, so there is nothing to go ahead of".to_owned(),
                "take `break_glass` out, or name who must approve in `approvals`",
            );
        }
        let for_others = rule.optional("on_behalf").is_some();
        if for_others {
            item.problem_with_help(
                "`break_glass` is for persons who ask for themselves, not beside `on_behalf`"
                    .to_owned(),
                "give it a rule of its own, with persons in `who`",
            );
        }
        let mut table = item.table("break_glass")?;
        let strength = table.or("strength", Strength::Any, Item::parse);
        let longest = table.or("max_for", max_for, |item| {
            let longest = duration(item, MAX_FOR)?;
            if let Some(max_for) = max_for
                && longest > max_for
            {
                item.problem_with_help(
                    format!("going ahead can not last longer than the rule's max_for, {max_for}"),
                    "leave it out to allow just as long",
                );
                return None;
            }
            Some(Some(longest))
        });
        let notify = table.or("notify", Vec::new(), |item| {
            self.persons(item, Empty::Fine, "a machine can not be told")
        });
        table.finish();
        let broken = BreakGlass { strength: strength?, max_for: longest??, notify: notify? };
        (!approved_by_rule && !for_others).then_some(Some(broken))
    }
}

const MAX_REASON_MIN: u32 = 200;
const MAX_HINT: usize = 200;
const MAX_EXTENSIONS: u32 = 10;
