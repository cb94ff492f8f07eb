//! Security keys, from `ssh-keygen -t ecdsa-sk` to the login: OpenSSH's own programs with a security key
//! in software (`tests/security_key/software.c`), built here, as OpenSSH's own tests do it.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use jit_ssh_tests::program::Program;
use jit_ssh_tests::{ASK, POLICY, Persona, Said, Site, Sshd};

const TOUCH: &str = "touch your security key now";
const AGENT: i32 = 8;
const REFUSED: i32 = 6;

/// Builds the security key.
fn provider(site: &Site) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("security_key/software.c");
    let built = fs::canonicalize(site.path()).unwrap().join("sk.so");
    let build = Program::new("cc").args(["-shared", "-fPIC", "-o"]).args([&built]);
    build.args([&source]).args(["-lcrypto"]).run().fine();
    built
}

/// A CA with alice and bob, whose keys are on a security key each.
fn site(policy: &str) -> (Site, Persona, Persona, PathBuf) {
    let mut site = Site::initialised();
    let provider = provider(&site);
    let persona = |id: &str| Persona::with_security_key(site.path(), id, &provider, &[]);
    let (alice, bob) = (persona("alice"), persona("bob"));
    site.write_people(&[(&alice, &["sre"]), (&bob, &["sre", "leads"])]);
    site.write_hosts();
    site.write_policy(policy);
    site.serve();
    site.apply();
    for persona in [&alice, &bob] {
        persona.enroll(&site.url);
    }
    (site, alice, bob, provider)
}

fn touches(said: &Said) -> usize {
    said.err.lines().filter(|line| *line == TOUCH).count()
}

#[test]
fn security_keys_sign_statements_and_each_touch_is_announced_once() {
    let hardware = POLICY.replacen("count = 1 }", "count = 1, strength = \"hardware\" }", 1);
    assert_ne!(hardware, POLICY);
    let (site, alice, bob, _) = site(&hardware);
    let asked = alice.jit(&ASK).args(["--no-wait", "--json"]).run().ended(3);
    assert_eq!(touches(&asked), 1, "{}", asked.err);
    let id = asked.text("id");
    // The first reading opens a session, which is a statement too.
    bob.jit(&["show", &id]).run().fine();
    let approved = bob.jit(&["approve", &id, "--yes"]).run().fine();
    assert_eq!(touches(&approved), 1, "{}", approved.err);
    let sshd = site.host("prod-host");
    alice.jit(&["watch", &id]).run().fine();
    assert_eq!(alice.ssh(&sshd, "echo in").fine().out, "in\n");
    site.verify_log();

    // Nobody touches it.
    fs::write(alice.home.join("untouched"), "").unwrap();
    let refused = alice.jit(&ASK).args(["--new", "--json"]).run().ended(AGENT);
    assert_eq!(touches(&refused), 1);
    assert_eq!(refused.text("error"), "TOUCH");
    fs::remove_file(alice.home.join("untouched")).unwrap();
    alice.jit(&ASK).args(["--new", "--no-wait"]).run().ended(3);
}

#[test]
fn a_security_key_is_certified_and_logs_in_with_what_the_rule_asks_of_it() {
    for (word, verify) in [("hardware", false), ("verified", true)] {
        let auto = format!("auto = {{}}\nsubject_key = \"{word}\"");
        let (site, alice, _bob, provider) = site(&POLICY.replace("auto = {}", &auto));
        let sshd = site.host("test-host");
        let ask = ["login", "test-host", "--because", "trying it", "--json"];
        let refused = alice.jit(&ask).run().ended(REFUSED);
        assert!(refused.text("hint").contains("--key"), "{refused:?}");

        // A key of its own, that asks who is there where that is wanted.
        let file = alice.home.join("id_sk");
        let make = ["-q", "-t", "ecdsa-sk", "-N", "", "-w"];
        let make = Program::new("ssh-keygen").args(make).args([&provider]).args(["-f"]);
        let verified: &[&str] = if verify { &["-O", "verify-required"] } else { &[] };
        make.args([&file]).args(verified).run().fine();
        let key = file.display().to_string();
        let said = alice.jit(&ask).args(["--key", &key]).run().fine();
        assert_eq!(said.text("loaded"), "file", "{said:?}");
        let certificate = alice.home.join("run/hosts/test-host-cert.pub");
        let shown = Program::new("ssh-keygen").args(["-L", "-f"]).args([&certificate]).run();
        assert_eq!(shown.fine().out.contains("verify-required"), verify);
        let login = |sshd: &Sshd, file: &Path| {
            let provider = format!("SecurityKeyProvider={}", provider.display());
            let certificate = format!("CertificateFile={}", certificate.display());
            let program = alice.program("ssh").env("SSH_AUTH_SOCK", "");
            let program = program.args(sshd.client_options()).args(["-o", &provider]);
            let program = program.args(["-o", &certificate]).args(["-i"]).args([file]);
            program.args([sshd.name(), "echo in"]).run()
        };
        assert_eq!(login(&sshd, &file).fine().out, "in\n", "{}", sshd.log());
        // As the generated configuration names it.
        let linked = alice.home.join("run/hosts/test-host");
        assert_eq!(login(&sshd, &linked).fine().out, "in\n");
        assert_eq!(fs::read_link(&linked).unwrap(), file, "no copy of it was made");

        if verify {
            // A key that only asks for a touch is certified too, and sshd holds it to more.
            let plain = alice.key_file().display().to_string();
            alice.jit(&ask).args(["--new", "--key", &plain]).run().fine();
            login(&sshd, &alice.key_file()).ended(255);
            assert!(sshd.log().contains("verif"), "{}", sshd.log());
        }
        alice.jit(&["logout"]).run().fine();
        assert!(file.exists() && !linked.exists(), "the key is the person's own");
    }
}
