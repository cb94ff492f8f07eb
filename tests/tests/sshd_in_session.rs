//! An sshd that root starts by hand in a session that is watched: it and who came by it outlive the
//! session, and nothing else does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can not go on must stop")]

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use jit_ssh_tests::Program;
use jit_ssh_tests::guarded::{GuardedHost, cgroup2_mount, now, processes_with};
use jit_ssh_tests::program::{free_port, listens, make_key, wait_until};

/// A number of seconds to sleep that no other process has.
fn unique(number: u32) -> String {
    format!("8{}{number}", std::process::id())
}

/// Another sshd of this host: its port, and the command line that starts it.
fn sshd(host: &GuardedHost, name: &str) -> (u16, String) {
    let port = free_port();
    let config = fs::read_to_string(host.path("sshd_config")).unwrap();
    let config: String = config
        .lines()
        .map(|line| match line.split(' ').next().unwrap() {
            "ListenAddress" => format!("ListenAddress 127.0.0.1:{port}\n"),
            "PidFile" => format!("PidFile {}\n", host.path(&format!("{name}.pid")).display()),
            _ => format!("{line}\n"),
        })
        .collect();
    let path = host.path(&format!("{name}_config"));
    fs::write(&path, config).unwrap();
    let program = host.path(&format!("jit-ssh-test-{}", host.user));
    let log = host.path(&format!("{name}.log"));
    (port, format!("{} -f {} -E {}", program.display(), path.display(), log.display()))
}

fn pid(host: &GuardedHost, name: &str) -> i32 {
    fs::read_to_string(host.path(&format!("{name}.pid"))).unwrap().trim().parse().unwrap()
}

/// An sshd that hangs on nobody: it ends with the test.
struct Listener(i32);

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = Program::new("kill").args([&self.0.to_string()]).run();
    }
}

fn is_in_a_sessions_group(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().contains("/jit-ssh/")
}

#[test]
fn an_sshd_that_root_starts_in_a_session_outlives_it_with_all_who_came_by_it() {
    let Some(mut host) = GuardedHost::new("required") else { return };
    if cgroup2_mount().is_none() {
        eprintln!("skipped: there is no cgroup v2 here");
        return;
    }
    let (user, usual) = (host.user.clone(), host.port);
    let (root, until) = host.access("root", 30);
    let (ours, _) = host.access(&user, 3_000);
    let ((first, daemon), (second, child)) = (sshd(&host, "daemon"), sshd(&host, "child"));
    let command = format!(
        "{daemon}; {child} -D & setsid sleep {} & setsid sleep {} & sleep {}",
        unique(1),
        unique(2),
        unique(3)
    );
    let mut session = host.start(&root, "root", &[], &command);
    wait_until("both sshd", || listens(first) && listens(second));
    // By means that the guard is not told of, and by a certificate of ours.
    let mut others = Vec::new();
    for (port, at) in [(first, 10), (second, 20)] {
        host.port = port;
        let sleeper = |at| format!("sleep {}", unique(at));
        others.push(host.start(&host.plain(), &user, &["-tt"], &sleeper(at)));
        others.push(host.start(&ours, &user, &[], &sleeper(at + 1)));
    }
    for at in [1, 2, 3, 10, 11, 20, 21] {
        wait_until(&format!("sleep {at}"), || !processes_with(&unique(at)).is_empty());
    }
    let listeners = [Listener(pid(&host, "daemon")), Listener(pid(&host, "child"))];
    wait_until("they are taken out", || !listeners.iter().any(|l| is_in_a_sessions_group(l.0)));
    // From then on not even what has detached itself from them is mistaken.
    for (port, at) in [(first, 12), (second, 22)] {
        host.port = port;
        let command = format!("setsid sleep {} >/dev/null 2>&1 &", unique(at));
        assert!(host.run(&host.plain(), &user, &command).0);
        wait_until(&format!("sleep {at}"), || !processes_with(&unique(at)).is_empty());
    }
    assert!(session.is_live() && now() < until - 1.0, "this machine is too slow for this test");

    session.ended();
    for at in 1..=3 {
        wait_until(&format!("the end of {at}"), || processes_with(&unique(at)).is_empty());
    }
    host.port = usual;
    host.wait_for_sessions(2);
    for other in &mut others {
        assert!(other.is_live(), "{} ended, too", other.what);
    }
    for at in [10, 11, 12, 20, 21, 22] {
        assert!(!processes_with(&unique(at)).is_empty(), "somebody else's {at} is gone");
    }
    for port in [first, second] {
        host.port = port;
        assert!(host.run(&host.plain(), &user, "true").0);
    }
    let said = host.kill_guard();
    for Listener(pid) in &listeners {
        assert!(said.contains(&format!("sshd {pid}, which was started in")), "{said}");
    }
}

#[test]
fn what_only_calls_itself_sshd_does_not_outlive_its_session() {
    let Some(host) = GuardedHost::new("required") else { return };
    if cgroup2_mount().is_none() {
        eprintln!("skipped: there is no cgroup v2 here");
        return;
    }
    let user = host.user.clone();
    let (way, until) = host.access(&user, 20);
    // The user's own sshd, that listens; and root's program, by its name, that is none.
    let (port, key) = (free_port(), host.path("home/key"));
    make_key(&key, "user");
    Program::new("chown").args([&user]).args([&key]).run().fine();
    let own = format!(
        "cp /usr/sbin/sshd ./sshd; setsid $PWD/sshd -D -f /dev/null -o HostKey={} -o PidFile=none -o ListenAddress=127.0.0.1:{port} >/dev/null 2>&1 & (exec -a /usr/sbin/sshd setsid sleep {} &) ; sleep {}",
        key.display(),
        unique(30),
        unique(31)
    );
    let mut session = host.start(&way, &user, &[], &own);
    wait_until("the user's sshd", || listens(port));
    wait_until("the sleeper", || !processes_with(&unique(30)).is_empty());
    // Long enough that the guard has looked for root's.
    sleep(Duration::from_secs(6));
    assert!(session.is_live() && now() < until - 1.0, "this machine is too slow for this test");
    session.ended();
    wait_until("the user's sshd is gone", || !listens(port));
    wait_until("the sleeper is gone", || processes_with(&unique(30)).is_empty());
}
