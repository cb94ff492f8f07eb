//! What a person has on a machine of their own: CAs side by side, and how one enrols.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use jit_ssh_tests::{POLICY, Persona, Program, Site};

/// Alice is enrolled with `default`, whose bob approves, and with `lab`, whose carl does.
fn two() -> (Site, Site, Persona, Persona, Persona) {
    let (site, alice, bob) = Site::running(POLICY);
    let mut lab = Site::initialised();
    let carl = Persona::new(lab.path(), "carl");
    lab.write_people(&[(&alice, &["sre"]), (&carl, &["leads"])]);
    lab.write_hosts();
    let hosts = lab.config().join("hosts.toml");
    let text = std::fs::read_to_string(&hosts).unwrap();
    // Both have a test-host; prod-host is of the first alone, bench of the second.
    std::fs::write(&hosts, text.replace("prod-host", "bench").replace("other-host", "bench-2"))
        .unwrap();
    lab.write_policy(POLICY);
    lab.serve();
    lab.apply();
    carl.enroll(&lab.url);
    (site, lab, alice, bob, carl)
}

const WHY: [&str; 4] = ["--because", "INC-42 disk full", "--for", "2m"];

#[test]
fn a_second_ca_lies_beside_the_first_and_hosts_and_requests_lead_to_theirs() {
    let (site, mut lab, alice, bob, carl) = two();
    // Without a name it would be in the place of the first: that is asked.
    let replaces = alice.jit(&["enroll", &lab.url, "--as", "alice", "--json"]).run().ended(2);
    assert!(replaces.text("hint").contains("--ca NAME"), "{replaces:?}");
    alice.jit(&["enroll", &lab.url, "--as", "alice", "--ca", "lab"]).run().fine();

    let ask = |host: &str| {
        let said = alice.jit(&["login", host, "--no-wait", "--json"]).args(WHY).run().ended(3);
        (said.text("id"), said.text("ca"))
    };
    let (first, ca) = ask("prod-host");
    assert_eq!(ca, "default");
    let (second, ca) = ask("bench");
    assert_eq!(ca, "lab");
    bob.jit(&["approve", &first, "--yes"]).run().fine();
    carl.jit(&["approve", &second, "--yes"]).run().fine();
    for (id, ca) in [(&first, "default"), (&second, "lab")] {
        assert_eq!(alice.jit(&["show", id, "--json"]).run().fine().text("ca"), ca);
        assert_eq!(alice.jit(&["show", &id[..6], "--json"]).run().fine().text("ca"), ca);
        assert_eq!(alice.jit(&["watch", id, "--json"]).run().fine().text("ca"), ca);
    }
    let rows = |command: &str| {
        let rows = alice.jit(&[command, "--json"]).run().fine().json();
        let mut found: Vec<String> =
            rows.iter().map(|row| format!("{} {}", row["ca"], row["id"])).collect();
        found.sort();
        found
    };
    let both = vec![format!("\"default\" \"{first}\""), format!("\"lab\" \"{second}\"")];
    assert_eq!(rows("status"), both);
    assert_eq!(rows("requests"), both);
    let told = alice.jit(&["status"]).run().fine();
    assert!(told.err.contains("CA default:") && told.err.contains("CA lab:"), "{}", told.err);
    let one = alice.jit(&["--ca", "lab", "status", "--json"]).run().fine();
    assert_eq!(one.json().len(), 1);

    // Both have it, or neither: nobody guesses.
    let both = alice.jit(&["login", "test-host", "--json"]).args(WHY).run().ended(2);
    assert_eq!(both.text("error"), "AMBIGUOUS_CA");
    assert_eq!(both.text("hint"), "say --ca default or --ca lab");
    let said = alice.jit(&["login", "test-host", "--ca", "lab", "--json"]).args(WHY).run().fine();
    assert_eq!(said.text("ca"), "lab");
    let none = alice.jit(&["login", "mail-host", "--json"]).args(WHY).run().ended(1);
    assert_eq!(none.text("error"), "UNKNOWN_HOST");
    let unknown = alice.jit(&["show", "zzzzzzzzzz", "--json"]).run().ended(1);
    assert_eq!(unknown.text("error"), "UNKNOWN_REQUEST");
    let nobody = alice.jit(&["status", "--ca", "home", "--json"]).run().ended(2);
    assert_eq!(nobody.text("error"), "NO_SUCH_CA");
    assert_eq!(nobody.text("hint"), "there is default and lab");

    // With one CA away the other goes on; what only the other could know is not guessed.
    lab.kill();
    alice.jit(&["release", &first, "--yes"]).run().fine();
    let short = alice.jit(&["show", &first[..6], "--json"]).run().ended(7);
    assert!(short.text("hint").contains("the whole id"), "{short:?}");
    assert_eq!(alice.jit(&["show", &first, "--json"]).run().fine().text("status"), "released");
    let rows = alice.jit(&["requests", "--json"]).run().ended(7).json();
    assert_eq!(rows.len(), 2, "the first CA's request, and that the second can not be asked");
    assert_eq!((&rows[1]["ca"], &rows[1]["error"]), (&"lab".into(), &"UNREACHABLE".into()));
    alice.jit(&["logout", "--yes"]).run().fine();
    assert!(alice.certificates().is_empty());
    drop(site);
}

#[test]
fn who_has_one_ca_is_not_told_of_names() {
    let (_site, alice, _bob) = Site::running(POLICY);
    let said = alice.jit(&["login", "test-host", "--json"]).args(WHY).run().fine();
    assert!(said.json().iter().all(|row| row.get("ca").is_none()), "{said:?}");
    // Where the files lay before there were names, they still do.
    assert!(alice.home.join("config/enrolment.json").is_file());
    assert!(!alice.home.join("config/ca").exists());
    assert_eq!(alice.jit(&["--ca", "default", "status", "--json"]).run().fine().json().len(), 1);
}

#[test]
fn a_stranger_hears_what_the_admin_must_add_and_goes_on_from_there() {
    let (mut site, _alice, _bob) = Site::running(POLICY);
    let carl = Persona::new(site.path(), "carl");
    // The pin before anything else: neither an id nor a key is asked for.
    let (url, pin) = site.url.split_once("#SHA256:").unwrap();
    let flipped = if pin.starts_with('A') { "B" } else { "A" };
    let wrong = format!("{url}#SHA256:{flipped}{}", &pin[1..]);
    let refused = carl.jit(&["enroll", &wrong, "--json"]).env("SSH_AUTH_SOCK", "").run().ended(1);
    assert_eq!(refused.text("error"), "PIN");
    assert!(!carl.home.join("config").exists(), "nothing was kept");

    let said = carl.jit(&["enroll", &site.url, "--as", "carl", "--json"]).run().fine();
    assert_eq!(said.field("known"), false);
    assert_eq!((said.text("kind"), said.text("comment")), ("Ed25519 key".into(), "carl".into()));
    assert_eq!(said.text("key_from"), "agent");
    let block = said.text("person");
    assert!(said.err.contains(&block), "people read the same: {}", said.err);
    assert!(block.contains(&carl.public_key()), "{block}");
    assert!(said.err.contains("(carl), in your ssh-agent"), "{}", said.err);

    // The block as it is printed, and nothing else, is what the admin adds.
    let people = site.config().join("people.toml");
    let text = std::fs::read_to_string(&people).unwrap();
    std::fs::write(&people, format!("{text}\n{block}")).unwrap();
    site.apply();
    let again = carl.jit(&["enroll", &site.url, "--json"]).run().fine();
    assert_eq!((again.field("known"), again.text("by")), (true.into(), "carl".into()));
    assert!(again.field("person").is_null());
    carl.jit(&["requests"]).run().fine();
    site.kill();
}

/// The codes that `doctor` finds, and its exit code.
fn doctor(program: Program, ends: i32) -> Vec<String> {
    let said = program.run().ended(ends);
    said.json().iter().map(|row| row["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn doctor_finds_what_is_wrong_with_the_real_programs_and_nothing_where_all_is_well() {
    let (mut site, alice, bob) = Site::running(POLICY);
    let note = "SSH_CONFIG_ABSENT";
    let general = || alice.jit(&["doctor", "--json"]);
    let of_host = || alice.jit(&["doctor", "prod-host", "--json"]);
    assert_eq!(doctor(general(), 0), [note]);
    assert_eq!(doctor(of_host(), 1), ["NO_CERTIFICATE", note]);
    let id = alice.granted_by(&bob);
    alice.jit(&["watch", &id]).run().fine();
    assert_eq!(doctor(of_host(), 0), [note]);
    assert_eq!(alice.certificates().len(), 1, "what was tried on the agent is gone");
    let stranger = Persona::new(site.path(), "carl");
    assert_eq!(doctor(stranger.jit(&["doctor", "--json"]), 1), ["NOT_ENROLLED", note]);

    // What ssh itself says is in force, from a configuration of the person's.
    let bin = site.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let config = bin.join("config");
    let lines = "Host prod-host\n  IdentitiesOnly yes\n  ForwardAgent yes\n  User nobody\n";
    std::fs::write(&config, lines).unwrap();
    let wrapper = bin.join("ssh");
    std::fs::write(
        &wrapper,
        format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", config.display()),
    )
    .unwrap();
    Program::new("chmod").args(["+x"]).args([&wrapper]).run().fine();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let weak = ["IDENTITIES_ONLY", "OTHER_USER", "FORWARD_AGENT", "NO_SUCH_LOGIN", note];
    assert_eq!(doctor(of_host().env("PATH", &path), 1), weak);
    std::fs::write(&config, "Host prod-host\n  Nonsense yes\n").unwrap();
    assert_eq!(doctor(of_host().env("PATH", &path), 1), ["SSH_UNUSABLE", note]);

    bob.jit(&["revoke", &id, "--yes"]).run().fine();
    assert_eq!(doctor(of_host(), 1), ["CERTIFICATE_REVOKED", "NO_CERTIFICATE", note]);
    let without = doctor(general().env("SSH_AUTH_SOCK", ""), 1);
    assert_eq!(without, ["KEY_NOT_IN_AGENT", "AGENT_ABSENT", note]);
    alice.jit(&["logout", "--yes"]).run().fine();
    let enrolment = alice.home.join("config/enrolment.json");
    Program::new("chmod").args(["644"]).args([&enrolment]).run().fine();
    assert_eq!(doctor(general(), 1), ["FILE_OPEN", note]);
    Program::new("chmod").args(["600"]).args([&enrolment]).run().fine();
    let told = alice.jit(&["doctor"]).run().fine();
    assert!(told.out.ends_with("No weakness found.\n"), "{}", told.out);

    // Without the CA, what is here is judged all the same.
    site.kill();
    assert_eq!(doctor(general(), 1), ["CA_AWAY", note]);
    let away = doctor(alice.jit(&["doctor", "no-host", "--json"]), 1);
    assert_eq!(away, ["CA_AWAY", "HOST_UNKNOWN", "NO_CERTIFICATE", note]);
}
