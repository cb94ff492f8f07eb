//! The host certificate: when sshd is told to show it, and when it is taken out.

use jit_ssh_core::key::HostKey;

use super::*;
use crate::{content, current, plan};

/// The file of a certificate as the CA would give it, for this key of sshd's.
fn certificate(host: &TestHost, name: &str, until: &str) -> Vec<u8> {
    let path = |name: &str| host.dir.path().join(name).display().to_string();
    let public = format!("{}.pub", path("host_key"));
    if !Path::new(&path("host_ca")).exists() {
        keygen(&["-t", "ed25519", "-f", &path("host_ca")]);
    }
    let (id, names) = (format!("host/{name}/1900000000"), format!("{name},www"));
    keygen(&["-s", &path("host_ca"), "-h", "-I", &id, "-n", &names, "-V", until, &public]);
    let file = path("host_key-cert.pub");
    let content = fs::read(&file).unwrap();
    fs::remove_file(file).unwrap();
    content
}

fn goal(host: &TestHost, certificate: Option<&[u8]>) -> Goal {
    match host.goal(KEY, &["deploy"]) {
        Goal::SetUp(wanted) => {
            let host_certificate = certificate.map(<[u8]>::to_vec);
            Goal::SetUp(Box::new(Wanted { host_certificate, ..*wanted }))
        }
        Goal::Removed => Goal::Removed,
    }
}

fn shown(host: &TestHost) -> Vec<String> {
    let effective = host.sshd.effective(&"deploy".parse().unwrap()).unwrap();
    let shown = effective.all("HostCertificate").iter();
    let name = |path: &String| path.rsplit('/').next().unwrap_or_default().to_owned();
    shown.map(name).filter(|name| name != "none").collect()
}

const OURS: &str = "ssh_host_ed25519_key-cert.pub";

#[test]
fn sshd_is_told_of_the_certificate_beside_those_of_others_and_running_again_changes_nothing() {
    for include in [INCLUDE, ""] {
        let host = TestHost::new(&format!("{include}HostCertificate ETC/other-cert.pub\n"));
        let other = certificate(&host, "other", "+1h");
        host.write("other-cert.pub", &String::from_utf8(other).unwrap());
        let before = timeless(host.snapshot());
        assert_eq!(shown(&host), ["other-cert.pub"]);

        let first = certificate(&host, "prod-host", "+1h");
        let done = host.run(&goal(&host, Some(&first)), ANYWAY).unwrap();
        assert!(done.plan.changed().contains(&&*host.layout.host_certificate()));
        assert_eq!(shown(&host), [OURS, "other-cert.pub"]);
        assert_eq!(host.read("jit-ssh/ssh_host_ed25519_key-cert.pub").as_bytes(), first);
        let mode = fs::metadata(host.layout.host_certificate()).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o644);

        let snapshot = host.snapshot();
        assert!(host.run(&goal(&host, Some(&first)), ANYWAY).unwrap().plan.is_empty());
        assert_eq!(host.snapshot(), snapshot);

        host.remove().unwrap();
        let mut after = timeless(host.snapshot());
        if !before.contains_key(&host.layout.drop_in_dir()) {
            after.remove(&host.layout.drop_in_dir());
        }
        assert_eq!(after, before);
        assert_eq!(shown(&host), ["other-cert.pub"]);
    }
}

#[test]
fn a_new_certificate_has_sshd_read_it_and_one_that_is_not_to_be_had_any_more_goes() {
    let host = TestHost::new(INCLUDE);
    host.run(&goal(&host, Some(&certificate(&host, "prod-host", "+1h"))), ANYWAY).unwrap();
    let current = current::read(&host.layout, None).unwrap();
    let Goal::SetUp(wanted) = goal(&host, Some(&certificate(&host, "prod-host", "+2h"))) else {
        unreachable!()
    };
    let plan = plan::plan_setup(&host.layout, &wanted, &current, None).unwrap();
    assert_eq!(plan.changed(), [host.layout.host_certificate()]);
    assert!(plan.changes_configuration(&host.layout, &current));

    let done = host.run(&goal(&host, None), ANYWAY).unwrap();
    let gone = [host.layout.certificate_include(), host.layout.host_certificate()];
    assert_eq!(done.plan.removed(), gone);
    assert!(shown(&host).is_empty() && !host.layout.host_certificate().exists());
    assert!(!host.read("sshd_config.d/00-jit-ssh.conf").contains("HostCertificate"));
    // What is none of ours stays, and is shown to nobody.
    host.write("jit-ssh/ssh_host_ed25519_key-cert.pub", "mine\n");
    let done = host.run(&goal(&host, None), ANYWAY).unwrap();
    assert!(done.plan.is_empty() && done.plan.warnings.len() == 1, "{:?}", done.plan);
    assert_eq!(host.read("jit-ssh/ssh_host_ed25519_key-cert.pub"), "mine\n");
}

#[test]
fn under_a_match_sshd_takes_no_host_certificate_and_the_host_is_set_up_without() {
    let host = TestHost::new(&format!("{INCLUDE}Match User bob\n{INCLUDE}"));
    let first = certificate(&host, "prod-host", "+1h");
    let done = host.run(&goal(&host, Some(&first)), ANYWAY).unwrap();
    assert!(done.plan.warnings[0].contains("under `Match User bob`"), "{:?}", done.plan.warnings);
    assert!(shown(&host).is_empty() && !host.layout.host_certificate().exists());

    // It is sshd that would have refused it.
    let line = content::certificate_include(&host.layout);
    host.write("sshd_config.d/60-more.conf", &line);
    assert!(host.sshd.test().is_err());
}

#[test]
fn sshd_s_own_keys_are_those_a_certificate_can_be_for_ed25519_first() {
    let host = TestHost::new("");
    let path = |name: &str| host.dir.path().join(name).display().to_string();
    let mut answer = String::new();
    for kind in ["rsa", "ecdsa", "ed25519"] {
        keygen(&["-t", kind, "-f", &path(kind)]);
        answer += &format!("hostkey {}\n", path(kind));
    }
    answer += "hostkey /nowhere/key\n";
    let keys = host_certificate::own_keys(&Effective::of(&answer));
    let kinds: Vec<String> = keys.iter().map(HostKey::type_name).collect();
    assert_eq!(kinds, ["ssh-ed25519", "ecdsa-sha2-nistp256"]);
}
