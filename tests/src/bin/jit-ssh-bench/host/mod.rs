//! What a host pays: the time of a login with nothing of ours, with principals files, with any program
//! that PAM runs, and with hook and guard, in turns; where the guard makes the session's control group and
//! where systemd-logind has made it; under systemd's limit of open files and under a low one. The hook
//! alone; the memory of guard and link; and the time from a revocation list to the end of a session.
//!
//! - [`hook`]: the hook as sshd runs it, without the login around it; the kernel's part of it;
//! - [`memory`]: guard and link, and the guard with 1,000 sessions that are simulated;
//! - [`scope`]: a stand-in for what `pam_systemd` does to a login.

pub(crate) mod hook;
mod memory;
pub(crate) mod scope;

use std::time::Instant;

use jit_ssh_tests::Program;
use jit_ssh_tests::guarded::{GuardedHost, Way, hook_line, now};
use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};

use crate::machine;
use scope::Scopes;

/// How many logins of each sort are timed.
const LOGINS: usize = 60;

/// Rounds that warm everything up, and are not counted.
const WARM: usize = 3;

/// How many sessions are revoked.
const REVOKED: usize = 15;

/// The hard limit of open files that systemd gives sshd. `pam_exec` closes every number below it, one by
/// one (`pam_modutil_sanitize_helper_fds`, up to 65,535), before it runs whatever program.
const FILES_OF_SYSTEMD: u64 = 524_288;

/// A limit under which that takes no time.
const FEW_FILES: u64 = 1_024;

/// Runs the benchmark.
pub(crate) fn bench() -> Value {
    let Some(host) = GuardedHost::new("required") else {
        return json!({ "bench": "host", "skipped": "only root can start sshd under PAM" });
    };
    let scopes = Scopes::new();
    let logins = logins(scopes.as_ref());
    let hook = hook::measure(&host, scopes.as_ref());
    let revoke = revocations(&host);
    drop(host);
    json!({
        "bench": "host",
        "machine": machine::describe(),
        "logins": LOGINS,
        "login_ms": logins,
        "bar_adds_ms": 5.0,
        "hook_ms": hook,
        "bar_hook_ms": 5.0,
        "memory_mib": memory::measure(),
        "bar_guard_idle_mib": 8.0,
        "revoked_to_end_ms": revoke,
        "bar_revoked_to_end_ms": 2_000.0,
    })
}

/// Three hosts that differ in what PAM runs at a login: nothing, `true`, and the hook.
struct Layout {
    name: &'static str,
    files: u64,
    hosts: [GuardedHost; 3],
}

impl Layout {
    fn new(name: &'static str, files: u64, before: &str) -> Layout {
        let run = |mode: &str, line: &dyn Fn(&str) -> String| {
            GuardedHost::with_pam(mode, &|dir| before.to_owned() + &line(dir))
                .unwrap()
                .with_files(files)
        };
        let program = Program::path("true");
        let any =
            format!("session required pam_exec.so type=open_session quiet {}\n", program.display());
        let hosts = [
            run("off", &|_| String::new()),
            run("off", &|_| any.clone()),
            run("required", &hook_line).with_guard(),
        ];
        Layout { name, files, hosts }
    }

    /// Nothing of ours (a bare key), our principals, with `true`, with the hook.
    fn sorts(&self) -> Vec<Sort<'_>> {
        let access = |host: &GuardedHost| host.access(&host.user, 7_000).0;
        let [bare, any, guarded] = &self.hosts;
        vec![
            Sort { host: bare, way: bare.plain(), millis: Vec::new() },
            Sort { host: bare, way: access(bare), millis: Vec::new() },
            Sort { host: any, way: access(any), millis: Vec::new() },
            Sort { host: guarded, way: access(guarded), millis: Vec::new() },
        ]
    }
}

/// Logins of all sorts in turns, so that whatever else the machine does meets all of them alike.
fn logins(scopes: Option<&Scopes>) -> Value {
    // In a container even root may not raise its own.
    let own = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let many = FILES_OF_SYSTEMD.min(own);
    let mut layouts = vec![
        Layout::new("guard_makes_group", many, ""),
        Layout::new("guard_makes_group_few_files", FEW_FILES, ""),
    ];
    if let Some(scopes) = scopes {
        let line = scopes.pam_line();
        layouts.push(Layout::new("group_of_logind", many, &line));
        layouts.push(Layout::new("group_of_logind_few_files", FEW_FILES, &line));
    }
    let mut sorts: Vec<Vec<Sort<'_>>> = layouts.iter().map(Layout::sorts).collect();
    for round in 0..LOGINS + WARM {
        for sort in sorts.iter_mut().flatten() {
            let took = login(sort.host, &sort.way);
            if round >= WARM {
                sort.millis.push(took);
            }
        }
    }
    let figures = layouts.iter().zip(&sorts).map(|(layout, sorts)| {
        let mut figures = figures(sorts);
        figures["hard_limit_of_files"] = layout.files.into();
        (layout.name.to_owned(), figures)
    });
    Value::Object(figures.collect())
}

/// One sort of login.
struct Sort<'a> {
    host: &'a GuardedHost,
    way: Way,
    millis: Vec<f64>,
}

fn figures(sorts: &[Sort<'_>]) -> Value {
    let [nothing, principals, any, hook] = sorts else { panic!("four sorts of logins") };
    // Each round is a few logins right after each other: what differs within it is not the weather.
    let adds = |more: &Sort<'_>, less: &Sort<'_>| {
        let pairs = more.millis.iter().zip(&less.millis);
        machine::summary(pairs.map(|(more, less)| more - less).collect())["median"].clone()
    };
    json!({
        "nothing": machine::summary(nothing.millis.clone()),
        "principals": machine::summary(principals.millis.clone()),
        "principals_and_true": machine::summary(any.millis.clone()),
        "principals_and_hook": machine::summary(hook.millis.clone()),
        "principals_add": adds(principals, nothing),
        "true_adds": adds(any, principals),
        "hook_adds": adds(hook, principals),
        "all_adds": adds(hook, nothing),
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
