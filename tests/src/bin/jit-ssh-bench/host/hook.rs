//! The hook's own time, from the fork that sshd would make to its exit: far less noisy than the login
//! around it. A program of ours named `sshd` plays the connection's monitor, a new one each time, since
//! the guard takes on each monitor once. Beside it, `true` in the same way: what any program would cost.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jit_ssh_tests::guarded::{GuardedHost, Way, cgroup2_mount};
use jit_ssh_tests::program::Program;
use serde_json::{Value, json};

use super::scope::{self, Scopes};
use crate::machine;

/// How many hooks of each sort are timed.
const ROUNDS: usize = 150;

/// How many processes are moved between control groups.
const MOVES: usize = 40;

/// Between two moves, so that the second does not profit from the first.
const REST: Duration = Duration::from_millis(100);

/// Measures all of it, in turns.
pub(crate) fn measure(host: &GuardedHost, scopes: Option<&Scopes>) -> Value {
    let monitor = host.path("sshd");
    fs::copy(std::env::current_exe().unwrap(), &monitor).unwrap();
    fs::set_permissions(&monitor, fs::Permissions::from_mode(0o755)).unwrap();
    let (way, _) = host.access(&host.user, 7_000);
    let hook = hook(host);
    let mut sorts: Vec<(&str, Vec<String>, &str, Option<&Scopes>)> = vec![
        ("true", vec![Program::path("true").display().to_string()], "", None),
        ("login_of_others", hook.clone(), "password\n", None),
        ("group_made_by_guard", hook.clone(), "ours", None),
    ];
    if scopes.is_some() {
        sorts.push(("group_of_logind", hook, "ours", scopes));
    }
    let ours = accepted(&way);
    let mut times = vec![Vec::new(); sorts.len()];
    for _ in 0..ROUNDS {
        for ((_, command, info, scopes), times) in sorts.iter().zip(&mut times) {
            let info = if *info == "ours" { &ours } else { *info };
            times.push(once(host, &monitor, command, info, *scopes));
        }
    }
    let mut figures: serde_json::Map<String, Value> = sorts
        .iter()
        .zip(times)
        .map(|((name, ..), times)| ((*name).to_owned(), machine::summary(times)))
        .collect();
    figures.insert("kernel_moves_a_process".to_owned(), moves());
    Value::Object(figures)
}

fn hook(host: &GuardedHost) -> Vec<String> {
    let path = |name: &str| host.path(name).display().to_string();
    let program = Program::path("jit-ssh-host").display().to_string();
    vec![program, "session".into(), "--etc".into(), path("etc"), "--run".into(), path("run")]
}

/// What sshd says it accepted (`SSH_AUTH_INFO_0`).
fn accepted(way: &Way) -> String {
    let line = fs::read_to_string(way.certificate.as_ref().unwrap()).unwrap();
    let words: Vec<&str> = line.split(' ').take(2).collect();
    format!("publickey {}\n", words.join(" "))
}

/// One hook of one monitor, in milliseconds.
fn once(
    host: &GuardedHost,
    monitor: &Path,
    command: &[String],
    info: &str,
    scopes: Option<&Scopes>,
) -> f64 {
    let mut process = Command::new(monitor);
    process.arg("time-hook").args(command).stdin(Stdio::piped()).stdout(Stdio::piped());
    process.envs([
        ("PAM_TYPE", "open_session"),
        ("PAM_SERVICE", "sshd"),
        ("PAM_USER", &host.user),
        ("SSH_CONNECTION", "127.0.0.1 50000 127.0.0.1 22"),
        ("SSH_AUTH_INFO_0", info),
    ]);
    let mut process = process.spawn().unwrap();
    let scope = scopes.map(|scopes| scopes.of(process.id()));
    if let Some(scope) = &scope {
        scope::move_into(scope, process.id());
    }
    // It begins when its input ends.
    drop(process.stdin.take());
    let said = process.wait_with_output().unwrap();
    assert!(said.status.success(), "the hook failed: {command:?}");
    host.wait_for_sessions(0);
    if let Some(scope) = scope {
        fs::remove_dir(scope).unwrap();
    }
    String::from_utf8(said.stdout).unwrap().trim().parse().unwrap()
}

/// The monitor's side: runs a command, and prints how many milliseconds it took.
pub(crate) fn time(command: &[&str]) {
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    let (program, args) = command.split_first().unwrap();
    let mut hook = Command::new(program);
    hook.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let began = Instant::now();
    let status = hook.status().unwrap();
    let took = began.elapsed();
    assert!(status.success(), "{status}");
    println!("{}", took.as_secs_f64() * 1_000.0);
}

/// What the kernel alone takes to move a process into another control group: the part of the hook's
/// time that is there only where the guard makes the group.
fn moves() -> Value {
    let Some(mount) = cgroup2_mount() else { return Value::Null };
    let group = mount.join(format!("jit-ssh-bench-{}", std::process::id()));
    let mut times = Vec::new();
    for _ in 0..MOVES {
        let mut process = Command::new("sleep").arg("1000").spawn().unwrap();
        std::thread::sleep(REST);
        fs::create_dir(&group).unwrap();
        let began = Instant::now();
        fs::write(group.join("cgroup.procs"), process.id().to_string()).unwrap();
        times.push(began.elapsed().as_secs_f64() * 1_000.0);
        process.kill().unwrap();
        process.wait().unwrap();
        fs::remove_dir(&group).unwrap();
    }
    let favours = fs::read_to_string("/proc/self/mountinfo").unwrap().contains("favordynmods");
    let mut summary = machine::summary(times);
    summary["favordynmods"] = json!(favours);
    summary
}
