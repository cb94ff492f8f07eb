//! The cold `jit-ssh login` process under an automatic rule, from start to certificate in the
//! agent, on loopback; `jit-ssh ensure` with that at hand, as ssh waits for it; and the memory of front and signer, idle and loaded.

use std::process::Command;
use std::time::Instant;

use jit_ssh_tests::Program;
use serde_json::{Value, json};

use crate::{issue, machine};

/// How many times it is timed whether access is at hand.
const ENSURES: usize = 300;
/// How many logins are timed.
const LOGINS: usize = 60;

/// Runs the benchmark.
pub(crate) fn bench() -> Value {
    let (site, alice) = issue::site();
    let front = site.front.as_ref().unwrap().pid();
    let signer = site.signer_pid().unwrap();
    let idle = json!({ "front_mib": machine::memory_mib(front), "signer_mib": machine::memory_mib(signer) });
    let args = ["login", "test-host", "--because", "measuring", "--for", "1m", "--json"];
    // The first one fetches the bundle; every later one is like those of a working day.
    alice.jit(&args).run().fine();
    let mut millis = Vec::new();
    for _ in 0..LOGINS {
        alice.jit(&["logout"]).run().fine();
        let began = Instant::now();
        alice.jit(&args).run().fine();
        millis.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    millis.sort_by(f64::total_cmp);
    let me = Program::new("id").args(["-un"]).run().fine().out.trim().to_owned();
    let mut ensures = Vec::new();
    for _ in 0..ENSURES {
        let began = Instant::now();
        let ensure = Command::new(Program::path("jit-ssh"))
            .args(["ensure", "test-host", "--login", &me])
            .env("JIT_SSH_HOME", &alice.home)
            .env("SSH_AUTH_SOCK", alice.socket())
            .status();
        ensures.push(began.elapsed().as_secs_f64() * 1000.0);
        assert!(ensure.unwrap().success(), "it is at hand");
    }
    ensures.sort_by(f64::total_cmp);
    let issue = issue::bench_on(&site, &alice);
    let loaded = json!({ "front_mib": machine::memory_mib(front), "signer_mib": machine::memory_mib(signer) });
    json!({
        "bench": "login",
        "machine": machine::describe(),
        "logins": LOGINS,
        "median_ms": machine::percentile(&millis, 0.5),
        "p90_ms": machine::percentile(&millis, 0.9),
        "bar_ms": 25.0,
        "ensure": {
            "runs": ENSURES,
            "median_ms": machine::percentile(&ensures, 0.5),
            "p90_ms": machine::percentile(&ensures, 0.9),
            "bar_ms": 5.0,
        },
        "idle": idle,
        "idle_bars": { "front_mib": 25.0, "signer_mib": 10.0 },
        "loaded": loaded,
        "load": issue,
    })
}
