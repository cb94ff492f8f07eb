//! Where certificates are kept: in agents of several kinds, bound to their hosts, or in files; with the
//! real ssh, sshd and agents.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use jit_ssh_tests::program::Program;
use jit_ssh_tests::{POLICY, Persona, Said, Site, Sshd};

const LOGIN: [&str; 5] = ["login", "test-host", "--because", "trying it", "--json"];

/// A CA whose bundle has the key of `test-host`, that host, and another sshd that takes itself for it:
/// it trusts the CA and has the same principals, and another key.
fn site() -> (Site, Persona, Sshd, Sshd) {
    let (site, alice, _bob) = Site::running(POLICY);
    let sshd = Sshd::new(site.path(), "test-host");
    let path = site.config().join("hosts.toml");
    let text = fs::read_to_string(&path).unwrap();
    let block = "name = \"test-host\"\n";
    assert!(text.contains(block));
    let key = format!("{block}key = \"{}\"\n", sshd.host_key());
    fs::write(path, text.replace(block, &key)).unwrap();
    site.apply();
    sshd.setup(&site.url, &[]).fine();
    let evil = Sshd::new(site.path(), "evil");
    let setup = Program::new("jit-ssh-host")
        .args(["setup", "--guard", "off", "--allow-lock-out", "--ca", &site.url])
        .args(["--name", "test-host", "--etc"])
        .args([&evil.etc]);
    setup.run().fine();
    (site, alice, sshd, evil)
}

/// ssh to a host by what the file of key and certificate alone give.
fn ssh_by_file(alice: &Persona, sshd: &Sshd) -> Said {
    let key = alice.home.join("run/hosts/test-host");
    let program = alice.program("ssh").env("SSH_AUTH_SOCK", "");
    let program = program.args(sshd.client_options()).args(["-i"]).args([&key]);
    program.args([sshd.name(), "echo in"]).run()
}

fn files(alice: &Persona) -> Vec<String> {
    let Ok(entries) = fs::read_dir(alice.home.join("run/hosts")) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn a_certificate_in_the_agent_is_of_no_use_toward_another_host_that_takes_it() {
    let (_site, alice, sshd, evil) = site();
    let said = alice.jit(&LOGIN).run().fine();
    assert_eq!(said.field("bound"), true, "{said:?}");
    assert_eq!(alice.ssh(&sshd, "echo in").fine().out, "in\n", "by its plain key");
    let refused = alice.ssh(&evil, "echo in").ended(255);
    assert!(refused.err.contains("Permission denied"), "{refused:?}");
    // By its host certificate, which is what ssh knows it by here.
    let known = format!("UserKnownHostsFile={}", alice.home.join("state/known_hosts").display());
    let program = alice.program("ssh").args(["-o", &known]).args(sshd.client_options());
    assert_eq!(program.args([sshd.name(), "echo in"]).run().fine().out, "in\n");
    let row = alice.jit(&["status", "--json"]).run().fine();
    assert_eq!((row.field("bound"), row.text("loaded")), (true.into(), "agent".to_owned()));

    // The control: it is the agent alone that keeps it from there.
    let said = alice.jit(&LOGIN).args(["--new", "--unbound"]).run().fine();
    assert_eq!(said.field("bound"), false);
    assert_eq!(alice.certificates().len(), 1, "one for each host");
    assert_eq!(alice.ssh(&evil, "echo in").fine().out, "in\n");
}

#[test]
fn a_host_that_shows_nothing_known_binds_nothing_and_that_is_said() {
    let (site, alice, _bob) = Site::running(POLICY);
    let sshd = site.host("test-host");
    let said = alice.jit(&LOGIN).run().fine();
    assert_eq!(said.field("bound"), false);
    assert!(said.err.contains("no `key` of test-host"), "{}", said.err);
    assert_eq!(alice.ssh(&sshd, "echo in").fine().out, "in\n");
}

#[test]
fn without_the_agent_key_and_certificate_lie_in_files_until_the_access_is_over() {
    let (_site, alice, sshd, _evil) = site();
    let said = alice.jit(&LOGIN).args(["--no-agent"]).run().fine();
    assert_eq!(said.text("loaded"), "file");
    assert!(alice.certificates().is_empty());
    assert_eq!(files(&alice), ["test-host", "test-host-cert.pub"]);
    let key: PathBuf = alice.home.join("run/hosts/test-host");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    // The command that is told is one that works.
    let command = said.text("command");
    let options = sshd.client_options().join("' '");
    let script = format!("{} 'echo in'", command.replacen("ssh ", &format!("ssh '{options}' "), 1));
    let run = alice.program("sh").env("SSH_AUTH_SOCK", "").args(["-c", &script]).run();
    assert_eq!(run.fine().out, "in\n", "{script}");
    assert_eq!(ssh_by_file(&alice, &sshd).fine().out, "in\n");

    // It is at hand, and seen.
    let again = alice.jit(&LOGIN).run().fine();
    assert_eq!((again.text("id"), again.text("loaded")), (said.text("id"), "file".to_owned()));
    assert_eq!(alice.jit(&["status", "--json"]).run().fine().text("command"), command);
    alice.jit(&["release", &said.text("id"), "--yes"]).run().fine();
    assert!(files(&alice).is_empty());
    ssh_by_file(&alice, &sshd).ended(255);

    alice.jit(&LOGIN).args(["--no-agent"]).run().fine();
    alice.jit(&["logout"]).run().fine();
    assert!(files(&alice).is_empty());
}

#[test]
fn agents_that_are_dead_or_drop_certificates_are_told_of_and_files_used() {
    let (site, alice, sshd, _evil) = site();
    // Who signs with a file needs no agent for that.
    let identity = alice.key_file().display().to_string();
    alice.jit(&["enroll", &site.url, "--as", "alice", "--identity", &identity]).run().fine();
    let dead = alice.home.join("nobody");
    for socket in ["", dead.to_str().unwrap()] {
        let said = alice.jit(&LOGIN).args(["--new"]).env("SSH_AUTH_SOCK", socket).run().fine();
        assert_eq!(said.text("loaded"), "file");
        assert!(said.err.contains("warning: ") && said.err.contains("ssh-agent"), "{}", said.err);
        assert_eq!(ssh_by_file(&alice, &sshd).fine().out, "in\n");
    }
    // To be asked before each use, only an agent will do.
    let confirmed = alice.jit(&LOGIN).args(["--new", "--confirm"]).env("SSH_AUTH_SOCK", "");
    confirmed.run().ended(8);

    // The real gpg-agent, which runs the login itself and ends with it.
    let home = tempfile::Builder::new().prefix("gpg").tempdir().unwrap();
    let jit = Program::path("jit-ssh").display().to_string();
    let said = alice
        .program("gpg-agent")
        .args(["--homedir"])
        .args([home.path()])
        .args(["--enable-ssh-support", "--daemon", &jit])
        .args(LOGIN)
        .args(["--new"])
        .run()
        .fine();
    assert_eq!(said.text("loaded"), "file", "{said:?}");
    assert!(said.err.contains("the certificate lies in a file of yours"), "{}", said.err);
    assert_eq!(ssh_by_file(&alice, &sshd).fine().out, "in\n");
}
