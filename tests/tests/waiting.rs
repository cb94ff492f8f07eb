//! Who waits and who decides, on a terminal and without one, with the real programs.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::fs;

use jit_ssh_tests::program::wait_until;
use jit_ssh_tests::pty::{Terminal, states};
use jit_ssh_tests::{ASK, POLICY, Persona, Site};

const PENDING: i32 = 3;

fn ids(persona: &Persona, args: &[&str]) -> Vec<String> {
    let rows = persona.jit(args).args(["--json"]).run().fine().json();
    rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

fn ask_because(persona: &Persona, why: &str) -> String {
    let args = ["login", "prod-host", "--for", "2m", "--new", "--no-wait", "--json", "--because"];
    persona.jit(&args).args([why]).run().ended(PENDING).text("id")
}

/// The one request that waits for `approver`.
fn waiting(approver: &Persona) -> String {
    let mut found = Vec::new();
    wait_until("a request", || {
        found = ids(approver, &["requests", "--to-decide"]);
        !found.is_empty()
    });
    assert_eq!(found.len(), 1);
    found.remove(0)
}

#[test]
fn a_login_waits_in_one_line_that_fits_and_is_updated_in_place() {
    let two =
        POLICY.replace("from = [\"group:leads\"], count = 1", "from = [\"group:sre\"], count = 2");
    let (site, alice, bob) = Site::running(&two);
    let carol = Persona::new(site.path(), "carol");
    site.write_people(&[(&alice, &["sre"]), (&bob, &["sre"]), (&carol, &["sre"])]);
    site.apply();
    carol.enroll(&site.url);
    let terminal = Terminal::start(alice.jit(&ASK), 150, 24);
    terminal.sees("waiting 1s");
    let id = waiting(&bob);
    let line =
        format!("{id} (rule prod) waits for bob or carol: 0 of 2 approvals; nobody told yet;");
    terminal.sees(&line);

    // Who is told is seen while it waits.
    let told = Terminal::start(carol.jit(&["watch", "--to-decide"]), 100, 24);
    terminal.sees("told: carol");
    // The CA knows that she was told a moment before she reads it.
    told.sees(&format!("decide with: jit-ssh approve {id}"));
    told.sees(&format!("jit-ssh deny {id} --because TEXT"));
    told.signal("INT");
    assert_eq!(told.wait().0, 0);

    // Narrower: it is drawn anew at once, and never wider than the terminal.
    let before = terminal.len();
    terminal.resize(50, 24);
    terminal.sees_after(before, "\r\u{1b}[J");
    terminal.sees_after(before, "of 2 approvals");
    let narrow = terminal.raw()[before..].to_owned();
    assert!(states(&narrow, 49).iter().any(|line| line.contains("0 of 2 approvals")), "{narrow:?}");

    bob.jit(&["approve", &id, "--for", "1m", "--yes"]).run().fine();
    terminal.sees("bob approved 1m as ");
    terminal.sees("1 of 2.");
    carol.jit(&["approve", &id, "--yes"]).run().fine();
    let (code, raw) = terminal.wait();
    assert_eq!(code, 0, "{raw}");
    assert!(raw.contains("Less than what was asked for is granted"), "{raw}");
    assert_eq!(alice.certificates().len(), 1);
}

#[test]
fn ctrl_c_keeps_the_request_and_says_how_to_come_back() {
    let (_site, alice, bob) = Site::running(POLICY);
    let terminal = Terminal::start(alice.jit(&ASK), 100, 24);
    terminal.sees("waiting");
    let id = waiting(&bob);
    terminal.signal("INT");
    let (code, raw) = terminal.wait();
    assert_eq!(code, PENDING, "{raw}");
    assert!(raw.contains(&format!("jit-ssh watch {id}")), "{raw}");
    assert!(raw.contains(&format!("jit-ssh cancel {id}")), "{raw}");
    assert_eq!(waiting(&bob), id, "it stands");
    // The same without a terminal: lines, and only where something changed.
    let watching = alice.jit(&["watch", &id]).start();
    bob.jit(&["approve", &id, "--yes"]).run().fine();
    let said = watching.wait().fine();
    assert!(!said.err.contains('\u{1b}') && !said.err.contains('\r'), "{:?}", said.err);
    let lines = said.err.lines().filter(|line| line.contains("waits for bob")).count();
    assert!(lines <= 1, "{}", said.err);
}

#[test]
fn a_login_outlives_its_ca_and_makes_no_second_request() {
    let (mut site, alice, bob) = Site::running(POLICY);
    let terminal = Terminal::start(alice.jit(&ASK), 120, 24);
    terminal.sees("waiting");
    let id = waiting(&bob);
    site.kill();
    terminal.sees("the connection to the CA broke");
    site.serve();
    bob.jit(&["approve", &id, "--yes"]).run().fine();
    let (code, raw) = terminal.wait();
    assert_eq!(code, 0, "{raw}");
    assert_eq!(ids(&alice, &["requests"]), [id], "no second one");
    assert_eq!(alice.certificates().len(), 1);
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let (_site, alice, bob) = Site::running(POLICY);
    let id = alice.ask(&[]);
    let shown = |variable: Option<(&str, &str)>| {
        let mut program = bob.jit(&["show", "0000"]);
        if let Some((name, value)) = variable {
            program = program.env(name, value);
        }
        Terminal::start(program, 100, 24).wait().1
    };
    assert!(shown(None).contains("\u{1b}[31merror:\u{1b}[0m"), "{}", shown(None));
    assert!(!shown(Some(("NO_COLOR", "1"))).contains('\u{1b}'));
    assert!(!bob.jit(&["show", "0000"]).run().err.contains('\u{1b}'));
    let table = Terminal::start(alice.jit(&["requests"]), 200, 24).wait().1;
    assert!(table.contains("\u{1b}[33mpending\u{1b}[0m"), "{table}");
    assert!(alice.jit(&["requests"]).run().fine().out.contains(&format!("{id}  pending  alice")));
}

#[test]
fn who_approves_sees_what_is_signed_and_what_was_granted_before() {
    let (_site, alice, bob) = Site::running(POLICY);
    let before = alice.granted_by(&bob);
    let id = ask_because(&alice, "INC-43 \u{202e}\u{200b}fun");
    let listed = bob.jit(&["requests", "--to-decide"]).run().fine().out;
    for words in [
        "why             INC-43 \\u{202e}\\u{200b}fun",
        "rule            prod asks 1 of group:leads",
        "(a key in software)",
        &format!("by bob: INC-42 disk full (request {before})"),
        &format!("jit-ssh approve {id}"),
    ] {
        assert!(listed.contains(words), "{words}: {listed}");
    }
    let row = bob.jit(&["requests", "--to-decide", "--json"]).run().fine();
    assert_eq!(row.field("earlier_grant")["id"], before.as_str());
    assert!(!row.out.contains('\u{202e}') && row.text("reason").contains('\u{202e}'));

    // Without a terminal and without --yes nothing is signed; a no signs nothing either.
    bob.jit(&["approve", &id]).run().ended(2);
    let terminal = Terminal::start(bob.jit(&["approve", &id, "--for", "1m"]), 120, 40);
    terminal.sees("[y/N]");
    let raw = terminal.raw();
    assert!(raw.contains("YOU ALLOW") && raw.contains("1m as "), "{raw}");
    assert!(raw.contains("instead of") && raw.contains("2m as "), "{raw}");
    terminal.types("\n");
    assert_eq!(terminal.wait().0, 1);
    assert_eq!(waiting(&bob), id);
    let terminal = Terminal::start(bob.jit(&["approve", &id, "--for", "1m"]), 120, 40);
    terminal.sees("[y/N]");
    terminal.types("y\n");
    assert_eq!(terminal.wait().0, 0);
    let shown = alice.jit(&["show", &id, "--json"]).run().fine();
    assert_eq!(shown.field("decisions")[0]["for"], 60);
}

#[test]
fn a_program_of_the_persons_choice_is_run_with_each_notice_and_never_waited_for() {
    let (site, alice, bob) = Site::running(POLICY);
    let notice = site.path().join("notice");
    let script = site.path().join("tell");
    fs::write(&script, "#!/bin/sh\nprintf '%s|' \"$#\" \"$@\" >> \"$1\"\nexec sleep 1000\n")
        .unwrap();
    jit_ssh_tests::Program::new("chmod").args(["+x"]).args([&script]).run().fine();
    let config = |persona: &Persona, text: &str| {
        fs::write(persona.home.join("config/config.toml"), text).unwrap();
    };
    let line = format!("notify = \"{} {} ...\"\n", script.display(), notice.display());
    config(&bob, &line);
    let listening = bob.jit(&["watch", "--to-decide", "--json"]).start();
    let id = ask_because(&alice, "INC-42 $(id) <b>");
    let told = || fs::read_to_string(&notice).unwrap_or_default();
    wait_until("the notice", || told().contains(&format!("Request {id} of alice waits for you")));
    assert!(told().starts_with("2|") && told().contains("$(id) ‹b›|"), "{}", told());
    Terminal::signal_to(listening.pid(), "INT");
    let listened = listening.wait().fine();
    assert_eq!((listened.text("kind"), listened.text("id")), ("to-decide".to_owned(), id.clone()));

    // Who asked is told of the decision; a program that is missing harms nobody.
    fs::remove_file(&notice).unwrap();
    config(&alice, &line);
    let login = alice.jit(&["watch", &id]).start();
    bob.jit(&["approve", &id, "--yes"]).run().fine();
    login.wait().fine();
    wait_until("the notice", || told().contains(&format!("Request {id} is approved")));
    config(&alice, "notify = \"/does/not/exist\"\n");
    let second = alice.ask(&["--new"]);
    let login = alice.jit(&["watch", &second]).start();
    bob.jit(&["approve", &second, "--yes"]).run().fine();
    login.wait().fine();
    config(&alice, "\nnotfy = 1\n");
    let refused = alice.jit(&ASK).args(["--new", "--json"]).run().ended(1);
    assert!(refused.text("message").contains("config.toml:2:1: unknown field"), "{refused:?}");
}

#[test]
fn status_tells_what_is_held_asked_and_to_be_decided_and_keeps_it_up_to_date() {
    let (mut site, alice, bob) = Site::running(POLICY);
    let watching = bob.jit(&["status", "--watch", "--json"]).start();
    let board = Terminal::start(bob.jit(&["status", "--watch"]), 200, 30);
    board.sees("No access is loaded.");
    let id = alice.ask(&[]);
    board.sees(&id);
    board.sees("Waits for you");
    let status = bob.jit(&["status", "--json"]).run().fine();
    assert_eq!((status.text("kind"), status.text("id")), ("to-decide".to_owned(), id.clone()));
    bob.jit(&["approve", &id, "--yes"]).run().fine();
    alice.jit(&["watch", &id]).run().fine();
    let own = alice.jit(&["status"]).run().fine().out;
    assert!(own.starts_with("You hold:\nID ") && own.contains(&id), "{own}");
    Terminal::signal_to(watching.pid(), "INT");
    let rows = watching.wait().fine().json();
    assert!(rows.iter().any(|row| row["id"] == id.as_str() && row["kind"] == "to-decide"));
    board.signal("INT");
    assert_eq!(board.wait().0, 0);
    site.kill();
    let offline = alice.jit(&["status"]).run().fine();
    assert!(
        offline.out.contains(&id) && offline.err.contains("as it is known here"),
        "{offline:?}"
    );
}

#[test]
fn whatever_others_wrote_disturbs_no_terminal_by_any_command() {
    let policy = POLICY.replacen(
        "permit = [\"pty\"]\n",
        "permit = [\"pty\"]\nbreak_glass = { max_for = \"2m\" }\n",
        1,
    );
    let (_site, alice, bob) = Site::running(&policy);
    // Turned around, invisible, blank; what moves the cursor is refused before it is signed.
    let evil = "INC-42 \u{202e}x\u{2066}\u{200b}\u{3164}\u{feff}\u{e0041}\u{ad}";
    for worse in ["INC-42 \u{1b}[2J", "INC-42 \u{9b}31m", "INC-42 a\rb", "INC-42 a\nb"] {
        alice.jit(&["login", "prod-host", "--because", worse, "--no-wait"]).run().ended(2);
    }
    let quiet = |what: &str, text: &str| {
        let bad = text.chars().find(|c| *c != '\n' && jit_ssh_core::plain::disturbs(*c));
        assert_eq!(bad, None, "{what}: {text:?}");
    };
    let run = |who: &Persona, args: &[&str]| {
        for more in [&[][..], &["--json"]] {
            let said = who.jit(args).args(more).run();
            quiet(&format!("{args:?}"), &said.out);
            quiet(&format!("{args:?}"), &said.err);
        }
    };
    let listening = bob.jit(&["watch", "--to-decide"]).start();
    let id = ask_because(&alice, evil);
    let on_terminal = Terminal::start(bob.jit(&["approve", &id]).env("NO_COLOR", "1"), 80, 40);
    on_terminal.sees("[y/N]");
    quiet("approve", &on_terminal.raw().replace('\r', ""));
    assert!(on_terminal.raw().contains("\\u{202e}x"), "it is shown, not hidden");
    drop(on_terminal);
    for args in [&["show", &id][..], &["requests"], &["status"], &["requests", "--all"]] {
        run(&alice, args);
        run(&bob, args);
    }
    run(&bob, &["requests", "--to-decide"]);
    run(&alice, &["login", "prod-host", "--because", evil, "--for", "2m", "--dry-run"]);
    run(&alice, &["login", "prod-host", "--because", evil, "--for", "2m", "--no-wait"]);
    run(&alice, &["logout"]);
    let waiting = alice.jit(&["watch", &id]).start();
    run(&bob, &["approve", &id, "--because", evil, "--yes"]);
    let waited = waiting.wait().fine();
    quiet("watch", &waited.err);
    run(&alice, &["status"]);
    run(&bob, &["revoke", &id, "--because", evil, "--yes"]);
    run(&alice, &["watch", &id]);
    run(&bob, &["show", &id]);
    let denied = ask_because(&alice, evil);
    run(&bob, &["deny", &denied, "--because", evil, "--yes"]);
    run(&alice, &["watch", &denied]);
    run(&alice, &["cancel", &denied, "--yes"]);
    let glass = ["login", "prod-host", "--because", evil, "--for", "2m", "--break-glass", evil];
    let broken = alice.jit(&glass).args(["--break-glass-confirm", "prod-host"]).run().fine();
    quiet("break-glass", &broken.err);
    run(&bob, &["requests", "--to-decide"]);
    run(&bob, &["status"]);
    run(&alice, &["logout"]);
    Terminal::signal_to(listening.pid(), "INT");
    let listened = listening.wait().fine();
    quiet("watch --to-decide", &listened.out);
    assert!(
        listened.out.contains(&denied) && listened.out.contains("\\u{202e}"),
        "{}",
        listened.out
    );
}
