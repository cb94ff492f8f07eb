//! Extensions: what they may be, what they count from, and what they fall with.

use super::*;
use crate::statement::Cause;

const SPAN: &str = "cert_for = \"5m\"";

/// A world whose rule for production lets access be prolonged twice, by 10 minutes at most.
fn case() -> Case {
    assert!(POLICY.contains(SPAN));
    Case::with(&POLICY.replacen(
        SPAN,
        "cert_for = \"5m\"\nextend = { max = \"10m\", times = 2 }",
        1,
    ))
}

impl Case {
    fn live(&self) -> Chain {
        let mut chain = self.chain();
        self.approve(&mut chain, &self.world.bob, 0);
        self.issue(&mut chain, 1);
        chain
    }

    /// A request of alice that prolongs `of`, made at `secs`.
    fn extension(&self, of: &Chain, span: u32, secs: u32) -> Request {
        let mut request =
            self.world.request(&self.world.alice, "prod-host", "deploy", span, at(secs));
        request.extends = Some(of.digest());
        request
    }

    fn prolonging(&self, request: &Request, of: &Chain) -> Chain {
        self.chain_of(request).prolonging(of.clone()).unwrap()
    }

    fn admit_extension(&self, request: &Request, of: &Chain, secs: u32) -> Result<(), Refusal> {
        let chain = self.prolonging(request, of);
        admit_request(&chain, None, &self.bundle, at(secs)).map(drop)
    }
}

#[test]
fn an_extension_is_decided_like_a_request_and_counts_from_the_end_of_what_it_prolongs() {
    let case = case();
    let live = case.live();
    let request = case.extension(&live, 300, 500);
    case.admit_extension(&request, &live, 500).unwrap();
    let mut longer = case.prolonging(&request, &live);
    assert_eq!(case.status(&longer, 500), Status::Pending);
    case.approve(&mut longer, &case.world.carol, 550);
    // At once, so that the session need not be dropped.
    let yes = authorize(&longer, &case.bundle, at(550)).unwrap();
    assert_eq!(yes.access_until(), at(900));
    case.issue(&mut longer, 550);
    assert_eq!(case.status(&longer, 899), Status::Active);
    assert_eq!(case.status(&longer, 900), Status::Ended);
}

#[test]
fn it_is_decided_before_the_end_of_what_it_prolongs_or_not_at_all() {
    let case = case();
    let live = case.live();
    let request = case.extension(&live, 300, 500);
    let mut longer = case.prolonging(&request, &live);
    assert_eq!(evaluate(&longer, &case.bundle, at(500)).decide_by, at(600));
    assert_eq!(case.status(&longer, 601), Status::LapsedUndecided);
    case.approve(&mut longer, &case.world.carol, 601);
    assert_eq!(case.status(&longer, 601), Status::LapsedUndecided);
}

#[test]
fn what_it_may_be_is_bounded_by_what_it_prolongs_and_by_the_rule() {
    let case = case();
    let live = case.live();
    let good = case.extension(&live, 600, 500);
    case.admit_extension(&good, &live, 500).unwrap();
    let refused = |change: &dyn Fn(&mut Request)| {
        let mut request = good.clone();
        change(&mut request);
        case.admit_extension(&request, &live, 500).unwrap_err()
    };
    let long = refused(&|r| r.r#for = Seconds::new(601).unwrap());
    assert!(long.message.contains("at most 10m"), "{long}");
    let more = refused(&|r| r.logins = vec!["root".parse().unwrap()]);
    assert!(more.message.contains("host or login"), "{more}");
    let late = refused(&|r| r.at = at(600));
    assert!(late.message.contains("was over"), "{late}");
    let theirs = refused(&|r| {
        r.by = "bob".parse().unwrap();
        r.subject = "bob".parse().unwrap();
    });
    assert!(theirs.message.contains("only who asked"), "{theirs}");
    // Without what it prolongs nothing is known of it.
    let alone = case.chain_of(&good);
    let unknown = admit_request(&alone, None, &case.bundle, at(500)).unwrap_err();
    assert_eq!(unknown.reason, Reason::UnknownRequest);
    // Under a rule without extensions.
    let without = Case::new();
    let live = without.live();
    let request = without.extension(&live, 60, 500);
    let refused = without.admit_extension(&request, &live, 500).unwrap_err();
    assert!(refused.message.contains("has no extensions"), "{refused}");
}

#[test]
fn what_is_held_to_one_command_is_prolonged_for_that_command_alone() {
    let case = case();
    let command = |text: &str| Some(text.to_owned());
    let live = |held_to: Option<String>| {
        let mut request = case.world.request(&case.world.alice, "prod-host", "deploy", 600, at(0));
        request.command = held_to;
        let mut chain = case.chain_of(&request);
        case.approve(&mut chain, &case.world.bob, 0);
        case.issue(&mut chain, 1);
        chain
    };
    let (held, free) = (live(command("uptime")), live(None));
    let prolong = |of: &Chain, command: Option<String>| {
        let mut request = case.extension(of, 300, 500);
        request.command = command;
        case.admit_extension(&request, of, 500)
    };
    prolong(&held, command("uptime")).unwrap();
    for other in [None, command("id")] {
        let refused = prolong(&held, other).unwrap_err();
        assert!(refused.message.contains("held to another command"), "{refused}");
    }
    // Less than before is no more.
    prolong(&free, None).unwrap();
    prolong(&free, command("uptime")).unwrap();
}

#[test]
fn what_was_not_used_can_not_be_prolonged() {
    let case = case();
    let mut chain = case.chain();
    let request = case.extension(&chain, 300, 5);
    assert!(case.admit_extension(&request, &chain, 5).is_err());
    case.approve(&mut chain, &case.world.bob, 0);
    assert!(case.admit_extension(&request, &chain, 5).is_err());
    case.issue(&mut chain, 4);
    case.admit_extension(&request, &chain, 5).unwrap();
}

#[test]
fn there_are_as_many_extensions_as_the_rule_says_and_siblings_do_not_add_up() {
    let case = case();
    let mut last = case.live();
    let mut until = 600;
    for place in 1..=3u32 {
        let request = case.extension(&last, 300, until - 100);
        let outcome = case.admit_extension(&request, &last, until - 100);
        assert_eq!(outcome.is_ok(), place <= 2, "{place}: {outcome:?}");
        if let Err(refused) = outcome {
            assert!(refused.message.contains("2 extensions"), "{refused}");
            break;
        }
        let mut next = case.prolonging(&request, &last);
        case.approve(&mut next, &case.world.bob, until - 100);
        case.issue(&mut next, until - 99);
        until += 300;
        assert_eq!(
            evaluate(&next, &case.bundle, at(until - 1)).grant.unwrap().access_until(),
            at(until)
        );
        last = next;
    }
    let live = case.live();
    let mut ends = Vec::new();
    for secs in [300, 400] {
        let request = case.extension(&live, 300, secs);
        let mut sibling = case.prolonging(&request, &live);
        case.approve(&mut sibling, &case.world.bob, secs);
        ends.push(authorize(&sibling, &case.bundle, at(secs)).unwrap().access_until());
    }
    assert_eq!(ends, [at(900), at(900)]);
}

#[test]
fn it_falls_with_what_it_prolongs() {
    for (cause, by, reason) in
        [(Cause::Release, 0, Reason::Released), (Cause::Revoke, 1, Reason::Revoked)]
    {
        let case = case();
        let World { alice, carol, .. } = &case.world;
        let by = [alice, carol][by];
        let mut live = case.live();
        let request = case.extension(&live, 300, 100);
        let mut longer = case.prolonging(&request, &live);
        case.approve(&mut longer, &case.world.bob, 100);
        case.issue(&mut longer, 101);
        live.add_end(by.verified(&case.world.end(by, live.request(), cause, at(200)))).unwrap();
        let mut fallen = case.prolonging(&request, &live);
        longer.decisions().iter().for_each(|d| fallen.add_decision(d.clone()).unwrap());
        fallen.add_issued(*longer.first_issued().unwrap());
        assert!(authorize(&longer, &case.bundle, at(201)).is_ok());
        assert_eq!(authorize(&fallen, &case.bundle, at(201)).unwrap_err().reason, reason);
        let late = case.extension(&live, 300, 210);
        assert_eq!(case.admit_extension(&late, &live, 210).unwrap_err().reason, reason);
    }
}
