//! Every refusal stands beside a neighbour that differs in one thing and is taken.

use super::*;
use crate::authorize::authorize;
use crate::bundle::Bundle;
use crate::chain::Chain;
use crate::digest::Digest;
use crate::lifecycle::{Status, evaluate};
use crate::refusal::{Reason, Refusal};
use crate::statement::{self, Arrival, Host, Token, Verified};
use crate::testkit::{Person, START, World, person, subject_key};
use crate::time::{Seconds, UnixTime};

/// Anybody in `sre` on test hosts, by itself.
const POLICY: &str = r#"
[[deny]]
name = "no-db"
hosts = ["label:role=db"]

[[allow]]
name = "test"
who = ["group:sre"]
hosts = ["label:env=test"]
logins = ["deploy", "ci"]
max_for = "2h"
cert_for = "10m"
auto = {}
"#;

fn at(secs: u32) -> UnixTime {
    START.plus_secs(secs)
}

struct Case {
    world: World,
    bundle: Bundle,
    /// Whose key the token lends.
    lent: Person,
    known: Enrolled,
}

impl Case {
    fn new() -> Case {
        let world = World::default();
        let bundle = world.bundle(POLICY);
        Case { world, bundle, lent: person("lent", 60), known: Enrolled::default() }
    }

    /// A bundle whose `hosts.toml` has `to` in place of `from`.
    fn bundle_with(&self, from: &str, to: &str) -> Bundle {
        let mut files = self.world.files(POLICY);
        let hosts = String::from_utf8(files.hosts).unwrap();
        assert_eq!(hosts.matches(from).count(), 1);
        files.hosts = hosts.replace(from, to).into_bytes();
        Bundle::parse(2, &files, &self.world.root.admin_keys()).unwrap()
    }

    /// The host `ci-1` for an hour, changed, signed by its enroller.
    fn vouched(&self, change: impl FnOnce(&mut Host)) -> Verified<Host> {
        let mut host = self.world.host("ci-1", 70, None, START, 3_600);
        change(&mut host);
        self.world.pipeline.verified(&host)
    }

    fn token(&self, change: impl FnOnce(&mut Token)) -> Verified<Token> {
        let mut token = self.world.token(&self.lent.key, START);
        change(&mut token);
        self.world.pipeline.verified(&token)
    }

    /// The host `ci-t1` by this token, changed, signed with the token's key.
    fn by_token(&self, token: Digest, change: impl FnOnce(&mut Host)) -> Verified<Host> {
        let mut host = self.world.host("ci-t1", 70, Some(token), START, 3_600);
        change(&mut host);
        self.lent.verified(&host)
    }

    fn admit(&self, host: &Verified<Host>, now: UnixTime) -> Result<Admission, Refusal> {
        self.known.admit_host(host, &self.bundle, Arrival::Submitted, now)
    }

    /// Takes a host in, as a signer does.
    fn join(&mut self, host: Verified<Host>) {
        let now = host.body().at;
        assert_eq!(self.admit(&host, now), Ok(Admission::New));
        self.known.add_host(host);
    }

    fn lend(&mut self, token: &Verified<Token>) {
        let now = token.body().at;
        let outcome = self.known.admit_token(token, &self.bundle, Arrival::Submitted, now);
        assert_eq!(outcome, Ok(Admission::New));
        self.known.add_token(token.clone());
    }

    fn view(&self) -> View<'_> {
        View::new(&self.bundle, &self.known)
    }

    /// Alice's request for `deploy` on `host`.
    fn chain(&self, host: &str, span: u32, made: UnixTime) -> Chain {
        let request = self.world.request(&self.world.alice, host, "deploy", span, made);
        Chain::new(self.world.alice.verified(&request))
    }
}

fn reason(outcome: Result<Admission, Refusal>) -> Reason {
    outcome.expect_err("this must be refused").reason
}

#[test]
fn an_enroller_vouches_within_its_bounds_and_no_further() {
    let case = Case::new();
    let label = |text: &str| text.parse().unwrap();
    type Change = Box<dyn Fn(&mut Host)>;
    let pairs: Vec<(Change, Change, Reason)> = vec![
        (
            Box::new(|h| h.name = "ci-2".parse().unwrap()),
            Box::new(|h| h.name = "web-2".parse().unwrap()),
            Reason::NotAllowed,
        ),
        (
            Box::new(move |h| drop(h.labels.insert("env".parse().unwrap(), label("staging")))),
            Box::new(move |h| drop(h.labels.insert("env".parse().unwrap(), label("prod")))),
            Reason::NotAllowed,
        ),
        (
            Box::new(move |h| drop(h.labels.insert("role".parse().unwrap(), label("anything")))),
            Box::new(move |h| drop(h.labels.insert("tier".parse().unwrap(), label("anything")))),
            Reason::NotAllowed,
        ),
        (
            Box::new(|h| h.logins.push("ci".parse().unwrap())),
            Box::new(|h| h.logins.push("root".parse().unwrap())),
            Reason::NotAllowed,
        ),
        (
            Box::new(|h| h.until = at(86_400)),
            Box::new(|h| h.until = at(86_401)),
            Reason::NotAllowed,
        ),
        (Box::new(|h| h.at = at(0)), Box::new(|h| h.at = START.minus_secs(121)), Reason::ClockSkew),
        (
            Box::new(|h| h.by = "pipeline".parse().unwrap()),
            Box::new(|h| h.by = "bot".parse().unwrap()),
            Reason::UnknownSigner,
        ),
    ];
    for (good, bad, expected) in pairs {
        assert_eq!(case.admit(&case.vouched(good), START), Ok(Admission::New));
        assert_eq!(reason(case.admit(&case.vouched(bad), START)), expected);
    }
    // Signed by somebody else: a person, an admin, the host itself.
    let host = case.world.host("ci-1", 70, None, START, 3_600);
    for other in [&case.world.alice, &case.world.ann, &person("host", 70)] {
        assert_eq!(reason(case.admit(&other.verified(&host), START)), Reason::UnknownSigner);
    }
}

#[test]
fn the_name_of_a_listed_host_is_never_given_whatever_the_globs_say() {
    let mut case = Case::new();
    let host = case.vouched(|_| ());
    assert_eq!(case.admit(&host, START), Ok(Admission::New));
    case.join(host.clone());
    assert!(matches!(case.view().host(&host.body().name, START), Ok(Found::Joined(_))));
    // hosts.toml comes to list it: then it is the listed one, and nobody can join as it.
    let listed = "[[host]]\nname = \"ci-1\"\nlogins = [\"deploy\"]\n[[enroller]]";
    let files = |hosts: &str| {
        let mut files = case.world.files(POLICY);
        let text = String::from_utf8(files.hosts).unwrap();
        files.hosts = text.replace("[[enroller]]", listed).replace("\"ci-*\"", hosts).into_bytes();
        Bundle::parse(2, &files, &case.world.root.admin_keys())
    };
    assert!(files("\"ci-*\"").unwrap_err().to_string().contains("covers the host `ci-1`"));
    let bundle = files("\"ci-x*\"").unwrap();
    let found = View::new(&bundle, &case.known).host(&host.body().name, START).unwrap();
    assert!(matches!(found, Found::Listed(_)));
    let again = case.vouched(|h| h.at = at(1));
    let refused = case.known.admit_host(&again, &bundle, Arrival::Submitted, at(1));
    assert_eq!(reason(refused), Reason::NotAllowed);
}

#[test]
fn a_token_is_lent_within_its_enrollers_bounds() {
    let case = Case::new();
    let admit = |token: &Verified<Token>, now| {
        case.known.admit_token(token, &case.bundle, Arrival::Submitted, now)
    };
    type Change = Box<dyn Fn(&mut Token)>;
    let pairs: Vec<(Change, Change)> = vec![
        (Box::new(|t| t.uses = 3), Box::new(|t| t.uses = 4)),
        (
            Box::new(|t| t.r#for = Seconds::new(86_400).unwrap()),
            Box::new(|t| t.r#for = Seconds::new(86_401).unwrap()),
        ),
        (
            Box::new(|t| t.names = vec!["ci-*".parse().unwrap(), "ci-7".parse().unwrap()]),
            Box::new(|t| t.names = vec!["ci-7".parse().unwrap(), "c*".parse().unwrap()]),
        ),
        (
            Box::new(|t| t.logins = vec!["ci".parse().unwrap()]),
            Box::new(|t| t.logins = vec!["ci".parse().unwrap(), "root".parse().unwrap()]),
        ),
        (
            Box::new(|t| drop(t.labels.insert("env".parse().unwrap(), "staging".parse().unwrap()))),
            Box::new(|t| drop(t.labels.insert("env".parse().unwrap(), "prod".parse().unwrap()))),
        ),
    ];
    for (good, bad) in pairs {
        assert_eq!(admit(&case.token(good), START), Ok(Admission::New));
        assert_eq!(reason(admit(&case.token(bad), START)), Reason::NotAllowed);
    }
    // Handed in while it is good, however old it is, and not a moment longer.
    let token = case.token(|_| ());
    assert_eq!(admit(&token, at(3_599)), Ok(Admission::New));
    assert_eq!(reason(admit(&token, at(3_600))), Reason::Lapsed);
    // Another node may tell of it a little later.
    let relayed = |now| case.known.admit_token(&token, &case.bundle, Arrival::Relayed, now);
    assert_eq!(relayed(at(3_599 + RELAY_TOKEN)), Ok(Admission::New));
    assert_eq!(reason(relayed(at(3_600 + RELAY_TOKEN))), Reason::Lapsed);
    // Forged: not by the enroller.
    let forged = case.lent.verified(&case.world.token(&case.lent.key, START));
    assert_eq!(reason(admit(&forged, START)), Reason::UnknownSigner);
    // An enroller that may lend none.
    let none = case.bundle_with("max_uses = 3\n", "");
    let refused = case.known.admit_token(&token, &none, Arrival::Submitted, START);
    assert_eq!(reason(refused), Reason::NotAllowed);
}

#[test]
fn a_host_with_a_token_is_what_the_token_says_and_no_more() {
    let mut case = Case::new();
    let token = case.token(|t| t.logins.push("ci".parse().unwrap()));
    case.lend(&token);
    let digest = token.digest();
    type Change = Box<dyn Fn(&mut Host)>;
    let pairs: Vec<(Change, Change)> = vec![
        (
            Box::new(|h| h.name = "ci-t9".parse().unwrap()),
            // The enroller could name it, the token does not.
            Box::new(|h| h.name = "ci-9".parse().unwrap()),
        ),
        (
            Box::new(|_| ()),
            Box::new(|h| drop(h.labels.insert("role".parse().unwrap(), "web".parse().unwrap()))),
        ),
        (Box::new(|_| ()), Box::new(|h| h.labels.clear())),
        (
            Box::new(|h| h.logins = vec!["ci".parse().unwrap()]),
            Box::new(|h| h.logins = vec!["root".parse().unwrap()]),
        ),
        (Box::new(|h| h.until = at(3_600)), Box::new(|h| h.until = at(3_601))),
    ];
    for (good, bad) in pairs {
        assert_eq!(case.admit(&case.by_token(digest, good), START), Ok(Admission::New));
        assert_eq!(reason(case.admit(&case.by_token(digest, bad), START)), Reason::NotAllowed);
    }
    // Too late.
    let late = |secs: u32| case.by_token(digest, |h| (h.at, h.until) = (at(secs), at(secs + 60)));
    assert_eq!(case.admit(&late(3_599), at(3_599)), Ok(Admission::New));
    assert_eq!(reason(case.admit(&late(3_600), at(3_600))), Reason::Lapsed);
    // Dated back, by who found the token later and owns a front.
    let dated_back = case.by_token(digest, |h| h.until = at(3_600));
    let told = |now| case.known.admit_host(&dated_back, &case.bundle, Arrival::Relayed, now);
    assert_eq!(told(at(3_599)), Ok(Admission::New));
    assert!(told(at(3_601 + RELAY_TOKEN)).is_err());
    // Another key than the token's, or another token than is known.
    let host = case.world.host("ci-t1", 70, Some(digest), START, 3_600);
    for other in [&case.world.pipeline, &person("thief", 61)] {
        assert_eq!(reason(case.admit(&other.verified(&host), START)), Reason::UnknownSigner);
    }
    let unknown = case.by_token(Digest::of(b"another"), |_| ());
    assert_eq!(reason(case.admit(&unknown, START)), Reason::UnknownToken);
    // The token of another enroller.
    let by_other = case.by_token(digest, |h| h.by = "other".parse().unwrap());
    let two = case.bundle_with(
        "[[enroller]]",
        &format!(
            "[[enroller]]\nid = \"other\"\nkeys = [\"{}\"]\nnames = [\"ci-*\"]\nlabels = {{ env = [\"*\"] }}\nlogins = [\"deploy\"]\nmax_for = \"1d\"\n[[enroller]]",
            person("other", 62).key
        ),
    );
    let refused = case.known.admit_host(&by_other, &two, Arrival::Submitted, START);
    assert_eq!(reason(refused), Reason::NotAllowed);
}

#[test]
fn a_token_is_used_as_often_as_it_says_and_renewing_is_no_use() {
    let mut case = Case::new();
    let token = case.token(|_| ());
    case.lend(&token);
    let digest = token.digest();
    let host = |name: &str, seed: u8, secs: u32| {
        case.by_token(digest, |h| {
            h.name = name.parse().unwrap();
            h.key = subject_key(seed);
            (h.at, h.until) = (at(secs), at(secs + 600));
        })
    };
    let (first, again, second) = (host("ci-t1", 70, 0), host("ci-t1", 70, 1), host("ci-t2", 71, 2));
    let (renewed, third) = (host("ci-t2", 71, 3), host("ci-t3", 72, 3));
    case.join(first.clone());
    assert_eq!(case.admit(&first, at(1)), Ok(Admission::Known));
    case.join(again);
    assert_eq!(case.known.uses(&digest), 1);
    case.join(second);
    assert_eq!(case.known.uses(&digest), 2);
    assert_eq!(reason(case.admit(&third, at(3))), Reason::TokenSpent);
    case.join(renewed);
    assert_eq!(case.known.uses(&digest), 2);
    // Uses do not come back when hosts go.
    case.known.forget(at(1_000));
    assert_eq!(case.known.iter().count(), 0);
    let late = case.by_token(digest, |h| (h.at, h.until) = (at(1_000), at(1_600)));
    assert_eq!(reason(case.admit(&late, at(1_000))), Reason::TokenSpent);
}

#[test]
fn a_name_is_one_machines_while_it_is_there_and_free_again_afterwards() {
    let mut case = Case::new();
    case.join(case.vouched(|_| ()));
    let other = |secs: u32| {
        case.vouched(|h| {
            h.key = subject_key(71);
            (h.at, h.until) = (at(secs), at(secs + 3_600));
        })
    };
    assert_eq!(reason(case.admit(&other(3_599), at(3_599))), Reason::NameTaken);
    assert_eq!(case.admit(&other(3_600), at(3_600)), Ok(Admission::New));
    // Its own machine renews before and after.
    let renewed = |secs: u32| case.vouched(|h| (h.at, h.until) = (at(secs), at(secs + 3_600)));
    assert_eq!(case.admit(&renewed(3_599), at(3_599)), Ok(Admission::New));
    assert_eq!(case.admit(&renewed(3_600), at(3_600)), Ok(Admission::New));
    let (other, late) = (other(3_600), renewed(3_601));
    case.join(other);
    let name = "ci-1".parse().unwrap();
    assert_eq!(case.known.get(&name).unwrap().since(), at(3_600));
    assert_eq!(reason(case.admit(&late, at(3_601))), Reason::NameTaken);
}

#[test]
fn an_older_statement_told_again_says_nothing() {
    let mut case = Case::new();
    let long = case.vouched(|_| ());
    case.join(long.clone());
    // The host is to end sooner; then another machine comes and goes.
    case.join(case.vouched(|h| (h.at, h.until) = (at(10), at(20))));
    let told = |case: &Case, now| {
        case.known.admit_host(&long, &case.bundle, Arrival::Relayed, now).unwrap_err().reason
    };
    assert_eq!(told(&case, at(15)), Reason::Settled);
    assert_eq!(told(&case, at(25)), Reason::Settled);
    case.join(case.vouched(|h| {
        h.key = subject_key(71);
        (h.at, h.until) = (at(30), at(40));
    }));
    case.known.forget(at(50));
    assert_eq!(told(&case, at(50)), Reason::Settled);
    case.known.forget(at(3_601));
    assert_eq!(told(&case, at(3_601)), Reason::Ended);
}

#[test]
fn an_enroller_has_as_many_hosts_as_the_bundle_says_and_bounded_tokens() {
    let mut case = Case::new();
    let host = |n: u8, secs: u32| {
        case.vouched(|h| {
            h.name = format!("ci-{n}").parse().unwrap();
            h.key = subject_key(70 + n);
            (h.at, h.until) = (at(secs), at(secs + 600));
        })
    };
    let hosts: Vec<_> = (0..4).map(|n| host(n, 0)).collect();
    let (fifth, renewed, later) = (host(4, 1), host(3, 1), host(4, 602));
    for host in hosts {
        case.join(host);
    }
    assert_eq!(reason(case.admit(&fifth, at(1))), Reason::Quota);
    assert_eq!(case.admit(&renewed, at(1)), Ok(Admission::New));
    case.known.forget(at(602));
    assert_eq!(case.admit(&later, at(602)), Ok(Admission::New));
}

#[test]
fn requests_for_a_host_that_joined_are_judged_by_its_labels_and_end_with_it() {
    let mut case = Case::new();
    let chain = case.chain("ci-1", 7_200, at(5));
    let refused = authorize(&chain, case.view(), at(5)).unwrap_err();
    assert_eq!(refused.reason, Reason::PolicyRefused);
    case.join(case.vouched(|_| ()));
    // In a view without those who joined it is unknown.
    assert!(authorize(&chain, &case.bundle, at(5)).is_err());
    let yes = authorize(&chain, case.view(), at(5)).unwrap();
    assert_eq!((yes.valid_before(), yes.access_until()), (at(605), at(3_600)));
    let yes = authorize(&chain, case.view(), at(3_500)).unwrap_err();
    assert_eq!(yes.reason, Reason::Lapsed, "not used within the rule's time");
    let late = case.chain("ci-1", 7_200, at(3_500));
    let yes = authorize(&late, case.view(), at(3_500)).unwrap();
    assert_eq!((yes.valid_before(), yes.access_until()), (at(3_600), at(3_600)));
    assert_eq!(authorize(&late, case.view(), at(3_600)).unwrap_err().reason, Reason::PolicyRefused);
    // A login it does not offer, though the rule and its enroller would.
    let mut request = case.world.request(&case.world.alice, "ci-1", "ci", 60, at(5));
    let ci = Chain::new(case.world.alice.verified(&request));
    assert!(authorize(&ci, case.view(), at(5)).is_err());
    request.logins = vec!["deploy".parse().unwrap()];
    let deploy = Chain::new(case.world.alice.verified(&request));
    assert!(authorize(&deploy, case.view(), at(5)).is_ok());
    // It renews with other labels: a deny rule that did not touch it does now, and the other way.
    case.join(case.vouched(|h| {
        (h.at, h.until) = (at(10), at(3_610));
        h.labels.insert("role".parse().unwrap(), "db".parse().unwrap());
    }));
    let status = evaluate(&deploy, case.view(), at(10)).status;
    assert!(matches!(status, Status::Refused(_)), "{status:?}");
}

#[test]
fn an_enroller_that_is_gone_takes_its_hosts_along_at_once() {
    let mut case = Case::new();
    let token = case.token(|_| ());
    case.lend(&token);
    case.join(case.vouched(|_| ()));
    case.join(case.by_token(token.digest(), |_| ()));
    for host in ["ci-1", "ci-t1"] {
        let chain = case.chain(host, 600, at(5));
        assert!(authorize(&chain, case.view(), at(5)).is_ok(), "{host}");
        for (from, to) in [
            ("id = \"pipeline\"", "id = \"another\""),
            ("names = [\"ci-*\"]", "names = [\"x-*\"]"),
            ("env = [\"test\", \"staging\"]", "env = [\"staging\"]"),
            ("max_for = \"1d\"", "max_for = \"59m\""),
            (&*format!("{}", case.world.pipeline.key), &*person("new", 63).key.to_string()),
        ] {
            let bundle = case.bundle_with(from, to);
            let refused = authorize(&chain, View::new(&bundle, &case.known), at(5)).unwrap_err();
            assert_eq!(refused.reason, Reason::PolicyRefused, "{host} {to}");
        }
        let same = case.bundle_with("max_for = \"1d\"", "max_for = \"60m\"");
        assert!(authorize(&chain, View::new(&same, &case.known), at(5)).is_ok(), "{host}");
    }
    // Without tokens only the host with the enroller's own key is left.
    let bundle = case.bundle_with("max_uses = 3\n", "");
    let view = View::new(&bundle, &case.known);
    assert!(authorize(&case.chain("ci-1", 600, at(5)), view, at(5)).is_ok());
    assert!(authorize(&case.chain("ci-t1", 600, at(5)), view, at(5)).is_err());
}

#[test]
fn what_was_granted_for_a_machine_is_not_for_the_next_one_with_its_name() {
    let mut case = Case::new();
    case.join(case.vouched(|h| h.until = at(300)));
    let chain = case.chain("ci-1", 3_600, at(5));
    assert!(authorize(&chain, case.view(), at(6)).is_ok());
    // The same machine goes on.
    let mut renewed = case.known.clone();
    renewed.add_host(case.vouched(|h| (h.at, h.until) = (at(300), at(900))));
    assert!(authorize(&chain, View::new(&case.bundle, &renewed), at(301)).is_ok());
    // Another one comes.
    case.join(case.vouched(|h| {
        h.key = subject_key(71);
        (h.at, h.until) = (at(300), at(900));
    }));
    let refused = authorize(&chain, case.view(), at(301)).unwrap_err();
    assert!(refused.message.contains("another machine"), "{}", refused.message);
    let anew = case.chain("ci-1", 3_600, at(301));
    assert!(authorize(&anew, case.view(), at(301)).is_ok());
}

#[test]
fn the_statements_have_one_spelling_and_sound_fields() {
    let case = Case::new();
    let host = case.world.host("ci-1", 70, None, START, 3_600);
    let text = String::from_utf8(statement::encode(&host).unwrap()).unwrap();
    let expected = format!(
        "{{\"v\":1,\"type\":\"host\",\"ca\":\"{}\",\"by\":\"pipeline\",\"token\":null,\"name\":\"ci-1\",\"labels\":{{\"env\":\"test\"}},\"logins\":[\"deploy\"],\"key\":\"{}\",\"at\":1790000000,\"until\":1790003600}}",
        case.world.root.fingerprint(),
        subject_key(70),
    );
    assert_eq!(text, expected);
    assert!(statement::parse::<Host>(text.as_bytes()).is_ok());
    let two = "\"labels\":{\"env\":\"test\",\"role\":\"web\"}";
    assert!(
        statement::parse::<Host>(text.replace("\"labels\":{\"env\":\"test\"}", two).as_bytes())
            .is_ok()
    );
    for (from, to) in [
        ("\"labels\":{\"env\":\"test\"}", "\"labels\":{\"role\":\"web\",\"env\":\"test\"}"),
        ("\"labels\":{\"env\":\"test\"}", "\"labels\":{\"env\":\"prod\",\"env\":\"test\"}"),
        ("\"labels\":{\"env\":\"test\"}", "\"labels\":null"),
        ("\"token\":null,", ""),
        ("\"logins\":[\"deploy\"]", "\"logins\":[]"),
        ("\"logins\":[\"deploy\"]", "\"logins\":[\"deploy\",\"deploy\"]"),
        ("\"name\":\"ci-1\"", "\"name\":\"ci-*\""),
        ("\"until\":1790003600", "\"until\":1790000000"),
        ("\"until\":1790003600", "\"until\":1792592001"),
        ("\"type\":\"host\"", "\"type\":\"token\""),
        ("ssh-ed25519 ", "ssh-ed25519-cert-v01@openssh.com "),
    ] {
        let bad = text.replace(from, to);
        assert_ne!(bad, text);
        assert!(statement::parse::<Host>(bad.as_bytes()).is_err(), "{bad}");
    }
    let token = case.world.token(&case.lent.key, START);
    let text = String::from_utf8(statement::encode(&token).unwrap()).unwrap();
    assert!(statement::parse::<Token>(text.as_bytes()).is_ok());
    assert!(
        statement::parse::<Token>(text.replace("\"uses\":2", "\"uses\":10000").as_bytes()).is_ok()
    );
    for (from, to) in [
        ("\"uses\":2", "\"uses\":0"),
        ("\"uses\":2", "\"uses\":10001"),
        ("\"names\":[\"ci-t*\"]", "\"names\":[]"),
        ("\"names\":[\"ci-t*\"]", "\"names\":[\"label:env=test\"]"),
        ("\"until\":1790003600", "\"until\":1790604801"),
        ("\"for\":3600", "\"for\":2592001"),
        ("\"for\":3600", "\"for\":0"),
    ] {
        let bad = text.replace(from, to);
        assert_ne!(bad, text);
        assert!(statement::parse::<Token>(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn rules_for_hosts_that_may_join_are_no_slip() {
    let case = Case::new();
    let slips = |hosts: &str| {
        let policy = POLICY.replace("label:env=test", hosts);
        let bundle = case.world.bundle(&policy);
        let found = crate::policy::lint::lint(&bundle, policy.as_bytes(), START);
        found.iter().filter(|finding| finding.rule == Some("test".parse().unwrap())).count()
    };
    for hosts in ["ci-7", "ci-*", "ci-a*", "c*", "label:env=staging", "label:env=test,role=new"] {
        assert_eq!(slips(hosts), 0, "{hosts}");
    }
    for hosts in ["x-*", "label:env=dev", "label:env=test,tier=new"] {
        assert_eq!(slips(hosts), 1, "{hosts}");
    }
}
