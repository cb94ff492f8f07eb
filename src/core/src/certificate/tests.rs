mod jump;

use ed25519_dalek::Signer as _;

use super::*;
use crate::authorize::authorize;
use crate::chain::Chain;
use crate::statement::{Request, Verified};
use crate::testkit::{POLICY, START, World};
use crate::wire::Reader;

struct Made {
    world: World,
    request: Verified<Request>,
    tbs: Tbs,
    serial: Serial,
}

fn make(change: impl Fn(&mut Request)) -> Made {
    make_under(POLICY, change)
}

fn make_under(policy: &str, change: impl Fn(&mut Request)) -> Made {
    let world = World::default();
    let bundle = world.bundle(policy);
    let mut request = world.request(&world.alice, "test-host", "deploy", 600, START);
    request.permit = vec![crate::bundle::Permit::Pty];
    change(&mut request);
    let request = world.alice.verified(&request);
    let yes = authorize(&Chain::new(request.clone()), &bundle, START).unwrap();
    let serial = Serial::new(NonZeroU16::MIN, 7).unwrap();
    let tbs = build(yes, serial, [9; 32], &world.ca_key());
    Made { world, request, tbs, serial }
}

impl Made {
    fn check(&self, bytes: &[u8]) -> Result<lint::Facts, LintError> {
        let ca = self.world.ca_key();
        let context = Context {
            request: &self.request,
            scope: &Scope::Access,
            serial: self.serial,
            ca: &ca,
            now: START,
            prolongs: None,
        };
        lint::check(bytes, context)
    }
}

#[test]
fn serials_hold_signer_and_index_and_are_never_zero() {
    let serial = Serial::new(NonZeroU16::new(3).unwrap(), 5).unwrap();
    assert_eq!(serial.get(), 3 << 48 | 5);
    assert_eq!(Serial::from_u64(serial.get()), Some(serial));
    assert_eq!(Serial::from_u64(5), None, "signer 0 does not exist");
    assert!(Serial::new(NonZeroU16::MAX, Serial::MAX_INDEX).is_some());
    assert!(Serial::new(NonZeroU16::MAX, Serial::MAX_INDEX + 1).is_none());
}

#[test]
fn key_ids_parse_back_and_refuse_other_forms() {
    let id: KeyId = "alice/7kq2m9xw4p/1790000900".parse().unwrap();
    assert_eq!(id.access_until, UnixTime(1_790_000_900));
    for bad in [
        "",
        "alice",
        "alice/7kq2m9xw4p",
        "alice/7kq2m9xw4p/",
        "alice/7kq2m9xw4p/01790000900",
        "alice/7kq2m9xw4/1790000900",
        "Alice/7kq2m9xw4p/1790000900",
        "alice/7kq2m9xw4p/1/2",
        "alice/7kq2m9xw4p/-1",
        "a\nlice/7kq2m9xw4p/1",
    ] {
        assert!(bad.parse::<KeyId>().is_err(), "{bad}");
    }
}

#[test]
fn what_is_built_passes_the_lint_and_reads_as_a_certificate_for_openssh() {
    let made = make(|_| {});
    let facts = made.check(&made.tbs.bytes).unwrap();
    assert_eq!(facts, lint::read(&made.tbs.bytes).unwrap());
    let signature = made.world.ca.sign(&made.tbs.bytes).to_bytes();
    let certificate =
        ssh_key::Certificate::from_bytes(&assemble(&made.tbs.bytes, &signature)).unwrap();
    certificate.verify_signature().unwrap();
    assert_eq!(certificate.valid_principals(), ["deploy@test-host"]);
    assert_eq!(certificate.serial(), made.serial.get());
    assert_eq!(certificate.key_id(), format!("alice/{}/{}", made.request.id(), START.0 + 600));
    assert_eq!(certificate.valid_before(), START.0 + 600);
    assert_eq!(certificate.valid_after(), START.0 - 60);
    assert!(certificate.critical_options().is_empty());
    assert_eq!(certificate.extensions().keys().collect::<Vec<_>>(), ["permit-pty"]);
}

#[test]
fn options_and_every_key_type_are_encoded_soundly() {
    let ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGsX0fLhLEJH+Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT+NC4v4af5uO5+tKfA+eFivOM1drMV7Oy7ZAaDe/UfU=";
    let made = make(|request| {
        request.command = Some("uptime".into());
        request.source = vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.1/32".parse().unwrap()];
        request.key = ecdsa.parse().unwrap();
    });
    made.check(&made.tbs.bytes).unwrap();
    let signature = made.world.ca.sign(&made.tbs.bytes).to_bytes();
    let certificate =
        ssh_key::Certificate::from_bytes(&assemble(&made.tbs.bytes, &signature)).unwrap();
    let options: Vec<(&String, &String)> = certificate.critical_options().iter().collect();
    assert_eq!(options.len(), 2);
    assert_eq!(options[0].0, "force-command");
    assert_eq!(options[1].0, "source-address");
    lint::read(&made.tbs.bytes).unwrap();
}

/// A security key on the point of RFC 8032, 7.1.
const SECURITY_KEY: &str = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1EaAAAABHNzaDo=";

#[test]
fn a_rule_decides_whether_the_security_key_has_to_verify_its_person() {
    let options = |word: &str| {
        let rules = POLICY.replace("auto = {}", &format!("auto = {{}}\nsubject_key = \"{word}\""));
        assert_ne!(rules, POLICY);
        let made = make_under(&rules, |request| {
            request.key = SECURITY_KEY.parse().unwrap();
            request.source = vec!["10.0.0.0/8".parse().unwrap()];
        });
        made.check(&made.tbs.bytes).unwrap();
        let signature = made.world.ca.sign(&made.tbs.bytes).to_bytes();
        let bytes = assemble(&made.tbs.bytes, &signature);
        let certificate = ssh_key::Certificate::from_bytes(&bytes).unwrap();
        let names = certificate.critical_options().keys().cloned();
        names.collect::<Vec<String>>()
    };
    assert_eq!(options("any"), ["source-address"]);
    assert_eq!(options("hardware"), ["source-address"]);
    assert_eq!(options("verified"), ["source-address", "verify-required"]);
}

#[test]
fn verify_required_is_a_flag_of_security_keys_alone() {
    let hardware = make(|request| request.key = SECURITY_KEY.parse().unwrap());
    let software = make(|_| {});
    let with = |made: &Made, value| {
        let critical = option("verify-required", value);
        made.check(&with_field(&made.tbs.bytes, |f| f.critical = critical.clone()))
    };
    assert!(with(&hardware, None).is_ok());
    assert!(with(&hardware, Some("")).is_err(), "sshd takes no value there");
    assert!(with(&software, None).is_err(), "nobody could log in with it");
}

#[test]
fn every_flipped_bit_that_matters_is_refused() {
    let made = make(|_| {});
    let good = made.tbs.bytes.clone();
    let nonce_at = {
        let mut reader = Reader::new(&good);
        reader.string();
        good.len() - reader.rest().len() + 4
    };
    for place in 0..good.len() {
        if (nonce_at..nonce_at + 32).contains(&place) {
            continue;
        }
        let mut bad = good.clone();
        bad[place] ^= 1;
        let refused = made.check(&bad).is_err();
        // The low bits of the two times may change by a second and still be within the rules.
        let harmless = made.check(&bad).is_ok_and(|facts| {
            facts.valid_before <= facts.key_id.access_until && facts.valid_after <= START
        });
        assert!(refused || harmless, "byte {place}");
    }
    for cut in 0..good.len() {
        assert!(made.check(&good[..cut]).is_err(), "cut at {cut}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(made.check(&longer).is_err());
}

/// Rebuilds the bytes field by field, with one field changed.
pub(super) fn with_field(bytes: &[u8], change: impl Fn(&mut Fields)) -> Vec<u8> {
    let mut fields = Fields::read(bytes);
    change(&mut fields);
    fields.write()
}

pub(super) struct Fields {
    pub(super) kind: Vec<u8>,
    pub(super) nonce: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) application: Option<Vec<u8>>,
    pub(super) serial: u64,
    pub(super) user: u32,
    pub(super) key_id: Vec<u8>,
    pub(super) principals: Vec<Vec<u8>>,
    pub(super) after: u64,
    pub(super) before: u64,
    pub(super) critical: Vec<u8>,
    pub(super) extensions: Vec<u8>,
    pub(super) reserved: Vec<u8>,
    pub(super) ca: Vec<u8>,
}

impl Fields {
    fn read(bytes: &[u8]) -> Fields {
        let mut reader = Reader::new(bytes);
        let mut next = || reader.string().unwrap().to_vec();
        let (kind, nonce, key) = (next(), next(), next());
        let application = kind.starts_with(b"sk-").then(next);
        let rest = reader.rest();
        let (serial, user) = (rest[..8].try_into().unwrap(), rest[8..12].try_into().unwrap());
        let mut reader = Reader::new(&rest[12..]);
        let key_id = reader.string().unwrap().to_vec();
        let mut packed = Reader::new(reader.string().unwrap());
        let mut principals = Vec::new();
        while let Some(principal) = packed.string() {
            principals.push(principal.to_vec());
        }
        let rest = reader.rest();
        let (after, before) = (rest[..8].try_into().unwrap(), rest[8..16].try_into().unwrap());
        let mut reader = Reader::new(&rest[16..]);
        let mut next = || reader.string().unwrap().to_vec();
        Fields {
            kind,
            nonce,
            key,
            application,
            serial: u64::from_be_bytes(serial),
            user: u32::from_be_bytes(user),
            key_id,
            principals,
            after: u64::from_be_bytes(after),
            before: u64::from_be_bytes(before),
            critical: next(),
            extensions: next(),
            reserved: next(),
            ca: next(),
        }
    }

    fn write(&self) -> Vec<u8> {
        let mut principals = wire::Writer::default();
        for principal in &self.principals {
            principals.string(principal);
        }
        let mut out = wire::Writer::default();
        out.string(&self.kind).string(&self.nonce).string(&self.key);
        if let Some(application) = &self.application {
            out.string(application);
        }
        out.u64(self.serial)
            .u32(self.user)
            .string(&self.key_id)
            .string(&principals.into_bytes())
            .u64(self.after)
            .u64(self.before)
            .string(&self.critical)
            .string(&self.extensions)
            .string(&self.reserved)
            .string(&self.ca);
        out.into_bytes()
    }
}

pub(super) fn option(name: &str, value: Option<&str>) -> Vec<u8> {
    let mut data = wire::Writer::default();
    if let Some(value) = value {
        data.string(value.as_bytes());
    }
    let mut out = wire::Writer::default();
    out.string(name.as_bytes()).string(&data.into_bytes());
    out.into_bytes()
}

#[test]
fn what_sshd_would_accept_and_must_not_is_refused() {
    let made = make(|_| {});
    let good = &made.tbs.bytes;
    assert_eq!(&with_field(good, |_| {}), good);
    let principal = |text: &str| vec![text.as_bytes().to_vec()];
    type Fault = Box<dyn Fn(&mut Fields)>;
    let faults: Vec<(&str, Fault)> = vec![
        ("no principal", Box::new(|f| f.principals = vec![])),
        ("a bare login", Box::new(move |f| f.principals = principal("deploy"))),
        ("an empty principal", Box::new(move |f| f.principals = principal(""))),
        ("a NUL", Box::new(move |f| f.principals = principal("deploy@test-host\0"))),
        ("a comma", Box::new(move |f| f.principals = principal("deploy@test-host,root@test-host"))),
        ("a glob", Box::new(move |f| f.principals = principal("deploy@*"))),
        ("another host", Box::new(move |f| f.principals = principal("deploy@prod-host"))),
        ("another login", Box::new(move |f| f.principals = principal("root@test-host"))),
        ("one twice", Box::new(|f| f.principals.push(f.principals[0].clone()))),
        ("valid for ever", Box::new(|f| f.before = u64::MAX)),
        ("nanoseconds", Box::new(|f| f.before *= 1_000_000_000)),
        ("valid from nanoseconds", Box::new(|f| f.after = f.before + 1)),
        ("longer than the access", Box::new(|f| f.before += 1)),
        ("ended already", Box::new(|f| f.before = START.0)),
        ("not begun", Box::new(|f| f.after = START.0 + 1)),
        ("valid for too long", Box::new(|f| f.after = START.0 - 4_000)),
        (
            "a longer access",
            Box::new(|f| {
                f.key_id = String::from_utf8(f.key_id.clone())
                    .unwrap()
                    .replace("1790000600", "9790000600")
                    .into_bytes();
            }),
        ),
        ("serial zero", Box::new(|f| f.serial = 0)),
        ("another serial", Box::new(|f| f.serial += 1)),
        ("a host certificate", Box::new(|f| f.user = 2)),
        ("no type", Box::new(|f| f.user = 0)),
        ("a newline in the key id", Box::new(|f| f.key_id[0] = b'\n')),
        ("another person", Box::new(|f| f.key_id[0] = b'b')),
        ("a long key id", Box::new(|f| f.key_id = vec![b'a'; 97])),
        ("a short nonce", Box::new(|f| f.nonce.truncate(4))),
        ("another key", Box::new(|f| f.key[0] ^= 1)),
        (
            "another CA",
            Box::new(|f| {
                let last = f.ca.len() - 1;
                f.ca[last] ^= 1;
            }),
        ),
        ("something reserved", Box::new(|f| f.reserved = vec![0])),
        ("an unknown critical option", Box::new(|f| f.critical = option("no-touch", Some("")))),
        (
            "a command nobody asked for",
            Box::new(|f| f.critical = option("force-command", Some("sh"))),
        ),
        (
            "an option twice",
            Box::new(|f| {
                f.critical = [
                    option("source-address", Some("10.0.0.0/8")),
                    option("source-address", Some("10.0.0.0/8")),
                ]
                .concat()
            }),
        ),
        (
            "options unsorted",
            Box::new(|f| {
                f.critical =
                    [option("verify-required", None), option("source-address", Some("10.0.0.0/8"))]
                        .concat()
            }),
        ),
        (
            "an extension nobody asked for",
            Box::new(|f| f.extensions = option("permit-agent-forwarding", None)),
        ),
        ("an extension with a value", Box::new(|f| f.extensions = option("permit-pty", Some("x")))),
        (
            "an extension twice",
            Box::new(|f| {
                f.extensions = [option("permit-pty", None), option("permit-pty", None)].concat()
            }),
        ),
        ("another key type", Box::new(|f| f.kind = b"ssh-rsa-cert-v01@openssh.com".to_vec())),
        ("no certificate type", Box::new(|f| f.kind = b"ssh-ed25519".to_vec())),
    ];
    for (what, fault) in faults {
        let bad = with_field(good, fault);
        assert_ne!(&bad, good, "{what}");
        assert!(made.check(&bad).is_err(), "{what} was not refused");
    }
    // Narrower than asked is fine.
    let narrower = with_field(good, |f| {
        f.before -= 60;
        f.extensions = vec![];
        f.critical = option("source-address", Some("10.0.0.0/8"));
    });
    assert!(made.check(&narrower).is_ok());
}

#[test]
fn a_restriction_the_requester_asked_for_must_be_there() {
    let made = make(|request| {
        request.command = Some("uptime".into());
        request.source = vec!["10.0.0.0/8".parse().unwrap()];
    });
    let good = made.tbs.bytes.clone();
    assert!(made.check(&good).is_ok());
    for critical in [
        vec![],
        option("force-command", Some("uptime")),
        option("source-address", Some("10.0.0.0/8")),
        [option("force-command", Some("sh")), option("source-address", Some("10.0.0.0/8"))]
            .concat(),
        [option("force-command", Some("uptime")), option("source-address", Some("0.0.0.0/0"))]
            .concat(),
    ] {
        let bad = with_field(&good, |f| f.critical = critical.clone());
        assert!(made.check(&bad).is_err());
    }
}

#[test]
fn the_access_is_never_longer_than_what_was_asked_for() {
    let made = make(|_| {});
    let until = |secs: u64| {
        with_field(&made.tbs.bytes, |f| {
            let text = String::from_utf8(f.key_id.clone()).unwrap();
            f.key_id = text.replace("1790000600", &(START.0 + secs).to_string()).into_bytes();
        })
    };
    // 600 s were asked for, and a clock may be ahead by 120 s.
    assert!(made.check(&until(720)).is_ok());
    assert!(made.check(&until(721)).is_err());
}

#[test]
fn a_certificate_is_written_as_openssh_does_and_other_bytes_are_not() {
    let kind = b"ssh-ed25519-cert-v01@openssh.com";
    let blob = [&[0, 0, 0, 32][..], kind, b"rest"].concat();
    let written = line(&blob).unwrap();
    assert!(written.starts_with("ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1"), "{written}");
    for bad in [&b""[..], &[0, 0, 0], &[0, 0, 0, 9, b'x'], &[255, 255, 255, 255, b'x']] {
        assert_eq!(line(bad), None);
    }
}
