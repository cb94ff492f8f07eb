//! What the admin's command says, to people and to programs.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::fs;

use jit_ssh_tests::program::{Program, free_port, make_key};
use jit_ssh_tests::{POLICY, Said, Site};

const UNREACHABLE: i32 = 7;

/// That a failure is told to programs on stdout, in one object, and to people on stderr.
#[track_caller]
fn told_twice(said: &Said, name: &str) {
    assert_eq!(said.json().len(), 1, "{}", said.out);
    assert_eq!(said.text("error"), name, "{}", said.out);
    assert!(said.err.contains(&said.text("message")), "{} is not in {}", said.out, said.err);
    let hint = said.field("hint");
    let told = hint.as_str().is_none_or(|hint| said.err.contains(hint.split("; ").next().unwrap()));
    assert!(told, "{hint} is not in {}", said.err);
}

#[test]
fn the_enroll_url_is_the_last_line_of_init_also_where_stdout_and_stderr_are_one() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("admin");
    make_key(&key, "admin");
    let binary = jit_ssh_tests::program::binaries().join("jit-ssh-ca");
    let script = format!(
        "exec 2>&1; exec \"$0\" init --config conf --state state --listen 127.0.0.1:{} --admin admin.pub",
        free_port()
    );
    let said =
        Program::new("sh").dir(dir.path()).args(["-c", &script]).args([&binary]).run().fine();
    let lines: Vec<&str> = said.out.lines().collect();
    let (last, before) = lines.split_last().unwrap();
    assert!(last.starts_with("https://127.0.0.1:") && last.contains("#SHA256:"), "{}", said.out);
    assert!(before.iter().any(|line| line.starts_with("next: jit-ssh-ca serve")), "{}", said.out);
}

#[test]
fn every_command_but_serve_tells_programs_why_it_failed() {
    let site = Site::initialised();
    let run = |args: &[&str]| site.ca(args).run();
    let config = ["--config", "ca-config"];
    let init = ["init", "--state", "state", "--listen", "127.0.0.1:7443", "--admin", "admin.pub"];
    told_twice(&run(&[&init[..], &config, &["--json"]].concat()).ended(1), "ERROR");
    let apply = ["apply", "--identity", "admin", "--yes", "--json"];
    told_twice(&run(&[&apply[..], &config].concat()).ended(UNREACHABLE), "UNREACHABLE");
    told_twice(&run(&["log", "show", "--config", "nowhere", "--json"]).ended(1), "FILE");
    let export = ["log", "export", "--to", "copy", "--json"];
    told_twice(&run(&[&export[..], &config].concat()).ended(1), "ERROR");
    let usage = run(&["log", "verify", "--no-such-thing", "--json"]).ended(2);
    assert_eq!(usage.text("error"), "USAGE");
    assert!(usage.err.contains("Usage: "), "{}", usage.err);
    // Without it, stdout has nothing.
    assert_eq!(run(&["log", "show", "--config", "nowhere"]).ended(1).out, "");
    assert_eq!(run(&["serve", "--json", "--config", "ca-config"]).ended(2).text("error"), "USAGE");
}

#[test]
fn a_log_that_is_gone_or_was_set_back_is_found_and_one_that_has_not_begun_is_fine() {
    let never = Site::initialised();
    assert!(never.verify_log().contains("log: ok, the log has no entries yet"));

    let (mut site, alice, _bob) = Site::running(POLICY);
    let log = site.state().join("log");
    let verify = |args: &[&str]| site.ca(&[&["log", "verify"], args].concat()).run();
    assert!(site.verify_log().contains("1 bundle"));
    site.ca(&["log", "export", "--config", "ca-config", "--to", "copy"]).run().fine();
    verify(&["--from", "copy"]).fine();
    let early = fs::read(log.join("checkpoint")).unwrap();
    // A bundle later, the checkpoint of before is genuine, and not the log's.
    site.write_policy(&POLICY.replace("30m", "29m"));
    site.apply();
    alice.jit(&["login", "test-host", "--because", "a look", "--for", "2m"]).run().fine();
    assert!(site.verify_log().contains("2 bundles"));
    fs::write(log.join("checkpoint"), early).unwrap();
    let said = verify(&["--json"]).ended(1);
    told_twice(&said, "LOG_FAULT");
    assert_eq!(said.field("ok"), false);
    assert!(said.text("problem").contains("current.json"), "{}", said.out);

    fs::rename(&log, site.path().join("elsewhere")).unwrap();
    assert!(verify(&[]).ended(1).err.contains("there is no checkpoint"));
    fs::remove_dir_all(site.path().join("copy/log")).unwrap();
    assert!(verify(&["--from", "copy"]).ended(1).err.contains("there is no checkpoint"));
    site.kill();
}

#[test]
fn the_log_is_shown_to_programs_with_index_and_id_and_beyond_its_end_it_says_so() {
    let (site, alice, _bob) = Site::running(POLICY);
    let login = ["login", "test-host", "--because", "a look", "--for", "2m", "--json"];
    let id = alice.jit(&login).run().fine().text("id");
    let show = |args: &[&str]| site.ca(&[&["log", "show", "--json"], args].concat()).run().fine();
    site.verify_log();
    let all = show(&[]).json();
    let of = |index: usize, name: &str| all[index][name].clone();
    assert_eq!([of(0, "index"), of(1, "index"), of(2, "index")], [0, 1, 2]);
    assert_eq!([of(0, "kind"), of(2, "kind")], ["statement", "certificate"]);
    assert!(of(0, "id").is_null());
    assert_eq!([of(1, "id"), of(2, "id")], [id.as_str(), id.as_str()]);
    assert_eq!(show(&["--since", "2"]).json().len(), 1);
    let beyond = show(&["--since", "3"]);
    assert_eq!(beyond.out, "");
    assert!(beyond.err.contains("the log ends at entry 2"), "{}", beyond.err);
}
