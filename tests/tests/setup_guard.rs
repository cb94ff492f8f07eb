//! `jit-ssh-host setup` with a guard, from the CA to the end of a session: nothing by hand but what an
//! administrator types.

use std::fs;
use std::time::Instant;

use jit_ssh_tests::program::{is_root, wait_until};
use jit_ssh_tests::{POLICY, PamService, Program, Site, Sshd};

#[test]
fn a_host_that_is_set_up_with_a_guard_ends_what_it_let_in() {
    if !is_root() {
        return eprintln!("skipped: only root can start sshd under PAM");
    }
    let (site, alice, _bob) = Site::running(POLICY);
    let service = PamService::new("setup");
    let host = Sshd::under_pam(site.path(), "test-host", &service.name());
    // Sockets have short names.
    let dir = tempfile::TempDir::with_prefix_in("jit-ssh-setup-", "/run").unwrap();
    let run = dir.path().join("run");
    let setup = |more: &[&str]| host.setup_guarded(&site.url, &service.0, &run, more);

    // By default the guard is required, and none runs.
    let said = setup(&["--json"]).ended(1);
    assert_eq!(said.text("error"), "NO_GUARD");
    assert!(said.err.contains("start it as root"), "{}", said.err);
    assert_eq!(fs::read_to_string(&service.0).unwrap(), PamService::TEXT);
    assert!(!host.etc.join("jit-ssh").exists());

    let guard = Program::new("jit-ssh-host").args(["guard", "--etc"]).args([&host.etc]);
    let guard = guard.args(["--run"]).args([&run]).args(["--state"]).args([dir.path().join("s")]);
    let guard = guard.start();
    let said = setup(&["--json"]).fine();
    assert_eq!(
        (said.text("guard").as_str(), said.field("reloaded").as_bool()),
        ("required", Some(true))
    );
    let again = setup(&["--json"]).fine();
    assert_eq!(again.field("changed").as_array().map(Vec::len), Some(0), "{}", again.out);

    alice.jit(&["login", "test-host", "--for", "10s", "--because", "INC-1 look"]).run().fine();
    let begun = Instant::now();
    let said = alice.ssh(&host, "echo in; sleep 60; echo not ended");
    assert_eq!(said.out, "in\n", "{} {}", said.err, host.log());
    assert!(begun.elapsed().as_secs() < 13, "it took {:?}", begun.elapsed());

    // With sessions to end, a guard goes only when it is said what becomes of them.
    alice.jit(&["login", "test-host", "--for", "30m", "--because", "INC-1 look"]).run().fine();
    let has_sessions = || {
        let table = fs::read_to_string(run.join("guard.state")).unwrap_or_default();
        table.contains("\"pid\"")
    };
    let live = || {
        // What ended just now may be there still.
        wait_until("the end of the one before", || !has_sessions());
        let ssh = alice.program("ssh").args(host.client_options());
        // With a terminal, nothing of it outlives its client.
        let live = ssh.args(["-tt", host.name(), "exec sleep 1000"]).start();
        wait_until("the session", has_sessions);
        live
    };
    let mut session = live();
    let before = fs::read_to_string(&service.0).unwrap();
    for away in [&["--json", "--remove"][..], &["--json", "--guard", "off"]] {
        let said = setup(away).ended(1);
        assert_eq!(said.text("error"), "LIVE_SESSIONS");
        assert!(said.err.contains("watches 1 live session"), "{}", said.err);
    }
    assert_eq!(fs::read_to_string(&service.0).unwrap(), before);
    assert!(session.is_running());
    setup(&["--guard", "off", "--end-sessions"]).fine();
    assert_ne!(session.wait().code, 0);
    assert_eq!(fs::read_to_string(&service.0).unwrap(), PamService::TEXT);
    setup(&[]).fine();
    let mut session = live();
    let said = setup(&["--remove", "--leave-sessions"]).fine();
    assert!(said.err.contains("1 live session goes on"), "{}", said.err);
    assert!(session.is_running());
    session.kill();
    setup(&[]).fine();
    wait_until("the end of the last one", || !has_sessions());

    // No guard, no login; and not before somebody says so are hook and guard taken out.
    guard.kill();
    alice.jit(&["login", "test-host", "--for", "1m", "--because", "INC-1 look"]).run().fine();
    assert_ne!(alice.ssh(&host, "echo in").out, "in\n");
    setup(&["--guard", "optional"]).fine();
    assert_eq!(alice.ssh(&host, "echo in").out, "in\n", "{}", host.log());
    setup(&["--remove"]).fine();
    assert_eq!(fs::read_to_string(&service.0).unwrap(), PamService::TEXT);
    assert_ne!(alice.ssh(&host, "echo in").out, "in\n");
}
