//! The API is open: clients in other languages, made of a stock gRPC library, JSON and ssh-keygen alone
//! (`examples`), one in Rust on the crate `jit-ssh-api` (its `examples`), and reflection by its reference
//! implementation. `./run` installs what they need.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use jit_ssh_core::root::Root;
use jit_ssh_tests::program::{Program, binaries, wait_until};
use jit_ssh_tests::{POLICY, Persona, Site, Sshd};

/// The repository's top.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The Python that `./run` gave the libraries to.
fn python() -> String {
    let python = binaries().parent().unwrap().join("python/bin/python3");
    assert!(python.is_file(), "{} is not there; run the tests by ./run test", python.display());
    python.display().to_string()
}

/// The example of the crate `jit-ssh-api`: cargo builds it for the tests of the whole workspace.
fn rust() -> String {
    let example = binaries().join("examples/access");
    let shown = example.display().to_string();
    assert!(example.is_file(), "{shown} is not there: cargo build -p jit-ssh-api --example access");
    shown
}

/// How an example is started: the program, and the script where it needs one.
fn clients() -> [(String, Option<PathBuf>); 3] {
    let examples = repository().join("examples");
    assert!(examples.join("node/node_modules").is_dir(), "run the tests by ./run test");
    [
        (rust(), None),
        (python(), Some(examples.join("python/access.py"))),
        ("node".to_owned(), Some(examples.join("node/access.js"))),
    ]
}

/// The example, asked for a login on a host by `who`, to run `ssh ... id -un` there.
fn example(
    (program, script): &(String, Option<PathBuf>),
    url: &str,
    who: &Persona,
    host: &Sshd,
) -> Program {
    let target = format!("{}@{}", jit_ssh_tests::me(), host.name());
    who.program(program)
        .args(script)
        .args([url, &who.id])
        .args([who.key_file()])
        .args([&target, "INC-42 \"a look\" ü", "--", "ssh"])
        .args(host.client_options())
        .args([host.name(), "echo in as $USER"])
}

#[test]
fn programs_in_other_languages_ask_wait_certify_and_log_in() {
    let (site, alice, bob) = Site::running(POLICY);
    let (auto, asked) = (site.host("test-host"), site.host("prod-host"));
    for client in clients() {
        // A rule that approves by itself: one call.
        let said = example(&client, &site.url, &alice, &auto).run().fine();
        assert!(said.out.contains("in as "), "{said:?}");
        assert!(!said.err.contains("waiting"), "{said:?}");

        // One that asks somebody, who approves while the client waits.
        let waiting = example(&client, &site.url, &alice, &asked).start();
        let id = only_pending(&bob);
        bob.jit(&["approve", &id, "--yes"]).run().fine();
        let said = waiting.wait().fine();
        assert!(said.out.contains("in as ") && said.err.contains("waiting for bob"), "{said:?}");

        // And says no.
        let waiting = example(&client, &site.url, &alice, &asked).start();
        let id = only_pending(&bob);
        bob.jit(&["deny", &id, "--because", "not today", "--yes"]).run().fine();
        let said = waiting.wait().ended(1);
        assert!(!said.out.contains("in as ") && said.err.contains("no access: "), "{said:?}");
    }
    site.verify_log();
}

/// The id of the one request that waits for `approver`, once there is one.
fn only_pending(approver: &Persona) -> String {
    let mut ids = Vec::new();
    wait_until("a request", || {
        let said = approver.jit(&["requests", "--to-decide", "--json"]).run().fine();
        ids = said.json().iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect();
        !ids.is_empty()
    });
    assert_eq!(ids.len(), 1, "{ids:?}");
    ids.remove(0)
}

#[test]
fn programs_in_other_languages_show_refusals_and_believe_the_pinned_ca_alone() {
    let (site, alice, _bob) = Site::running(POLICY);
    let mut stranger = Persona::new(site.path(), "mallory");
    let host = site.host("test-host");
    let other = Site::initialised();
    let (address, _) = site.url.split_once('#').unwrap();
    let (_, pin) = other.url.split_once('#').unwrap();
    for client in clients() {
        let said = example(&client, &site.url, &stranger, &host).run().ended(1);
        assert!(said.err.contains("the CA refuses: "), "{said:?}");
        let said = example(&client, &format!("{address}#{pin}"), &alice, &host).run().ended(1);
        assert!(said.err.contains("has the fingerprint"), "{said:?}");
    }
    // The control: the same stranger under a name and with a key that the bundle has.
    stranger.id = "alice".to_owned();
    for half in ["", "pub"] {
        let [from, to] = [&alice, &stranger].map(|who| who.key_file().with_extension(half));
        fs::copy(from, to).unwrap();
    }
    for client in clients() {
        example(&client, &site.url, &stranger, &host).run().fine();
    }
}

#[test]
fn a_program_that_ends_ssh_itself_holds_what_it_runs_to_the_access() {
    const NO_ACCESS: i32 = 77;
    const ENDED: i32 = 78;
    let (site, alice, bob) = Site::running(POLICY);
    // Of oneself one may ask, too; in life this is a machine's key.
    let target = format!("{}@prod-host", jit_ssh_tests::me());
    let gate = |command: &[&str]| {
        let gate = Program::new(&python()).args([repository().join("examples/python/gate.py")]);
        let gate = gate.args([&site.url, "alice"]).args([alice.key_file()]);
        gate.args(["alice", &target, "--"]).args(command)
    };
    gate(&["true"]).run().ended(NO_ACCESS);
    let id = alice.granted_by(&bob);
    let said = gate(&["sh", "-c", "exit 5"]).run().ended(5);
    assert!(said.err.contains(&id), "{said:?}");
    // It hears of the end while the command runs.
    let begun = site.path().join("begun");
    let script = format!("touch {}; exec sleep 60", begun.display());
    let running = gate(&["sh", "-c", &script]).start();
    wait_until("the command", || begun.exists());
    bob.jit(&["revoke", &id, "--because", "enough", "--yes"]).run().fine();
    let said = running.wait().ended(ENDED);
    assert!(said.err.contains("the access of alice is over"), "{said:?}");
    gate(&["true"]).run().ended(NO_ACCESS);
}

#[test]
fn reflection_tells_a_foreign_client_all_it_needs_to_call_us() {
    let (site, _alice, _bob) = Site::running(POLICY);
    let root = Root::parse(&fs::read(site.state().join("root.json")).unwrap()).unwrap();
    let anchor = site.path().join("anchor.pem");
    fs::write(&anchor, root.tls_anchor()).unwrap();
    let said = Program::new(&python())
        .args([repository().join("tests/reflection.py")])
        .args([format!("127.0.0.1:{}", site.port())])
        .args([&anchor])
        .run()
        .fine();
    for line in [
        "jitssh.v1.Access Explain Submit Decide End Certify Get List Watch Check",
        "jitssh.v1.Log GetCheckpoint GetEntries ProveInclusion ProveConsistency",
        "called jitssh.v1.Trust/GetRoot root",
        "called jitssh.v1.Trust/GetBundle bundle,files",
        "called jitssh.v1.Trust/GetCaKeys userCaKeys",
        "called jitssh.v1.Trust/GetKrl krls",
        "called grpc.health.v1.Health/Check status",
    ] {
        assert!(said.out.lines().any(|said| said == line), "{line:?} is not in {}", said.out);
    }
}
