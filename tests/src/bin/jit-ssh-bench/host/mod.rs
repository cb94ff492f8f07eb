//! What a host pays: the time of a login with nothing of ours, with principals files, and with hook and
//! guard, in turns; the guard's memory, idle and with 1,000 sessions that are simulated; and the time
//! from a revocation list to the end of a session.

use std::fs;
use std::process::{Child, Command};
use std::time::Instant;

use jit_ssh_tests::guarded::{GuardedHost, Way, now};
use serde_json::{Value, json};

use crate::machine;

/// How many logins of each sort are timed.
const LOGINS: usize = 60;

/// How many sessions are simulated.
const SESSIONS: usize = 1_000;

/// How many sessions are revoked.
const REVOKED: usize = 15;

/// Runs the benchmark.
pub(crate) fn bench() -> Value {
    let bare = GuardedHost::with_pam("off", &|_| String::new());
    let Some(bare) = bare else {
        return json!({ "bench": "host", "skipped": "only root can start sshd under PAM" });
    };
    let guarded = GuardedHost::new("required").unwrap();
    let (principals, _) = bare.access(&bare.user, 3_000);
    let (hooked, _) = guarded.access(&guarded.user, 3_000);
    let mut millis = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..LOGINS + 3 {
        for (way, host, times) in [
            (bare.plain(), &bare, 0),
            (principals.clone(), &bare, 1),
            (hooked.clone(), &guarded, 2),
        ] {
            let took = login(host, &way);
            // The first ones warm everything up.
            if round >= 3 {
                millis[times].push(took);
            }
        }
    }
    let [nothing, files, hook] = millis.map(|mut times| {
        times.sort_by(f64::total_cmp);
        (machine::percentile(&times, 0.5), machine::percentile(&times, 0.9))
    });
    drop(bare);
    let revoke = revocations(&guarded);
    drop(guarded);
    let (idle, loaded) = memory();
    json!({
        "bench": "host",
        "machine": machine::describe(),
        "logins": LOGINS,
        "login_ms": {
            "nothing": { "median": nothing.0, "p90": nothing.1 },
            "principals": { "median": files.0, "p90": files.1 },
            "principals_and_hook": { "median": hook.0, "p90": hook.1 },
        },
        "hook_adds_ms": ((hook.0 - files.0) * 100.0).round() / 100.0,
        "all_adds_ms": ((hook.0 - nothing.0) * 100.0).round() / 100.0,
        "ratio": (hook.0 / nothing.0 * 1_000.0).round() / 1_000.0,
        "bar_adds_ms": 5.0,
        "guard_mib": { "idle": idle, "with_1000_sessions": loaded },
        "bar_guard_idle_mib": 8.0,
        "revoked_to_end_ms": revoke,
        "bar_revoked_to_end_ms": 2_000.0,
    })
}

fn login(host: &GuardedHost, way: &Way) -> f64 {
    let began = Instant::now();
    let (went_well, said) = host.run(way, &host.user, "true");
    assert!(went_well, "{said}");
    began.elapsed().as_secs_f64() * 1_000.0
}

/// From the rename of the list to the end of the client.
fn revocations(host: &GuardedHost) -> Value {
    let mut revoked = Vec::new();
    let mut times = Vec::new();
    for _ in 0..REVOKED {
        let (way, _) = host.access(&host.user, 3_000);
        let mut session = host.start(&way, &host.user, &["-tt"], "sleep 1000");
        host.wait_for_sessions(1);
        // The hook has been answered, too.
        std::thread::sleep(std::time::Duration::from_millis(200));
        revoked.push(way.serial);
        host.revoke(&revoked);
        let at = now();
        times.push((session.ended() - at) * 1_000.0);
        host.wait_for_sessions(0);
    }
    times.sort_by(f64::total_cmp);
    json!({ "median": machine::percentile(&times, 0.5), "max": machine::percentile(&times, 1.0) })
}

/// The guard's memory without a session, and with many: each is a process that the table names.
fn memory() -> (f64, f64) {
    let mut host = GuardedHost::new("required").unwrap();
    let idle = machine::memory_mib(host.guard.as_ref().unwrap().pid());
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
    login(&host, &way);
    host.wait_for_sessions(SESSIONS);
    let loaded = machine::memory_mib(host.guard.as_ref().unwrap().pid());
    host.kill_guard();
    for sleeper in &mut sleepers {
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }
    (idle, loaded)
}
