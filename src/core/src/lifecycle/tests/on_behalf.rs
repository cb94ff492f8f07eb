//! Machines that ask for persons.

use super::*;

const RULE: &str = r#"
[[allow]]
name = "bastion"
who = ["machine:bot"]
on_behalf = ["group:sre"]
hosts = ["label:env=prod"]
logins = ["deploy"]
max_for = "30m"
cert_for = "5m"
approvals = [{ from = ["group:leads"], count = 1 }]
"#;

fn case() -> Case {
    Case::with(&format!("{POLICY}{RULE}"))
}

/// A request of `by` for `subject`.
fn asks(case: &Case, by: &Person, subject: &str) -> Chain {
    let mut request = case.world.request(by, "prod-host", "deploy", 600, START);
    request.subject = subject.parse().unwrap();
    Chain::new(by.verified(&request))
}

fn admit(case: &Case, chain: &Chain) -> Result<(), Refusal> {
    admit_request(chain, None, &case.bundle, START).map(drop)
}

#[test]
fn a_machine_asks_for_the_persons_its_rule_names_and_for_nobody_else() {
    let case = case();
    let World { alice, bot, .. } = &case.world;
    for (by, subject, fine) in [
        (bot, "alice", true),
        (bot, "bob", true),
        (bot, "carol", false),
        (bot, "bot", false),
        (alice, "bob", false),
        (alice, "alice", true),
    ] {
        let outcome = admit(&case, &asks(&case, by, subject));
        assert_eq!(outcome.is_ok(), fine, "{} for {subject}: {outcome:?}", by.id);
    }
    let nobody = admit(&case, &asks(&case, bot, "nobody")).unwrap_err();
    assert_eq!(nobody.reason, Reason::UnknownSigner);
    let carol = admit(&case, &asks(&case, bot, "carol")).unwrap_err();
    assert!(carol.hint.unwrap().contains("group:sre"));
}

#[test]
fn neither_the_machine_nor_the_person_it_asks_for_approves() {
    let case = case();
    let World { bob, carol, bot, .. } = &case.world;
    // bob is a lead, and the subject.
    let mut chain = asks(&case, bot, "bob");
    for own in [bob, bot] {
        let approval = own.verified(&case.world.approval(own, chain.request(), at(1)));
        let refused = admit_decision(&approval, &chain, &case.bundle, at(1)).unwrap_err();
        assert_eq!(refused.reason, Reason::NotAllowed, "{}", own.id);
        case.approve(&mut chain, own, 1);
    }
    assert_eq!(case.status(&chain, 2), Status::Pending);
    case.approve(&mut chain, carol, 2);
    let yes = authorize(&chain, &case.bundle, at(2)).unwrap();
    assert_eq!(yes.subject().as_str(), "bob", "the person stands in sshd's log");
}

#[test]
fn a_deny_about_the_person_or_the_machine_refuses() {
    for who in ["person:alice", "machine:bot"] {
        let deny = format!("[[deny]]\nname = \"no\"\nwho = [\"{who}\"]\n");
        let case = Case::with(&format!("{deny}{POLICY}{RULE}"));
        let refused = admit(&case, &asks(&case, &case.world.bot, "alice")).unwrap_err();
        assert!(refused.message.contains("the rule no forbids"), "{who}: {refused}");
        let bob = admit(&case, &asks(&case, &case.world.bot, "bob"));
        assert_eq!(bob.is_ok(), who == "person:alice", "{who}");
    }
}

#[test]
fn the_person_may_give_back_what_a_machine_asked_for() {
    use crate::statement::{Arrival, Cause};
    let case = case();
    let World { alice, bob, bot, carol, .. } = &case.world;
    let mut chain = asks(&case, bot, "alice");
    case.approve(&mut chain, carol, 1);
    case.issue(&mut chain, 2);
    for (by, fine) in [(alice, true), (bot, true), (bob, false)] {
        let end = by.verified(&case.world.end(by, chain.request(), Cause::Release, at(3)));
        let outcome = admit_end(&end, &chain, &case.bundle, Arrival::Submitted, at(3));
        assert_eq!(outcome.is_ok(), fine, "{}", by.id);
    }
}
