//! Fixtures for every weakness next to the good neighbour, and the real sshd.

mod command_line;
mod fixtures;
mod live;

mod promises;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jit_ssh_core::time::UnixTime;

use super::directives;
use super::enforces;
use super::facts::*;
use super::finding::Finding;
use super::pam_stack::{self, PamLine};
use super::rules::judge;
use crate::config::{self, Includes};
use crate::current::{FileState, Owner};
use crate::guard_service::Answering;
use crate::layout::Layout;
use crate::link::heard::Heard;
use crate::settings::{Guard, Settings};
use crate::sshd::Effective;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHKoMHfeUSGcYJWGysvTZaqm59QUJXVrgQ96Nhwe6rdj";
const PIN: &str = "SHA256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0";

const ANSWER: &str = "usepam yes
pubkeyauthentication yes
authenticationmethods any
passwordauthentication no
kbdinteractiveauthentication no
hostbasedauthentication no
gssapiauthentication no
kerberosauthentication no
permitemptypasswords no
permitrootlogin without-password
strictmodes yes
trustedusercakeys /e/jit-ssh/user_ca.pub
authorizedprincipalsfile /e/jit-ssh/principals/%u
authorizedprincipalscommand none
authorizedkeyscommand none
authorizedkeysfile none
revokedkeys /e/jit-ssh/revoked.krl
casignaturealgorithms ssh-ed25519
pubkeyacceptedalgorithms ssh-ed25519-cert-v01@openssh.com
pamservicename sshd
";

const CONFIG: &str = "Include /e/sshd_config.d/*.conf\nPasswordAuthentication no\n";
const DROP_IN: &str = "# Written by `jit-ssh-host setup`; undo with `jit-ssh-host setup --remove`.
TrustedUserCAKeys /e/jit-ssh/user_ca.pub
AuthorizedPrincipalsFile /e/jit-ssh/principals/%u
AuthorizedPrincipalsCommand none
Include /e/jit-ssh/host_certificate.conf
";

const PAM: &str = "auth required pam_unix.so
session required pam_loginuid.so
session optional pam_systemd.so
session required pam_exec.so quiet type=open_session /usr/bin/jit-ssh-host session --etc /e
session required pam_env.so user_readenv=1
";

/// Where the hook's line stands in `PAM`.
const HOOK: &str =
    "session required pam_exec.so quiet type=open_session /usr/bin/jit-ssh-host session --etc /e\n";

/// Files that configuration includes.
#[derive(Default)]
struct Files(BTreeMap<&'static str, String>);

impl Includes for Files {
    fn matching(&self, pattern: &str) -> Option<Vec<(PathBuf, String)>> {
        let files = self.0.iter().map(|(path, text)| (PathBuf::from(path), text.clone()));
        Some(files.filter(|(path, _)| config::path_matches(pattern, path)).collect())
    }
}

fn file(content: impl Into<Vec<u8>>) -> Look<FileState> {
    let owner = Owner { user: 0, group: 0 };
    Look::Seen(FileState { content: content.into(), mode: 0o644, owner })
}

fn node(path: &str, kind: Kind, mode: u32) -> Node {
    Node { path: path.into(), kind, mode, owner: 0, is_of_key_group: false }
}

fn user_ca() -> String {
    format!("# From bundle version 3 of the CA {PIN}\n{KEY} jit-ssh signer 1\n")
}

/// sshd's answer with some values changed.
fn answer(changes: &[(&str, &str)]) -> Effective {
    let mut text = String::new();
    for line in ANSWER.lines() {
        let (keyword, value) = line.split_once(' ').unwrap();
        let change = changes.iter().find(|(changed, _)| *changed == keyword);
        text += &format!("{keyword} {}\n", change.map_or(value, |(_, value)| value));
    }
    for (keyword, value) in changes.iter().filter(|(keyword, _)| !ANSWER.contains(keyword)) {
        text += &format!("{keyword} {value}\n");
    }
    Effective::of(&text)
}

fn asked(user: &str, changes: &[(&str, &str)]) -> Asked {
    let effective = answer(changes);
    Asked { user: user.to_owned(), for_match: None, is_login: user == "deploy", effective }
}

fn pam(text: &str) -> Look<Vec<PamLine>> {
    Look::Seen(pam_stack::read(Path::new("/etc/pam.d/sshd"), text, &|_| None).unwrap())
}

/// A host without any weakness.
fn good() -> Facts {
    let layout = Layout::new(Path::new("/e"), None).unwrap();
    let settings = Settings {
        ca: format!("https://ca.example:7443#{PIN}").parse().unwrap(),
        name: "prod-host".parse().unwrap(),
        guard: Guard::Required,
        sshd_config: "/e/sshd_config".into(),
        pam: "/etc/pam.d/sshd".into(),
        offline_ca: None,
    };
    let certificate = HostCertificate {
        is_host: true,
        key: b"key".to_vec(),
        principals: vec!["prod-host".to_owned()],
        valid_after: 1_000,
        valid_before: 3_000,
    };
    let mut facts = Facts {
        layout,
        is_root: true,
        now: UnixTime(2_000),
        settings: Look::Seen(Ok(settings)),
        sshd: SshdFacts {
            version: Some((10, 3)),
            refused: None,
            asked: vec![asked("root", &[]), asked("deploy", &[])],
            directives: Vec::new(),
            found: Vec::new(),
            unasked: Vec::new(),
        },
        running: running(&["/usr/sbin/sshd", "-D", "-f", "/e/sshd_config"]),
        user_ca: file(user_ca()),
        drop_in: file(DROP_IN),
        principals: vec![PrincipalsFile {
            login: "deploy".to_owned(),
            content: Look::Seen(b"deploy@prod-host\n".to_vec()),
            mode: 0o644,
            has_account: true,
        }],
        nodes: vec![
            node("/", Kind::Dir, 0o755),
            node("/e", Kind::Dir, 0o755),
            node("/e/jit-ssh", Kind::Dir, 0o755),
            node("/e/jit-ssh/principals", Kind::Dir, 0o755),
            node("/e/jit-ssh/principals/deploy", Kind::File, 0o644),
        ],
        revoked: vec![Revoked {
            path: "/e/jit-ssh/revoked.krl".into(),
            content: Look::Seen(RevokedContent::List),
        }],
        standing: Vec::new(),
        host_keys: vec![("/e/key".into(), Look::Seen(node("/e/key", Kind::File, 0o600)))],
        public_keys: Some(vec![b"rsa".to_vec(), b"key".to_vec()]),
        host_certificates: vec![("/e/key-cert.pub".into(), Look::Seen(Some(certificate)))],
        pam: PamFacts {
            file: "/etc/pam.d/sshd".into(),
            lines: pam(PAM),
            nodes: vec![node("/etc/pam.d/sshd", Kind::File, 0o644)],
            program: vec![
                node("/usr/bin/jit-ssh-host", Kind::File, 0o755),
                node("/usr/bin", Kind::Dir, 0o755),
            ],
        },
        guard: GuardFacts {
            run: "/run/jit-ssh".into(),
            dir: Look::Seen(node("/run/jit-ssh", Kind::Dir, 0o755)),
            socket: Look::Seen(node("/run/jit-ssh/guard.sock", Kind::Socket, 0o600)),
            answers: Ok(Answering::Ours),
        },
        link: LinkFacts {
            file: "/run/jit-ssh/link.json".into(),
            heard: Look::Seen(Heard::example(UnixTime(1_500), Some(UnixTime(1_700)))),
            runs: true,
        },
        clock_synchronised: Some(true),
        has_cgroup_v2: true,
        lingering: vec!["nobody-of-ours".to_owned()],
    };
    set_config(&mut facts, CONFIG, &[]);
    facts
}

fn running(words: &[&str]) -> Running {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    Running::Found { pid: 1, words, is_replaced: false, stale: Vec::new() }
}

/// Gives sshd this configuration, as far as its text is looked at.
fn set_config(facts: &mut Facts, main: &str, others: &[(&'static str, &str)]) {
    let others = others.iter().map(|(path, text)| (*path, (*text).to_owned()));
    let drop_in = ("/e/sshd_config.d/00-jit-ssh.conf", DROP_IN.to_owned());
    let files = Files(others.chain([drop_in]).collect());
    let path = facts.layout.config();
    facts.sshd.directives = directives::read(path, main, &files);
    facts.sshd.found = config::read(path, main, &facts.layout.drop_in(), &files);
}

/// Has sshd answer otherwise for every account.
fn set(facts: &mut Facts, changes: &[(&str, &str)]) {
    for asked in &mut facts.sshd.asked {
        asked.effective = answer(changes);
    }
}

fn settings(facts: &mut Facts) -> &mut Settings {
    match &mut facts.settings {
        Look::Seen(Ok(settings)) => settings,
        _ => panic!("the good host has settings"),
    }
}

fn heard(facts: &mut Facts) -> &mut Heard {
    match &mut facts.link.heard {
        Look::Seen(heard) => heard,
        _ => panic!("the good host has a link"),
    }
}

fn codes(findings: &[Finding]) -> Vec<&'static str> {
    let mut codes: Vec<_> = findings.iter().map(|found| found.weakness.describe().code).collect();
    codes.sort_unstable();
    codes
}
