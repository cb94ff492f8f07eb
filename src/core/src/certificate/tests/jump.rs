//! Certificates for jumps: which there are, what they say, and that nobody can name one.

use crate::authorize::{Authorized, authorize};
use crate::bundle::{Bundle, Permit};
use crate::certificate::{self, Context, LintError, Scope, Serial, build, lint};
use crate::chain::Chain;
use crate::names::{HostName, Jump, Opens};
use crate::policy::{self, Asked};
use crate::refusal::{Reason, Refusal};
use crate::sshsig::Presence;
use crate::statement::Request;
use crate::testkit::{POLICY, START, World};
use std::num::NonZeroU16;

const CLIENT: &str = "10.1.0.0/16";

fn bundle(world: &World, policy: &str) -> Bundle {
    let files = world.files_with_ways(policy);
    Bundle::parse(1, &files, &world.root.admin_keys()).unwrap()
}

/// alice's request for `host`, with all that a certificate for a login can carry.
fn request(world: &World, host: &str) -> Request {
    let mut request = world.request(&world.alice, host, "deploy", 600, START);
    request.permit = vec![Permit::Pty];
    request.command = Some("uptime".to_owned());
    request.source = vec![CLIENT.parse().unwrap()];
    request
}

fn jumps(texts: &[&str]) -> Vec<Jump> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn scope(text: &str) -> Scope {
    Scope::Jump(text.parse().unwrap())
}

fn within(world: &World, chain: &Chain, scope: &Scope) -> Result<Authorized, Refusal> {
    let bundle = bundle(world, POLICY);
    authorize(chain, &bundle, START)?.within(scope, &bundle)
}

#[test]
fn the_way_to_a_host_is_that_of_the_bundle_and_ends_where_a_bastion_takes_no_jumps() {
    let bundle = bundle(&World::default(), POLICY);
    let name = |name: &str| -> HostName { name.parse().unwrap() };
    let way = |host: &str| bundle.hosts.way(&name(host));
    assert_eq!(way("test-inner"), jumps(&["jump@edge/bastion", "jump@bastion/test-inner"]));
    assert_eq!(way("bastion"), jumps(&["jump@edge/bastion"]));
    for direct in ["edge", "test-host", "test-own", "nobody"] {
        assert!(way(direct).is_empty(), "{direct}");
    }
    // The way that two hosts share is there once.
    let both = [name("test-other"), name("test-inner")];
    let all: Vec<Jump> = bundle.hosts.jumps(&both).into_iter().collect();
    assert_eq!(
        all,
        jumps(&["jump@bastion/test-inner", "jump@bastion/test-other", "jump@edge/bastion"])
    );

    let behind = |host: &str| {
        let host = bundle.hosts.get(&name(host)).unwrap();
        let behind = bundle.hosts.behind(host).map(|(jump, to)| format!("{jump} {}", to.forward()));
        behind.collect::<Vec<_>>()
    };
    assert_eq!(behind("edge"), ["jump@edge/bastion 10.0.0.9:2222"]);
    let two = ["jump@bastion/test-inner [2001:db8::5]:22", "jump@bastion/test-other test-other:22"];
    assert_eq!(behind("bastion"), two);
    assert!(behind("own-way").is_empty() && behind("test-inner").is_empty());
}

#[test]
fn a_jump_is_certified_for_what_was_granted_alone_and_takes_nothing_of_it_along() {
    let world = World::default();
    let mut body = request(&world, "test-inner");
    body.permit = Vec::new();
    let chain = Chain::new(world.alice.verified(&body));
    let access = within(&world, &chain, &Scope::Access).unwrap();
    let (until, ends) = (access.access_until(), access.valid_before());
    assert_eq!(access.opens().texts(), ["deploy@test-inner"]);
    assert!(access.permit().is_empty(), "the target allows what was asked for, and no forwarding");
    for jump in ["jump@edge/bastion", "jump@bastion/test-inner"] {
        let yes = within(&world, &chain, &scope(jump)).unwrap();
        assert_eq!(*yes.opens(), Opens::Jump(jump.parse().unwrap()));
        assert_eq!((yes.access_until(), yes.valid_before()), (until, ends));
        assert_eq!(yes.permit(), [Permit::PortForwarding]);
        assert_eq!((yes.command(), yes.source().len()), (Some("exit 1"), 1));
    }
    for other in [
        "jump@bastion/test-other",
        "jump@edge/test-inner",
        "jump@bastion/edge",
        "jump@test-inner/test-other",
        "jump@own-way/test-own",
    ] {
        let refused = within(&world, &chain, &scope(other)).unwrap_err();
        assert_eq!(refused.reason, Reason::NotAllowed, "{other}");
    }
    // Without a grant there is no way either.
    let prod =
        world.alice.verified(&world.request(&world.alice, "prod-host", "deploy", 600, START));
    let refused = within(&world, &Chain::new(prod), &scope("jump@edge/bastion")).unwrap_err();
    assert_eq!(refused.reason, Reason::NotApproved);
}

#[test]
fn a_jumps_certificate_opens_one_jump_and_the_lint_takes_neither_kind_for_the_other() {
    let world = World::default();
    let chain = Chain::new(world.alice.verified(&request(&world, "test-inner")));
    let (ca, serial) = (world.ca_key(), Serial::new(NonZeroU16::MIN, 7).unwrap());
    let (jump, other) = (scope("jump@bastion/test-inner"), scope("jump@edge/bastion"));
    let made = |scope: &Scope| build(within(&world, &chain, scope).unwrap(), serial, [9; 32], &ca);
    let check = |bytes: &[u8], scope: &Scope| -> Result<lint::Facts, LintError> {
        lint::check(bytes, Context::of(&chain, scope, serial, &ca, START))
    };
    for (scope, wrong) in [(&jump, [&other, &Scope::Access]), (&Scope::Access, [&jump, &other])] {
        let tbs = made(scope);
        let facts = check(&tbs.bytes, scope).unwrap();
        assert_eq!(facts, lint::read(&tbs.bytes).unwrap());
        for wrong in wrong {
            assert!(check(&tbs.bytes, wrong).is_err(), "{scope:?} as {wrong:?}");
        }
    }
    let signature = [0; 64];
    let bytes = certificate::assemble(&made(&jump).bytes, &signature);
    let read = ssh_key::Certificate::from_bytes(&bytes).unwrap();
    assert_eq!(read.valid_principals(), ["jump@bastion/test-inner"]);
    let names =
        |options: &ssh_key::certificate::OptionsMap| options.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(read.extensions()), ["permit-port-forwarding"]);
    assert_eq!(names(read.critical_options()), ["force-command", "source-address"]);
}

#[test]
fn nobody_can_ask_for_the_account_of_jumps() {
    let world = World::default();
    let bundle =
        bundle(&world, &POLICY.replace("logins = [\"deploy\"]", "logins = [\"deploy\", \"jump\"]"));
    let decide = |host: &str, login: &str| {
        let body = world.request(&world.alice, host, login, 600, START);
        let chain = Chain::new(world.alice.verified(&body));
        authorize(&chain, &bundle, START).map(|yes| yes.opens().texts())
    };
    assert_eq!(decide("test-inner", "deploy").unwrap(), ["deploy@test-inner"]);
    // The rule would allow it, and the host has the account.
    let refused = decide("test-inner", "jump").unwrap_err();
    assert_eq!(refused.reason, Reason::PolicyRefused);
    assert!(refused.message.contains("nobody can ask for the login jump"), "{}", refused.message);
    // A jump is no host and no login: a request can not spell it.
    assert!("bastion/test-inner".parse::<HostName>().is_err());
    assert!("jump@bastion/test-inner".parse::<crate::names::Login>().is_err());
}

#[test]
fn a_deny_that_touches_a_bastion_forbids_what_is_behind_it() {
    let world = World::default();
    let decide = |deny: &str, host: &str| {
        let policy = format!("[[deny]]\nname = \"edge-shut\"\n{deny}\n{POLICY}");
        let bundle = bundle(&world, &policy);
        let body = world.request(&world.alice, host, "deploy", 600, START);
        let requester = bundle.people.get(&body.by).unwrap();
        let (presence, extension) = (Presence::UserVerified, None);
        let asked = Asked { request: &body, requester, presence, extension };
        policy::decide(asked, &bundle, START).map(|rule| rule.name.to_string())
    };
    for deny in
        ["hosts = [\"edge\"]", "logins = [\"jump\"]", "hosts = [\"bastion\"]\nlogins = [\"jump\"]"]
    {
        let refused = decide(deny, "test-inner").unwrap_err();
        assert!(refused.message.contains("forbids jumps through"), "{}", refused.message);
        assert!(decide(deny, "test-host").is_ok() && decide(deny, "test-own").is_ok(), "{deny}");
    }
    // Another login of the bastion is not on the way.
    assert!(decide("hosts = [\"edge\"]\nlogins = [\"deploy\"]", "test-inner").is_ok());
}

#[test]
fn a_request_has_sixteen_jumps_at_most() {
    let world = World::default();
    let mut files = world.files_with_ways(POLICY);
    let names: Vec<String> = (0..16).map(|n| format!("test-n{n}")).collect();
    for name in &names {
        let block = format!(
            "[[host]]\nname = \"{name}\"\nlabels = {{ env = \"test\" }}\nlogins = [\"deploy\"]\nvia = \"bastion\"\n"
        );
        files.hosts.extend_from_slice(block.as_bytes());
    }
    let bundle = Bundle::parse(1, &files, &world.root.admin_keys()).unwrap();
    let ask = |hosts: &[String]| {
        let mut body = world.request(&world.alice, "test-inner", "deploy", 600, START);
        body.hosts = hosts.iter().map(|name| name.parse().unwrap()).collect();
        authorize(&Chain::new(world.alice.verified(&body)), &bundle, START)
    };
    // The jump to the bastion itself is one of them.
    assert_eq!(ask(&names[..15]).unwrap().principals().len(), 15);
    let refused = ask(&names).unwrap_err();
    assert_eq!(refused.reason, Reason::PolicyRefused);
    assert!(refused.message.contains("there are 17 jumps"), "{}", refused.message);
}
