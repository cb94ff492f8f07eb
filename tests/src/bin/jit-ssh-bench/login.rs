//! The cold `jit-ssh login` process under an automatic rule, from start to certificate in the
//! agent, on loopback; and the memory of front and signer, idle and loaded.

use std::time::Instant;

use serde_json::{Value, json};

use crate::{issue, machine};

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
    let issue = issue::bench_on(&site, &alice);
    let loaded = json!({ "front_mib": machine::memory_mib(front), "signer_mib": machine::memory_mib(signer) });
    json!({
        "bench": "login",
        "machine": machine::describe(),
        "logins": LOGINS,
        "median_ms": machine::percentile(&millis, 0.5),
        "p90_ms": machine::percentile(&millis, 0.9),
        "bar_ms": 25.0,
        "idle": idle,
        "idle_bars": { "front_mib": 25.0, "signer_mib": 10.0 },
        "loaded": loaded,
        "load": issue,
    })
}
