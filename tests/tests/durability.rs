//! What was acknowledged is there, whatever is killed and whenever.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use jit_ssh_core::statement::Kind;
use jit_ssh_tests::api::{Caller, sign};
use jit_ssh_tests::program::{Program, wait_until};
use jit_ssh_tests::{POLICY, Persona, Site};

/// Limits that a test's load does not reach.
const LIMITS: &str = "
[limits]
requests_per_person_per_minute = 1000000
certificates_per_person_per_minute = 1000000
";

/// What the callers were told is done.
#[derive(Default)]
struct Acknowledged {
    digests: BTreeSet<String>,
    serials: BTreeSet<u64>,
}

fn loaded_site() -> (Site, Persona) {
    let mut site = Site::initialised();
    site.add_to_ca_toml(LIMITS);
    let (alice, bob) = (Persona::new(site.path(), "alice"), Persona::new(site.path(), "bob"));
    site.write_people(&[(&alice, &["sre"]), (&bob, &["leads"])]);
    site.write_hosts();
    site.write_policy(POLICY);
    site.serve();
    site.apply();
    (site, alice)
}

/// Submits requests until told to stop; what fails is not acknowledged, and is no fault.
fn submit_until(stop: &AtomicBool, site: &Site, alice: &Persona, done: &Mutex<Acknowledged>) {
    while !stop.load(Ordering::SeqCst) {
        let Some(caller) = Caller::try_new(site) else {
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        loop {
            let text = caller.request_text("alice", &alice.public_key(), "test-host");
            let signature = sign(alice, Kind::Request, text.as_bytes());
            let Ok(answer) = caller.submit(text.as_bytes(), &signature) else { break };
            let certificate = answer.certificate.unwrap();
            let mut done = done.lock().unwrap();
            done.digests.insert(answer.digest);
            done.serials.insert(1 << 48 | certificate.index);
            if stop.load(Ordering::SeqCst) {
                return;
            }
        }
    }
}

/// Everything acknowledged must be in the log, which must hold together, and in the store.
fn assert_all_there(site: &Site, alice: &Persona, done: &Acknowledged) {
    let summary = site.verify_log();
    assert!(summary.contains("log: ok"), "{summary}");
    let log = site.ca(&["log", "show", "--config", "ca-config", "--json"]).run().fine();
    let (mut digests, mut serials) = (BTreeSet::new(), BTreeSet::new());
    for entry in log.json().iter().filter(|entry| entry["kind"] == "certificate") {
        digests.insert(entry["request"].as_str().unwrap().to_owned());
        assert!(serials.insert(entry["serial"].as_u64().unwrap()), "a serial stands twice");
    }
    assert!(done.digests.is_subset(&digests), "acknowledged requests are not in the log");
    assert!(done.serials.is_subset(&serials), "acknowledged certificates are not in the log");
    // The store too: look at some of them as the person does.
    let some = done.digests.iter().step_by(done.digests.len().div_ceil(10).max(1));
    for digest in some {
        let id = digest.parse::<jit_ssh_core::digest::Digest>().unwrap().short_id();
        let row = alice.jit(&["show", id.as_str(), "--json"]).run().fine();
        assert_eq!(row.text("digest"), *digest);
        assert_eq!(row.text("status"), "active");
    }
}

#[test]
fn the_signer_killed_at_any_moment_loses_nothing_and_comes_back_by_itself() {
    let (site, alice) = loaded_site();
    alice.enroll(&site.url);
    let (stop, done) = (AtomicBool::new(false), Mutex::new(Acknowledged::default()));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| submit_until(&stop, &site, &alice, &done));
        }
        let mut last = None;
        for round in 0..6u64 {
            let before = done.lock().unwrap().digests.len();
            wait_until("issuance", || done.lock().unwrap().digests.len() > before + 3);
            thread::sleep(Duration::from_millis(37 * round % 50));
            wait_until("the signer", || site.signer_pid().is_some() && site.signer_pid() != last);
            last = site.signer_pid();
            Program::new("kill").args(["-KILL", &last.unwrap().to_string()]).run().fine();
        }
        let before = done.lock().unwrap().digests.len();
        wait_until("issuance", || done.lock().unwrap().digests.len() > before + 3);
        stop.store(true, Ordering::SeqCst);
    });
    assert_all_there(&site, &alice, &done.into_inner().unwrap());
}

#[test]
fn the_front_killed_at_any_moment_loses_nothing() {
    let (mut site, alice) = loaded_site();
    alice.enroll(&site.url);
    let done = Mutex::new(Acknowledged::default());
    for round in 0..4u64 {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| submit_until(&stop, &site, &alice, &done));
            }
            let before = done.lock().unwrap().digests.len();
            wait_until("issuance", || done.lock().unwrap().digests.len() > before + 5);
            thread::sleep(Duration::from_millis(29 * round % 50));
            let front = site.front.as_ref().unwrap().pid().to_string();
            Program::new("kill").args(["-KILL", &front]).run().fine();
            stop.store(true, Ordering::SeqCst);
        });
        site.front.take().unwrap().wait();
        site.serve();
    }
    assert_all_there(&site, &alice, &done.into_inner().unwrap());
}

#[test]
fn a_pending_request_and_its_approval_survive_front_and_signer() {
    let (mut site, alice, bob) = Site::running(POLICY);
    let ask = ["login", "prod-host", "--because", "INC-42 disk full", "--for", "2m", "--no-wait"];
    let id = alice.jit(&ask).args(["--json"]).run().ended(3).text("id");
    site.kill();
    site.serve();
    bob.jit(&["approve", &id, "--yes"]).run().fine();
    site.kill();
    site.serve();
    alice.jit(&["watch", &id]).run().fine();
    assert_eq!(alice.certificates().len(), 1);
    assert!(site.verify_log().contains("1 certificate"));
}
