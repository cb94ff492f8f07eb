//! The text of a proposed rule.

use std::fmt::Write as _;

use jit_ssh_core::bundle::{Bundle, HostPattern, SourceRule, Strength, Who};
use jit_ssh_core::time::UnixTime;
use time::macros::format_description;

use super::evidence::Pattern;
use crate::terminal::formatted;

/// Until when somebody must look at it: 90 days, in seconds.
const REVIEW: u32 = 90 * 86_400;
/// Longest name without the number that makes it unlike others; rules have at most 63.
const NAME: usize = 58;

/// A name that says what it is for, unlike all others of the policy and of those proposed already.
pub(super) fn name(pattern: &Pattern<'_>, bundle: &Bundle, proposed: &[String]) -> String {
    let who = match &pattern.who {
        Who::Person(id) | Who::Machine(id) => id.to_string(),
        Who::Group(group) => group.to_string(),
    };
    let place = |place: &HostPattern| match place {
        HostPattern::Labels(labels) => {
            labels.iter().map(|(key, value)| format!("{key}-{value}")).collect::<Vec<_>>().join("-")
        }
        other => other.to_string(),
    };
    let places = pattern.places.iter().map(place).collect::<Vec<_>>().join("-");
    let logins: Vec<&str> = pattern.logins.iter().map(|login| login.as_str()).collect();
    let text = format!("auto-{who}-{}-{places}", logins.join("-")).to_lowercase();
    let fits = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit();
    let mut name = String::new();
    for char in text.chars() {
        match char {
            char if fits(char) => name.push(char),
            '.' | '_' => name.push(char),
            _ if name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    let name: String = name.chars().take(NAME).collect();
    let name = name.trim_end_matches('-');
    let policy = &bundle.policy;
    let taken = |name: &str| {
        policy.allow.iter().any(|rule| rule.name.as_str() == name)
            || policy.deny.iter().any(|rule| rule.name.as_str() == name)
            || proposed.iter().any(|rule| rule == name)
    };
    let numbered = (2..1_000u32).map(|number| format!("{name}-{number}"));
    std::iter::once(name.to_owned()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
}

/// The rule as it stands in policy.toml. What it does not narrow it has from the rule that asks now.
pub(super) fn text(
    name: &str,
    pattern: &Pattern<'_>,
    hours: Option<&str>,
    now: UnixTime,
) -> String {
    let rule = pattern.rule;
    let mut text = String::from("[[allow]]\n");
    let mut field = |name: &str, value: String| {
        // Writing to a string can not fail.
        let _ = writeln!(text, "{name} = {value}");
    };
    field("name", quoted(name));
    field("who", format!("[{}]", quoted(&pattern.who.to_string())));
    field("hosts", list(pattern.places.iter().map(ToString::to_string)));
    field("logins", list(pattern.logins.iter().map(ToString::to_string)));
    let longest = pattern.longest.min(rule.max_for);
    field("max_for", quoted(&longest.to_string()));
    field("cert_for", quoted(&rule.cert_for.min(longest).to_string()));
    let reason = &rule.reason;
    let mut asks = vec![format!("min = {}", reason.min.max(1))];
    asks.extend(reason.pattern.iter().map(|p| format!("pattern = {}", quoted(p.as_str()))));
    asks.extend(reason.hint.iter().map(|hint| format!("hint = {}", quoted(hint))));
    field("reason", format!("{{ {} }}", asks.join(", ")));
    let review_by = format!("review_by = {}", quoted(&day(now.plus_secs(REVIEW))));
    let hours = hours.map(|hours| format!("hours = {}, ", quoted(hours))).unwrap_or_default();
    field("auto", format!("{{ {hours}{review_by} }}"));
    field("use_within", quoted(&rule.use_within.to_string()));
    if !rule.permit.is_empty() {
        field("permit", list(rule.permit.iter().map(ToString::to_string)));
    }
    if let Some(commands) = &rule.commands {
        field("commands", list(commands.iter().map(ToString::to_string)));
    }
    match &rule.source {
        SourceRule::Any => {}
        SourceRule::Client => field("source", quoted("client")),
        SourceRule::Only(ranges) => field("source", list(ranges.iter().map(ToString::to_string))),
    }
    match rule.subject_key {
        Strength::Any => {}
        strength => field("subject_key", quoted(strength.as_str())),
    }
    text
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.map(|item| quoted(&item)).collect::<Vec<_>>().join(", "))
}

/// A TOML string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            char if char.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(char));
            }
            char => out.push(char),
        }
    }
    out.push('"');
    out
}

/// The day of a moment, in UTC.
fn day(moment: UnixTime) -> String {
    let format = format_description!("[year]-[month]-[day]");
    formatted(moment, format).unwrap_or_default()
}
