//! Break-glass: going ahead without the approvals. Said plainly, and confirmed by the name of each
//! host: no habit and no `--yes` types that.

use jit_ssh_api::v1;
use jit_ssh_core::names::HostName;
use jit_ssh_core::plain::harmless;
use jit_ssh_core::statement::Request;

use super::ask::request;
use crate::ca::Ca;
use crate::cli::Context;
use crate::failure::{Failure, Outcome};
use crate::grants::Subject;
use crate::submission::{explain, explain_open};
use crate::text::all_of;
use crate::ui::Ui;
use crate::wish::{Manner, Wish};

/// Refuses at once where the hosts are neither confirmed nor can be typed, or others are confirmed.
pub(super) fn can_confirm(
    ui: &Ui,
    hosts: &[HostName],
    confirmed: &[HostName],
) -> Result<(), Failure> {
    if let Some(other) = confirmed.iter().find(|host| !hosts.contains(host)) {
        return Err(Failure::usage(format!(
            "--break-glass-confirm names {other}, which is not asked for."
        )));
    }
    let missing: Vec<String> =
        unconfirmed(hosts, confirmed).map(|host| format!("--break-glass-confirm {host}")).collect();
    if missing.is_empty() || ui.can_ask() {
        return Ok(());
    }
    Err(Failure::usage(
        "break-glass is confirmed by the name of each host, and there is no terminal to type it on.",
    )
    .hint(format!("--yes is not enough; add: {}", missing.join(" "))))
}

fn unconfirmed<'a>(
    hosts: &'a [HostName],
    confirmed: &'a [HostName],
) -> impl Iterator<Item = &'a HostName> {
    hosts.iter().filter(|host| !confirmed.contains(host))
}

/// The same wish without break-glass, where a rule lets the person in without asking anybody: then
/// nobody is to be told, nothing to be reviewed, and the next emergency is not blocked. `None` if
/// break-glass is needed, or nobody can say: it must not fail for that.
pub(super) async fn needless(
    context: &Context,
    ca: &mut Ca<'_>,
    wish: &Wish,
    subject: &Subject,
) -> Option<Wish> {
    let usual = Wish { manner: Manner::Usual, ..wish.clone() };
    let answer = foretold(ca, &usual, subject).await?;
    let broken = foretold(ca, wish, subject).await;
    if !is_as_good(wish.reason().is_some(), &answer, broken.as_ref()) {
        return None;
    }
    context.ui.say(&format!(
        "Break-glass is not needed: the rule {} lets you in without asking anybody. So this is an \
         ordinary login: nobody is told, and nothing has to be reviewed.",
        harmless(&answer.rule)
    ));
    Some(usual)
}

async fn foretold(ca: &mut Ca<'_>, wish: &Wish, subject: &Subject) -> Option<v1::ExplainResponse> {
    let reason = wish.reason().unwrap_or(super::dry_run::UNSAID).to_owned();
    let request = request(ca.enrolment, wish, subject, reason).ok()?;
    match wish.reason() {
        Some(_) => explain(ca, &request).await.ok(),
        None => explain_open(ca, &request).await.ok(),
    }
}

/// Whether the usual way gives at once all that break-glass would.
fn is_as_good(
    reason_said: bool,
    usual: &v1::ExplainResponse,
    broken: Option<&v1::ExplainResponse>,
) -> bool {
    // A reason that is still to be said must do for this rule, whatever it is.
    let takes_any = reason_said || usual.otherwise_rule == usual.rule;
    let permits = |broken: &v1::ExplainResponse| {
        broken.permit.iter().all(|permit| usual.permit.contains(permit))
    };
    usual.basis() == v1::Basis::Auto && takes_any && broken.is_none_or(permits)
}

/// Says what a break-glass request means, and has the name of each host typed that is not confirmed.
pub(super) async fn confirm(
    context: &Context,
    ca: &mut Ca<'_>,
    request: &Request,
    second: &str,
    confirmed: &[HostName],
) -> Result<(), Failure> {
    let ui = &context.ui;
    let missing: Vec<&HostName> = unconfirmed(&request.hosts, confirmed).collect();
    let mut told = "Everyone who was skipped is told at once".to_owned();
    match explain(ca, request).await {
        Ok(answer) if !answer.break_glass_told.is_empty() => {
            told.push_str(&format!(": {}", all_of(&answer.break_glass_told)));
        }
        // Better to hear of it before typing than after, and before it is said to go ahead.
        Err(refused) if refused.outcome == Outcome::Refused => return Err(refused),
        Ok(_) | Err(_) => {}
    }
    ui.say(&format!(
        "Break-glass: you go ahead without the approvals that the rule asks for.\n\
         - {told}.\n\
         - It is recorded for good, with your second reason: {}.\n\
         - You can not do so again until somebody has reviewed it.",
        harmless(second)
    ));
    for host in missing {
        let question = format!("Type the host's name ({host}) to go ahead:");
        let typed = ui.ask(&question, &format!("not confirmed: {host} was not typed")).await?;
        check_typed(&typed, host)?;
    }
    Ok(())
}

fn check_typed(typed: &str, host: &HostName) -> Result<(), Failure> {
    if typed == host.as_str() {
        return Ok(());
    }
    let message = format!("{host} was not typed, so nothing was done.");
    Err(Failure::new(Outcome::Error, "NOT_CONFIRMED", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(text: &str) -> Vec<HostName> {
        text.split_whitespace().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn break_glass_is_needless_only_where_the_usual_way_gives_as_much_at_once() {
        let answer = |basis: v1::Basis, otherwise: &str, permit: &[&str]| v1::ExplainResponse {
            rule: "open".into(),
            otherwise_rule: otherwise.into(),
            basis: basis.into(),
            permit: permit.iter().map(|permit| (*permit).to_owned()).collect(),
            ..v1::ExplainResponse::default()
        };
        let auto = answer(v1::Basis::Auto, "", &["pty"]);
        let broken = answer(v1::Basis::BreakGlass, "", &["pty"]);
        assert!(is_as_good(true, &auto, Some(&broken)));
        assert!(is_as_good(true, &auto, None), "break-glass is refused, and the rule lets in");
        let more = answer(v1::Basis::BreakGlass, "", &["pty", "port-forwarding"]);
        assert!(!is_as_good(true, &auto, Some(&more)));
        let asks = answer(v1::Basis::Approvals, "", &["pty"]);
        assert!(!is_as_good(true, &asks, Some(&broken)));
        // What reason will be said is not known.
        assert!(!is_as_good(false, &auto, Some(&broken)));
        assert!(!is_as_good(false, &answer(v1::Basis::Auto, "other", &["pty"]), Some(&broken)));
        assert!(is_as_good(false, &answer(v1::Basis::Auto, "open", &["pty"]), Some(&broken)));
    }

    #[test]
    fn break_glass_is_confirmed_by_the_name_of_each_host_and_by_nothing_else() {
        // Tests have no terminal; --yes confirms everything else.
        let ui = Ui { yes: true, ..Ui::default() };
        let check = |asked: &str, confirmed: &str| {
            can_confirm(&ui, &hosts(asked), &hosts(confirmed)).map_err(|failure| failure.outcome)
        };
        assert_eq!(check("a b", "a b"), Ok(()));
        assert_eq!(check("a b", "b a"), Ok(()));
        for (asked, confirmed) in [("a", ""), ("a b", "a"), ("a", "a b"), ("a", "b")] {
            assert_eq!(check(asked, confirmed), Err(Outcome::Usage), "{asked} / {confirmed}");
        }
        let failure = can_confirm(&ui, &hosts("a b"), &hosts("a")).unwrap_err();
        assert_eq!(failure.hint.unwrap(), "--yes is not enough; add: --break-glass-confirm b");

        let host = &hosts("prod-host")[0];
        assert!(check_typed("prod-host", host).is_ok());
        for other in ["prod-hos", "prod-host-2", "PROD-HOST", "yes", "y", ""] {
            assert_eq!(check_typed(other, host).unwrap_err().name, "NOT_CONFIRMED", "{other:?}");
        }
    }
}
