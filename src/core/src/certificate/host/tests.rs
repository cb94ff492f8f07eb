use std::num::NonZeroU16;

use ed25519_dalek::Signer as _;

use super::*;
use crate::authorize::authorize;
use crate::bundle::Bundle;
use crate::certificate::tests::{Fields, option, with_field};
use crate::certificate::{self, Context, LintError, Scope, Serial, assemble};
use crate::chain::Chain;
use crate::key::{CaKey, HostCaKey};
use crate::refusal::Reason;
use crate::testkit::{POLICY, START, World};
use crate::wire::Reader;

const WEEK: u32 = 7 * 86_400;

struct Made {
    world: World,
    bundle: Bundle,
    identity: HostIdentity,
    bytes: Vec<u8>,
    serial: Serial,
}

/// The certificate of `prod-host`, which is called `prod-host`, `www` and `prod.example.com`.
fn make() -> Made {
    make_for(|_| {})
}

fn make_for(change: impl Fn(&mut HostIdentity)) -> Made {
    let world = World::default();
    let bundle = world.bundle(POLICY);
    let host = bundle.hosts.get(&"prod-host".parse().unwrap()).unwrap();
    let mut identity = HostIdentity::of(host).unwrap();
    change(&mut identity);
    let yes = AuthorizedHost::of(identity.clone(), START).unwrap();
    let serial = Serial::new(NonZeroU16::MIN, 7).unwrap();
    let HostTbs(bytes) = build(yes, serial, [9; 32], &world.host_ca_key());
    Made { world, bundle, identity, bytes, serial }
}

impl Made {
    fn check(&self, bytes: &[u8]) -> Result<HostLinted, LintError> {
        let (identity, serial) = (&self.identity, self.serial);
        let ca = self.world.host_ca_key();
        check(bytes.to_vec(), HostContext { identity, serial, ca: &ca, at: START })
    }

    fn certificate(&self) -> ssh_key::Certificate {
        let signature = self.world.host_ca.sign(&self.bytes).to_bytes();
        ssh_key::Certificate::from_bytes(&assemble(&self.bytes, &signature)).unwrap()
    }
}

#[test]
fn key_ids_of_hosts_parse_back_and_refuse_other_forms() {
    let id: HostKeyId = "host/prod-host/1790000900".parse().unwrap();
    assert_eq!((id.name.as_str(), id.valid_before), ("prod-host", UnixTime(1_790_000_900)));
    for bad in [
        "",
        "host",
        "host/prod-host",
        "host/prod-host/",
        "host/prod-host/01790000900",
        "host/Prod/1",
        "user/prod-host/1",
        "host//1",
        "host/a/1/2",
        "host/a/-1",
    ] {
        assert!(bad.parse::<HostKeyId>().is_err(), "{bad}");
    }
}

#[test]
fn what_is_built_passes_the_lint_and_reads_as_a_host_certificate_for_openssh() {
    let made = make();
    let linted = made.check(&made.bytes).unwrap();
    assert_eq!(*linted.facts(), read(&made.bytes).unwrap());
    assert_eq!(linted.facts().half_life(), START.plus_secs((WEEK - 3_600) / 2));
    let certificate = made.certificate();
    certificate.verify_signature().unwrap();
    assert!(certificate.cert_type().is_host());
    assert_eq!(certificate.valid_principals(), ["prod-host", "prod.example.com", "www"]);
    assert_eq!(certificate.serial(), made.serial.get());
    assert_eq!(certificate.key_id(), format!("host/prod-host/{}", START.0 + u64::from(WEEK)));
    assert_eq!(certificate.valid_after(), START.0 - 3_600);
    assert_eq!(certificate.valid_before(), START.0 + u64::from(WEEK));
    assert!(certificate.critical_options().is_empty() && certificate.extensions().is_empty());
}

#[test]
fn every_flipped_bit_that_matters_is_refused() {
    let made = make();
    let good = made.bytes.clone();
    let mut reader = Reader::new(&good);
    reader.string();
    let nonce_at = good.len() - reader.rest().len() + 4;
    let nonce = nonce_at..nonce_at + 32;
    let after_at = {
        let mut reader = Reader::new(&good);
        (0..3).for_each(|_| assert!(reader.string().is_some()));
        assert!(reader.u64().is_some() && reader.u32().is_some());
        (0..2).for_each(|_| assert!(reader.string().is_some()));
        good.len() - reader.rest().len()
    };
    for place in (0..good.len()).filter(|place| !nonce.contains(place)) {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[place] ^= 1 << bit;
            // It may begin later than it could.
            let later = (after_at..after_at + 8).contains(&place)
                && made.check(&bad).is_ok_and(|linted| {
                    let after = linted.facts().valid_after;
                    after <= START && after > START.minus_secs(3_600)
                });
            assert!(made.check(&bad).is_err() || later, "byte {place}, bit {bit}");
        }
    }
    for cut in 0..good.len() {
        assert!(made.check(&good[..cut]).is_err(), "cut at {cut}");
    }
    assert!(made.check(&[good.as_slice(), &[0]].concat()).is_err());
}

#[test]
fn what_ssh_would_accept_and_must_not_is_refused() {
    let made = make();
    let good = &made.bytes;
    let names = |all: &[&str]| all.iter().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>();
    let key_id = |text: &str| text.as_bytes().to_vec();
    type Fault = Box<dyn Fn(&mut Fields)>;
    let faults: Vec<(&str, Fault)> = vec![
        ("a user certificate", Box::new(|f| f.user = 1)),
        ("no type", Box::new(|f| f.user = 0)),
        ("no name", Box::new(|f| f.principals = vec![])),
        ("a name missing", Box::new(|f| drop(f.principals.pop()))),
        ("the name itself missing", Box::new(|f| drop(f.principals.remove(0)))),
        ("a pattern", Box::new(move |f| f.principals = names(&["*"]))),
        ("a pattern more", Box::new(|f| f.principals.push(b"x*".to_vec()))),
        ("another host", Box::new(|f| f.principals.push(b"zzz".to_vec()))),
        ("a principal of a person", Box::new(|f| f.principals.push(b"root@www".to_vec()))),
        ("an empty name", Box::new(|f| f.principals.insert(0, vec![]))),
        ("a name twice", Box::new(|f| f.principals.push(f.principals[2].clone()))),
        ("unsorted", Box::new(|f| f.principals.swap(0, 1))),
        ("a NUL", Box::new(|f| f.principals[2].push(0))),
        ("valid for ever", Box::new(|f| f.before = u64::MAX)),
        ("longer than a week", Box::new(|f| f.before += 1)),
        ("another end than its key id says", Box::new(|f| f.before -= 1)),
        ("too early", Box::new(|f| f.after -= 1)),
        ("not begun", Box::new(|f| f.after = START.0 + 1)),
        ("ended", Box::new(|f| f.before = START.0)),
        (
            "the key id of another host",
            Box::new(move |f| {
                f.key_id = key_id(&format!("host/prod-db/{}", f.before));
            }),
        ),
        (
            "the key id of a person",
            Box::new(move |f| {
                f.key_id = key_id(&format!("alice/7kq2m9xw4p/{}", f.before));
            }),
        ),
        ("a critical option", Box::new(|f| f.critical = option("force-command", Some("sh")))),
        ("an extension", Box::new(|f| f.extensions = option("permit-pty", None))),
        ("something reserved", Box::new(|f| f.reserved = vec![0])),
        ("a short nonce", Box::new(|f| f.nonce.truncate(31))),
        ("serial zero", Box::new(|f| f.serial = 0)),
        ("another serial", Box::new(|f| f.serial += 1)),
        ("another key", Box::new(|f| f.key[0] ^= 1)),
        ("another key type", Box::new(|f| f.kind = b"ssh-rsa-cert-v01@openssh.com".to_vec())),
        ("the user CA", Box::new(|f| f.ca = World::default().ca_key().blob().to_vec())),
    ];
    for (what, fault) in faults {
        let bad = with_field(good, fault);
        assert_ne!(&bad, good, "{what}");
        assert!(made.check(&bad).is_err(), "{what} was not refused");
    }
    // It may begin later, which is narrower.
    assert!(made.check(&with_field(good, |f| f.after += 60)).is_ok());
}

#[test]
fn neither_kind_of_certificate_passes_the_lint_of_the_other() {
    let made = make();
    let world = &made.world;
    let mut body = world.request(&world.alice, "test-host", "deploy", 600, START);
    // The same key, and even one CA key for both: the kind alone decides.
    body.key = made.identity.key.to_string().parse().unwrap();
    let request = world.alice.verified(&body);
    let chain = Chain::new(request);
    let yes = authorize(&chain, &made.bundle, START).unwrap();
    let one = *world.ca_key().point().as_bytes();
    let (user_ca, host_ca) =
        (CaKey::from_ed25519(&one).unwrap(), HostCaKey::from_ed25519(&one).unwrap());
    let user = certificate::build(yes, made.serial, [9; 32], &user_ca).bytes;
    let serial = made.serial;
    let context = Context::of(&chain, &Scope::Access, serial, &user_ca, START);
    let host = HostContext { identity: &made.identity, serial, ca: &host_ca, at: START };
    assert!(certificate::lint::check(&user, context).is_ok());
    assert_eq!(check(user.clone(), host).unwrap_err().0, "it is not a host certificate");
    let yes = authorize_host(&made.identity.name, &made.bundle, START).unwrap();
    let HostTbs(hosts) = build(yes, serial, [9; 32], &host_ca);
    let refused = certificate::lint::check(&hosts, context).unwrap_err().0;
    assert_eq!(refused, "it is not a user certificate");
    assert!(check(hosts.clone(), host).is_ok());
    // Nor does either reader take the other's.
    assert!(read(&user).is_err() && read(&hosts).is_ok());
    assert!(certificate::lint::read(&hosts).is_err() && certificate::lint::read(&user).is_ok());
}

#[test]
fn only_hosts_whose_key_is_known_have_certificates() {
    let Made { bundle, .. } = make();
    let refusal = |name: &str| {
        let refusal = authorize_host(&name.parse().unwrap(), &bundle, START).unwrap_err();
        assert_eq!(refusal.reason, Reason::UnknownHost);
        refusal.message
    };
    assert!(refusal("prod-db").contains("does not have the key"));
    assert!(refusal("nowhere").contains("there is no host nowhere"));
    assert!(refusal("www").contains("there is no host www"), "an alias is not what a host goes by");
    assert!(authorize_host(&"prod-host".parse().unwrap(), &bundle, START).is_ok());
}

#[test]
fn a_certificate_ends_with_its_host() {
    let until = |until: UnixTime| {
        let identity = HostIdentity { until: Some(until), ..make().identity };
        AuthorizedHost::of(identity, START).map(|yes| yes.valid_before())
    };
    assert_eq!(until(START.plus_secs(WEEK + 1)).unwrap(), START.plus_secs(WEEK));
    assert_eq!(until(START.plus_secs(60)).unwrap(), START.plus_secs(60));
    assert_eq!(until(START).unwrap_err().reason, Reason::Ended);
    // The lint says so by itself.
    let made = make();
    let bytes = made.bytes.clone();
    let identity = HostIdentity { until: Some(START.plus_secs(WEEK)), ..made.identity.clone() };
    let made = Made { identity, ..made };
    assert!(made.check(&bytes).is_ok());
    let identity = HostIdentity { until: Some(START.plus_secs(WEEK - 1)), ..made.identity.clone() };
    assert_eq!(Made { identity, ..made }.check(&bytes).unwrap_err().0, "it outlives the host");
}

#[test]
fn a_certificate_holds_sixteen_names_and_no_more() {
    let of = |aliases: usize| {
        let aliases = (0..aliases).map(|n| format!("a{n}").parse().unwrap()).collect();
        let identity = HostIdentity { aliases, ..make().identity };
        AuthorizedHost::of(identity, START).map(|yes| yes.principals().len())
    };
    assert_eq!(of(MAX_ALIASES).unwrap(), 16);
    assert_eq!(of(MAX_ALIASES + 1).unwrap_err().reason, Reason::PolicyRefused);
}

#[test]
fn names_of_hosts_have_one_spelling_and_are_no_patterns() {
    for good in ["a", "prod.example.com", "10.0.0.5", "2001:db8::5", "::1", "a_b", "1"] {
        assert_eq!(good.parse::<HostPrincipal>().unwrap().as_str(), good);
    }
    let long = "a".repeat(254);
    for bad in [
        "",
        "*",
        "a*",
        "a?",
        "!a",
        "A",
        "a b",
        "a,b",
        "a\0",
        "-a",
        "2001:DB8::5",
        "2001:db8:0::5",
        "[::1]",
        "a:22",
        "root@a",
        "ä",
        &long,
    ] {
        assert!(bad.parse::<HostPrincipal>().is_err(), "{bad:?}");
    }
    let of = |address: &str| HostPrincipal::of_address(address).map(|name| name.to_string());
    for (address, name) in [
        ("10.0.0.5:22", "10.0.0.5"),
        ("Web.Example.com", "web.example.com"),
        ("[2001:DB8:0::5]:22", "2001:db8::5"),
        ("[::1]", "::1"),
        ("a_b:2222", "a_b"),
    ] {
        assert_eq!(of(address).as_deref(), Some(name));
    }
    for bad in ["10.0.0.500", "10.0.0", "010.0.0.1", "a..b", "a.", "7"] {
        assert_eq!(of(bad), None, "{bad}");
    }
}
