//! Hosts that join by themselves, end to end: the CA, its commands and stock sshd, all real.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use jit_ssh_api::v1;
use jit_ssh_tests::api::{Caller, now, wait_until_past};
use jit_ssh_tests::pipeline::{lend, login, site, strict_ssh, token, vouch};
use jit_ssh_tests::program::{Program, Said};
use jit_ssh_tests::{Site, Sshd, me};

const REFUSED: i32 = 6;

fn enroll(host: &Sshd, token: &str, more: &[&str]) -> Said {
    let key = host.etc.join("host_key.pub");
    Program::new("jit-ssh-host")
        .args(["enroll", "--token-file", token, "--name", host.name(), "--json", "--host-key"])
        .args([&key])
        .args(["--etc"])
        .args([&host.etc])
        .args(more)
        .run()
}

/// `setup` with a join token and nothing that says where the CA is.
fn setup_by(host: &Sshd, token: &str, more: &[&str]) -> Said {
    let args = ["setup", "--guard", "off", "--json", "--token", token, "--name", host.name()];
    Program::new("jit-ssh-host").args(args).args(["--etc"]).args([&host.etc]).args(more).run()
}

/// Whether the CA knows a host of this name that joined.
fn has_joined(site: &Site, name: &str) -> bool {
    let request = v1::GetEnrolmentsRequest { names: vec![name.to_owned()] };
    let call = async |client: jit_ssh_api::Client| client.get_enrolments(request).await.unwrap();
    !Caller::new(site).call(call).enrolments.is_empty()
}

#[test]
fn a_host_joins_is_logged_in_to_goes_and_its_name_comes_back_as_another_machine() {
    let (mut site, alice, pipeline) = site();
    let first = Sshd::new(site.path(), "ci-1");
    // Before it joined nobody can ask for it, nor set it up.
    login(&alice, "ci-1", "1m").ended(REFUSED);
    let refused = first.setup(&site.url, &[]).ended(1);
    assert!(refused.err.contains("ci-1"), "{}", refused.err);

    let word = token(&site, &pipeline, "45s", "3");
    let joined = enroll(&first, &word, &[]).fine();
    let until = joined.field("until").as_u64().unwrap();
    assert!((now()..=now() + 45).contains(&until));
    first.setup(&site.url, &[]).fine();
    // People know it by a certificate that ends with it.
    let shown = Program::new("ssh-keygen").args(["-L", "-f"]);
    let shown = shown.args([first.etc.join("jit-ssh/ssh_host_ed25519_key-cert.pub")]).run().fine();
    assert!(shown.out.contains(&format!("\"host/ci-1/{until}\"")), "{}", shown.out);
    let said = login(&alice, "ci-1", "10m").fine();
    assert_eq!(said.field("access_until").as_u64(), Some(until), "not beyond the host");
    assert_eq!(alice.ssh(&first, "echo in").fine().out, "in\n");
    let principals = fs::read_to_string(first.etc.join(format!("jit-ssh/principals/{}", me())));
    assert!(principals.unwrap().contains(&format!("{}@ci-1", me())));

    // Another machine can not take its name while it is there; it can renew itself.
    let second_dir = site.path().join("second");
    fs::create_dir(&second_dir).unwrap();
    let second = Sshd::new(&second_dir, "ci-1");
    let taken = enroll(&second, &word, &[]).ended(1);
    assert_eq!(taken.text("error"), "NAME_TAKEN");
    // A front that is started anew knows it still.
    site.stop();
    site.serve();
    let session = Caller::new(&site).open_session("alice", &alice.key_file()).unwrap();
    // A connection of its own each time: nobody answers for one that waits.
    let listed = || {
        let caller = Caller::new(&site).with_session(&session);
        let request = v1::ListHostsRequest::default();
        caller.call(|client| async move { client.list_hosts(request).await.unwrap() }).hosts
    };
    let hosts = listed();
    assert_eq!(hosts.len(), 1, "{hosts:?}");
    assert_eq!((hosts[0].name.as_str(), hosts[0].until), ("ci-1", until));
    assert_eq!(
        (hosts[0].enroller.as_str(), &hosts[0].labels[..]),
        ("pipeline", &["env=ci".to_owned()][..])
    );

    wait_until_past(until);
    assert_eq!(alice.ssh(&first, "true").code, 255, "the certificate went with the host");
    login(&alice, "ci-1", "1m").ended(REFUSED);
    assert!(listed().is_empty());

    let joined = enroll(&second, &word, &["--for", "40s"]).fine();
    assert!(joined.field("until").as_u64().unwrap() > until);
    second.setup(&site.url, &[]).fine();
    login(&alice, "ci-1", "1m").fine();
    assert_eq!(alice.ssh(&second, "echo new").fine().out, "new\n");
    // What is in the log justifies all of it.
    let summary = site.verify_log();
    assert!(summary.contains("hosts and tokens"), "{summary}");
    // The token never came into anybody's log.
    let secret = fs::read_to_string(&word).unwrap();
    assert!(!site.serve_log().contains(secret.trim()));
}

#[test]
fn a_token_lets_in_as_many_hosts_as_it_says_and_an_enroller_vouches_for_one_itself() {
    let (site, alice, pipeline) = site();
    let word = token(&site, &pipeline, "10m", "1");
    let (one, two) = (Sshd::new(site.path(), "ci-1"), Sshd::new(site.path(), "ci-2"));
    enroll(&one, &word, &[]).fine();
    enroll(&one, &word, &[]).fine();
    let spent = enroll(&two, &word, &[]).ended(1);
    assert_eq!(spent.text("error"), "TOKEN_SPENT");
    let beyond = enroll(&one, &word, &["--for", "11m"]).ended(1);
    assert_eq!(beyond.text("error"), "NOT_ALLOWED");

    let better = vouch(&site, &pipeline, &two, "env=prod", "10m").ended(1);
    assert!(better.err.contains("may not give the label env=prod"), "{}", better.err);
    let prod = Sshd::new(site.path(), "prod-host");
    let listed = vouch(&site, &pipeline, &prod, "env=ci", "10m").ended(1);
    assert!(listed.err.contains("hosts.toml lists a host prod-host"), "{}", listed.err);
    vouch(&site, &pipeline, &two, "env=ci", "10m").fine();
    login(&alice, "ci-2", "1m").fine();

    // Without its enroller a host is gone at once.
    site.write_hosts();
    site.apply();
    login(&alice, "ci-1", "1m").ended(REFUSED);
}

#[test]
fn a_token_that_the_bundle_does_not_allow_is_not_made_and_one_that_others_can_read_is_not_taken() {
    let (mut site, alice, pipeline) = site();
    let key = pipeline.key_file();
    for (span, more, reason, word) in [
        ("2h", &[][..], "NOT_ALLOWED", "1h at most"),
        ("1h", &["--uses", "6"], "NOT_ALLOWED", "5 uses at most"),
        ("1h", &["--name", "web-*"], "NOT_ALLOWED", "may not name hosts web-*"),
        ("1h", &["--labels", "role=db"], "NOT_ALLOWED", "may not give the label role=db"),
        ("1h", &["--logins", "nobody-here"], "NOT_ALLOWED", "may not give the login nobody-here"),
    ] {
        // What is said twice adds to the list.
        let said = lend(&site, &key, span, &[more, &["--json"]].concat()).ended(1);
        assert_eq!(said.text("error"), reason, "{said:?}");
        assert!(said.err.contains(word) && said.err.contains("no token is made"), "{said:?}");
        assert!(!said.out.contains("jit-ssh-join-1"), "{said:?}");
    }
    let stranger = lend(&site, &alice.key_file(), "1h", &["--json"]).ended(1);
    assert_eq!(stranger.text("error"), "UNKNOWN_SIGNER");
    lend(&site, &key, "1h", &["--uses", "5"]).fine();

    let word = token(&site, &pipeline, "10m", "1");
    fs::set_permissions(&word, fs::Permissions::from_mode(0o644)).unwrap();
    let host = Sshd::new(site.path(), "ci-1");
    let open = setup_by(&host, &word, &["--allow-lock-out"]).ended(1);
    assert_eq!(open.text("error"), "TOKEN_OPEN");
    assert!(!has_joined(&site, "ci-1") && !host.etc.join("jit-ssh").exists());
    fs::set_permissions(&word, fs::Permissions::from_mode(0o600)).unwrap();
    let said = setup_by(&host, &word, &["--allow-lock-out"]).fine();
    assert!(said.err.contains(" UTC.") && !said.err.contains("Unix seconds"), "{said:?}");

    // Without a way to the CA nobody knows; whoever wants one all the same says so.
    site.stop();
    let said = lend(&site, &key, "1h", &["--json"]).ended(7);
    assert!(said.err.contains("--unchecked"), "{said:?}");
    lend(&site, &key, "2h", &["--unchecked"]).fine();
}

#[test]
fn one_command_joins_and_sets_up_and_uses_its_token_once() {
    let (site, alice, pipeline) = site();
    let word = token(&site, &pipeline, "10m", "1");
    let host = Sshd::new(site.path(), "ci-1");
    let is_untouched = || !host.etc.join("jit-ssh").exists() && !has_joined(&site, "ci-1");
    // A dry run sends nothing, and no token is spent on a host that setup then refuses.
    let said = setup_by(&host, &word, &["--allow-lock-out", "--dry-run"]).fine();
    assert!(said.err.contains("ci-1 would join by the token") && is_untouched(), "{said:?}");
    assert_eq!(setup_by(&host, &word, &[]).ended(1).text("error"), "LOCK_OUT");
    assert!(is_untouched());
    let secret = fs::read_to_string(&word).unwrap();
    let argument = setup_by(&host, secret.trim(), &["--allow-lock-out"]).ended(2);
    assert!(!argument.err.contains(secret.trim()) && is_untouched(), "{argument:?}");

    let said = setup_by(&host, &word, &["--allow-lock-out"]).fine();
    assert!(said.err.contains("ci-1 has joined until"), "{said:?}");
    let again = setup_by(&host, &word, &["--allow-lock-out"]).fine();
    assert!(again.err.contains("the token is not used"), "{again:?}");
    assert_eq!(again.field("changed").as_array().map(Vec::len), Some(0), "{again:?}");
    // Also where what it kept was lost: the CA knows.
    let kept = host.etc.join("jit-ssh/enrolment.json");
    let content = fs::read(&kept).unwrap();
    fs::remove_file(&kept).unwrap();
    let again = setup_by(&host, &word, &["--allow-lock-out"]).fine();
    assert!(again.err.contains("the token is not used"), "{again:?}");
    assert_eq!(fs::read(&kept).unwrap(), content);

    // Whoever finds the token later has nothing of it, nor of what the first machine kept.
    let thief = Sshd::new(site.path(), "ci-2");
    let spent = setup_by(&thief, &word, &["--allow-lock-out"]).ended(1);
    assert_eq!(spent.text("error"), "TOKEN_SPENT");
    assert!(!thief.etc.join("jit-ssh").exists());
    let elsewhere = site.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let clone = Sshd::new(&elsewhere, "ci-1");
    fs::create_dir(clone.etc.join("jit-ssh")).unwrap();
    fs::copy(&kept, clone.etc.join("jit-ssh/enrolment.json")).unwrap();
    assert_eq!(setup_by(&clone, &word, &["--allow-lock-out"]).ended(1).text("error"), "NAME_TAKEN");
    assert_eq!(clone.setup(&site.url, &["--json"]).ended(1).text("error"), "OTHER_KEY");

    // People find it, get in, and know it by its certificate and by no other name.
    let hosts = alice.jit(&["hosts", "--json"]).run().fine();
    assert_eq!((hosts.text("name"), hosts.text("enroller")), ("ci-1".into(), "pipeline".into()));
    let table = alice.jit(&["hosts"]).run().fine().out;
    assert!(table.contains("ENROLLER") && table.contains("env=ci"), "{table}");
    login(&alice, "ci-1", "5m").fine();
    assert_eq!(strict_ssh(&alice, &host).fine().out, "in\n");
    let file = fs::read_to_string(alice.home.join("state/known_hosts")).unwrap();
    assert!(file.contains("@cert-authority ci-1 ") && !file.contains('*'), "{file}");
    let printed = alice.jit(&["hosts", "--known-hosts"]).run().fine().out;
    assert_eq!(printed.trim_end(), file.trim_end());
    let impostor = strict_ssh(&alice, &clone);
    assert!(impostor.err.contains("Host key verification failed"), "{impostor:?}");
    // Taken out, nothing of it is left.
    host.setup(&site.url, &["--remove"]).fine();
    assert!(!host.etc.join("jit-ssh").exists());
}

#[test]
fn a_host_that_was_vouched_for_is_set_up_without_a_token_and_again() {
    let (site, alice, pipeline) = site();
    let host = Sshd::new(site.path(), "ci-1");
    assert_eq!(host.setup(&site.url, &["--json"]).ended(1).text("error"), "UNKNOWN_HOST");
    vouch(&site, &pipeline, &host, "env=ci", "10m").fine();
    // Another machine is not set up by what was said of this one.
    let elsewhere = site.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let other = Sshd::new(&elsewhere, "ci-1");
    assert_eq!(other.setup(&site.url, &["--json"]).ended(1).text("error"), "OTHER_KEY");
    assert!(!other.etc.join("jit-ssh").exists());

    host.setup(&site.url, &[]).fine();
    let said = host.setup(&site.url, &["--json"]).fine();
    assert_eq!(said.field("changed").as_array().map(Vec::len), Some(0), "{said:?}");
    let kept = || fs::read_to_string(host.etc.join("jit-ssh/enrolment.json")).unwrap();
    let first = kept();
    // Prolonged, it takes over what the enroller says now.
    let after = now();
    wait_until_past(after);
    vouch(&site, &pipeline, &host, "env=ci", "20m").fine();
    host.setup(&site.url, &[]).fine();
    assert_ne!(kept(), first);
    login(&alice, "ci-1", "5m").fine();
    assert_eq!(strict_ssh(&alice, &host).fine().out, "in\n");
}
