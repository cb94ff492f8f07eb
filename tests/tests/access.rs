//! One access end to end: people, agents, the CA and stock sshd, all real.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use jit_ssh_core::statement::Kind;
use jit_ssh_tests::api::{self, Caller};
use jit_ssh_tests::program::{Program, make_key, wait_until};
use jit_ssh_tests::{ASK, POLICY, Persona, Site};

const PENDING: i32 = 3;
const DENIED: i32 = 4;
const OVER: i32 = 5;
const REFUSED: i32 = 6;
const UNREACHABLE: i32 = 7;
const AGENT: i32 = 8;

/// The short id of the request that waits for `approver`.
fn waiting_for(approver: &Persona) -> Option<String> {
    let said = approver.jit(&["requests", "--to-decide", "--json"]).run().fine();
    said.json().last().map(|row| row["id"].as_str().unwrap().to_owned())
}

#[test]
fn an_approved_certificate_opens_its_host_and_no_other_until_it_ends() {
    let policy = POLICY.replace("cert_for = \"5m\"", "cert_for = \"6s\"");
    let (site, alice, bob) = Site::running(&policy);
    let (prod, other) = (site.host("prod-host"), site.host("other-host"));

    let login = alice.jit(&ASK).args(["--json"]).start();
    let mut id = None;
    wait_until("the request", || {
        id = waiting_for(&bob);
        id.is_some()
    });
    let id = id.unwrap();
    assert!(alice.certificates().is_empty());
    assert_eq!(alice.ssh(&prod, "true").code, 255, "not approved yet");
    bob.jit(&["approve", &id, "--yes"]).run().fine();
    let said = login.wait().fine();
    assert_eq!(said.text("id"), id);
    assert_eq!(said.text("status"), "active");
    let certificate = &alice.certificates()[0];

    assert_eq!(alice.ssh(&prod, "echo in").fine().out, "in\n");
    // The same certificate on a host that trusts the same CA.
    assert_eq!(alice.ssh(&other, "true").code, 255);
    assert!(other.log().contains("principal"), "{}", other.log());
    // sshd's line links to the request and to the log.
    let key_id = said.text("key_id");
    assert!(key_id.starts_with(&format!("alice/{id}/")));
    let line = format!("ID {key_id} (serial {})", said.field("serial"));
    assert!(prod.log().contains(&line), "{line} is not in {}", prod.log());

    // ssh-keygen, the foreign judge, reads what we meant.
    let file = site.path().join("cert.pub");
    std::fs::write(&file, certificate).unwrap();
    let shown = Program::new("ssh-keygen").args(["-L", "-f"]).args([&file]).run().fine().out;
    assert!(shown.contains("user certificate"), "{shown}");
    assert!(shown.contains(&format!("Key ID: \"{key_id}\"")), "{shown}");
    assert!(shown.contains("@prod-host") && !shown.contains("@other-host"), "{shown}");
    assert!(shown.contains("permit-pty") && !shown.contains("agent-forwarding"), "{shown}");

    wait_until("the end of the certificate", || alice.certificates().is_empty());
    assert_eq!(alice.ssh(&prod, "true").code, 255, "the certificate has ended");
    // The access has not: it is renewed without asking anyone.
    let renewed = alice.jit(&ASK).args(["--json"]).run().fine();
    assert_eq!(renewed.text("id"), id);
    assert_eq!(alice.ssh(&prod, "echo again").fine().out, "again\n");
    assert!(waiting_for(&bob).is_none());
    assert!(site.verify_log().contains("log: ok"));
}

#[test]
fn nobody_approves_their_own_request_and_no_second_opinion_is_lost() {
    let (site, alice, bob) = Site::running(POLICY);
    // bob is the only lead: nobody could approve what he asks for, and he hears so at once.
    let said = bob.jit(&ASK).args(["--no-wait", "--json"]).run().ended(REFUSED);
    assert_eq!(said.text("error"), "POLICY_REFUSED");
    assert!(said.text("message").starts_with("nobody could approve"), "{said:?}");
    let said = bob.jit(&ASK).args(["--dry-run", "--json"]).run().ended(REFUSED);
    assert_eq!(said.text("error"), "POLICY_REFUSED");
    let carol = Persona::new(site.path(), "carol");
    site.write_people(&[(&alice, &["sre"]), (&bob, &["sre", "leads"]), (&carol, &["leads"])]);
    site.apply();
    let id = bob.ask(&[]);
    let own = bob.jit(&["approve", &id, "--yes", "--json"]).run().ended(REFUSED);
    assert_eq!(own.text("error"), "NOT_ALLOWED");
    // alice is no lead: she does not even see it.
    alice.jit(&["approve", &id, "--yes"]).run().ended(1);
    carol.enroll(&site.url);
    carol.jit(&["approve", &id, "--yes"]).run().fine();
    bob.jit(&["watch", &id]).run().fine();
    assert_eq!(bob.certificates().len(), 1);
}

#[test]
fn every_way_a_request_can_end_has_its_exit_code() {
    let policy = POLICY.replace("permit = [\"pty\"]", "permit = [\"pty\"]\ndecide_within = \"4s\"");
    let (mut site, alice, bob) = Site::running(&policy);
    // Denied, with the reason.
    let login = alice.jit(&ASK).start();
    wait_until("the request", || waiting_for(&bob).is_some());
    let id = waiting_for(&bob).unwrap();
    bob.jit(&["deny", &id, "--yes"]).run().ended(2);
    bob.jit(&["deny", &id, "--because", "not tonight", "--yes"]).run().fine();
    let said = login.wait().ended(DENIED);
    assert!(said.err.contains("bob") && said.err.contains("not tonight"), "{}", said.err);
    // Cancelled by who made it.
    let id = alice.ask(&[]);
    alice.jit(&["cancel", &id]).run().ended(2);
    alice.jit(&["cancel", &id, "--yes"]).run().fine();
    bob.jit(&["approve", &id, "--yes"]).run().ended(OVER);
    alice.jit(&["watch", &id]).run().ended(OVER);
    // Lapsed, while its requester waits.
    let said = alice.jit(&ASK).run().ended(OVER);
    assert!(said.err.contains("it was not decided by"), "{}", said.err);
    // Refused by policy, each with what would fit.
    let refused = |args: &[&str]| alice.jit(args).args(["--json"]).run().ended(REFUSED);
    let said = refused(&["login", "prod-host", "--because", "disk full", "--for", "2m"]);
    assert_eq!(said.text("error"), "POLICY_REFUSED");
    assert_eq!(said.text("hint"), "name the incident");
    let said = refused(&["login", "prod-host", "--because", "INC-42", "--for", "31m"]);
    assert!(said.text("hint").contains("--for 30m"));
    refused(&["login", "nowhere", "--because", "INC-42", "--for", "2m"]);
    refused(&["login", "prod-host", "--as", "nobody", "--because", "INC-42 x", "--for", "2m"]);
    // Usage.
    alice.jit(&["login"]).run().ended(2);
    alice.jit(&["login", "prod-host", "--for", "0s", "--because", "INC-42"]).run().ended(2);
    alice.jit(&["login", "prod-host", "--for", "99999999d", "--because", "INC-42"]).run().ended(2);
    // No agent, no CA.
    let none = alice.jit(&ASK).env("SSH_AUTH_SOCK", "/nonexistent").run();
    none.ended(AGENT);
    site.stop().fine();
    alice.jit(&ASK).run().ended(UNREACHABLE);
}

#[test]
fn an_automatic_rule_asks_nobody_and_leaves_one_certificate_in_the_agent() {
    let (site, alice, _bob) = Site::running(POLICY);
    let test = site.host("test-host");
    // A certificate of somebody else's that never ends must not stand in the way.
    let (key, ca) = (site.path().join("foreign"), site.path().join("foreign-ca"));
    for file in [&key, &ca] {
        make_key(file, "foreign");
    }
    let sign = Program::new("ssh-keygen").args(["-q", "-I", "foreign", "-n", "x", "-s"]);
    sign.args([&ca, &key.with_extension("pub")]).run().fine();
    alice.program("ssh-add").args(["-q"]).args([&key]).run().fine();
    assert_eq!(alice.certificates().len(), 1);

    let login = ["login", "test-host", "--because", "a look", "--for", "10m", "--json"];
    let said = alice.jit(&login).run().fine();
    assert_eq!(said.json().len(), 1, "no object for waiting: {}", said.out);
    assert_eq!(said.text("rule"), "test-auto");
    assert_eq!(alice.ssh(&test, "echo in").fine().out, "in\n");
    let first = said.text("id");
    let again = alice.jit(&login).run().fine();
    assert_eq!(again.text("id"), first, "at hand: nothing new is asked for");
    assert_eq!(alice.certificates().len(), 2, "ours and the foreign one");
    let status = alice.jit(&["status", "--json"]).run().fine();
    assert!(status.out.contains(&first));
    alice.jit(&["logout"]).run().fine();
    assert_eq!(alice.certificates().len(), 1, "the foreign one stays");
    assert_eq!(alice.ssh(&test, "true").code, 255);
    assert_eq!(alice.agent_holds().len(), 3, "her own keys stay");
}

#[test]
fn a_login_is_answered_by_no_other_request_than_the_one_it_asks_for() {
    let (_site, alice, _bob) = Site::running(POLICY);
    let login =
        |args: &[&str]| alice.jit(&["login", "prod-host", "--no-wait", "--json"]).args(args);
    let id = |args: &[&str]| login(args).run().ended(PENDING).text("id");
    let first = id(&["--because", "INC-42 disk full", "--for", "2m"]);
    // The same again, in full or in part, is the same request.
    assert_eq!(id(&["--because", "INC-42 disk full", "--for", "2m"]), first);
    assert_eq!(id(&["--for", "2m"]), first);
    assert_eq!(id(&[]), first);
    // Anything else that is said makes another one, and tells of the one that stands.
    let said = login(&["--because", "INC-43 disk gone"]).run().ended(PENDING);
    let second = said.text("id");
    assert_ne!(second, first);
    assert!(said.err.contains(&format!("The earlier request {first} is left as it is")));
    assert!(said.err.contains("its reason is \"INC-42 disk full\""), "{}", said.err);
    let longer = id(&["--because", "INC-42 disk full", "--for", "3m"]);
    let permit = id(&["--because", "INC-42 disk full", "--for", "2m", "--permit", "pty"]);
    assert_eq!(BTreeSet::from([&first, &second, &longer, &permit]).len(), 4);
    // Each is still found by its own words.
    let usual = ["--because", "INC-42 disk full", "--for", "2m", "--permit", "port-forwarding,pty"];
    assert_eq!(id(&usual), first);
    assert_eq!(id(&["--because", "INC-43 disk gone"]), second);
    assert_eq!(id(&["--for", "3m"]), longer);
    assert_eq!(id(&["--permit", "pty"]), permit);
    // What can be no reason is refused even though a request stands.
    for because in ["", " ", "INC-42\nroot"] {
        login(&["--because", because]).run().ended(2);
    }
    login(&["--because", "INC-42 disk full", "--permit", "everything"]).run().ended(2);
    alice.jit(&["login", "prod-host", "prod-host", "--no-wait"]).run().ended(2);
}

#[test]
fn access_at_hand_is_told_with_its_reason_and_asked_anew_only_for_more() {
    let (_site, alice, _bob) = Site::running(POLICY);
    let login = |args: &[&str]| alice.jit(&["login", "test-host", "--json"]).args(args);
    let first = login(&["--because", "a look", "--for", "10m"]).run().fine().text("id");
    let at_hand = format!("under request {first} (a look)");
    for enough in [&["--because", "another look"][..], &["--for", "5m"], &["--permit", "pty"], &[]]
    {
        let said = login(enough).run().fine();
        assert_eq!(said.text("id"), first, "{enough:?}");
        assert!(said.err.contains(&at_hand), "{}", said.err);
        assert_eq!(said.text("serial_text"), said.field("serial").to_string());
    }
    // What can be no reason is refused even though access is at hand.
    login(&["--because", "a\u{1b}look"]).run().ended(2);
    let said = login(&["--because", "a longer look", "--for", "20m"]).run().fine();
    let second = said.text("id");
    assert_ne!(second, first);
    assert!(said.err.contains(&at_hand), "{}", said.err);
    assert!(said.err.contains("More is wanted: 20m is longer than the "), "{}", said.err);
    // The rule permits no agent forwarding, so to say it again brings no third request.
    let agent = ["--because", "a look", "--permit", "agent-forwarding", "--for", "20m"];
    let third = login(&agent).run().fine();
    assert_ne!(third.text("id"), second);
    assert!(third.err.contains("it permits pty and port-forwarding, not agent-forwarding"));
    assert_eq!(login(&agent).run().fine().text("id"), third.text("id"));
    assert_eq!(alice.certificates().len(), 1, "each took the place of the one before");
}

#[test]
fn persons_and_cas_that_share_an_agent_leave_each_other_alone() {
    let (site, alice, bob) = Site::running(POLICY);
    let (elsewhere, other_alice, _) = Site::running(POLICY);
    let agent = alice.socket();
    // All three keys are in the one agent, and everybody uses it.
    for persona in [&bob, &other_alice] {
        alice.program("ssh-add").args(["-q"]).args([persona.key_file()]).run().fine();
    }
    let jit = |persona: &Persona, args: &[&str]| {
        persona.jit(args).env("SSH_AUTH_SOCK", &agent).run().fine()
    };
    let login = ["login", "test-host", "--because", "a look", "--for", "5m", "--json"];
    let everybody = [&alice, &bob, &other_alice];
    let ids = everybody.map(|persona| jit(persona, &login).text("id"));
    assert_eq!(alice.certificates().len(), 3, "no one's was taken for another's");
    for (persona, id) in everybody.iter().zip(&ids) {
        let said = jit(persona, &login);
        assert_eq!(&said.text("id"), id, "at hand");
        let status = jit(persona, &["status", "--json"]).json();
        assert_eq!(status.len(), 1, "{status:?}");
        assert_eq!(status[0]["id"], **id);
        assert_eq!(status[0]["serial_text"], status[0]["serial"].to_string());
    }
    let out = jit(&alice, &["logout", "--json"]);
    assert_eq!(out.field("certificates_removed"), 1);
    assert_eq!(alice.certificates().len(), 2);
    for (persona, id) in everybody.iter().zip(&ids).skip(1) {
        assert_eq!(&jit(persona, &login).text("id"), id, "still at hand");
    }
    // One who never saw what the admins signed asks before taking anything out.
    fs::remove_dir_all(bob.home.join("state")).unwrap();
    assert_eq!(jit(&bob, &["logout", "--json"]).field("certificates_removed"), 1);
    assert_eq!(alice.certificates().len(), 1);
    drop((site, elsewhere));
}

#[test]
fn an_approval_may_drop_logins_and_hosts() {
    let policy = POLICY.replace("logins = [\"LOGIN\"]", "logins = [\"LOGIN\", \"deploy-2\"]");
    let (site, alice, bob) = Site::running(POLICY);
    site.write_policy(&policy);
    let hosts = fs::read_to_string(site.config().join("hosts.toml")).unwrap();
    let hosts = hosts.replace("logins = [", "logins = [\"deploy-2\", ");
    fs::write(site.config().join("hosts.toml"), hosts).unwrap();
    site.apply();
    let caller = Caller::new(&site);
    let text = caller.request_text("alice", &alice.public_key(), "prod-host");
    let text = text.replace("\"logins\":[", "\"logins\":[\"deploy-2\",");
    let signature = api::sign(&alice, Kind::Request, text.as_bytes());
    let id = caller.submit(text.as_bytes(), &signature).unwrap().digest;

    let other = bob.jit(&["approve", &id, "--login", "admin", "--yes"]).run().ended(2);
    assert!(other.err.contains("admin was not asked for; the request is for deploy-2"));
    let approve = ["approve", &id, "--login", "deploy-2", "--host", "prod-host", "--yes"];
    bob.jit(&approve).run().fine();
    let shown = bob.jit(&["show", &id, "--json"]).run().fine();
    assert_eq!(shown.field("principals"), serde_json::json!(["deploy-2@prod-host"]));
}

#[test]
fn failures_of_setup_are_json_and_help_goes_to_stdout() {
    let host = |args: &[&str]| Program::new("jit-ssh-host").args(["setup"]).args(args).run();
    let url = "https://127.0.0.1:1#SHA256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0";
    let set_up = ["--ca", url, "--name", "prod-host", "--json"];
    let said = host(&set_up).ended(UNREACHABLE);
    assert_eq!((said.json().len(), said.text("error")), (1, "UNREACHABLE".to_owned()));
    assert!(said.err.contains(&said.text("message")) && said.err.contains(&said.text("hint")));
    let said = host(&["--json", "--name", "prod-host"]).ended(2);
    assert_eq!(said.text("error"), "USAGE");
    assert!(host(&set_up[..4]).ended(UNREACHABLE).out.is_empty(), "only where it is asked for");

    for program in ["jit-ssh-signer", "jit-ssh-host", "jit-ssh"] {
        for (ask, expected) in [("--help", "sage: "), ("-h", "sage: "), ("--version", program)] {
            let said = Program::new(program).args([ask]).run().fine();
            assert!(said.out.contains(expected) && said.err.is_empty(), "{program} {ask}");
        }
        Program::new(program).args(["--nonsense"]).run().ended(2);
    }
}

#[test]
fn ecdsa_keys_sign_and_rsa_keys_are_refused_with_a_clear_word() {
    let mut site = Site::initialised();
    let alice = Persona::with_key_type(site.path(), "alice", "ecdsa");
    let bob = Persona::new(site.path(), "bob");
    let rsa = Persona::with_key_type(site.path(), "rosa", "rsa");
    site.write_hosts();
    site.write_policy(POLICY);
    site.serve();
    let apply = ["apply", "--config", "ca-config", "--identity", "admin", "--yes"];
    site.write_people(&[(&alice, &["sre"]), (&bob, &["leads"]), (&rsa, &["sre"])]);
    let said = site.ca(&apply).run().ended(1);
    assert!(said.err.contains("RSA") && said.err.contains("people.toml:"), "{}", said.err);
    site.write_people(&[(&alice, &["sre"]), (&bob, &["leads"])]);
    site.ca(&apply).run().fine();
    alice.enroll(&site.url);
    alice.jit(&["login", "test-host", "--because", "a look", "--for", "1m"]).run().fine();
    let file = rsa.key_file();
    let enroll = ["enroll", &site.url, "--as", "rosa", "--identity", file.to_str().unwrap()];
    let said = rsa.jit(&enroll).run();
    assert_ne!(said.code, 0);
    assert!(said.err.contains("RSA"), "{}", said.err);
}

#[test]
fn an_existing_key_can_be_certified_and_a_key_file_can_sign() {
    let (site, alice, _bob) = Site::running(POLICY);
    let test = site.host("test-host");
    let key = alice.key_file();
    let home = site.path().join("elsewhere");
    let jit = |args: &[&str]| {
        Program::new("jit-ssh")
            .env("JIT_SSH_HOME", &home)
            .env("SSH_AUTH_SOCK", alice.socket())
            .args(args)
    };
    let file = key.to_str().unwrap();
    jit(&["enroll", &site.url, "--as", "alice", "--identity", file]).run().fine();
    let login = ["login", "test-host", "--because", "a look", "--for", "1m", "--key", file];
    jit(&login).run().fine();
    assert_eq!(alice.certificates().len(), 1);
    assert_eq!(alice.ssh(&test, "echo in").fine().out, "in\n");
}

#[test]
fn a_wrong_pin_is_refused_before_anything_else_is_believed() {
    let (site, alice, _bob) = Site::running(POLICY);
    // Another well-formed pin: its first six bits are changed.
    let (address, pin) = site.url.split_once("#SHA256:").unwrap();
    let first = if pin.starts_with('A') { "B" } else { "A" };
    let wrong = format!("{address}#SHA256:{first}{}", &pin[1..]);
    let said = alice.jit(&["enroll", &wrong, "--as", "alice", "--yes"]).run().ended(1);
    assert!(said.err.contains("pin") || said.err.contains("fingerprint"), "{}", said.err);
    alice.enroll(&site.url);
}

#[test]
fn the_certificate_works_while_the_whole_service_is_down() {
    let (mut site, alice, _bob) = Site::running(POLICY);
    let test = site.host("test-host");
    alice.jit(&["login", "test-host", "--because", "a look", "--for", "1m"]).run().fine();
    site.kill();
    assert_eq!(alice.ssh(&test, "echo in").fine().out, "in\n");
}

#[test]
fn a_bundle_change_takes_effect_at_the_next_certificate() {
    let policy = POLICY.replace("cert_for = \"10m\"", "cert_for = \"3s\"");
    let (site, alice, _bob) = Site::running(&policy);
    let login = ["login", "test-host", "--because", "a look", "--for", "10m"];
    alice.jit(&login).run().fine();
    std::thread::sleep(Duration::from_secs(3));
    alice.jit(&login).run().fine();
    site.write_policy(&policy.replace(
        "who = [\"group:sre\"]\nhosts = [\"test-*\"]",
        "who = [\"group:leads\"]\nhosts = [\"test-*\"]",
    ));
    site.apply();
    std::thread::sleep(Duration::from_secs(3));
    alice.jit(&login).run().ended(REFUSED);
}
