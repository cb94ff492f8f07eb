//! What a person is told before, beside and after an access, with the real programs: that a login
//! foretold is the login that follows, and that no word leads astray.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use jit_ssh_core::statement::Kind;
use jit_ssh_tests::api::{Caller, sign};
use jit_ssh_tests::program::Said;
use jit_ssh_tests::{ASK, POLICY, Persona, Site};

const PENDING: i32 = 3;
const DENIED: i32 = 4;
const OVER: i32 = 5;
const REFUSED: i32 = 6;

const TERMS: &str = "permit = [\"pty\"]\nextend = { max = \"5m\", times = 2 }\nbreak_glass = { max_for = \"2m\" }\n";

/// The usual policy, whose rule for production has extensions and break-glass.
fn policy() -> String {
    assert!(POLICY.contains("permit = [\"pty\"]\n"));
    POLICY.replacen("permit = [\"pty\"]\n", TERMS, 1)
}

fn dry(persona: &Persona, args: &[&str]) -> Said {
    persona.jit(args).args(["--dry-run", "--json"]).run().fine()
}

#[test]
fn a_dry_run_without_a_reason_names_the_rule_that_wants_one_and_what_follows_without() {
    // A later rule takes any reason, and asks two: it is not the one that is meant.
    let later = "[[allow]]\nname = \"any-reason\"\nwho = [\"group:sre\"]\nhosts = [\"label:env=prod\"]\nlogins = [\"LOGIN\"]\nmax_for = \"1h\"\ncert_for = \"5m\"\napprovals = [{ from = [\"group:leads\"], count = 1 }]\n";
    let (_site, alice, _bob) = Site::running(&format!("{}{later}", policy()));
    let said = dry(&alice, &["login", "prod-host"]);
    assert_eq!((said.text("rule"), said.text("would")), ("prod".to_owned(), "ask".to_owned()));
    assert_eq!(said.field("reason_min"), 5);
    assert_eq!(said.text("reason_pattern"), "INC-[0-9]+");
    assert_eq!(said.text("reason_hint"), "name the incident");
    assert_eq!(said.text("otherwise_rule"), "any-reason");
    assert!(said.field("reason").is_null());
    let told = alice.jit(&["login", "prod-host", "--dry-run"]).run().fine().out;
    assert!(told.contains("prod wants at least 5 characters and something like"), "{told}");
    assert!(told.contains("any-reason decides, by approvals"), "{told}");
    assert!(told.contains("for 15m unless --for says another time"), "{told}");
    // With one that does not fit, the later rule it is, as it would be.
    let said = dry(&alice, &["login", "prod-host", "--because", "fun"]);
    assert_eq!(said.text("rule"), "any-reason");
    assert!(said.field("otherwise_rule").is_null());
    // All else is judged as ever.
    alice.jit(&["login", "prod-host", "--for", "2h", "--dry-run"]).run().ended(6);
}

#[test]
fn a_dry_run_foretells_what_the_login_does() {
    let (_site, alice, bob) = Site::running(&policy());
    assert_eq!(dry(&alice, &ASK).text("would"), "ask");
    let id = alice.ask(&[]);
    let said = dry(&alice, &ASK);
    assert_eq!((said.text("would"), said.text("id")), ("wait".to_owned(), id.clone()));
    assert_eq!(alice.ask(&[]), id, "as foretold");

    bob.jit(&["approve", &id, "--yes"]).run().fine();
    let said = dry(&alice, &ASK);
    assert_eq!((said.text("would"), said.text("id")), ("renew".to_owned(), id.clone()));
    assert!(alice.certificates().is_empty(), "nothing was taken");
    assert_eq!(alice.jit(&ASK).args(["--json"]).run().fine().text("id"), id, "as foretold");

    let said = dry(&alice, &ASK);
    assert_eq!((said.text("would"), said.text("id")), ("use".to_owned(), id.clone()));
    let told = alice.jit(&ASK).args(["--dry-run"]).run().fine().out;
    assert!(told.contains("ask for nothing") && told.contains(&id), "{told}");

    let longer = ["login", "prod-host", "--because", "INC-42 still", "--for", "4m"];
    let said = dry(&alice, &longer);
    assert_eq!((said.text("would"), said.text("rule")), ("extend".to_owned(), "prod".to_owned()));
    assert_eq!((said.field("extension"), said.field("extensions_left")), (1.into(), 1.into()));
    let made = alice.jit(&longer).args(["--no-wait", "--json"]).run().ended(PENDING);
    assert_eq!(made.field("extends"), said.field("extends"), "as foretold");
    assert!(!made.field("extends").is_null());

    // Without an ssh-agent the login ends, and the dry run says so.
    let lone = alice.jit(&["login", "prod-host", "--new", "--because", "INC-42 x", "--dry-run"]);
    let lone = lone.env("SSH_AUTH_SOCK", "").run().fine();
    assert!(lone.err.contains("this would fail (exit code 8)"), "{}", lone.err);
}

#[test]
fn logout_names_what_stands_and_a_request_without_its_key_is_not_taken_for_access() {
    let (mut site, alice, bob) = Site::running(&policy());
    let id = alice.ask(&[]);
    let refused = alice.jit(&["logout", "--json"]).run().ended(2);
    assert!(refused.text("message").contains(&id), "{refused:?}");
    assert!(refused.text("hint").contains(&format!("jit-ssh cancel {id}")), "{refused:?}");
    assert_eq!(dry(&alice, &ASK).text("would"), "wait", "nothing was removed");
    let said = alice.jit(&["logout", "--yes", "--json"]).run().fine();
    assert!(said.err.contains(&id) && said.err.contains("is pending"), "{}", said.err);
    assert_eq!(said.field("standing")[0]["id"], id.as_str());
    assert_eq!(said.field("standing")[0]["status"], "pending");
    assert_eq!(said.field("keys_removed"), 1);

    // Who decides hears of the approval; who asked hears that it is of no use here.
    let watching = bob.jit(&["watch", &id]).start();
    let mine = alice.jit(&["watch", &id, "--json"]).start();
    bob.jit(&["approve", &id, "--yes"]).run().fine();
    watching.wait().fine();
    let mine = mine.wait().ended(1);
    assert_eq!(mine.text("error"), "KEY_NOT_HERE");
    assert!(mine.text("hint").contains(&format!("jit-ssh cancel {id}")), "{mine:?}");
    assert!(alice.certificates().is_empty());
    alice.jit(&["cancel", &id, "--yes"]).run().fine();

    // What is over, live, or denied does not wait, so there is nothing to ask.
    let live = alice.granted_by(&bob);
    alice.jit(&["watch", &live]).run().fine();
    let denied = alice.ask(&["--new"]);
    bob.jit(&["deny", &denied, "--because", "no", "--yes"]).run().fine();
    let said = alice.jit(&["logout", "--json"]).run().fine();
    assert!(said.err.contains(&format!("jit-ssh release {live}")), "{}", said.err);
    assert_eq!(said.field("standing").as_array().unwrap().len(), 1);
    alice.jit(&["watch", &live]).run().ended(1);
    alice.jit(&["release", &live, "--yes"]).run().fine();

    // Without the CA nobody knows whether it stands: that is said, and asked.
    let last = alice.ask(&[]);
    site.kill();
    alice.jit(&["logout"]).run().ended(2);
    let said = alice.jit(&["logout", "--yes", "--json"]).run().fine();
    assert_eq!(said.field("standing")[0]["id"], last.as_str());
    assert_eq!(said.field("standing")[0]["status"], "unknown");
}

#[test]
fn what_comes_too_late_changes_nothing_and_says_so() {
    let (_site, alice, bob) = Site::running(&policy());
    let late = |args: &[&str], code: i32, reason: &str, words: &str| {
        let said = bob.jit(args).args(["--yes", "--json"]).run().ended(code);
        assert_eq!(said.text("error"), reason, "{args:?}");
        assert!(said.text("message").contains(words), "{args:?}: {}", said.text("message"));
        assert!(said.err.contains(words), "people hear it too: {}", said.err);
        assert!(!said.err.contains("jit-ssh login"), "not for who decides: {}", said.err);
    };
    let nothing = "this decision changes nothing.";
    let none = "there is nothing to revoke.";

    let denied = alice.ask(&[]);
    bob.jit(&["deny", &denied, "--because", "not now", "--yes"]).run().fine();
    late(&["approve", &denied], DENIED, "DENIED", nothing);
    late(&["deny", &denied, "--because", "again"], DENIED, "DENIED", nothing);
    late(&["revoke", &denied], DENIED, "DENIED", none);

    let cancelled = alice.ask(&[]);
    alice.jit(&["cancel", &cancelled, "--yes"]).run().fine();
    late(&["approve", &cancelled], OVER, "CANCELLED", nothing);
    late(&["revoke", &cancelled], OVER, "CANCELLED", none);
    let again = alice.jit(&["cancel", &cancelled, "--yes", "--json"]).run().ended(OVER);
    assert!(again.text("message").contains("there is nothing to cancel."), "{again:?}");

    let active = alice.granted_by(&bob);
    // Not the same statement once more, which would be a retry.
    late(&["approve", &active, "--because", "late"], 1, "SETTLED", "a decision changes nothing");
    late(&["deny", &active, "--because", "late"], 1, "SETTLED", "a decision changes nothing");
    alice.jit(&["release", &active, "--yes"]).run().fine();
    late(&["approve", &active], OVER, "RELEASED", nothing);
    late(&["revoke", &active], OVER, "RELEASED", none);

    let revoked = alice.granted_by(&bob);
    bob.jit(&["revoke", &revoked, "--because", "enough", "--yes"]).run().fine();
    late(&["revoke", &revoked], OVER, "REVOKED", none);
    late(&["deny", &revoked, "--because", "late"], OVER, "REVOKED", nothing);
    let again = alice.jit(&["release", &revoked, "--yes", "--json"]).run().ended(OVER);
    assert!(again.text("message").contains("there is nothing to give back."), "{again:?}");
}

#[test]
fn an_admin_who_is_no_approver_hears_who_is_and_what_is_theirs_to_do() {
    let (site, alice, bob) = Site::running(&policy());
    let id = alice.ask(&[]);
    let admin = Persona::new(site.path(), "admin-home");
    let key = site.path().join("admin");
    let enrol = ["enroll", &site.url, "--as", "admin", "--identity", key.to_str().unwrap()];
    admin.jit(&enrol).run().fine();
    for verdict in [&["approve", &id][..], &["deny", &id, "--because", "no"]] {
        let said = admin.jit(verdict).args(["--yes", "--json"]).run().ended(REFUSED);
        assert_eq!(said.text("error"), "NOT_ALLOWED");
        assert!(said.text("message").contains("the rule prod does not"), "{said:?}");
        let hint = said.text("hint");
        assert!(hint.contains("bob") && hint.contains("jit-ssh revoke"), "{hint}");
    }
    // Who asked hears that they did, as ever.
    let own = alice.jit(&["approve", &id, "--yes", "--json"]).run().ended(REFUSED);
    assert!(own.text("message").contains("made this request"), "{own:?}");
    bob.jit(&["approve", &id, "--yes"]).run().fine();
    admin.jit(&["revoke", &id, "--yes"]).run().fine();
}

#[test]
fn break_glass_is_not_spent_where_a_rule_lets_in_without_asking() {
    let (_site, alice, bob) = Site::running(&policy());
    let broken = |host: &str, more: &[&str]| {
        let args = ["login", host, "--because", "INC-42 disk full", "--for", "2m"];
        let glass = ["--break-glass", "all are away", "--break-glass-confirm", host, "--json"];
        alice.jit(&args).args(glass).args(more)
    };
    let foretold = broken("test-host", &["--dry-run"]).run().fine();
    assert_eq!(foretold.text("basis"), "auto");
    let said = broken("test-host", &[]).run().fine();
    assert!(said.err.contains("Break-glass is not needed: the rule test-auto"), "{}", said.err);
    assert!(said.field("basis").is_null());
    let waits = || bob.jit(&["requests", "--to-decide", "--json"]).run().fine().json().len();
    assert_eq!(waits(), 0, "nobody has to review it");
    // Where approvals are asked for, it is what was said.
    assert_eq!(broken("prod-host", &["--dry-run"]).run().fine().text("basis"), "break-glass");
    let said = broken("prod-host", &[]).run().fine();
    assert_eq!(said.text("basis"), "break-glass");
    assert_eq!(waits(), 1);
}

#[test]
fn a_list_goes_back_further_than_one_page_and_by_days() {
    let mut site = Site::initialised();
    site.add_to_ca_toml(
        "\n[limits]\nrequests_per_person_per_minute = 1000000\ncertificates_per_person_per_minute = 1000000\n",
    );
    let alice = Persona::new(site.path(), "alice");
    site.write_people(&[(&alice, &["sre"])]);
    site.write_hosts();
    site.write_policy(&POLICY.replace("group:leads", "group:sre"));
    site.serve();
    site.apply();
    alice.enroll(&site.url);
    let caller = Caller::new(&site);
    for _ in 0..1_010 {
        let text = caller.request_text("alice", &alice.public_key(), "test-host");
        let signature = sign(&alice, Kind::Request, text.as_bytes());
        caller.submit(text.as_bytes(), &signature).unwrap();
    }
    let list = |args: &[&str]| alice.jit(&["requests", "--json"]).args(args).run();
    let all = list(&["--all", "--limit", "5000"]).fine();
    let ids: std::collections::BTreeSet<String> =
        all.json().iter().map(|row| row["digest"].as_str().unwrap().to_owned()).collect();
    assert_eq!((all.json().len(), ids.len()), (1_010, 1_010), "each once");
    assert!(!all.err.contains("more than"), "{}", all.err);
    let some = list(&["--limit", "1005"]).fine();
    assert_eq!(some.json().len(), 1_005);
    assert!(some.err.contains("There are more than 1005; see further back with --limit."));

    for since in ["30d", "12h", "2026-01-01", "2026-01-01T08:00Z"] {
        let rows = list(&["--all", "--limit", "3", "--since", since]).fine().json();
        assert_eq!(rows.len(), 3, "{since}");
    }
    for (since, words) in [
        ("yesterday", "write 30d, 12h, 2026-11-01"),
        ("30", "write 30d, 12h, 2026-11-01"),
        ("2026-13-01", "write 30d, 12h, 2026-11-01"),
        ("2199-01-01", "is still to come"),
    ] {
        let refused = list(&["--all", "--since", since]).ended(2);
        assert!(refused.text("message").contains(words), "{since}: {refused:?}");
    }
}
