//! What a person is told by each command, held against `tests/snapshots`: run with
//! `JIT_SSH_SNAPSHOTS=write` to write them anew, and read the difference as the person would.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use jit_ssh_tests::snapshot::Snapshots;
use jit_ssh_tests::{POLICY, Persona, Program, Said, Site};

const GLASS: &str = "permit = [\"pty\"]\nextend = { max = \"5m\", times = 2 }\nbreak_glass = { max_for = \"2m\" }\n";

struct Stage {
    told: Snapshots,
}

impl Stage {
    fn new(site: &Site) -> Stage {
        let mut told = Snapshots::default();
        told.name(site.path().to_str().unwrap(), "SITE");
        told.name(&format!(":{}", site.port()), ":PORT");
        // Whoever runs the tests.
        let user = Program::new("id").args(["-un"]).run().fine().out;
        told.name(&format!("{}@", user.trim()), "LOGIN@");
        told.name(&format!("as {}", user.trim()), "as LOGIN");
        told.name(&format!("              {}\n", user.trim()), "              LOGIN\n");
        Stage { told }
    }

    fn say(&mut self, when: &str, persona: &Persona, args: &[&str]) -> Said {
        let said = persona.jit(args).run();
        self.told.add(args[0], when, &said);
        said
    }

    /// A new request, whose id stands as `name` from now on.
    fn ask(&mut self, name: &str, persona: &Persona, more: &[&str]) -> String {
        let id = persona.ask(more);
        self.told.name(&id, name);
        id
    }
}

#[test]
fn what_each_command_says_is_what_was_read_and_found_good() {
    let policy = POLICY.replacen("permit = [\"pty\"]\n", GLASS, 1);
    let (mut site, alice, bob) = Site::running(&policy);
    let (mut it, alice, bob) = (Stage::new(&site), &alice, &bob);
    let stranger = Persona::new(site.path(), "carol");
    it.say("nobody is enrolled", &stranger, &["status"]);
    let url = site.url.clone();
    it.say("the CA does not know the person", &stranger, &["enroll", &url, "--as", "carol"]);
    let (address, pin) = url.split_once("#SHA256:").unwrap();
    let other = if pin.starts_with('A') { 'B' } else { 'A' };
    let wrong = format!("{address}#SHA256:{other}{}", &pin[1..]);
    it.say("the pin is another's", &stranger, &["enroll", &wrong, "--as", "carol", "--yes"]);
    it.say("nothing there", alice, &["status"]);
    it.say("nothing there", alice, &["requests"]);
    it.say("nothing there", bob, &["requests", "--to-decide"]);
    it.say("no reason, no terminal", alice, &["login", "prod-host"]);
    it.say("a reason that no rule takes", alice, &["login", "prod-host", "--because", "fun"]);
    it.say("too long", alice, &["login", "prod-host", "--because", "INC-42 x", "--for", "2h"]);
    it.say("an unknown host", alice, &["login", "nowhere", "--because", "INC-42 x"]);
    it.say(
        "what would follow",
        alice,
        &["login", "prod-host", "--because", "INC-42 x", "--dry-run"],
    );
    it.say("no such request", bob, &["show", "0000"]);

    let first = it.ask("FIRST-ID", alice, &[]);
    let login = ["login", "prod-host", "--because", "INC-42 disk full", "--for", "2m", "--no-wait"];
    it.say("it waits already", alice, &login);
    it.say("one waits", bob, &["requests", "--to-decide"]);
    it.say("one waits", alice, &["requests"]);
    it.say("one waits for the person", bob, &["status"]);
    it.say("one waits for others", alice, &["status"]);
    it.say("pending", bob, &["show", &first]);
    it.say("no terminal, no --yes", bob, &["approve", &first]);
    it.say("longer than asked", bob, &["approve", &first, "--for", "1h", "--yes"]);
    it.say("another host than asked", bob, &["approve", &first, "--host", "x", "--yes"]);
    it.say("one's own", alice, &["approve", &first, "--yes"]);
    it.say("no reason, no terminal", bob, &["deny", &first, "--yes"]);
    it.say("narrowed", bob, &["approve", &first, "--for", "1m", "--yes"]);
    it.say("too late", bob, &["approve", &first, "--because", "again", "--yes"]);
    it.say("approved", alice, &["watch", &first]);
    it.say("held", alice, &["status"]);
    it.say("held", alice, &["login", "prod-host", "--because", "INC-42 disk full"]);
    it.say("given back", alice, &["release", &first, "--yes"]);
    it.say("given back already", alice, &["release", &first, "--yes"]);
    it.say("given back", bob, &["show", &first]);

    let second = it.ask("SECOND-ID", alice, &["--new"]);
    it.say("denied", bob, &["deny", &second, "--because", "not during the release", "--yes"]);
    it.say("denied", alice, &["watch", &second]);
    let third = it.ask("THIRD-ID", alice, &["--new"]);
    it.say("what waits would lose its key", alice, &["logout"]);
    it.say("taken back", alice, &["cancel", &third, "--yes"]);
    it.say("taken back", alice, &["watch", &third]);
    let fourth = it.ask("FOURTH-ID", alice, &["--new"]);
    bob.jit(&["approve", &fourth, "--yes"]).run().fine();
    it.say("taken away", bob, &["revoke", &fourth, "--because", "enough", "--yes"]);
    it.say("taken away", alice, &["watch", &fourth]);
    it.say("nothing left", alice, &["logout"]);
    it.say(
        "break-glass without confirming it",
        alice,
        &[
            "login",
            "prod-host",
            "--because",
            "INC-42 fire",
            "--for",
            "2m",
            "--break-glass",
            "all away",
        ],
    );
    it.say("no host has a key", alice, &["hosts", "--known-hosts"]);
    let fifth = it.ask("FIFTH-ID", alice, &["--new"]);
    site.kill();
    it.say("no CA", alice, &["status"]);
    it.say("no CA", alice, &["watch", &fifth]);
    it.say("no CA", bob, &["approve", &fifth, "--yes"]);
    it.say("no CA", alice, &["login", "prod-host", "--because", "INC-44 x", "--no-wait"]);
    it.told.check();
}
