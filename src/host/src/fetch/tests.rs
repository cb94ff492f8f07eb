//! With bundles signed by the real `ssh-keygen -Y sign`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use jit_ssh_api::v1::{BundleFile, SignedStatement};
use jit_ssh_core::bundle::BundleFiles;
use jit_ssh_core::root::Admin;
use jit_ssh_core::statement::Bundle;
use jit_ssh_core::time::UnixTime;
use tempfile::TempDir;

use super::*;

const CA_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHKoMHfeUSGcYJWGysvTZaqm59QUJXVrgQ96Nhwe6rdj";

const HOSTS: &str = r#"
[[host]]
name = "prod-host"
logins = ["root", "deploy"]
[[host]]
name = "web-1"
logins = ["www"]
"#;

/// A CA with two admins, both of whom must sign.
struct TestCa {
    dir: TempDir,
    root: Root,
    files: BundleFiles,
}

impl TestCa {
    fn new() -> TestCa {
        let dir = TempDir::new().unwrap();
        let admins = ["ann", "ben"].map(|id| {
            let file = dir.path().join(id);
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", id, "-f"])
                .arg(&file)
                .status();
            assert!(made.unwrap().success());
            let key = fs::read_to_string(file.with_extension("pub")).unwrap();
            Admin { id: id.parse().unwrap(), key: key.trim().parse().unwrap() }
        });
        let root = Root::new(admins.into(), 2, "no anchor".to_owned()).unwrap();
        let log_key = "ca.example/1+ce6835b4+AW9Xk/nbgjDerDaWVYM+W3oYyPVTw0zId4OlsrngbSUx";
        let signers =
            format!("[[signer]]\nnumber = 1\nca_key = \"{CA_KEY}\"\nlog_key = \"{log_key}\"\n");
        let files = BundleFiles {
            people: Vec::new(),
            hosts: HOSTS.into(),
            policy: Vec::new(),
            signers: signers.into(),
        };
        TestCa { dir, root, files }
    }

    /// The answer of an honest CA to whom `admins` have signed.
    fn answer(&self, admins: &[&str]) -> GetBundleResponse {
        let at = UnixTime(1_790_000_000);
        let bundle = Bundle::new(self.root.fingerprint(), 3, &self.files, at);
        let statement = statement::encode(&bundle).unwrap();
        let signatures = admins
            .iter()
            .map(|admin| sign(&self.dir.path().join(admin), &statement).into())
            .collect();
        let file = |part: BundlePart, content: &[u8]| BundleFile {
            part: part.into(),
            content: content.to_vec().into(),
        };
        GetBundleResponse {
            bundle: Some(SignedStatement { statement: statement.into(), signatures }),
            files: vec![
                file(BundlePart::Hosts, &self.files.hosts),
                file(BundlePart::Signers, &self.files.signers),
            ],
        }
    }

    fn verify(&self, answer: &GetBundleResponse, name: &str) -> Result<HostFacts, CommandError> {
        let (word, name) = (Word::open(&self.root, answer)?, name.parse().unwrap());
        let listed = word.hosts.get(&name).map(|host| ThisHost::listed(host, &word.hosts));
        let trusted = word.about(&name, listed.map_or(Found::Not(None), Found::Host))?;
        Ok(trusted.facts(Lists::unknown(&trusted.signers)))
    }
}

fn sign(key: &Path, statement: &[u8]) -> Vec<u8> {
    let file = key.with_extension("statement");
    fs::write(&file, statement).unwrap();
    let signed = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", "bundle@jit-ssh", "-f"])
        .args([key, file.as_path()])
        .env_remove("SSH_AUTH_SOCK")
        .stderr(Stdio::null())
        .status();
    assert!(signed.unwrap().success());
    let armoured = format!("{}.sig", file.display());
    let script = format!("grep -v -- ----- {armoured} | base64 -d; rm {armoured}");
    Command::new("sh").args(["-c", &script]).output().unwrap().stdout
}

#[test]
fn a_bundle_signed_by_enough_admins_tells_keys_and_logins() {
    let ca = TestCa::new();
    let facts = ca.verify(&ca.answer(&["ann", "ben"]), "prod-host").unwrap();
    assert_eq!(facts.version, 3);
    assert_eq!(facts.ca, ca.root.fingerprint());
    assert_eq!(facts.ca_keys.iter().map(|(_, key)| key.to_string()).collect::<Vec<_>>(), [CA_KEY]);
    assert_eq!(facts.logins.iter().map(|l| l.as_str()).collect::<Vec<_>>(), ["deploy", "root"]);
}

#[test]
fn whatever_the_admins_did_not_sign_is_refused() {
    let ca = TestCa::new();
    let good = ca.answer(&["ann", "ben"]);
    let refusal = |answer: &GetBundleResponse| {
        ca.verify(answer, "prod-host").err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert_eq!(refusal(&good), "");
    assert!(refusal(&ca.answer(&["ann"])).contains("1 of 2 admin signatures"));
    assert!(refusal(&ca.answer(&["ann", "ann"])).contains("twice"));
    assert!(refusal(&GetBundleResponse::default()).contains("no bundle yet"));

    let mut foreign_file = good.clone();
    for file in &mut foreign_file.files {
        file.content = [&file.content[..], b"\n"].concat().into();
    }
    assert!(refusal(&foreign_file).contains("not the one the admins signed"));

    let mut lacking = good.clone();
    lacking.files.pop();
    assert!(refusal(&lacking).contains("did not send signers.toml"));

    let mut swapped = good.clone();
    swapped.files[0].part = BundlePart::Signers.into();
    swapped.files[1].part = BundlePart::Hosts.into();
    assert!(refusal(&swapped).contains("not the one the admins signed"));

    let mut other = TestCa::new().answer(&["ann", "ben"]);
    assert!(refusal(&other).contains("can not be trusted"));
    other = good;
    let statement = &mut other.bundle.as_mut().unwrap().statement;
    let changed = String::from_utf8(statement.to_vec()).unwrap();
    *statement = changed.replace("\"version\":3", "\"version\":4").into_bytes().into();
    assert!(refusal(&other).contains("can not be trusted"));
}

#[test]
fn an_unknown_host_is_told_the_nearest_names() {
    let ca = TestCa::new();
    let answer = ca.answer(&["ann", "ben"]);
    let told = |name: &str| ca.verify(&answer, name).unwrap_err().to_string();
    assert!(told("prod-hots").contains("the nearest names are prod-host"));
    assert!(told("web-2").contains("the nearest names are web-1"));
    assert!(told("something-else").contains("jit-ssh-ca apply"));
}

#[test]
fn distance_counts_changed_characters() {
    for (a, b, changes) in
        [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("abc", "axc", 1), ("kitten", "sitting", 3)]
    {
        assert_eq!(distance(a, b), changes, "{a} {b}");
    }
}
