//! Hosts that join by themselves: what a front, a host or a thief can do with them is tried against the
//! whole signer.

use jit_ssh_core::statement::{Host, Token};
use jit_ssh_core::testkit::{person, subject_key};

use super::*;

/// Anybody in `sre` on test hosts, by itself.
const RULES: &str = r#"
[[allow]]
name = "test"
who = ["group:sre"]
hosts = ["label:env=test"]
logins = ["deploy"]
max_for = "2h"
cert_for = "10m"
auto = {}
"#;

impl Node {
    /// alice's request for `deploy` on `host`.
    fn asks(&self, host: &str) -> Request {
        self.world.request(&self.world.alice, host, "deploy", 3_600, self.now())
    }

    fn host(&self, name: &str, seed: u8) -> Host {
        self.world.host(name, seed, None, self.now(), 1_800)
    }

    /// A token of now, lent to somebody.
    fn token(&self, lent: &Person) -> Verified<Token> {
        self.world.pipeline.verified(&self.world.token(&lent.key, self.now()))
    }
}

/// A statement whose text is changed after it was signed.
fn altered(statement: &Signed, from: &str, to: &str) -> Signed {
    assert!(statement.statement.contains(from), "{from} in {}", statement.statement);
    Signed { statement: statement.statement.replace(from, to), ..statement.clone() }
}

#[test]
fn a_host_joins_lets_people_in_and_is_gone_when_it_was_to_go() {
    let (node, mut signer) = Node::with_policy(RULES);
    let World { alice, pipeline, .. } = &node.world;
    assert_eq!(
        refused(signer.submit(alice, &node.asks("ci-1"), true)),
        Reason::PolicyRefused,
        "it is not there yet"
    );
    let host = node.host("ci-1", 70);
    recorded(signer.submit(pipeline, &host, false));
    recorded(signer.submit(pipeline, &host, false));
    let request = alice.verified(&node.asks("ci-1"));
    let issued = recorded(signer.submit(alice, request.body(), true)).unwrap();
    node.check(&issued, &request);
    // Asked for an hour, and the host is there for half of it.
    assert_eq!(issued.access_until, node.now().plus_secs(1_800));
    node.set_clock(1_700);
    let issued = certified(signer.certify(request.digest()));
    assert_eq!(issued.valid_before, START.plus_secs(1_800));
    node.set_clock(1_800);
    assert_eq!(refused(signer.certify(request.digest())), Reason::Ended);
    assert_eq!(refused(signer.submit(alice, &node.asks("ci-1"), true)), Reason::PolicyRefused);
    // The name comes back as another machine, and what was granted for the old one is over.
    recorded(signer.submit(pipeline, &node.host("ci-1", 71), false));
    assert!(refused(signer.certify(request.digest())) != Reason::Internal);
    node.set_clock(1_801);
    assert!(recorded(signer.submit(alice, &node.asks("ci-1"), true)).is_some());
}

#[test]
fn a_front_can_not_change_what_was_vouched_for() {
    let (node, mut signer) = Node::with_policy(RULES);
    let World { alice, bot, ann, pipeline, .. } = &node.world;
    let good = signed(pipeline, &node.host("ci-1", 70));
    for (from, to) in [
        ("\"env\":\"test\"", "\"env\":\"staging\""),
        ("\"env\":\"test\"", "\"env\":\"test\",\"role\":\"web\""),
        ("[\"deploy\"]", "[\"ci\",\"deploy\"]"),
        ("\"ci-1\"", "\"ci-2\""),
        ("\"by\":\"pipeline\"", "\"by\":\"bot\""),
        (&*format!("\"until\":{}", START.0 + 1_800), &*format!("\"until\":{}", START.0 + 9_000)),
        (&*subject_key(70).to_string(), &*subject_key(71).to_string()),
    ] {
        let statement = altered(&good, from, to);
        for op in
            [Op::Submit { statement: statement.clone(), certify: false }, Op::Relay { statement }]
        {
            assert_eq!(refused(signer.call(op)), Reason::BadSignature, "{to}");
        }
    }
    // Vouched for by who is no enroller: a person, a machine, an admin, the host's own key.
    for by in [alice, bot, ann, &person("host", 70)] {
        let statement = signed(by, &node.host("ci-1", 70));
        let op = Op::Submit { statement: statement.clone(), certify: false };
        assert_eq!(refused(signer.call(op)), Reason::UnknownSigner);
        assert_eq!(refused(signer.call(Op::Relay { statement })), Reason::UnknownSigner);
    }
    // An enroller vouches for hosts and for nothing else.
    let mut request = node.asks("test-host");
    request.by = "pipeline".parse().unwrap();
    request.subject = request.by.clone();
    assert_eq!(refused(signer.submit(pipeline, &request, true)), Reason::UnknownSigner);
    recorded(signer.call(Op::Submit { statement: good, certify: false }));
}

#[test]
fn a_host_can_not_have_more_than_its_token_gives() {
    let (node, mut signer) = Node::with_policy(RULES);
    let lent = person("lent", 60);
    let token = node.token(&lent);
    let host = |name: &str, seed: u8, change: &dyn Fn(&mut Host)| {
        let mut host = node.world.host(name, seed, Some(token.digest()), node.now(), 1_800);
        change(&mut host);
        host
    };
    let plain = host("ci-t1", 70, &|_| ());
    assert_eq!(refused(signer.submit(&lent, &plain, false)), Reason::UnknownToken);
    // Forged: the thief lends itself a token.
    let forged = node.world.token(&lent.key, node.now());
    assert_eq!(refused(signer.submit(&lent, &forged, false)), Reason::UnknownSigner);
    recorded(signer.submit(&node.world.pipeline, token.body(), false));
    let label = |h: &mut Host, value: &str| {
        h.labels.insert("env".parse().unwrap(), value.parse().unwrap());
    };
    type Wider<'w> = (&'w str, Reason, &'w dyn Fn(&mut Host));
    let wider: [Wider<'_>; 9] = [
        ("better label", Reason::NotAllowed, &|h| label(h, "prod")),
        ("other label", Reason::NotAllowed, &|h| label(h, "staging")),
        ("fewer labels", Reason::NotAllowed, &|h| h.labels.clear()),
        ("login", Reason::NotAllowed, &|h| h.logins.push("ci".parse().unwrap())),
        ("root", Reason::NotAllowed, &|h| h.logins = vec!["root".parse().unwrap()]),
        ("name", Reason::NotAllowed, &|h| h.name = "ci-9".parse().unwrap()),
        ("listed name", Reason::NotAllowed, &|h| h.name = "prod-host".parse().unwrap()),
        ("life", Reason::NotAllowed, &|h| h.until = h.at.plus_secs(3_601)),
        ("another enroller's", Reason::UnknownSigner, &|h| h.by = "bot".parse().unwrap()),
    ];
    for (what, reason, change) in wider {
        let statement = host("ci-t1", 70, change);
        assert_eq!(refused(signer.submit(&lent, &statement, false)), reason, "{what}");
        let statement = signed(&lent, &statement);
        assert_eq!(refused(signer.call(Op::Relay { statement })), reason, "{what}, relayed");
    }
    // With the token's digest and another key: the enroller's own, or a thief's.
    for other in [&node.world.pipeline, &person("thief", 61)] {
        assert_eq!(refused(signer.submit(other, &plain, false)), Reason::UnknownSigner);
    }
    recorded(signer.submit(&lent, &plain, false));
}

#[test]
fn a_token_is_not_used_more_often_than_it_says_not_even_over_restarts() {
    let (node, mut signer) = Node::with_policy(RULES);
    let lent = person("lent", 60);
    let token = node.token(&lent);
    recorded(signer.submit(&node.world.pipeline, token.body(), false));
    let host =
        |name: &str, seed| node.world.host(name, seed, Some(token.digest()), node.now(), 600);
    let first = host("ci-t1", 70);
    recorded(signer.submit(&lent, &first, false));
    recorded(signer.submit(&lent, &first, false));
    node.stop(signer);
    let mut signer = node.start();
    recorded(signer.submit(&lent, &host("ci-t2", 71), false));
    node.stop(signer);
    let mut signer = node.start();
    assert_eq!(refused(signer.submit(&lent, &host("ci-t3", 72), false)), Reason::TokenSpent);
    let relayed = Op::Relay { statement: signed(&lent, &host("ci-t3", 72)) };
    assert_eq!(refused(signer.call(relayed)), Reason::TokenSpent);
    // A bundle that changes nothing does not bring uses back, and neither do hosts that are gone.
    node.apply(&mut signer, 2, RULES);
    node.set_clock(700);
    assert_eq!(refused(signer.submit(&lent, &host("ci-t3", 72), false)), Reason::TokenSpent);
    // Renewing was no use, and is none.
    node.set_clock(701);
    recorded(signer.submit(&node.world.pipeline, &node.host("ci-t3", 72), false));
}

#[test]
fn a_machine_that_joins_again_after_its_end_uses_its_token_once_more_also_by_the_log() {
    let (node, mut signer) = Node::with_policy(RULES);
    let lent = person("lent", 60);
    let token = node.token(&lent);
    recorded(signer.submit(&node.world.pipeline, token.body(), false));
    let host =
        |name: &str, seed| node.world.host(name, seed, Some(token.digest()), node.now(), 600);
    recorded(signer.submit(&lent, &host("ci-t1", 70), false));
    node.set_clock(700);
    recorded(signer.submit(&lent, &host("ci-t1", 70), false));
    for _ in 0..2 {
        let third = signer.submit(&lent, &host("ci-t2", 71), false);
        assert_eq!(refused(third), Reason::TokenSpent);
        node.stop(signer);
        signer = node.start();
    }
}

#[test]
fn what_is_over_can_not_be_told_again() {
    let (node, mut signer) = Node::with_policy(RULES);
    let World { alice, pipeline, .. } = &node.world;
    let lent = person("lent", 60);
    let token = node.token(&lent);
    recorded(signer.submit(pipeline, token.body(), false));
    let old = signed(pipeline, &node.host("ci-1", 70));
    recorded(signer.call(Op::Submit { statement: old.clone(), certify: false }));
    // It is to end sooner: the longer statement, told again, does not bring it back.
    node.set_clock(10);
    let short = node.world.host("ci-1", 70, None, node.now(), 20);
    recorded(signer.submit(pipeline, &short, false));
    node.set_clock(100);
    assert_eq!(refused(signer.call(Op::Relay { statement: old.clone() })), Reason::Settled);
    assert_eq!(refused(signer.submit(alice, &node.asks("ci-1"), true)), Reason::PolicyRefused);
    node.stop(signer);
    let mut signer = node.start();
    assert_eq!(refused(signer.call(Op::Relay { statement: old.clone() })), Reason::Settled);
    node.set_clock(2_000);
    for op in [Op::Submit { statement: old.clone(), certify: false }, Op::Relay { statement: old }]
    {
        assert!(matches!(refused(signer.call(op)), Reason::Ended | Reason::ClockSkew));
    }
    // Dated back into the token's life, long after it.
    let back = node.world.host("ci-t1", 70, Some(token.digest()), START.plus_secs(3_599), 3_600);
    node.set_clock(3_600 + 3_600);
    let statement = signed(&lent, &back);
    let told = refused(signer.call(Op::Relay { statement: statement.clone() }));
    assert!(matches!(told, Reason::Ended | Reason::Lapsed | Reason::UnknownToken), "{told}");
    node.set_clock(3_700);
    assert_eq!(
        refused(signer.call(Op::Submit { statement, certify: false })),
        Reason::Lapsed,
        "by itself no host joins after the token's end"
    );
}

#[test]
fn an_enroller_that_is_taken_away_takes_its_hosts_along_and_back_over_restarts() {
    let (node, mut signer) = Node::with_policy(RULES);
    let World { alice, pipeline, .. } = &node.world;
    recorded(signer.submit(pipeline, &node.host("ci-1", 70), false));
    let request = alice.verified(&node.asks("ci-1"));
    assert!(recorded(signer.submit(alice, request.body(), true)).is_some());
    node.stop(signer);
    let mut signer = node.start();
    certified(signer.certify(request.digest()));
    let files = node.world.files(RULES);
    let text = String::from_utf8(files.hosts.clone()).unwrap();
    let without = text.split("[[enroller]]").next().unwrap().as_bytes().to_vec();
    let gone = BundleFiles { hosts: without, ..files.clone() };
    assert!(matches!(node.apply_files(&mut signer, 2, gone), Outcome::InForce { .. }));
    assert_eq!(refused(signer.certify(request.digest())), Reason::PolicyRefused);
    assert_eq!(
        refused(signer.submit(pipeline, &node.host("ci-2", 71), false)),
        Reason::UnknownSigner
    );
    assert!(matches!(node.apply_files(&mut signer, 3, files), Outcome::InForce { .. }));
    certified(signer.certify(request.digest()));
}

#[test]
fn nobody_joins_as_a_listed_host_or_as_one_that_is_there() {
    let (node, mut signer) = Node::with_policy(RULES);
    let pipeline = &node.world.pipeline;
    assert_eq!(
        refused(signer.submit(pipeline, &node.host("test-host", 70), false)),
        Reason::NotAllowed
    );
    recorded(signer.submit(pipeline, &node.host("ci-1", 70), false));
    node.set_clock(1);
    assert_eq!(refused(signer.submit(pipeline, &node.host("ci-1", 71), false)), Reason::NameTaken);
    recorded(signer.submit(pipeline, &node.host("ci-1", 70), false));
    recorded(signer.submit(pipeline, &node.host("ci-2", 71), false));
}

#[test]
fn an_enroller_is_held_to_its_quota_and_to_its_hosts() {
    let mut node = Node::new();
    node.limits.enrolments_per_enroller_per_minute = std::num::NonZeroU32::new(2).unwrap();
    let mut signer = node.start();
    node.apply(&mut signer, 1, RULES);
    let pipeline = &node.world.pipeline;
    for n in 0..2u8 {
        recorded(signer.submit(pipeline, &node.host(&format!("ci-{n}"), 70 + n), false));
    }
    assert_eq!(refused(signer.submit(pipeline, &node.host("ci-2", 72), false)), Reason::Quota);
    for n in 2..4u8 {
        node.set_clock(60 * i64::from(n));
        recorded(signer.submit(pipeline, &node.host(&format!("ci-{n}"), 70 + n), false));
    }
    node.set_clock(600);
    let fifth = signer.submit(pipeline, &node.host("ci-4", 74), false);
    assert_eq!(refused(fifth), Reason::Quota, "max_hosts is 4");
}

#[test]
fn many_calls_about_hosts_and_requests_at_once_are_judged_one_after_the_other() {
    let (node, mut signer) = Node::with_policy(RULES);
    let World { alice, pipeline, .. } = &node.world;
    // One machine, and four others that want its name, all in flight together.
    let ids: Vec<u64> = (0..5u8)
        .map(|n| {
            let statement = signed(pipeline, &node.host("ci-1", 70 + n));
            signer.send(Op::Submit { statement, certify: false })
        })
        .collect();
    let asked =
        signer.send(Op::Submit { statement: signed(alice, &node.asks("ci-1")), certify: true });
    let outcomes: Vec<_> = ids.into_iter().map(|id| signer.answer(id)).collect();
    let taken = outcomes.iter().filter(|o| matches!(o, Outcome::Recorded { .. })).count();
    assert_eq!(taken, 1, "{outcomes:?}");
    assert!(recorded(signer.answer(asked)).is_some());
}

#[test]
fn a_host_that_joined_has_one_certificate_until_it_ends_and_another_once_it_joined_anew() {
    let (node, mut signer) = Node::with_policy(RULES);
    let ask = |signer: &mut Running, name: &str| {
        signer.call(Op::CertifyHost { name: name.parse().unwrap() })
    };
    let of = |outcome: Outcome| match outcome {
        Outcome::HostCertified(issuance) => {
            let entry = Entry::parse(issuance.entry.as_bytes()).unwrap();
            let Entry::HostCertificate(entry) = entry else { panic!("{entry:?}") };
            let facts = jit_ssh_core::certificate::host::read(&entry.tbs.0).unwrap();
            (issuance.certificate.0, entry.statement, facts.valid_before)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(ask(&mut signer, "ci-1")), Reason::UnknownHost, "it is not there yet");
    let pipeline = &node.world.pipeline;
    let host = pipeline.verified(&node.host("ci-1", 70));
    recorded(signer.submit(pipeline, host.body(), false));
    let (first, statement, until) = of(ask(&mut signer, "ci-1"));
    assert_eq!((statement, until), (Some(host.digest()), host.body().until));
    // The backdate is longer than its life, so that half of the time is over from the start: whoever
    // asks again and again gets the same, and the log does not grow.
    node.set_clock(1_799);
    assert_eq!(of(ask(&mut signer, "ci-1")).0, first);
    node.stop(signer);
    let mut signer = node.start();
    assert_eq!(of(ask(&mut signer, "ci-1")).0, first);
    let renewed = pipeline.verified(&node.host("ci-1", 70));
    recorded(signer.submit(pipeline, renewed.body(), false));
    let (second, statement, until) = of(ask(&mut signer, "ci-1"));
    assert_ne!(second, first);
    assert_eq!((statement, until), (Some(renewed.digest()), START.plus_secs(1_799 + 1_800)));
    node.set_clock(1_799 + 1_800);
    assert_eq!(refused(ask(&mut signer, "ci-1")), Reason::UnknownHost, "it is gone");
}
