//! What machine this is, and what processes use.

use std::fs;

use serde_json::{Value, json};

/// The machine, as it goes with every figure.
pub(crate) fn describe() -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    json!({ "cpu": model.trim_start_matches([' ', '\t', ':']), "cores": cores })
}

/// Memory of a process in MiB, as the kernel counts it (VmRSS).
pub(crate) fn memory_mib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    (kib / 1024.0 * 10.0).round() / 10.0
}

/// Memory of a process in MiB: `rss`, and `pss`, in which pages that several processes share count once
/// over all of them, and of that `anonymous`, what it keeps of its own (`/proc/PID/smaps_rollup`).
pub(crate) fn shared_memory(pid: u32) -> Value {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let mib = |field: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        let kib: f64 = line.split_whitespace().next().unwrap().parse().unwrap();
        (kib / 1024.0 * 10.0).round() / 10.0
    };
    json!({ "rss": mib("Rss:"), "pss": mib("Pss:"), "anonymous": mib("Pss_Anon:") })
}

/// Median and spread of times.
pub(crate) fn summary(mut times: Vec<f64>) -> Value {
    times.sort_by(f64::total_cmp);
    json!({
        "median": percentile(&times, 0.5),
        "p10": percentile(&times, 0.1),
        "p90": percentile(&times, 0.9),
    })
}

/// Processor time a process has used so far, in microseconds. Far less noisy than the clock on a
/// machine that others use too.
pub(crate) fn cpu_micros(pid: u32) -> f64 {
    /// Ticks of `/proc/PID/stat` a second: `USER_HZ`, 100 on every Linux we know.
    const USER_HZ: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // After "pid (name) " field 3 begins; utime and stime are 14 and 15 (proc_pid_stat(5)).
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: f64 = [11, 12].iter().map(|place| fields[*place].parse::<f64>().unwrap()).sum();
    ticks / USER_HZ * 1e6
}

/// The value below which this part (0 to 1) of the sorted values lies.
pub(crate) fn percentile(sorted: &[f64], part: f64) -> f64 {
    let place = (part * (sorted.len() - 1) as f64).round() as usize;
    (sorted[place] * 100.0).round() / 100.0
}
