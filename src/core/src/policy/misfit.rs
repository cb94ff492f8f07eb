//! Why a rule does not fit, in words.

use std::fmt;

use crate::bundle::{Allow, Approval, Policy, SourceRule, Strength};
use crate::names::{HostName, Login};
use crate::refusal::{Reason, Refusal};
use crate::statement::Request;
use crate::time::{Seconds, UnixTime};

/// The first thing about a rule that does not fit a request.
pub(super) enum Misfit {
    Who,
    /// It asks for another, and the rule is for those who ask for themselves; or the other way round.
    Otherwise,
    /// It asks for another than the rule lets it ask for.
    OnBehalf,
    Host(HostName),
    Login(Login),
    /// The rule is for certain commands, and the request names none of them.
    Command,
    /// The rule has no break-glass.
    BreakGlass,
    /// The rule has no extensions.
    Extend,
    TooLong(Seconds),
    /// So many extensions and no more.
    TooOften(u8),
    /// Break-glass wants a stronger key.
    Strength(Strength),
    Reason,
    /// The rule approves by itself only at other times.
    Hours,
    /// It certifies security keys only.
    SubjectKey(Strength),
    Source,
    SourceNeeded,
}

impl Misfit {
    /// How far the rule came: later checks mean a nearer rule.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Misfit::Who => 0,
            Misfit::Otherwise => 1,
            Misfit::OnBehalf => 2,
            Misfit::Host(_) => 3,
            Misfit::Login(_) => 4,
            Misfit::Command => 5,
            Misfit::BreakGlass | Misfit::Extend => 6,
            Misfit::TooLong(_) | Misfit::TooOften(_) => 7,
            Misfit::Strength(_) => 8,
            Misfit::Reason => 9,
            Misfit::Hours => 10,
            Misfit::SubjectKey(_) => 11,
            Misfit::Source => 12,
            Misfit::SourceNeeded => 13,
        }
    }
}

/// The refusal where no rule covers a request, with the nearest one.
pub(super) fn no_rule(
    request: &Request,
    nearest: Option<(Misfit, &Allow)>,
    policy: &Policy,
) -> Refusal {
    match nearest {
        Some((misfit, rule)) => explain_misfit(request, misfit, rule),
        None if policy.allow.is_empty() => {
            none_allows(request, "the policy has no allow rule".to_owned())
                .hint("an admin can add one to policy.toml")
        }
        None => none_allows(request, format!("no rule is for {}", request.by))
            .hint("ask an admin which group the work needs"),
    }
}

fn none_allows(request: &Request, why: String) -> Refusal {
    let asker = if request.by == request.subject {
        request.by.to_string()
    } else {
        format!("{} for {}", request.by, request.subject)
    };
    let (logins, hosts) = (list(&request.logins), list(&request.hosts));
    refused(format!("no rule allows {asker} as {logins} on {hosts}: {why}"))
}

/// The refusal of one rule.
pub(super) fn explain_misfit(request: &Request, misfit: Misfit, rule: &Allow) -> Refusal {
    let name = &rule.name;
    let none = |why: String| none_allows(request, why);
    match misfit {
        Misfit::Who => none(format!("the rule {name} is not for {}", request.by))
            .hint(format!("{name} is for: {}", list(&rule.who))),
        Misfit::Otherwise | Misfit::OnBehalf => on_behalf(request, rule),
        Misfit::Host(host) => none(format!("the nearest rule, {name}, does not cover {host}"))
            .hint(format!("{name} covers: {}", list(&rule.hosts))),
        Misfit::Login(login) => {
            none(format!("the nearest rule, {name}, does not allow the login {login}"))
                .hint(format!("{name} allows: {}", list(&rule.logins)))
        }
        Misfit::Command => command(request, rule),
        Misfit::BreakGlass => none(format!("the rule {name} has no break-glass"))
            .hint("ask without it, and let those decide who are asked"),
        Misfit::Extend => none(format!("the rule {name} has no extensions"))
            .hint("ask anew with: jit-ssh login --new"),
        Misfit::TooLong(longest) => none(format!(
            "it asks for {}, and the rule {name} allows at most {longest}",
            request.r#for
        ))
        .hint(format!("ask again with --for {longest}")),
        Misfit::TooOften(times) => {
            none(format!("the rule {name} allows {times} extensions, and this is one more"))
                .hint("ask anew with: jit-ssh login --new")
        }
        Misfit::Strength(strength) => none(format!(
            "break-glass under the rule {name} needs a request signed with strength {strength}"
        ))
        .hint("sign with a security key (sk-*) that people.toml lists for you"),
        Misfit::Reason => bad_reason(request, rule),
        Misfit::Hours => hours(request, rule),
        Misfit::SubjectKey(strength) => none(format!(
            "the rule {name} certifies only security keys (subject_key = \"{strength}\"), and this key is none"
        ))
        .hint("ask with a security key: jit-ssh login --key ~/.ssh/id_ed25519_sk"),
        Misfit::Source => {
            let allowed = match &rule.source {
                SourceRule::Only(ranges) => list(ranges),
                SourceRule::Any | SourceRule::Client => String::new(),
            };
            none(format!("the rule {name} allows no address of {}", list(&request.source)))
                .hint(format!("{name} allows: {allowed}"))
        }
        Misfit::SourceNeeded => Refusal::new(
            Reason::SourceNeeded,
            format!(
                "the rule {name} binds the certificate to the client's address, so the request must name exactly that address in `source`"
            ),
        ),
    }
}

fn on_behalf(request: &Request, rule: &Allow) -> Refusal {
    let name = &rule.name;
    match &rule.on_behalf {
        None => {
            none_allows(request, format!("the rule {name} lets everyone ask only for themselves"))
                .hint("a machine may ask for persons where a rule has `on_behalf`")
        }
        Some(persons) if request.by == request.subject => none_allows(
            request,
            format!("under the rule {name} {} asks for persons, not for itself", request.by),
        )
        .hint(format!("it may ask for: {}", list(persons))),
        Some(persons) => none_allows(
            request,
            format!("under the rule {name} {} does not ask for {}", request.by, request.subject),
        )
        .hint(format!("it may ask for: {}", list(persons))),
    }
}

fn command(request: &Request, rule: &Allow) -> Refusal {
    let name = &rule.name;
    let why = match &request.command {
        Some(_) => format!("the rule {name} is for other commands"),
        None => format!("the rule {name} is for single commands, and the request names none"),
    };
    let commands: Vec<String> =
        rule.commands.iter().flatten().map(|command| format!("{:?}", command.as_str())).collect();
    none_allows(request, why)
        .hint(format!("{name} is for: {}; say one with --command", commands.join(", ")))
}

fn bad_reason(request: &Request, rule: &Allow) -> Refusal {
    let mut needs = match rule.reason.min {
        0 | 1 if rule.reason.pattern.is_some() => Vec::new(),
        0 | 1 => vec!["a word at least".to_owned()],
        min => vec![format!("at least {min} characters")],
    };
    if let Some(pattern) = &rule.reason.pattern {
        needs.push(format!("something like {:?}", pattern.as_str()));
    }
    let needs = needs.join(" and ");
    let why = format!("the reason does not fit the rule {}, which wants {needs}", rule.name);
    let refusal = none_allows(request, why);
    match &rule.reason.hint {
        Some(hint) => refusal.hint(hint.clone()),
        None => refusal,
    }
}

fn hours(request: &Request, rule: &Allow) -> Refusal {
    let name = &rule.name;
    let begins: UnixTime = request.begins();
    match &rule.approval {
        Approval::Auto(auto) if auto.is_past(begins) => {
            let day = auto.review_by.map(|day| day.to_string()).unwrap_or_default();
            none_allows(
                request,
                format!("the rule {name} was to be reviewed by {day} and holds no longer"),
            )
            .hint("an admin looks at it and sets a new `review_by` in policy.toml")
        }
        Approval::Auto(auto) => {
            let hours = auto.hours.as_ref().map(ToString::to_string).unwrap_or_default();
            none_allows(request, format!("the rule {name} approves by itself only {hours}"))
                .hint("ask again within these hours, or for a time within them with --at")
        }
        Approval::Steps(_) => none_allows(request, format!("the rule {name} does not fit")),
    }
}

pub(super) fn refused(message: String) -> Refusal {
    Refusal::new(Reason::PolicyRefused, format!("{message}."))
}

/// Items joined by commas.
pub(super) fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
