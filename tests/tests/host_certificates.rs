//! Host certificates with the real sshd and ssh: nobody is asked whether a host is known, and no host
//! can pose as another.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::fs;

use base64ct::{Base64, Encoding as _};
use jit_ssh_api::v1::{Certificate, RenewHostCertificateRequest};
use jit_ssh_api::{ApiError, v1};
use jit_ssh_core::bundle::{Hosts, Signers};
use jit_ssh_core::certificate::host::HostIdentity;
use jit_ssh_core::receipt::{AcceptedHost, Receipt, check_host};
use jit_ssh_core::time::UnixTime;
use jit_ssh_tests::api::{Caller, now};
use jit_ssh_tests::program::{Program, Said, make_key, wait_until};
use jit_ssh_tests::{POLICY, Persona, Site, Sshd};

/// Adds lines to the host's block in hosts.toml.
fn tell_of(site: &Site, host: &str, lines: &str) {
    let path = site.config().join("hosts.toml");
    let block = format!("name = \"{host}\"\n");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(&block));
    fs::write(path, text.replace(&block, &format!("{block}{lines}\n"))).unwrap();
}

fn renew(site: &Site, host: &str) -> Result<Certificate, ApiError> {
    let message = RenewHostCertificateRequest { name: host.to_owned() };
    let answer: Result<v1::RenewHostCertificateResponse, ApiError> =
        Caller::new(site).call(async |client| client.renew_host_certificate(message).await);
    answer.map(|answer| answer.certificate.unwrap())
}

/// Checks it as the host will.
fn checked(site: &Site, host: &str, certificate: &Certificate) -> AcceptedHost {
    let read = |name: &str| fs::read(site.config().join(name)).unwrap();
    let hosts = Hosts::parse(&read("hosts.toml")).unwrap();
    let identity = HostIdentity::of(hosts.get(&host.parse().unwrap()).unwrap()).unwrap();
    let receipt = Receipt::from(certificate);
    let signers = Signers::parse(&read("signers.toml")).unwrap();
    check_host(&receipt, &identity, &signers, UnixTime(now())).unwrap()
}

/// The names of the files that `setup --json` wrote, but for the one that notes the bundle's version.
fn changed(said: &Said) -> Vec<String> {
    let paths = said.field("changed").as_array().cloned().unwrap();
    let names = paths.iter().map(|path| path.as_str().unwrap().rsplit('/').next().unwrap());
    names.filter(|name| *name != "user_ca.pub").map(str::to_owned).collect()
}

const NAME: &str = "ssh_host_ed25519_key-cert.pub";

/// ssh with the known hosts that jit-ssh keeps and no others, by this name.
fn ssh(alice: &Persona, sshd: &Sshd, alias: &str) -> Said {
    let known = alice.home.join("state/known_hosts");
    let mine = [format!("UserKnownHostsFile={}", known.display()), format!("HostKeyAlias={alias}")];
    let mine = mine.iter().flat_map(|option| ["-o", option]);
    // The first value of an option counts.
    let program = alice.program("ssh").args(mine).args(sshd.client_options());
    program.args([sshd.name(), "echo in"]).run()
}

#[test]
fn ssh_knows_a_host_by_its_certificate_and_by_no_other_name() {
    let (site, alice, _bob) = Site::running(POLICY);
    let sshd = site.host("test-host");
    // Without its key in the bundle it is set up, and told what is missing.
    let said = sshd.setup(&site.url, &["--json"]).fine();
    let line = format!("\n    key = \"{}\"", sshd.host_key());
    assert!(said.err.contains(&line) && changed(&said).is_empty(), "{said:?}");
    let lines = format!(
        "address = \"127.0.0.1:{}\"\nkey = \"{} root@x\"\naliases = [\"shop\"]",
        sshd.port(),
        sshd.host_key()
    );
    tell_of(&site, "test-host", &lines);
    // Another host of the same CA, whose certificates ssh will trust as well.
    let other = site.path().join("other_key");
    let make = ["-q", "-t", "ecdsa", "-N", "", "-f"];
    Program::new("ssh-keygen").args(make).args([&other]).run().fine();
    let key = fs::read_to_string(other.with_extension("pub")).unwrap();
    tell_of(&site, "prod-host", &format!("key = \"{}\"", key.trim()));
    site.apply();

    let login = ["login", "test-host", "--because", "INC-42 a look", "--for", "2m"];
    let said = alice.jit(&login).run().fine();
    assert!(said.err.contains("jit-ssh ssh-config --install"), "{said:?}");
    let kept = fs::read_to_string(alice.home.join("state/known_hosts")).unwrap();
    let names: Vec<&str> = kept.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    let port = sshd.port();
    let expected = format!("shop,test-host,[127.0.0.1]:{port},[shop]:{port},[test-host]:{port}");
    assert_eq!(names[1..], ["prod-host", expected.as_str()], "{kept}");
    assert!(!kept.contains('*'));

    // As long as it shows its plain key alone, it is not known.
    let refused = ssh(&alice, &sshd, "test-host");
    assert!(
        refused.code != 0 && refused.err.contains("Host key verification failed"),
        "{refused:?}"
    );

    let certificate = renew(&site, "test-host").unwrap();
    let accepted = checked(&site, "test-host", &certificate);
    let names: Vec<String> = accepted.principals.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["127.0.0.1", "shop", "test-host"]);
    let said = sshd.setup(&site.url, &["--json"]).fine();
    assert!(!said.err.contains("warning: hosts.toml"), "{said:?}");
    assert_eq!(changed(&said), [NAME, "host_certificate.conf"]);
    assert_eq!(said.field("reloaded").as_bool(), Some(true));
    let shown = sshd.etc.join("jit-ssh").join(NAME);
    assert_eq!(sshd.setting("hostcertificate").unwrap(), shown.display().to_string());
    let line = fs::read_to_string(&shown).unwrap();
    let base64 = Base64::encode_string(&certificate.certificate);
    assert_eq!(line, format!("ssh-ed25519-cert-v01@openssh.com {base64} test-host\n"));
    let said = sshd.setup(&site.url, &["--json"]).fine();
    assert_eq!(said.field("changed").as_array().map(Vec::len), Some(0));
    assert_eq!(said.field("reloaded").as_bool(), Some(false));
    for name in ["test-host", "shop"] {
        assert_eq!(ssh(&alice, &sshd, name).fine().out, "in\n", "{name}");
    }
    // By its address: without an alias, ssh looks for the port too.
    let address = format!("[127.0.0.1]:{port}");
    let known = alice.home.join("state/known_hosts");
    let options: Vec<String> = sshd
        .client_options()
        .into_iter()
        .map(|option| match option.starts_with("UserKnownHostsFile=") {
            true => format!("UserKnownHostsFile={}", known.display()),
            false => option,
        })
        .collect();
    let alias = options.iter().position(|option| option.starts_with("HostKeyAlias=")).unwrap();
    let direct = [&options[..alias - 1], &options[alias + 1..]].concat();
    let said = alice.program("ssh").args(direct).args(["127.0.0.1", "echo in"]).run();
    assert_eq!(said.fine().out, "in\n", "{address}");

    // The certificate is true and its CA trusted for prod-host: but it is not prod-host's.
    let posing = ssh(&alice, &sshd, "prod-host");
    assert!(posing.code != 0 && posing.err.contains("Host key verification failed"), "{posing:?}");
    // Of a name that the bundle does not know nothing is trusted.
    assert!(ssh(&alice, &sshd, "elsewhere").code != 0);

    // The same certificate again, by half of its time; and the audit finds it justified.
    let again = renew(&site, "test-host").unwrap();
    assert_eq!(again.certificate, certificate.certificate);
    checked(&site, "test-host", &again);
    assert!(site.verify_log().contains("1 host certificate"), "{}", site.verify_log());
    let printed = alice.jit(&["hosts", "--known-hosts"]).run().fine().out;
    assert_eq!(printed.trim_end(), kept.trim_end());
    // It is said once.
    let said = alice.jit(&["login", "test-host", "--because", "INC-43 more", "--for", "3m"]).run();
    assert!(!said.fine().err.contains("UserKnownHostsFile"));

    // Taken out, it is a stranger again.
    sshd.setup(&site.url, &["--remove"]).fine();
    assert!(!sshd.etc.join("jit-ssh").exists() && sshd.setting("hostcertificate").is_none());
    let refused = ssh(&alice, &sshd, "test-host");
    assert!(refused.err.contains("Host key verification failed"), "{refused:?}");
}

#[test]
fn a_host_whose_key_comes_later_gets_its_first_certificate_without_another_setup() {
    let (site, alice, _bob) = Site::running(POLICY);
    let sshd = site.host("test-host");
    sshd.setup(&site.url, &[]).fine();
    // sshd has nothing to complain about: not of a certificate that is not there.
    let config = sshd.etc.join("sshd_config");
    let checked = Program::new("sshd").args(["-t", "-f"]).args([&config]).run().fine();
    assert_eq!(checked.err, "");
    assert!(sshd.setting("hostcertificate").is_none());
    alice.jit(&["login", "test-host", "--because", "INC-42 a look", "--for", "2m"]).run().fine();

    let folder = |name: &str| site.path().join(name);
    let (run, state) = (folder("link-run"), folder("link-state"));
    for folder in [&run, &state] {
        fs::create_dir(folder).unwrap();
    }
    let link = Program::new("jit-ssh-host").args(["link", "--etc"]).args([&sshd.etc]);
    let link = link.args(["--run"]).args([&run]).args(["--state"]).args([&state]);
    let link = link.stderr(fs::File::create(folder("link.log")).unwrap()).start();
    let log = || fs::read_to_string(folder("link.log")).unwrap();
    wait_until("the link to ask", || log().contains("no `key` in hosts.toml"));
    assert!(!sshd.etc.join("jit-ssh").join(NAME).exists());

    tell_of(&site, "test-host", &format!("key = \"{}\"", sshd.host_key()));
    site.apply();
    wait_until("the certificate", || sshd.etc.join("jit-ssh").join(NAME).exists());
    let shown = sshd.etc.join("jit-ssh").join(NAME);
    wait_until("sshd's setting", || {
        sshd.setting("hostcertificate") == Some(shown.display().to_string())
    });
    let known = alice.jit(&["hosts", "--known-hosts"]).run().fine().out;
    fs::write(alice.home.join("state/known_hosts"), known).unwrap();
    wait_until("sshd to show it", || ssh(&alice, &sshd, "test-host").out == "in\n");
    link.kill();
    // Setup finds it as it would have put it.
    let said = sshd.setup(&site.url, &["--json"]).fine();
    assert_eq!(said.field("changed").as_array().map(Vec::len), Some(0), "{said:?}");
}

#[test]
fn no_certificate_is_installed_for_a_key_that_sshd_has_not_and_a_wrong_one_is_replaced() {
    let (site, _alice, _bob) = Site::running(POLICY);
    let sshd = site.host("test-host");
    let other = site.path().join("other_key");
    make_key(&other, "other");
    let foreign = fs::read_to_string(other.with_extension("pub")).unwrap();
    let foreign = format!("key = \"{}\"", foreign.trim());
    tell_of(&site, "test-host", &foreign);
    site.apply();
    let said = sshd.setup(&site.url, &["--json"]).fine();
    assert!(said.err.contains("another key for test-host than sshd has"), "{said:?}");
    assert!(changed(&said).is_empty() && !sshd.etc.join("jit-ssh").join(NAME).exists());

    // The neighbour: with sshd's own.
    let path = site.config().join("hosts.toml");
    let own = format!("key = \"{}\"", sshd.host_key());
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace(&foreign, &own)).unwrap();
    site.apply();
    sshd.setup(&site.url, &[]).fine();
    let good = fs::read(sshd.etc.join("jit-ssh").join(NAME)).unwrap();

    // Other names in the bundle make another certificate at once; spoilt ones are mended.
    tell_of(&site, "test-host", "aliases = [\"shop\"]");
    site.apply();
    assert_eq!(changed(&sshd.setup(&site.url, &["--json"]).fine()), [NAME]);
    let renamed = fs::read(sshd.etc.join("jit-ssh").join(NAME)).unwrap();
    assert_ne!(renamed, good);
    for bad in [&good[..], b"", b"\xff", &renamed[..renamed.len() / 2]] {
        fs::write(sshd.etc.join("jit-ssh").join(NAME), bad).unwrap();
        assert_eq!(changed(&sshd.setup(&site.url, &["--json"]).fine()), [NAME]);
        assert_eq!(fs::read(sshd.etc.join("jit-ssh").join(NAME)).unwrap(), renamed);
    }

    // A host whose key the bundle forgets shows none any more.
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace(&own, "")).unwrap();
    site.apply();
    let said = sshd.setup(&site.url, &["--json"]).fine();
    assert!(said.err.contains("does not have this host's key"), "{said:?}");
    assert!(
        !sshd.etc.join("jit-ssh").join(NAME).exists() && sshd.setting("hostcertificate").is_none()
    );
}

#[test]
fn only_hosts_whose_key_is_in_the_bundle_get_a_certificate() {
    let (site, _alice, _bob) = Site::running(POLICY);
    for name in ["test-host", "nowhere", "No Name"] {
        let ApiError::Refused(detail) = renew(&site, name).unwrap_err() else { unreachable!() };
        let expected = if name == "No Name" { "MALFORMED" } else { "UNKNOWN_HOST" };
        assert_eq!(detail.refusal.reason.as_str(), expected, "{name}");
    }
    assert!(!site.verify_log().contains("host certificate"));
    let host = site.host("test-host");
    tell_of(&site, "test-host", &format!("key = \"{}\"", host.host_key()));
    site.apply();
    checked(&site, "test-host", &renew(&site, "test-host").unwrap());
    // An address that is refused 1200 times in a minute is heard out no more.
    let caller = Caller::new(&site);
    let ask = || {
        let message = RenewHostCertificateRequest { name: "nowhere".to_owned() };
        match caller.call(async |client| client.renew_host_certificate(message).await) {
            Err(ApiError::Refused(detail)) => detail.refusal.reason.as_str(),
            other => panic!("{other:?}"),
        }
    };
    assert!((0..3000).any(|_| ask() == "QUOTA"));
}

#[test]
fn a_signer_of_before_starts_without_a_host_ca_key_and_gets_one_by_ssh_keygen() {
    let mut site = Site::initialised();
    let path = site.state().join("signer/host_ca_key");
    fs::remove_file(&path).unwrap();
    let signers = site.config().join("signers.toml");
    let text = fs::read_to_string(&signers).unwrap();
    let line = text.lines().find(|line| line.starts_with("host_ca_key")).unwrap().to_owned();
    fs::write(&signers, text.replace(&line, "")).unwrap();
    let (alice, _bob) = site.start(POLICY);
    assert!(site.serve_log().contains("no host certificates are issued"), "{}", site.serve_log());
    let host = site.host("test-host");
    tell_of(&site, "test-host", &format!("key = \"{}\"", host.host_key()));
    site.apply();
    let ApiError::Refused(detail) = renew(&site, "test-host").unwrap_err() else { unreachable!() };
    assert_eq!(detail.refusal.reason.as_str(), "NO_HOST_CA");
    let said = host.setup(&site.url, &["--json"]).fine();
    assert!(said.err.contains("the CA issues no host certificates"), "{said:?}");
    assert!(changed(&said).is_empty());
    alice.jit(&["login", "test-host", "--because", "INC-42 a look", "--for", "2m"]).run().fine();

    site.stop();
    make_key(&path, "");
    let key = fs::read_to_string(path.with_extension("pub")).unwrap();
    fs::write(&signers, text.replace(&line, &format!("host_ca_key = \"{}\"", key.trim()))).unwrap();
    site.serve();
    site.apply();
    checked(&site, "test-host", &renew(&site, "test-host").unwrap());
}
