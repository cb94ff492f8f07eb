//! Sessions end when their access ends, with the real sshd under PAM, in all their kinds.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can not go on must stop")]

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use jit_ssh_tests::Program;
use jit_ssh_tests::guarded::{GuardedHost, Live, Way, now, processes_with};
use jit_ssh_tests::program::wait_until;

/// By when after its moment a session must have ended.
const BAR: f64 = 2.0;

/// A number of seconds to sleep that no other process has.
fn unique(number: u32) -> String {
    format!("9{}{number}", std::process::id())
}

/// Starts a session of each kind, by fresh connections. Gives them, with the sleepers that they left
/// behind, detached.
fn all_kinds(host: &GuardedHost, way: &Way, login: &str, first: u32) -> (Vec<Live>, Vec<String>) {
    let mut lives = Vec::new();
    let mut sleepers = Vec::new();
    let mut sleeper = |at: u32| {
        sleepers.push(unique(first + at));
        format!("sleep {}", unique(first + at))
    };
    // Interactive; a command; a command whose sshd child its user has stopped.
    lives.push(host.start(way, login, &["-tt"], &sleeper(0)));
    lives.push(host.start(way, login, &[], &sleeper(1)));
    lives.push(host.start(way, login, &[], &format!("kill -STOP $PPID; {}", sleeper(2))));
    // Forwards alone.
    let socket = |name: &str| host.path(&format!("{login}-{name}")).display().to_string();
    let local = format!("{}:127.0.0.1:1", socket("local"));
    lives.push(host.start(way, login, &["-N", "-L", &local], ""));
    let remote = format!("/tmp/{}:127.0.0.1:1", unique(first));
    lives.push(host.start(way, login, &["-N", "-R", &remote], ""));
    // Files, so slowly that they last, and not so slowly that the client sleeps past the end.
    let big = host.path("home/big");
    fs::File::create(&big).unwrap().set_len(1 << 30).unwrap();
    for (what, program, old) in
        [("sftp", "sftp", &[][..]), ("scp", "scp", &[][..]), ("old scp", "scp", &["-O"][..])]
    {
        let mut client = host.client(program, way);
        client.args(old).args(["-l", "8000", &format!("{}:{}", host.at(login), big.display())]);
        client.arg("/dev/null");
        lives.push(Live::new(&format!("{what} as {login}"), client));
    }
    // One connection for several channels, the second one later.
    let control = socket("control");
    lives.push(host.start(way, login, &["-M", "-S", &control, "-N"], ""));
    wait_until("the master", || fs::exists(&control).unwrap());
    lives.push(host.start(way, login, &["-S", &control], &sleeper(3)));
    // With the agent forwarded.
    lives.push(host.start(way, login, &["-A"], &sleeper(4)));
    // Detached in three ways, and the connection closed or left open.
    for (at, left) in [
        (5, format!("nohup {} >/dev/null 2>&1 & sleep 1000", unique(first + 5))),
        (6, format!("setsid {} >/dev/null 2>&1 & sleep 1000", unique(first + 6))),
        (7, format!("(setsid {} >/dev/null 2>&1 &) ; exit 0", unique(first + 7))),
    ] {
        let command = left.replacen(&unique(first + at), &sleeper(at), 1);
        lives.push(host.start(way, login, &[], &command));
    }
    for sleeper in &sleepers {
        wait_until(&format!("sleep {sleeper}"), || !processes_with(sleeper).is_empty());
    }
    (lives, sleepers)
}

fn has_cgroups() -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let found = mounts.contains(" - cgroup2 ");
    if !found {
        eprintln!("partly skipped: there is no cgroup v2 here, so detached processes stay");
    }
    found
}

#[test]
fn every_kind_of_session_ends_at_its_moment_and_those_of_others_go_on() {
    let Some(host) = GuardedHost::new("required") else { return };
    let user = host.user.clone();
    // Others, side by side: a key of their own, another CA's certificate, a longer access of ours.
    let foreign = host.certificate(&jit_ssh_tests::guarded::Wanted {
        principals: vec!["other".into()],
        ca: "other_ca",
        ..host.wanted(&user, 1)
    });
    let (longer, _) = host.access(&user, 3_000);
    let mut others: Vec<Live> = [(&host.plain(), 90), (&foreign, 91), (&longer, 92)]
        .into_iter()
        .map(|(way, at)| host.start(way, &user, &["-tt"], &format!("sleep {}", unique(at))))
        .collect();
    others.push(host.start(&host.plain(), &user, &[], &format!("setsid sleep {}", unique(93))));
    host.wait_for_sessions(1);

    let (ordinary, until) = host.access(&user, 20);
    let (root, until_root) = host.access("root", 20);
    let (mut lives, mut sleepers) = all_kinds(&host, &ordinary, &user, 100);
    let (more, more_sleepers) = all_kinds(&host, &root, "root", 200);
    lives.extend(more);
    sleepers.extend(more_sleepers);
    assert!(now() < until.min(until_root) - 1.0, "this machine is too slow for this test");
    // One of each thirteen has gone by itself and left something behind.
    let mut live: Vec<Live> =
        lives.into_iter().filter_map(|mut l| l.is_live().then_some(l)).collect();
    assert_eq!(live.len(), 2 * 13, "{:?}", live.iter().map(|l| &l.what).collect::<Vec<_>>());

    let latest = until.max(until_root) + BAR;
    for session in &mut live {
        let ended = session.ended();
        assert!(ended >= until.min(until_root), "{} ended too early", session.what);
        assert!(ended <= latest, "{} ended {:.1} s late", session.what, ended - until);
    }
    if has_cgroups() {
        sleep(Duration::from_secs_f64((latest - now()).max(0.0)));
        for sleeper in &sleepers {
            assert!(processes_with(sleeper).is_empty(), "sleep {sleeper} lives on");
        }
    }
    for session in &mut others {
        assert!(session.is_live(), "{} ended, too", session.what);
    }
    for at in 90..=93 {
        assert!(!processes_with(&unique(at)).is_empty(), "somebody else's {at} is gone");
    }
    host.wait_for_sessions(1);
    let events = host.events();
    let of = |kind: &str| events.iter().filter(|event| event["kind"] == kind).count();
    assert_eq!((of("login"), of("end")), (1 + 2 * 13, 2 * 13), "{events:#?}");
    let causes: Vec<&str> = events.iter().filter_map(|event| event["cause"].as_str()).collect();
    assert_eq!(causes.iter().filter(|cause| **cause == "closed").count(), 2, "{causes:?}");
    assert!(events.iter().all(|event| event["from"] == "127.0.0.1"));
}

#[test]
fn a_revoked_certificate_ends_its_sessions_at_once_and_no_others() {
    let Some(host) = GuardedHost::new("required") else { return };
    let user = host.user.clone();
    let (taken, _) = host.access(&user, 3_000);
    let (kept, _) = host.access(&user, 3_000);
    let mut one = host.start(&taken, &user, &["-tt"], "sleep 1000");
    let mut stopped = host.start(&taken, &user, &[], "kill -STOP $PPID; sleep 1000");
    let mut other = host.start(&kept, &user, &["-tt"], "sleep 1000");
    host.wait_for_sessions(3);
    // A list that is none, or of other certificates, changes nothing.
    fs::write(host.path("etc/jit-ssh/revoked.krl"), "SSHKRL").unwrap();
    host.revoke(&[9_999]);
    sleep(Duration::from_millis(1_500));
    assert!(one.is_live() && stopped.is_live() && other.is_live());

    host.revoke(&[taken.serial]);
    let at = now();
    assert!(one.ended() - at < BAR && stopped.ended() - at < BAR);
    sleep(Duration::from_millis(500));
    assert!(other.is_live());
    let events = host.events();
    let revoked = events.iter().filter(|event| event["cause"] == "revoked");
    assert!(revoked.clone().all(|event| event["serial"] == taken.serial));
    assert_eq!(revoked.count(), 2);
    // It lets nobody in again; the neighbour does.
    assert!(!host.run(&taken, &user, "true").0);
    assert!(host.run(&kept, &user, "true").0);
}

#[test]
fn its_own_terminals_are_warned_and_no_others() {
    let Some(host) = GuardedHost::new("required") else { return };
    let user = host.user.clone();
    let (way, until) = host.access(&user, 14);
    // Another person's, or it would prolong the first.
    let mut bob = host.wanted(&user, now() as u64 + 3_000);
    bob.key_id = bob.key_id.replace("alice", "bob");
    let longer = host.certificate(&bob);
    let mut own = host.start(&way, &user, &["-tt"], &format!("sleep {}", unique(400)));
    let other = host.start(&longer, &user, &["-tt"], "sleep 1000");
    // A terminal that is stopped must hold up nobody.
    let mut stopped = host.start(&way, &user, &["-tt"], "cat /dev/zero | tr '\\0' x; sleep 1000");
    host.wait_for_sessions(3);
    wait_until("the command", || !processes_with(&unique(400)).is_empty());
    stopped.say("\u{13}");
    assert!(own.ended() <= until + BAR && stopped.ended() <= until + BAR);
    let said = own.close();
    assert!(said.contains("jit-ssh: this session ends in"), "{said}");
    assert!(said.contains(&format!("jit-ssh login test-host --as {user} --extend")), "{said}");
    // (Everybody hears of the sealed key, whose test may run beside this one.)
    assert!(!other.close().contains("this session ends in"));
}

#[test]
fn a_guard_that_was_killed_takes_up_its_deadlines_and_misses_none() {
    let Some(mut host) = GuardedHost::new("required") else { return };
    let user = host.user.clone();
    // Another person's: a longer access of the same one would prolong it.
    let until_soon = now() as u64 + 12;
    let mut bob = host.wanted(&user, until_soon);
    bob.key_id = bob.key_id.replace("alice", "bob");
    let (soon, until_soon) = (host.certificate(&bob), until_soon as f64);
    let (later, until_later) = host.access(&user, 24);
    let start = |way: &Way, at: u32| {
        let live = host.start(way, &user, &["-tt"], &format!("sleep {}", unique(at)));
        // It is let in, and not only recorded.
        wait_until("the command", || !processes_with(&unique(at)).is_empty());
        live
    };
    let mut missed = start(&soon, 300);
    let mut taken_up = start(&later, 301);
    let mut gone = start(&later, 302);
    host.kill_guard();
    assert!(gone.is_live());
    drop(gone);
    sleep(Duration::from_secs_f64((until_soon + 1.0 - now()).max(0.0)));
    assert!(missed.is_live() && taken_up.is_live(), "sessions do not hang on the guard's life");
    host.start_guard();
    let at = now();
    let late = missed.ended() - at;
    assert!(late < BAR, "what was due meanwhile ended {late:.1} s late: {}", host.kill_guard());
    host.wait_for_sessions(1);
    // Once more, with nothing between: what was recorded is enough.
    host.kill_guard();
    host.start_guard();
    let ended = taken_up.ended();
    assert!(until_later <= ended && ended <= until_later + BAR, "{}", ended - until_later);
    host.wait_for_sessions(0);
    let causes: Vec<String> = host
        .events()
        .iter()
        .filter_map(|event| event["cause"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(causes.iter().filter(|cause| *cause == "closed").count(), 1, "{causes:?}");
    assert_eq!(causes.iter().filter(|cause| *cause == "expired").count(), 2, "{causes:?}");
}

#[test]
fn a_process_that_has_a_monitors_number_is_left_alone() {
    let Some(mut host) = GuardedHost::new("required") else { return };
    let user = host.user.clone();
    let (way, until) = host.access(&user, 8);
    let mut session = host.start(&way, &user, &[], &format!("sleep {}", unique(500)));
    // It is let in, and not only recorded.
    wait_until("the command", || !processes_with(&unique(500)).is_empty());
    host.kill_guard();
    let path = host.path("run/guard.state");
    let text = fs::read_to_string(&path).unwrap();
    let pid = host.sessions()[0]["monitor"]["pid"].to_string();
    let mut innocent = std::process::Command::new("sleep");
    let mut innocent = innocent.arg("60").stdout(std::process::Stdio::null()).spawn().unwrap();
    // The number is another process's now, and no group of its own is recorded.
    let mut table: serde_json::Value = serde_json::from_str(&text).unwrap();
    table["sessions"][0]["monitor"]["pid"] = innocent.id().into();
    table["sessions"][0]["cgroup"] = serde_json::Value::Null;
    fs::write(&path, table.to_string()).unwrap();
    sleep(Duration::from_secs_f64((until - now()).max(0.0)));
    host.start_guard();
    host.wait_for_sessions(0);
    sleep(Duration::from_millis(1_200));
    assert!(innocent.try_wait().unwrap().is_none() && session.is_live());
    // Of another boot: the same.
    host.kill_guard();
    let boot = table["boot"].as_str().unwrap().to_owned();
    fs::write(&path, text.replace(&boot, "00000000-0000-0000-0000-000000000000")).unwrap();
    host.start_guard();
    sleep(Duration::from_millis(1_200));
    assert!(session.is_live());
    // The control: as it was recorded, it is ended.
    host.kill_guard();
    fs::write(&path, &text).unwrap();
    assert!(text.contains(&pid));
    host.start_guard();
    session.ended();
    innocent.kill().unwrap();
    innocent.wait().unwrap();
}

#[test]
fn without_the_guard_a_required_host_lets_nobody_in_by_our_certificates_and_an_optional_one_does() {
    let Some(mut host) = GuardedHost::new("required") else { return };
    let user = host.user.clone();
    let (way, _) = host.access(&user, 3_000);
    let (over, _) = host.access(&user, 0);
    assert!(host.run(&way, &user, "true").0);
    host.kill_guard();
    let refused = |host: &GuardedHost, way: &Way, login: &str| {
        let began = Instant::now();
        // Even a connection that asks for nothing is ended.
        let mut idle = host.start(way, login, &["-N"], "");
        idle.ended();
        !host.run(way, login, "true").0 && began.elapsed() < Duration::from_secs(6)
    };
    let plain = host.plain();
    for (mode, ours_in, over_in) in [
        ("required", false, false),
        ("optional", true, false),
        ("no such word", false, false),
        ("off", true, true),
    ] {
        host.set_up(mode);
        assert!(host.run(&plain, &user, "true").0, "{mode}");
        assert!(host.run(&plain, "root", "true").0, "{mode}");
        if ours_in {
            assert!(host.run(&way, &user, "true").0, "{mode}");
        } else {
            assert!(refused(&host, &way, &user), "{mode}");
            let (root, _) = host.access("root", 3_000);
            assert!(refused(&host, &root, "root"), "{mode}");
        }
        assert_eq!(host.run(&over, &user, "true").0, over_in, "{mode}");
    }
    fs::remove_file(host.path("etc/jit-ssh/host.toml")).unwrap();
    assert!(refused(&host, &way, &user) && host.run(&plain, &user, "true").0);

    // A guard that is there and does not answer: two seconds, and only for our certificates.
    host.set_up("required");
    host.start_guard();
    assert!(host.run(&way, &user, "true").0);
    let guard = host.guard.as_ref().unwrap().pid().to_string();
    Program::new("kill").args(["-STOP", &guard]).run().fine();
    assert!(refused(&host, &way, &user));
    let began = Instant::now();
    assert!(host.run(&plain, &user, "true").0 && began.elapsed() < Duration::from_secs(2));
    Program::new("kill").args(["-CONT", &guard]).run().fine();
    assert!(host.run(&way, &user, "true").0);
}

#[test]
fn certificates_of_ours_that_say_no_end_or_one_that_is_past_let_nobody_in() {
    let Some(host) = GuardedHost::new("optional") else { return };
    let user = host.user.clone();
    let until = now() as u64 + 3_000;
    assert!(host.run(&host.certificate(&host.wanted(&user, until)), &user, "true").0);
    for key_id in [
        format!("alice/7kq2m9xw4p/{}", now() as u64 - 1),
        format!("alice/7kq2m9xw4p/0{until}"),
        format!("alice/7kq2m9xw4p/{}", u64::MAX),
        format!("alice/{until}"),
        "alice".to_owned(),
    ] {
        let mut wanted = host.wanted(&user, until);
        wanted.key_id = key_id;
        let way = host.certificate(&wanted);
        assert!(!host.run(&way, &user, "true").0, "{wanted:?}");
        host.start(&way, &user, &["-N"], "").ended();
        // The same by a CA that is not ours is none of our business.
        let theirs = jit_ssh_tests::guarded::Wanted {
            principals: vec!["other".into()],
            ca: "other_ca",
            ..wanted
        };
        assert!(host.run(&host.certificate(&theirs), &user, "true").0, "{theirs:?}");
    }
    host.wait_for_sessions(0);
}

#[test]
fn an_extension_moves_the_end_of_what_runs_and_only_of_that() {
    let Some(host) = GuardedHost::new("required") else { return };
    let user = host.user.clone();
    let (way, until) = host.access(&user, 25);
    let mut prolonged = host.start(&way, &user, &["-tt"], "sleep 1000");
    let mut bob = host.wanted(&user, until as u64);
    bob.key_id = bob.key_id.replace("alice", "bob");
    let mut other = host.start(&host.certificate(&bob), &user, &["-tt"], "sleep 1000");
    host.wait_for_sessions(2);
    let extended = host.wanted(&user, until as u64 + 1_000);
    // Of less than the session has, it prolongs nothing: no terminal, a command, another login.
    for less in [
        vec!["-O", "no-pty"],
        vec!["-O", "force-command=true"],
        vec!["-O", "source-address=127.0.0.1/32"],
    ] {
        let less = jit_ssh_tests::guarded::Wanted { more: less, ..extended.clone() };
        assert!(host.run(&host.certificate(&less), &user, "true").0, "{less:?}");
    }
    let root = host.wanted("root", until as u64 + 1_000);
    assert!(host.run(&host.certificate(&root), "root", "true").0);
    let ends = |host: &GuardedHost| {
        let grants = |s: &serde_json::Value| s["grants"].as_array().unwrap().len();
        host.sessions().iter().map(grants).sum::<usize>()
    };
    wait_until("only the two", || host.sessions().len() == 2);
    assert_eq!(ends(&host), 2);

    let extension = host.certificate(&extended);
    assert!(host.run(&extension, &user, "true").0);
    wait_until("the extension", || ends(&host) == 3);
    assert!(other.ended() <= until + BAR);
    sleep(Duration::from_secs_f64((until + BAR - now()).max(0.0)));
    assert!(prolonged.is_live(), "it ended in spite of its extension");
    // The extension is taken away, and the first access is over.
    host.revoke(&[extension.serial]);
    let at = now();
    assert!(prolonged.ended() - at < BAR);
}

#[test]
fn the_sealed_key_is_let_in_until_its_certificate_ends_and_everybody_hears_of_it() {
    let Some(mut host) = GuardedHost::new("required") else { return };
    let user = host.user.clone();
    let (ours, _) = host.access(&user, 3_000);
    let watcher = host.start(&ours, &user, &["-tt"], "sleep 1000");
    host.wait_for_sessions(1);
    let mut wanted = host.wanted(&user, 1);
    (wanted.key_id, wanted.ca, wanted.valid) = ("safe in the basement".into(), "offline_ca", "+7s");
    let until = now() + 7.0;
    let way = host.certificate(&wanted);
    let mut session = host.start(&way, &user, &[], "sleep 1000");
    host.wait_for_sessions(2);
    assert!(session.ended() <= until + BAR);
    assert!(now() >= until - 1.0);
    host.wait_for_sessions(1);
    let kinds: Vec<String> =
        host.events().iter().map(|e| e["kind"].as_str().unwrap().into()).collect();
    assert_eq!(kinds, ["login", "offline", "end"]);
    assert!(watcher.close().contains("BREAK-GLASS: the sealed offline key let in"));
    assert!(host.kill_guard().contains("BREAK-GLASS"));
}

#[test]
fn the_sockets_other_callers_and_messages_change_nothing() {
    let Some(host) = GuardedHost::new("required") else { return };
    use std::os::unix::fs::PermissionsExt as _;
    assert!(host.run(&host.access(&host.user, 300).0, &host.user, "true").0);
    host.wait_for_sessions(0);
    let socket = host.path("run/guard.sock");
    let mode = |path: &str| fs::metadata(host.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode("run/guard.sock"), mode("run/guard.state"), mode("state")),
        (0o600, 0o600, 0o700)
    );
    // Even where the file lets others connect, nobody but root is heard.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let ask = |user: Option<&str>, message: &str| {
        let perl = "alarm 9; socket(S, AF_UNIX, SOCK_SEQPACKET, 0) or die;
            connect(S, sockaddr_un($ARGV[0])) or die qq(connect: $!);
            send(S, $ARGV[1], 0) if length $ARGV[1]; recv(S, $b, 65536, 0); print $b";
        let path = socket.display().to_string();
        let program = match user {
            Some(user) => Program::new("setpriv").args(["--reuid", user, "--clear-groups", "perl"]),
            None => Program::new("perl"),
        };
        program.args(["-MSocket", "-e", perl, &path, message]).run()
    };
    let status = r#"{"do":"status"}"#;
    let etc = host.path("etc");
    let expected = format!(r#"{{"answer":"status","sessions":0,"etc":"{}"}}"#, etc.display());
    assert_eq!(ask(None, status).fine().out.trim(), expected);
    assert!(!ask(Some("65534"), status).out.contains("status"));
    let certificate =
        fs::read_to_string(host.access(&host.user, 300).0.certificate.unwrap()).unwrap();
    let forged = certificate.replacen("AAAAIHNza", "AAAAIHNzb", 1);
    assert!(ask(None, "{\"do\":\"stop\"}").out.contains("unable"));
    assert!(ask(None, &"x".repeat(60_000)).out.contains("too long"));
    let prolong = |line: &str| {
        let line = line.trim().to_owned();
        ask(None, &serde_json::json!({"do": "prolong", "certificate": line}).to_string()).out
    };
    assert!(prolong(&certificate).contains("prolonged"));
    assert!(prolong(&forged).contains("refused") || forged == certificate);
    assert!(prolong("ssh-ed25519-cert-v01@openssh.com AAAA").contains("refused"));
    let began = Instant::now();
    assert_eq!(ask(None, "").fine().out, "");
    assert!(began.elapsed() < Duration::from_secs(4), "who says nothing is not waited for");
}

#[test]
fn the_unit_is_hardened() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../src/host/units/jit-ssh-guard.service");
    let there = std::process::Command::new("systemd-analyze").arg("--version").output();
    if !there.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: there is no systemd-analyze here");
        return;
    }
    let said = Program::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "--threshold=30", unit])
        .run();
    let score =
        said.out.lines().chain(said.err.lines()).find(|line| line.contains("exposure level"));
    eprintln!("{}", score.unwrap_or("no score"));
    said.fine();
}
