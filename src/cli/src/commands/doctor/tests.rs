//! A fixture for every code: facts that are fine but for one thing.

use std::collections::BTreeSet;

use jit_ssh_core::time::UnixTime;

use super::facts::*;
use super::finding::{Finding, text};
use super::rules::judge;

const NOW: UnixTime = UnixTime(1_790_000_000);

fn fine() -> Facts {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    Facts {
        now: NOW,
        open_files: Vec::new(),
        enrolment: EnrolmentSeen::There,
        key: Some(KeySeen::Usable),
        agent: AgentSeen::Takes,
        ca: Some(CaSeen::There {
            time: Some(NOW),
            tls_until: Some(NOW.plus_secs(90 * 86_400)),
            anchor_until: Some(NOW.plus_secs(900 * 86_400)),
            bundle: Some(7),
            stranger: None,
        }),
        bundle: Some(BundleSeen { version: 7, fetched: NOW }),
        certificates: vec![CertificateSeen {
            id: "7kq2m9xw4p".to_owned(),
            principals: vec!["deploy@prod-host".to_owned()],
            valid_after: UnixTime(NOW.0 - 60),
            valid_before: NOW.plus_secs(300),
            ours: true,
            revoked: Some(false),
        }],
        config: ConfigSeen {
            ours: "/h/.config/jit-ssh/ssh_config".into(),
            written: true,
            file: "/h/.ssh/config".into(),
            text: "# mine\nInclude \"/h/.config/jit-ssh/ssh_config\"\nHost *\n  User al\n"
                .to_owned(),
            known_hosts: "/h/state/known_hosts".into(),
            agent_socket: "/run/agent".to_owned(),
        },
        host: Some(HostSeen {
            name: "prod-host".to_owned(),
            listed: Some(Listed {
                address: Some(("10.0.0.5".to_owned(), 22)),
                logins: vec!["deploy".to_owned(), "root".to_owned()],
                via: false,
                has_key: true,
            }),
            ssh: Ok(vec![
                pair("user", "deploy"),
                pair("hostname", "10.0.0.5"),
                pair("port", "22"),
                pair("identitiesonly", "no"),
                pair("controlmaster", "false"),
                pair("forwardagent", "no"),
                pair("proxycommand", "none"),
                pair("identityfile", "~/.ssh/id_ed25519"),
                pair("userknownhostsfile", "/h/.ssh/known_hosts /h/state/known_hosts"),
            ]),
            key_file: "/run/jit-ssh/hosts/prod-host".into(),
        }),
    }
}

fn ssh(facts: &mut Facts, key: &str, value: &str) {
    let pairs = facts.host.as_mut().unwrap().ssh.as_mut().unwrap();
    pairs.retain(|(known, _)| known != key);
    pairs.push((key.to_owned(), value.to_owned()));
}

fn there(
    facts: &mut Facts,
    change: impl Fn(
        &mut Option<UnixTime>,
        &mut Option<UnixTime>,
        &mut Option<UnixTime>,
        &mut Option<u64>,
    ),
) {
    let Some(CaSeen::There { time, tls_until, anchor_until, bundle, .. }) = &mut facts.ca else {
        unreachable!("the CA is there")
    };
    change(time, tls_until, anchor_until, bundle);
}

type Change = Box<dyn Fn(&mut Facts)>;

/// Each code with what brings it about, and nothing else.
fn fixtures() -> Vec<(&'static str, Change)> {
    fn of(change: impl Fn(&mut Facts) + 'static) -> Change {
        Box::new(change)
    }
    fn setting(key: &'static str, value: &'static str) -> Change {
        Box::new(move |facts| ssh(facts, key, value))
    }
    let open = |foreign| {
        of(move |facts| {
            facts.open_files = vec![OpenFile { path: "/h/x".into(), mode: 0o644, foreign }]
        })
    };
    vec![
        ("NOT_ENROLLED", of(|facts| facts.enrolment = EnrolmentSeen::Absent)),
        ("ENROLMENT_BROKEN", of(|facts| facts.enrolment = EnrolmentSeen::Broken("x.".into()))),
        ("KEY_UNUSABLE", of(|facts| facts.key = Some(KeySeen::File("/h/id: gone.".into())))),
        ("KEY_NOT_IN_AGENT", of(|facts| facts.key = Some(KeySeen::NotInAgent("SHA256:x".into())))),
        ("FILE_FOREIGN", open(true)),
        ("FILE_OPEN", open(false)),
        ("AGENT_ABSENT", of(|facts| facts.agent = AgentSeen::Absent)),
        ("AGENT_UNUSABLE", of(|facts| facts.agent = AgentSeen::Silent("x.".into()))),
        ("AGENT_GPG", of(|facts| facts.agent = AgentSeen::Gpg)),
        ("AGENT_NO_CERTIFICATES", of(|facts| facts.agent = AgentSeen::Refuses("x.".into()))),
        ("CA_AWAY", of(|facts| facts.ca = Some(CaSeen::Away("refused.".into())))),
        ("TLS_UNTRUSTED", of(|facts| facts.ca = Some(CaSeen::Untrusted("expired.".into())))),
        (
            "TLS_ENDS_SOON",
            of(|facts| there(facts, |_, tls, _, _| *tls = Some(NOW.plus_secs(86_400)))),
        ),
        (
            "ANCHOR_ENDS_SOON",
            of(|facts| there(facts, |_, _, anchor, _| *anchor = Some(NOW.plus_secs(86_400)))),
        ),
        (
            "NOT_KNOWN",
            of(|facts| {
                if let Some(CaSeen::There { stranger, .. }) = &mut facts.ca {
                    *stranger = Some("unknown.".into());
                }
            }),
        ),
        ("CLOCK_OFF", of(|facts| there(facts, |time, _, _, _| *time = Some(NOW.plus_secs(121))))),
        (
            "CLOCK_DRIFTS",
            of(|facts| there(facts, |time, _, _, _| *time = Some(UnixTime(NOW.0 - 31)))),
        ),
        (
            "BUNDLE_ABSENT",
            of(|facts| {
                facts.bundle = None;
                facts.ca = None;
            }),
        ),
        ("BUNDLE_BEHIND", of(|facts| there(facts, |_, _, _, bundle| *bundle = Some(8)))),
        ("BUNDLE_BACK", of(|facts| there(facts, |_, _, _, bundle| *bundle = Some(6)))),
        (
            "BUNDLE_OLD",
            of(|facts| {
                facts.ca = None;
                facts.bundle = Some(BundleSeen { version: 7, fetched: UnixTime(NOW.0 - 86_401) });
            }),
        ),
        ("HOST_UNKNOWN", of(|facts| facts.host.as_mut().unwrap().listed = None)),
        ("NO_CERTIFICATE", of(|facts| facts.certificates.clear())),
        ("OTHER_USER", setting("user", "root")),
        ("SSH_CONFIG_ABSENT", of(|facts| facts.config.written = false)),
        (
            "SSH_CONFIG_NOT_FIRST",
            of(|facts| facts.config.text = format!("Host *\n{}", facts.config.text)),
        ),
        ("SSH_CONFIG_NOT_INCLUDED", of(|facts| facts.config.text = "Host *\n".into())),
        ("SSH_UNUSABLE", of(|facts| facts.host.as_mut().unwrap().ssh = Err("line 3: bad.".into()))),
        ("PUBKEY_OFF", setting("pubkeyauthentication", "false")),
        ("IDENTITIES_ONLY", setting("identitiesonly", "yes")),
        ("OTHER_AGENT", setting("identityagent", "/run/other")),
        ("CONTROL_MASTER", setting("controlmaster", "auto")),
        ("FORWARD_AGENT", setting("forwardagent", "yes")),
        ("OTHER_HOSTNAME", setting("hostname", "prod-host")),
        ("OTHER_WAY", setting("proxyjump", "bastion")),
        ("HOST_TRUST", setting("userknownhostsfile", "/h/.ssh/known_hosts")),
    ]
}

/// Those that come with another, since one thing is weak in two ways.
fn together() -> Vec<(Vec<&'static str>, Change)> {
    fn held(change: impl Fn(&mut CertificateSeen) + 'static) -> Change {
        Box::new(move |facts| change(&mut facts.certificates[0]))
    }
    vec![
        (vec!["CERTIFICATE_EXPIRED", "NO_CERTIFICATE"], held(|one| one.valid_before = NOW)),
        (
            vec!["CERTIFICATE_EARLY", "NO_CERTIFICATE"],
            held(|one| one.valid_after = NOW.plus_secs(9)),
        ),
        (vec!["CERTIFICATE_REVOKED", "NO_CERTIFICATE"], held(|one| one.revoked = Some(true))),
        (vec!["NO_CERTIFICATE", "CERTIFICATE_FOREIGN"], held(|one| one.ours = false)),
        (vec!["OTHER_USER", "NO_SUCH_LOGIN"], Box::new(|facts| ssh(facts, "user", "al"))),
    ]
}

fn codes(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.code).collect()
}

#[test]
fn what_is_fine_has_no_finding_and_each_code_comes_of_its_one_thing() {
    assert_eq!(codes(&judge(&fine())), Vec::<&str>::new());
    for (code, change) in fixtures() {
        let mut facts = fine();
        change(&mut facts);
        assert_eq!(codes(&judge(&facts)), [code]);
    }
    for (expected, change) in together() {
        let mut facts = fine();
        change(&mut facts);
        assert_eq!(codes(&judge(&facts)), expected);
    }
}

#[test]
fn every_code_there_is_has_a_fixture_and_says_what_and_how() {
    let sources = [include_str!("rules.rs"), include_str!("ssh_config.rs")].concat();
    // In the sources, a code stands in quotes and is followed by a comma.
    let is_code = |text: &&str| {
        text.len() >= 7
            && text.contains('_')
            && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    };
    let named: BTreeSet<&str> = sources.split('"').filter(is_code).collect();
    let mut covered: BTreeSet<&str> = fixtures().iter().map(|(code, _)| *code).collect();
    covered.extend(together().iter().flat_map(|(codes, _)| codes.clone()));
    let named: BTreeSet<&str> = named.into_iter().filter(|code| *code != "SSH_AUTH_SOCK").collect();
    assert_eq!(named, covered);
    for (_, change) in fixtures()
        .into_iter()
        .chain(together().into_iter().map(|(codes, change)| (codes[0], change)))
    {
        let mut facts = fine();
        change(&mut facts);
        for finding in judge(&facts) {
            assert!(
                finding.message.ends_with(['.', ':']) || finding.message.contains(". "),
                "{finding:?}"
            );
            assert!(!finding.fix.is_empty(), "{finding:?}");
        }
    }
}

#[test]
fn people_read_the_worst_first_and_how_many_there_are() {
    let mut facts = fine();
    ssh(&mut facts, "forwardagent", "yes");
    ssh(&mut facts, "identitiesonly", "yes");
    let shown = text(&judge(&facts));
    let (first, second) = (shown.find("critical").unwrap(), shown.find("warning").unwrap());
    assert!(first < second && shown.ends_with("2 weaknesses."), "{shown}");
    // jit-ssh's own file names the key, and then the agent's certificate is not needed.
    ssh(&mut facts, "identityfile", "/run/jit-ssh/hosts/prod-host");
    assert_eq!(codes(&judge(&facts)), ["FORWARD_AGENT"]);
    assert_eq!(text(&judge(&fine())), "No weakness found.");
}
