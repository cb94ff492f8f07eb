//! The memory of the guard and of its link to the CA: RSS, and PSS, which counts what several processes
//! share (both run the same program) once.

use std::fs;
use std::process::{Child, Command};

use jit_ssh_tests::Site;
use jit_ssh_tests::guarded::GuardedHost;
use jit_ssh_tests::program::{Program, wait_until};
use serde_json::{Value, json};

use crate::{issue, machine};

/// How many sessions are simulated.
const SESSIONS: usize = 1_000;

/// Measures guard and link idle, and the guard with many sessions.
pub(crate) fn measure() -> Value {
    let (guard, link) = with_link(&issue::site().0);
    let both = json!({ "rss": add(&guard, &link, "rss"), "pss": add(&guard, &link, "pss") });
    json!({
        "guard_idle": guard,
        "link_idle": link,
        "both_idle": both,
        "guard_with_1000_sessions": with_sessions(),
    })
}

fn add(one: &Value, other: &Value, what: &str) -> f64 {
    let sum = one[what].as_f64().unwrap() + other[what].as_f64().unwrap();
    (sum * 10.0).round() / 10.0
}

/// A guard and its link, connected to a CA that runs.
fn with_link(site: &Site) -> (Value, Value) {
    let host = site.host("test-host");
    let (run, state) = (site.path().join("guard-run"), site.path().join("guard-state"));
    let guard = Program::new("jit-ssh-host").args(["guard", "--etc"]).args([&host.etc]);
    let guard = guard.args(["--run"]).args([&run]).args(["--state"]).args([&state]).start();
    // Kept once the CA was asked for it, after bundle and TLS.
    wait_until("the link", || {
        fs::read_dir(state.join("krl")).is_ok_and(|mut entries| entries.next().is_some())
    });
    let children = format!("/proc/{0}/task/{0}/children", guard.pid());
    let mut children = fs::read_to_string(children).unwrap();
    if children.trim().is_empty() {
        // Children of the thread that keeps the link running.
        children = fs::read_dir(format!("/proc/{}/task", guard.pid()))
            .unwrap()
            .filter_map(|task| fs::read_to_string(task.unwrap().path().join("children")).ok())
            .collect();
    }
    let link: u32 = children.trim().parse().unwrap();
    // The stream is open, and nothing happens any more.
    std::thread::sleep(std::time::Duration::from_secs(5));
    let found = (machine::shared_memory(guard.pid()), machine::shared_memory(link));
    guard.kill();
    found
}

/// The guard with many sessions: each is a process that the table names.
fn with_sessions() -> Value {
    let mut host = GuardedHost::new("required").unwrap();
    let (way, _) = host.access(&host.user, 3_000);
    let session = host.start(&way, &host.user, &["-tt"], "sleep 1000");
    host.wait_for_sessions(1);
    let text = fs::read_to_string(host.path("run/guard.state")).unwrap();
    host.kill_guard();
    drop(session);
    let mut table: Value = serde_json::from_str(&text).unwrap();
    let row = table["sessions"][0].clone();
    let mut sleepers: Vec<Child> =
        (0..SESSIONS).map(|_| Command::new("sleep").arg("1000").spawn().unwrap()).collect();
    let rows = sleepers.iter().map(|child| {
        let mut row = row.clone();
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let start = stat.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap();
        row["monitor"] = json!({ "pid": child.id(), "start": start.parse::<u64>().unwrap() });
        row["cgroup"] = Value::Null;
        row
    });
    table["sessions"] = rows.collect();
    fs::write(host.path("run/guard.state"), table.to_string()).unwrap();
    host.start_guard();
    // One more login, so that the table was written with all of them in it.
    super::login(&host, &way);
    host.wait_for_sessions(SESSIONS);
    let loaded = machine::shared_memory(host.guard.as_ref().unwrap().pid());
    host.kill_guard();
    for sleeper in &mut sleepers {
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }
    loaded
}
