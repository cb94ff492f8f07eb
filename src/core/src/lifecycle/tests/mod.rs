mod break_glass;
mod ends;
mod on_behalf;
mod policies;
mod prolong;
mod properties;
mod steps;
mod windows;

use super::*;
use crate::authorize::authorize;
use crate::bundle::Bundle;
use crate::chain::Issued;
use crate::statement::{Arrival, Decision};
use crate::testkit::{POLICY, Person, START, World, person};

fn at(secs: u32) -> UnixTime {
    START.plus_secs(secs)
}

struct Case {
    world: World,
    bundle: Bundle,
}

impl Case {
    fn new() -> Case {
        Case::with(POLICY)
    }

    fn with(policy: &str) -> Case {
        let world = World::default();
        Case { bundle: world.bundle(policy), world }
    }

    /// A chain of alice's request for prod-host.
    fn chain(&self) -> Chain {
        self.chain_of(&self.world.request(&self.world.alice, "prod-host", "deploy", 600, START))
    }

    fn chain_of(&self, request: &Request) -> Chain {
        let all = [&self.world.alice, &self.world.bob, &self.world.carol, &self.world.bot];
        let by = all.into_iter().find(|p| p.id == request.by.as_str()).unwrap();
        Chain::new(by.verified(request))
    }

    fn approve(&self, chain: &mut Chain, by: &Person, secs: u32) {
        let decision = self.world.approval(by, chain.request(), at(secs));
        chain.add_decision(by.verified(&decision)).unwrap();
    }

    fn deny(&self, chain: &mut Chain, by: &Person, secs: u32) {
        let decision = self.world.denial(by, chain.request(), at(secs));
        chain.add_decision(by.verified(&decision)).unwrap();
    }

    fn cancel(&self, chain: &mut Chain, by: &Person, secs: u32) {
        let end = self.world.cancel(by, chain.request(), at(secs));
        chain.add_end(by.verified(&end)).unwrap();
    }

    fn issue(&self, chain: &mut Chain, secs: u32) {
        let yes = authorize(chain, &self.bundle, at(secs)).unwrap();
        chain.add_issued(Issued {
            serial: (1 << 48) + u64::from(secs),
            at: at(secs),
            valid_before: yes.valid_before(),
            access_until: yes.access_until(),
        });
    }

    fn status(&self, chain: &Chain, secs: u32) -> Status {
        evaluate(chain, &self.bundle, at(secs)).status
    }
}

#[test]
fn an_approved_request_goes_from_pending_over_active_to_ended() {
    let case = Case::new();
    let mut chain = case.chain();
    assert_eq!(case.status(&chain, 0), Status::Pending);
    assert_eq!(authorize(&chain, &case.bundle, at(0)).unwrap_err().reason, Reason::NotApproved);
    case.approve(&mut chain, &case.world.bob, 100);
    assert_eq!(case.status(&chain, 100), Status::Approved);
    case.issue(&mut chain, 200);
    assert_eq!(case.status(&chain, 699), Status::Active);
    assert!(authorize(&chain, &case.bundle, at(699)).is_ok());
    assert_eq!(case.status(&chain, 700), Status::Ended);
    assert_eq!(authorize(&chain, &case.bundle, at(700)).unwrap_err().reason, Reason::Ended);
}

#[test]
fn the_clock_starts_at_approval_and_certificates_never_outlive_the_access() {
    let case = Case::new();
    let mut chain = case.chain();
    case.approve(&mut chain, &case.world.bob, 1_000);
    let first = authorize(&chain, &case.bundle, at(1_000)).unwrap();
    assert_eq!(first.access_until(), at(1_600));
    assert_eq!(first.valid_before(), at(1_300), "five minutes of cert_for");
    assert_eq!(first.valid_after(), at(940));
    case.issue(&mut chain, 1_000);
    let renewed = authorize(&chain, &case.bundle, at(1_500)).unwrap();
    assert_eq!(renewed.valid_before(), at(1_600), "cut to the end of the access");
}

#[test]
fn approver_cannot_approve_own_request_with_second_key_or_as_lead() {
    let case = Case::new();
    // bob is a lead himself.
    let request = case.world.request(&case.world.bob, "prod-host", "deploy", 600, START);
    let mut chain = case.chain_of(&request);
    case.approve(&mut chain, &case.world.bob, 1);
    assert_eq!(case.status(&chain, 2), Status::Pending);
    let own =
        case.world.bob.verified(&case.world.approval(&case.world.bob, chain.request(), at(1)));
    let fresh = case.chain_of(&request);
    let refused = admit_decision(&own, &fresh, &case.bundle, at(1)).unwrap_err();
    assert_eq!(refused.reason, Reason::NotAllowed);
    assert!(refused.message.contains("made this request"), "{refused}");
    // The same from carol is fine.
    let other =
        case.world.carol.verified(&case.world.approval(&case.world.carol, fresh.request(), at(1)));
    admit_decision(&other, &fresh, &case.bundle, at(1)).unwrap();
    case.approve(&mut chain, &case.world.carol, 3);
    assert_eq!(case.status(&chain, 3), Status::Approved);
}

#[test]
fn approvals_count_only_from_those_the_rule_asks_with_their_own_keys() {
    let case = Case::new();
    let World { alice, bob, bot, .. } = &case.world;
    let mut chain = case.chain();
    // A machine, a stranger, and bob's name under another key.
    case.approve(&mut chain, bot, 1);
    case.approve(&mut chain, &person("mallory", 66), 1);
    let stolen = case.world.approval(bob, chain.request(), at(1));
    chain.add_decision(alice.verified(&stolen)).unwrap();
    assert_eq!(case.status(&chain, 2), Status::Pending);
    assert_eq!(evaluate(&chain, &case.bundle, at(2)).given, 0);
    case.approve(&mut chain, bob, 2);
    assert_eq!(case.status(&chain, 2), Status::Approved);
}

#[test]
fn two_approvals_need_two_persons() {
    let case = Case::with(&POLICY.replace("count = 1", "count = 2"));
    let mut chain = case.chain();
    case.approve(&mut chain, &case.world.bob, 10);
    case.approve(&mut chain, &case.world.bob, 20);
    let evaluation = evaluate(&chain, &case.bundle, at(30));
    assert_eq!((evaluation.status, evaluation.given), (Status::Pending, 1));
    case.approve(&mut chain, &case.world.carol, 40);
    assert_eq!(case.status(&chain, 40), Status::Approved);
    let grant = evaluate(&chain, &case.bundle, at(40)).grant.unwrap();
    assert_eq!(grant.approved_at, at(40), "the last approval that was needed");
}

#[test]
fn a_repeated_approval_extends_nothing() {
    let case = Case::new();
    let mut chain = case.chain();
    case.approve(&mut chain, &case.world.bob, 10);
    case.approve(&mut chain, &case.world.bob, 500);
    case.approve(&mut chain, &case.world.carol, 600);
    let grant = evaluate(&chain, &case.bundle, at(600)).grant.unwrap();
    assert_eq!(grant.access_until(), at(610));
}

#[test]
fn an_approver_may_narrow_but_not_widen() {
    let case = Case::new();
    let World { alice, bob, .. } = &case.world;
    let mut request = case.world.request(alice, "prod-host", "deploy", 600, START);
    request.logins.push("root".parse().unwrap());
    let mut chain = case.chain_of(&request);
    let mut narrow = case.world.approval(bob, chain.request(), at(1));
    narrow.r#for = Seconds::new(60);
    narrow.logins = Some(vec!["deploy".parse().unwrap()]);
    let mut wide = case.world.approval(bob, chain.request(), at(1));
    wide.r#for = Seconds::new(601);
    let wide = bob.verified(&wide);
    let refused = admit_decision(&wide, &chain, &case.bundle, at(1)).unwrap_err();
    assert!(refused.message.contains("wider"), "{refused}");
    chain.add_decision(wide).unwrap();
    assert_eq!(case.status(&chain, 2), Status::Pending, "a wider approval never counts");
    chain.add_decision(bob.verified(&narrow)).unwrap();
    let yes = authorize(&chain, &case.bundle, at(2)).unwrap();
    assert_eq!(yes.access_until(), at(61));
    let principals: Vec<String> = yes.principals().iter().map(ToString::to_string).collect();
    assert_eq!(principals, ["deploy@prod-host"]);
}

#[test]
fn deny_wins_before_the_first_certificate_and_not_after() {
    let case = Case::new();
    let mut chain = case.chain();
    case.approve(&mut chain, &case.world.bob, 10);
    case.deny(&mut chain, &case.world.carol, 20);
    assert!(matches!(case.status(&chain, 20), Status::Denied { .. }));
    assert_eq!(authorize(&chain, &case.bundle, at(20)).unwrap_err().reason, Reason::Denied);

    let mut used = case.chain();
    case.approve(&mut used, &case.world.bob, 10);
    case.issue(&mut used, 15);
    let late =
        case.world.carol.verified(&case.world.denial(&case.world.carol, used.request(), at(20)));
    let refused = admit_decision(&late, &used, &case.bundle, at(20)).unwrap_err();
    assert_eq!(refused.reason, Reason::Settled);
    used.add_decision(late).unwrap();
    assert_eq!(case.status(&used, 20), Status::Active);
}

#[test]
fn only_those_who_may_approve_can_deny() {
    let case = Case::new();
    let mut chain = case.chain();
    let World { alice, bob, bot, .. } = &case.world;
    let denial = |by: &Person| by.verified(&case.world.denial(by, chain.request(), at(1)));
    for by in [alice, bot] {
        let refused = admit_decision(&denial(by), &chain, &case.bundle, at(1)).unwrap_err();
        assert_eq!(refused.reason, Reason::NotAllowed, "{}", by.id);
    }
    let by_bob = denial(bob);
    admit_decision(&by_bob, &chain, &case.bundle, at(1)).unwrap();
    chain.add_decision(by_bob).unwrap();
    assert!(matches!(case.status(&chain, 2), Status::Denied { .. }));
}

#[test]
fn requests_lapse_undecided_and_unused() {
    let case = Case::new();
    let mut chain = case.chain();
    assert_eq!(case.status(&chain, 3_600), Status::Pending);
    assert_eq!(case.status(&chain, 3_601), Status::LapsedUndecided);
    let mut late = case.chain();
    case.approve(&mut late, &case.world.bob, 3_601);
    assert_eq!(case.status(&late, 3_601), Status::LapsedUndecided, "too late to count");
    case.approve(&mut chain, &case.world.bob, 3_600);
    assert_eq!(case.status(&chain, 3_601), Status::Approved);

    let request = case.world.request(&case.world.alice, "prod-host", "deploy", 1_800, START);
    let mut unused = case.chain_of(&request);
    case.approve(&mut unused, &case.world.bob, 0);
    assert_eq!(case.status(&unused, 900), Status::Approved);
    assert_eq!(case.status(&unused, 901), Status::LapsedUnused);
    assert_eq!(authorize(&unused, &case.bundle, at(901)).unwrap_err().reason, Reason::Lapsed);
    // Used in time, it lasts beyond use_by.
    let mut used = case.chain_of(&request);
    case.approve(&mut used, &case.world.bob, 0);
    case.issue(&mut used, 900);
    assert_eq!(case.status(&used, 1_799), Status::Active);
}

#[test]
fn only_the_requester_cancels_and_only_before_a_certificate() {
    let case = Case::new();
    let World { alice, bob, .. } = &case.world;
    let mut chain = case.chain();
    case.cancel(&mut chain, bob, 1);
    assert_eq!(case.status(&chain, 2), Status::Pending);
    let theirs = bob.verified(&case.world.cancel(bob, chain.request(), at(1)));
    assert!(admit_end(&theirs, &case.chain(), &case.bundle, Arrival::Submitted, at(1)).is_err());
    let own = alice.verified(&case.world.cancel(alice, chain.request(), at(1)));
    admit_end(&own, &case.chain(), &case.bundle, Arrival::Submitted, at(1)).unwrap();
    case.cancel(&mut chain, alice, 1);
    assert_eq!(case.status(&chain, 2), Status::Cancelled);
    assert_eq!(authorize(&chain, &case.bundle, at(2)).unwrap_err().reason, Reason::Cancelled);

    let mut used = case.chain();
    case.approve(&mut used, bob, 1);
    case.issue(&mut used, 2);
    let late = alice.verified(&case.world.cancel(alice, used.request(), at(3)));
    assert!(admit_end(&late, &used, &case.bundle, Arrival::Submitted, at(3)).is_err());
}

#[test]
fn people_keys_groups_and_rules_are_rechecked_at_every_certificate() {
    let case = Case::new();
    let mut chain = case.chain();
    case.approve(&mut chain, &case.world.bob, 1);
    case.issue(&mut chain, 2);
    assert!(authorize(&chain, &case.bundle, at(3)).is_ok());

    let files = case.world.files(POLICY);
    let changed = |what: &dyn Fn(&mut crate::bundle::BundleFiles)| {
        let mut files = files.clone();
        what(&mut files);
        Bundle::parse(2, &files, &case.world.root.admin_keys()).unwrap()
    };
    let people = |from: &str, to: &str| {
        let text = String::from_utf8(files.people.clone()).unwrap();
        assert!(text.contains(from));
        text.replacen(from, to, 1).into_bytes()
    };
    // alice has another key; alice left the group; bob is no lead any more; the rule forbids it;
    // the host is gone.
    let other_key = person("x", 99).key.to_string();
    let cases: [(Bundle, Reason); 5] = [
        (
            changed(&|f| f.people = people(&case.world.alice.key.to_string(), &other_key)),
            Reason::UnknownSigner,
        ),
        (
            changed(&|f| f.people = people("groups = [\"sre\"]", "groups = [\"guests\"]")),
            Reason::PolicyRefused,
        ),
        (changed(&|f| f.people = people("\"sre\", \"leads\"", "\"sre\"")), Reason::NotApproved),
        (
            changed(&|f| {
                f.policy = POLICY
                    .replace("label:role=db", "label:role=web")
                    .replace("logins = [\"root\"]", "logins = [\"deploy\"]")
                    .into_bytes()
            }),
            Reason::PolicyRefused,
        ),
        (
            changed(&|f| {
                f.hosts = String::from_utf8(f.hosts.clone())
                    .unwrap()
                    .replace("prod-host", "old-host")
                    .into_bytes()
            }),
            Reason::PolicyRefused,
        ),
    ];
    for (bundle, reason) in cases {
        let refused = authorize(&chain, &bundle, at(3)).unwrap_err();
        assert_eq!(refused.reason, reason, "{refused}");
    }
}

#[test]
fn an_automatic_rule_approves_by_its_name_and_asks_nobody() {
    let case = Case::new();
    let request = case.world.request(&case.world.bot, "test-host", "deploy", 600, START);
    let chain = case.chain_of(&request);
    let yes = authorize(&chain, &case.bundle, at(1)).unwrap();
    assert_eq!(yes.rule().as_str(), "test-auto");
    assert_eq!(yes.access_until(), at(600));
    let deny = case.world.bob.verified(&case.world.denial(&case.world.bob, chain.request(), at(1)));
    assert_eq!(
        admit_decision(&deny, &chain, &case.bundle, at(1)).unwrap_err().reason,
        Reason::Settled
    );
}

#[test]
fn refusals_name_the_rule_what_was_asked_and_what_would_fit() {
    let case = Case::new();
    let base = || case.world.request(&case.world.alice, "prod-host", "deploy", 600, START);
    let refusal = |change: &dyn Fn(&mut Request)| {
        let mut request = base();
        change(&mut request);
        let refusal =
            admit_request(&case.chain_of(&request), None, &case.bundle, START).unwrap_err();
        format!("{refusal} hint: {}", refusal.hint.clone().unwrap_or_default())
    };
    assert!(admit_request(&case.chain_of(&base()), None, &case.bundle, START).is_ok());
    let too_long = refusal(&|r| r.r#for = Seconds::new(1_801).unwrap());
    assert!(too_long.contains("30m1s") && too_long.contains("--for 30m"), "{too_long}");
    let reason = refusal(&|r| r.reason = "disk full".into());
    assert!(reason.contains("INC-[0-9]+") && reason.contains("name the incident"), "{reason}");
    let host = refusal(&|r| r.hosts = vec!["nowhere".parse().unwrap()]);
    assert!(host.contains("no host nowhere"), "{host}");
    let login = refusal(&|r| r.logins = vec!["admin".parse().unwrap()]);
    assert!(login.contains("deploy, root"), "{login}");
    let denied = refusal(&|r| {
        r.hosts = vec!["prod-host".parse().unwrap(), "prod-db".parse().unwrap()];
        r.logins = vec!["root".parse().unwrap()];
    });
    assert!(denied.contains("no-root-on-db"), "any touched part refuses the whole: {denied}");
    // What is named is what the rule touches, not all that was asked.
    assert!(denied.contains("forbids root on prod-db."), "{denied}");
    let other = refusal(&|r| r.subject = "carol".parse().unwrap());
    assert!(other.contains("only for themselves"), "{other}");
}

#[test]
fn options_are_intersected_never_merged() {
    use crate::bundle::Permit;
    let policy = POLICY.replace(
        "permit = [\"pty\", \"port-forwarding\"]",
        "permit = [\"pty\", \"port-forwarding\"]\nsource = [\"10.0.0.0/8\"]",
    );
    let case = Case::with(&policy);
    let grant = |permit: Vec<Permit>, source: &[&str]| {
        let mut request = case.world.request(&case.world.alice, "prod-host", "deploy", 600, START);
        request.permit = permit;
        request.source = source.iter().map(|s| s.parse().unwrap()).collect();
        let mut chain = case.chain_of(&request);
        case.approve(&mut chain, &case.world.bob, 1);
        authorize(&chain, &case.bundle, at(1)).map(|yes| {
            (
                yes.permit().to_vec(),
                yes.source().iter().map(ToString::to_string).collect::<Vec<_>>(),
            )
        })
    };
    let (permit, source) = grant(vec![Permit::AgentForwarding, Permit::Pty], &[]).unwrap();
    assert_eq!(permit, [Permit::Pty]);
    assert_eq!(source, ["10.0.0.0/8"]);
    let (permit, source) = grant(vec![], &["10.1.0.0/16", "192.168.0.0/16"]).unwrap();
    assert!(permit.is_empty());
    assert_eq!(source, ["10.1.0.0/16"]);
    assert_eq!(grant(vec![], &["192.168.0.0/16"]).unwrap_err().reason, Reason::PolicyRefused);
}

#[test]
fn a_rule_for_the_clients_address_wants_it_in_the_signed_request() {
    let policy = POLICY.replace("auto = {}", "auto = {}\nsource = \"client\"");
    let case = Case::with(&policy);
    let decide = |source: &[&str]| {
        let mut request = case.world.request(&case.world.alice, "test-host", "deploy", 60, START);
        request.source = source.iter().map(|s| s.parse().unwrap()).collect();
        authorize(&case.chain_of(&request), &case.bundle, at(1))
    };
    assert_eq!(decide(&["127.0.0.1/32"]).unwrap().source().len(), 1);
    for bad in [&[][..], &["127.0.0.0/8"][..], &["127.0.0.1/32", "127.0.0.2/32"][..]] {
        assert_eq!(decide(bad).unwrap_err().reason, Reason::SourceNeeded);
    }
}

#[test]
fn a_decision_that_would_not_count_is_refused_instead_of_recorded() {
    let case = Case::new();
    let chain = case.chain();
    let carol = &case.world.carol;
    let decide =
        |body: Decision| admit_decision(&carol.verified(&body), &chain, &case.bundle, at(3_590));
    // The approver's clock is ahead of decide_by, the signer's is not.
    for (secs, fine) in [(3_600, true), (3_601, false)] {
        let outcomes = [
            decide(case.world.denial(carol, chain.request(), at(secs))),
            decide(case.world.approval(carol, chain.request(), at(secs))),
        ];
        for outcome in outcomes {
            match fine {
                true => outcome.unwrap(),
                false => assert_eq!(outcome.unwrap_err().reason, Reason::Lapsed),
            }
        }
    }
}

#[test]
fn an_access_whose_approver_is_gone_is_refused_and_never_pending_again() {
    let case = Case::new();
    let World { alice, carol, .. } = &case.world;
    let mut chain = case.chain();
    case.approve(&mut chain, &case.world.bob, 10);
    case.issue(&mut chain, 20);
    let mut files = case.world.files(POLICY);
    let people = String::from_utf8(files.people).unwrap();
    files.people = people.replacen("\"sre\", \"leads\"", "\"sre\"", 1).into_bytes();
    let without_bob = Bundle::parse(2, &files, &case.world.root.admin_keys()).unwrap();
    let status = evaluate(&chain, &without_bob, at(30)).status;
    assert!(matches!(status, Status::Refused(_)), "{status:?}");
    // Nothing that would be lost is taken up, and nobody starts a new clock.
    let deny = carol.verified(&case.world.denial(carol, chain.request(), at(30)));
    assert!(admit_decision(&deny, &chain, &without_bob, at(30)).is_err());
    let approve = carol.verified(&case.world.approval(carol, chain.request(), at(30)));
    assert!(admit_decision(&approve, &chain, &without_bob, at(30)).is_err());
    let cancel = alice.verified(&case.world.cancel(alice, chain.request(), at(30)));
    assert!(admit_end(&cancel, &chain, &without_bob, Arrival::Submitted, at(30)).is_err());
    assert_eq!(evaluate(&chain, &without_bob, at(610)).status, Status::Ended);
    assert_eq!(evaluate(&chain, &case.bundle, at(30)).status, Status::Active);
}

#[test]
fn use_by_is_never_after_the_end_of_the_access() {
    let case = Case::new();
    let mut chain = case.chain();
    case.approve(&mut chain, &case.world.bob, 0);
    // 15 minutes to use it, 10 minutes of access.
    assert_eq!(evaluate(&chain, &case.bundle, at(1)).use_by, Some(at(600)));
    let long = case.world.request(&case.world.alice, "prod-host", "deploy", 1_800, START);
    let mut chain = case.chain_of(&long);
    case.approve(&mut chain, &case.world.bob, 0);
    assert_eq!(evaluate(&chain, &case.bundle, at(1)).use_by, Some(at(900)));
}
