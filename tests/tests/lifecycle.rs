//! The life of a request beyond one approval: windows, extensions, ends, break-glass, and what is
//! told of them afterwards; with the real programs.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::path::PathBuf;

use jit_ssh_tests::api::{Caller, now};
use jit_ssh_tests::program::{Program, wait_until};
use jit_ssh_tests::{ASK, POLICY, Persona, Site};

const PENDING: i32 = 3;
const OVER: i32 = 5;
const REFUSED: i32 = 6;

const TERMS: &str = "permit = [\"pty\"]\nextend = { max = \"1m\", times = 1 }\nbreak_glass = { max_for = \"2m\" }\n";

/// The usual policy, whose rule for production has extensions and break-glass.
fn policy() -> String {
    assert!(POLICY.contains("permit = [\"pty\"]\n"));
    POLICY.replacen("permit = [\"pty\"]\n", TERMS, 1)
}

/// The revocation list of the only signer, as a host gets it, in a file.
fn krl(site: &Site) -> PathBuf {
    let path = site.path().join("krl");
    std::fs::write(&path, Caller::new(site).krl()).unwrap();
    path
}

/// Whether `ssh-keygen -Q` finds the certificate revoked.
fn is_revoked(site: &Site, certificate: &str) -> bool {
    let file = site.path().join("judged.pub");
    std::fs::write(&file, certificate).unwrap();
    let said = Program::new("ssh-keygen").args(["-Q", "-f"]).args([&krl(site), &file]).run();
    assert_eq!(said.out.contains("REVOKED"), said.code != 0, "{said:?}");
    said.code != 0
}

#[test]
fn access_is_given_back_and_taken_away_and_the_list_for_hosts_names_its_certificate() {
    let (site, alice, bob) = Site::running(&policy());
    let first = alice.granted_by(&bob);
    let certificate = alice.certificates().pop().unwrap();
    assert!(!is_revoked(&site, &certificate));
    bob.jit(&["release", &first, "--yes"]).run().ended(REFUSED);
    alice.jit(&["cancel", &first, "--yes"]).run().ended(1);
    let said = alice.jit(&["release", &first, "--yes", "--json"]).run().fine();
    assert_eq!(said.text("status"), "released");
    let live = said.field("live_seconds").as_u64().unwrap();
    assert!((1..=120).contains(&live), "{live}");
    assert!(alice.certificates().is_empty(), "it is out of the agent");
    assert!(is_revoked(&site, &certificate));
    alice.jit(&["watch", &first]).run().ended(OVER);

    let second = alice.granted_by(&bob);
    let certificate = alice.certificates().pop().unwrap();
    alice.jit(&["revoke", &second, "--yes"]).run().ended(REFUSED);
    let said = bob.jit(&["revoke", &second, "--because", "laptop lost", "--yes", "--json"]);
    assert_eq!(said.run().fine().text("status"), "revoked");
    assert!(is_revoked(&site, &certificate));
    let told = alice.jit(&["watch", &second]).run().ended(OVER);
    assert!(told.err.contains("bob") && told.err.contains("laptop lost"), "{}", told.err);
    assert!(alice.certificates().is_empty(), "it is out of the agent");

    // An admin takes away what they could not have approved.
    let third = alice.granted_by(&bob);
    let admin = Persona::new(site.path(), "admin-home");
    let key = site.path().join("admin");
    let enrol = ["enroll", &site.url, "--as", "admin", "--identity", key.to_str().unwrap()];
    admin.jit(&enrol).run().fine();
    admin.jit(&["revoke", &third, "--yes"]).run().fine();
    assert!(site.verify_log().contains("log: ok"));
}

#[test]
fn what_was_taken_away_is_dropped_by_the_next_login_which_asks_anew_or_prolongs_what_is_live() {
    let (_site, alice, bob) = Site::running(&policy());
    let id = alice.granted_by(&bob);
    let longer = ["login", "prod-host", "--because", "INC-42 still", "--for", "3m", "--no-wait"];
    bob.jit(&["revoke", &id, "--because", "enough", "--yes"]).run().fine();
    // Before anything is dropped, status knows.
    let told = alice.jit(&["status", "--json"]).run().fine();
    assert_eq!((told.text("status"), told.text("known")), ("revoked".into(), "ca".into()));
    let table = alice.jit(&["status"]).run().fine().out;
    assert!(table.contains(" revoked "), "{table}");
    let would = alice.jit(&longer).args(["--dry-run"]).run().fine();
    assert!(would.err.contains("taken away by bob: enough"), "{}", would.err);
    assert_eq!(alice.certificates().len(), 1, "a dry run drops nothing");
    let said = alice.jit(&longer).args(["--json"]).run().ended(PENDING);
    assert_ne!(said.text("id"), id);
    let told = format!("The earlier request {id} is over: ");
    assert_eq!(said.err.matches(&told).count(), 1, "{}", said.err);
    assert!(alice.certificates().is_empty(), "it is out of the agent");
    alice.jit(&["cancel", &said.text("id"), "--yes"]).run().fine();

    // Of two, the one that is live is prolonged, though the other would have ended later.
    let live = alice.granted_by(&bob);
    let said = alice.jit(&longer).args(["--new", "--json"]).run().ended(PENDING);
    let later = said.text("id");
    bob.jit(&["approve", &later, "--yes"]).run().fine();
    alice.jit(&["watch", &later]).run().fine();
    bob.jit(&["revoke", &later, "--yes"]).run().fine();
    let extend = ["login", "prod-host", "--extend", "--for", "1m", "--no-wait"];
    let said = alice.jit(&extend).run().ended(PENDING);
    let told = format!("This is to prolong the access of request {live}");
    assert!(said.err.contains(&told), "{}", said.err);
}

#[test]
fn live_access_is_prolonged_under_its_rule_and_falls_with_what_it_prolongs() {
    let (site, alice, bob) = Site::running(&policy());
    let host = site.host("prod-host");
    let id = alice.granted_by(&bob);
    let extend = ["login", "prod-host", "--extend", "--because", "INC-42 still", "--for"];
    // The rule bounds it.
    let said = alice.jit(&extend).args(["5m", "--no-wait", "--json"]).run().ended(PENDING);
    assert!(said.err.contains("by the 1m that the rule prod allows"), "{}", said.err);
    let longer = said.text("id");
    assert_ne!(longer, id);
    bob.jit(&["approve", &longer, "--yes"]).run().fine();
    alice.jit(&["watch", &longer]).run().fine();
    assert_eq!(alice.certificates().len(), 1, "never two of ours for one host");
    assert_eq!(alice.ssh(&host, "echo in").fine().out, "in\n");
    let until = |id: &str| {
        let shown = alice.jit(&["show", id, "--json"]).run().fine();
        shown.field("access_until").as_u64().unwrap()
    };
    assert_eq!(until(&longer), until(&id) + 60);
    // Once is what the rule says.
    alice.jit(&extend).args(["1m", "--no-wait"]).run().ended(REFUSED);

    let certificate = alice.certificates().pop().unwrap();
    let said = bob.jit(&["revoke", &id, "--because", "enough", "--yes", "--json"]).run().fine();
    let live = said.field("live_seconds").as_u64().unwrap();
    let left = until(&longer) - now();
    assert!(live.abs_diff(left) <= 2, "{live} is not the {left} of what falls with it");
    let shown = alice.jit(&["show", &longer]).run().fine().out;
    let fell = format!("by bob: enough (with {id}, which it prolongs)");
    assert!(shown.contains(&fell), "{shown}");
    alice.jit(&["watch", &longer]).run().ended(OVER);
    assert!(is_revoked(&site, &certificate), "what prolongs it falls with it");
    assert!(site.verify_log().contains("log: ok"));
}

#[test]
fn a_window_may_be_approved_before_it_opens_and_its_clock_runs_from_then() {
    let (site, alice, bob) = Site::running(&policy());
    let opens = now() + 6;
    let at = Program::new("date").args(["-u", "-d", &format!("@{opens}"), "+%Y-%m-%dT%H:%M:%SZ"]);
    let at = at.run().fine().out;
    let id = alice.ask(&["--at", at.trim()]);
    bob.jit(&["approve", &id, "--yes"]).run().fine();
    let shown = alice.jit(&["show", &id, "--json"]).run().fine();
    assert_eq!(shown.text("status"), "approved");
    let watching = alice.jit(&["watch", &id, "--json"]).start();
    assert!(alice.certificates().is_empty());
    let said = watching.wait().fine();
    assert!(now() >= opens, "no certificate before its time");
    assert_eq!(said.field("access_until").as_u64().unwrap(), opens + 120);
    assert_eq!(alice.certificates().len(), 1);
    alice.jit(&ASK).args(["--at", "2020-01-01T00:00:00Z"]).run().ended(2);
    assert!(site.verify_log().contains("log: ok"));
}

#[test]
fn break_glass_goes_ahead_is_told_and_blocks_its_next_use_until_it_is_reviewed() {
    let (mut site, alice, bob) = Site::running(&policy());
    let broken = [&ASK[..], &["--break-glass", "all leads are on a plane"]].concat();
    // Without a terminal it needs the host's name, and --yes is not enough.
    alice.jit(&broken).args(["--yes"]).run().ended(2);
    alice.jit(&broken).args(["--break-glass-confirm", "other-host"]).run().ended(2);
    assert!(alice.certificates().is_empty());
    let confirmed = [&broken[..], &["--break-glass-confirm", "prod-host", "--json"]].concat();
    let said = alice.jit(&confirmed).run().fine();
    let id = said.text("id");
    assert_eq!(said.text("basis"), "break-glass");
    assert_eq!(alice.certificates().len(), 1);
    let waits = || {
        let said = bob.jit(&["requests", "--to-decide", "--json"]).run().fine();
        said.json().iter().any(|row| row["id"] == id.as_str())
    };
    assert!(waits(), "who was skipped is told");

    alice.jit(&["logout"]).run().fine();
    let again = [&confirmed[..], &["--new"]].concat();
    let blocked = alice.jit(&again).run().ended(REFUSED);
    assert_eq!(blocked.text("error"), "REVIEW_NEEDED");
    // Front and signer remember it over a restart.
    site.kill();
    site.serve();
    assert_eq!(alice.jit(&again).run().ended(REFUSED).text("error"), "REVIEW_NEEDED");
    assert!(waits());
    alice.jit(&["approve", &id, "--yes"]).run().ended(REFUSED);
    bob.jit(&["approve", &id, "--because", "it was right", "--yes"]).run().fine();
    assert!(!waits());
    alice.jit(&again).run().fine();
    assert!(site.verify_log().contains("log: ok"));
}

#[test]
fn approvals_that_have_nothing_in_common_are_a_refusal_told_to_both() {
    let policy = policy().replace("count = 1", "count = 2");
    let mut site = Site::initialised();
    let alice = Persona::new(site.path(), "alice");
    let [bob, carol] = ["bob", "carol"].map(|id| Persona::new(site.path(), id));
    site.write_people(&[(&alice, &["sre"]), (&bob, &["leads"]), (&carol, &["leads"])]);
    site.write_hosts();
    site.write_policy(&policy);
    site.serve();
    site.apply();
    for persona in [&alice, &bob, &carol] {
        persona.enroll(&site.url);
    }
    let both = ["login", "prod-host", "other-host", "--because", "INC-42 disks", "--for", "2m"];
    let waiting = alice.jit(&both).start();
    let mut id = String::new();
    wait_until("the request", || {
        let said = bob.jit(&["requests", "--to-decide", "--json"]).run().fine();
        id = said.json().last().map_or(String::new(), |row| row["id"].as_str().unwrap().into());
        !id.is_empty()
    });
    bob.jit(&["approve", &id, "--host", "prod-host", "--yes"]).run().fine();
    let said = carol.jit(&["approve", &id, "--host", "other-host", "--yes"]).run();
    assert!(said.err.contains("nothing") || said.out.contains("nothing"), "{said:?}");
    let told = waiting.wait().ended(REFUSED);
    assert!(told.err.contains("nothing"), "{}", told.err);
}

#[test]
fn what_would_follow_is_told_before_asking_and_what_followed_afterwards() {
    let (site, alice, bob) = Site::running(&policy());
    let first = alice.granted_by(&bob);
    let dry = alice.jit(&ASK).args(["--dry-run", "--new", "--json"]).run().fine();
    assert_eq!(dry.text("rule"), "prod");
    assert_eq!(dry.json().pop().unwrap()["typical_of"], 1);
    let told = alice.jit(&ASK).args(["--dry-run", "--new"]).run().fine();
    assert!(format!("{}{}", told.out, told.err).contains("bob"), "{told:?}");
    let refused =
        alice.jit(&["login", "prod-host", "--dry-run", "--for", "2m", "--because", "fun"]);
    let refused = refused.args(["--new"]).run().ended(REFUSED);
    assert!(refused.err.contains("INC-[0-9]+"), "{}", refused.err);
    // Nothing was asked.
    let rows = alice.jit(&["requests", "--all", "--since", "1d", "--json"]).run().fine().json();
    assert_eq!(rows.len(), 1);

    alice.jit(&["release", &first, "--yes"]).run().fine();
    let shown = bob.jit(&["show", &first, "--json"]).run().fine();
    let timeline = shown.field("timeline");
    let events: Vec<&str> =
        timeline.as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect();
    for event in ["requested", "approved", "certificate", "released"] {
        assert!(events.iter().any(|told| told.contains(event)), "{event} in {events:?}");
    }
    let report = site.ca(&["report", "--config", "ca-config", "--since", "1d", "--json"]);
    let rows = report.run().fine().json();
    assert!(rows.iter().any(|row| row["id"] == first.as_str()), "{rows:?}");
    let csv = site.ca(&["report", "--config", "ca-config", "--since", "1d", "--csv"]).run().fine();
    assert!(csv.out.contains(&first), "{}", csv.out);
}

#[test]
fn a_changed_policy_is_tried_on_what_was_asked_before_it_is_applied() {
    let (site, alice, bob) = Site::running(&policy());
    alice.granted_by(&bob);
    // Production by itself.
    let changed =
        policy().replace("approvals = [{ from = [\"group:leads\"], count = 1 }]", "auto = {}");
    let changed = changed.replace("break_glass = { max_for = \"2m\" }\n", "");
    site.write_policy(&changed);
    let replayed = site.ca(&["policy", "replay", "--config", "ca-config", "--since", "1d"]).run();
    let replayed = replayed.fine();
    assert!(replayed.out.contains("automatic"), "{replayed:?}");
    let difference = site.ca(&["apply", "--config", "ca-config", "--identity", "admin"]).run();
    assert!(
        difference.err.contains("bob loses") || difference.out.contains("bob loses"),
        "{difference:?}"
    );
}

#[test]
fn what_is_over_is_told_as_it_was_when_rule_and_approvers_change_and_after_a_restart() {
    let (mut site, alice, bob) = Site::running(&policy());
    let used = alice.granted_by(&bob);
    alice.jit(&["release", &used, "--yes"]).run().fine();
    let denied = alice.ask(&[]);
    bob.jit(&["deny", &denied, "--because", "not now", "--yes"]).run().fine();
    // How long the certificate would still work counts down by itself.
    let lasting = |said: String| {
        let rows = said.lines().map(|line| serde_json::from_str(line).unwrap());
        let strip = |mut row: serde_json::Value| {
            row.as_object_mut().unwrap().remove("live_seconds");
            row.to_string()
        };
        rows.map(strip).collect::<Vec<String>>().join("\n")
    };
    let show = |id: &str| lasting(alice.jit(&["show", id, "--json"]).run().out);
    let listed = || lasting(bob.jit(&["requests", "--all", "--json"]).run().fine().out);
    let before = (show(&used), show(&denied), listed());
    for expected in ["\"prod\"", "approved", "certificate", "released"] {
        assert!(before.0.contains(expected), "{expected}: {}", before.0);
    }
    assert!(!before.0.contains("does not count"), "{}", before.0);
    assert!(before.1.contains("denied by bob") || before.1.contains("\"denied\""), "{}", before.1);

    // Another name, and nobody asks bob any more.
    let carol = Persona::new(site.path(), "carol");
    site.write_people(&[(&alice, &["sre"]), (&bob, &["sre"]), (&carol, &["leads"])]);
    let other = policy().replace("name = \"prod\"", "name = \"production\"");
    assert_ne!(other, policy());
    site.write_policy(&other);
    site.apply();
    assert_eq!((show(&used), show(&denied), listed()), before);
    site.stop();
    site.serve();
    assert_eq!((show(&used), show(&denied), listed()), before);
    // What is asked now goes by the rules of now.
    let new = alice.ask(&[]);
    assert!(show(&new).contains("production"));
    bob.jit(&["approve", &new, "--yes"]).run().ended(1);
}
