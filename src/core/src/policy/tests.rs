//! What a rule takes, and what it does not.

use super::judgement::Supposed;
use super::texts::{allow, texts};
use super::*;
use crate::bundle::Permit;

/// alice, who wants in as deploy on web-1.
fn supposed(span: &str, reason: &str) -> Supposed {
    Supposed {
        by: "alice".parse().unwrap(),
        subject: None,
        hosts: vec!["web-1".parse().unwrap()],
        logins: vec!["deploy".parse().unwrap()],
        span: span.parse().unwrap(),
        reason: reason.to_owned(),
        break_glass: None,
        command: None,
        strength: Strength::Any,
        from: None,
        at: crate::time::UnixTime(1_790_000_000),
    }
}

#[test]
fn a_rule_for_commands_takes_requests_for_one_of_them_and_no_others() {
    let rules = allow("deploys", "commands = [\"deploy web *\", \"uptime\"]\nauto = {}")
        + &allow("people", "");
    let bundle = texts(&rules).bundle();
    let rule = |command: Option<&str>| {
        let command = command.map(str::to_owned);
        let supposed = Supposed { command, ..supposed("10m", "INC-42") };
        supposed.judge(&bundle).unwrap().decision.unwrap().name.to_string()
    };
    for command in ["uptime", "deploy web v1"] {
        assert_eq!(rule(Some(command)), "deploys", "{command}");
    }
    // A rule for any command takes those too that name one: they ask for less.
    for command in ["uptime -p", "deploy web v1; id", "deploy db v1", "id"] {
        assert_eq!(rule(Some(command)), "people", "{command}");
    }
    assert_eq!(rule(None), "people");

    let only = texts(&allow("deploys", "commands = [\"uptime\"]\nauto = {}")).bundle();
    let refused = |command: Option<&str>| {
        let command = command.map(str::to_owned);
        let supposed = Supposed { command, ..supposed("10m", "INC-42") };
        supposed.judge(&only).unwrap().decision.unwrap_err()
    };
    let plain = refused(None);
    assert_eq!(plain.reason, Reason::PolicyRefused);
    assert!(plain.message.contains("single commands, and the request names none"), "{plain:?}");
    assert!(plain.hint.as_ref().unwrap().contains("\"uptime\"; say one with --command"));
    assert!(refused(Some("id")).message.contains("is for other commands"));
}

#[test]
fn beside_one_command_nothing_is_asked_for_that_opens_more() {
    let permits = "permit = [\"pty\", \"port-forwarding\", \"agent-forwarding\"]";
    let bundle = texts(&allow("people", permits)).bundle();
    let supposed = supposed("10m", "INC-42");
    let mut request = supposed.judge(&bundle).unwrap().request;
    let requester = bundle.people.get(&supposed.by).unwrap();
    let mut decide = |command: Option<&str>, permit: &[Permit]| {
        request.command = command.map(str::to_owned);
        request.permit = permit.to_vec();
        let asked =
            Asked { request: &request, requester, presence: Presence::Software, extension: None };
        super::decide(asked, &bundle, supposed.at).map(|rule| rule.name.to_string())
    };
    let people = Ok("people".to_owned());
    assert_eq!(decide(Some("uptime"), &[]), people);
    assert_eq!(decide(Some("uptime"), &[Permit::Pty]), people);
    assert_eq!(decide(None, &[Permit::PortForwarding, Permit::Pty]), people);
    for more in [Permit::PortForwarding, Permit::AgentForwarding] {
        let refused = decide(Some("uptime"), &[more, Permit::Pty]).unwrap_err();
        assert_eq!(refused.reason, Reason::PolicyRefused);
        assert!(refused.message.contains(&format!("beside one command it asks for {more}")));
    }
}

#[test]
fn a_rule_for_security_keys_takes_no_other_key() {
    let rules = allow("strong", "subject_key = \"hardware\"");
    let bundle = texts(&rules).bundle();
    let supposed = supposed("10m", "INC-42");
    // What is only supposed is asked with a key that every rule takes.
    let judged = supposed.judge(&bundle).unwrap();
    assert_eq!(judged.decision.unwrap().name.to_string(), "strong");
    let mut request = judged.request;
    request.key = crate::testkit::subject_key(7);
    let requester = bundle.people.get(&supposed.by).unwrap();
    let presence = Presence::Software;
    let asked = Asked { request: &request, requester, presence, extension: None };
    let refused = decide(asked, &bundle, supposed.at).unwrap_err();
    assert!(refused.message.contains("certifies only security keys"), "{}", refused.message);
    assert!(refused.hint.unwrap().contains("--key"));
    // Without the word the same key is as good as any.
    let bundle = texts(&allow("usual", "")).bundle();
    assert!(decide(asked, &bundle, supposed.at).is_ok());
}

#[test]
fn a_reason_that_is_still_open_is_judged_as_one_that_fits_and_as_one_that_does_not() {
    let wants = |terms: &str| format!("reason = {{ {terms} }}");
    let named = allow("named", &wants("pattern = \"INC-[0-9]+\""));
    let long = allow("long", &wants("min = 10"));
    let short = allow("short", &format!("{}\nmax_for = \"20m\"", wants("min = 1")));
    let decided = |rules: &[&String], span: &str, reason: ReasonTaken| {
        let rules: String = rules.iter().map(|rule| rule.as_str()).collect();
        let bundle = texts(&rules).bundle();
        // Fits `long` as it stands, and nobody said it.
        let supposed = supposed(span, "not said yet");
        let request = supposed.judge(&bundle).unwrap().request;
        let requester = bundle.people.get(&supposed.by).unwrap();
        let presence = Presence::Software;
        let asked = Asked { request: &request, requester, presence, extension: None };
        let decided = decide_with(asked, reason, &bundle, supposed.at);
        decided.map(|rule| rule.name.to_string()).map_err(|refusal| refusal.message)
    };
    let all = [&named, &long, &short];
    assert_eq!(decided(&all, "10m", ReasonTaken::AsSaid).unwrap(), "long");
    assert_eq!(decided(&all, "10m", ReasonTaken::WillFit).unwrap(), "named");
    assert_eq!(decided(&all, "10m", ReasonTaken::WillNotFit).unwrap(), "short");
    // Only the reason is open: all else is judged as ever.
    assert_eq!(decided(&[&short, &long], "30m", ReasonTaken::WillFit).unwrap(), "long");
    let refused = decided(&all, "30m", ReasonTaken::WillNotFit).unwrap_err();
    assert!(refused.contains("the rule named, which wants"), "{refused}");
    assert!(decided(&all, "31m", ReasonTaken::WillFit).is_err());
}
