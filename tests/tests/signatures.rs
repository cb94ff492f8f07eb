//! The format is open: `ssh-keygen -Y verify` accepts what we sign, and what `ssh-keygen -Y sign`
//! makes is accepted here, statement by statement.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::fs;

use jit_ssh_tests::api::Caller;
use jit_ssh_tests::program::Program;
use jit_ssh_tests::{POLICY, Site};

#[test]
fn ssh_keygen_verifies_every_statement_in_the_log() {
    let (site, alice, bob) = Site::running(POLICY);
    let ask =
        ["login", "prod-host", "--because", "INC-42 \"quoted\" ü", "--for", "2m", "--no-wait"];
    let id = alice.jit(&ask).args(["--json"]).run().ended(3).text("id");
    bob.jit(&["approve", &id, "--yes"]).run().fine();
    let second = alice.jit(&ask).args(["--json"]).run();
    drop(second);
    let admin = fs::read_to_string(site.path().join("admin.pub")).unwrap();
    let signers = site.path().join("allowed_signers");
    let line = |who: &str, key: &str| format!("{who} {key}\n");
    let all = [
        line("alice", &alice.public_key()),
        line("bob", &bob.public_key()),
        line("admin", admin.trim()),
    ];
    fs::write(&signers, all.concat()).unwrap();

    let log = site.ca(&["log", "show", "--config", "ca-config", "--json"]).run().fine();
    let mut verified = Vec::new();
    for entry in log.json().iter().filter(|entry| entry["kind"] == "statement") {
        let text = entry["statement"].as_str().unwrap();
        let statement: serde_json::Value = serde_json::from_str(text).unwrap();
        let kind = statement["type"].as_str().unwrap().to_owned();
        let by = statement["by"].as_str().unwrap_or("admin").to_owned();
        let (file, signature) = (site.path().join("statement"), site.path().join("statement.sig"));
        fs::write(&file, text).unwrap();
        let armour = entry["signatures"][0].as_str().unwrap();
        fs::write(
            &signature,
            format!("-----BEGIN SSH SIGNATURE-----\n{armour}\n-----END SSH SIGNATURE-----\n"),
        )
        .unwrap();
        let namespace = format!("{kind}@jit-ssh");
        let verify = |namespace: &str| {
            Program::new("ssh-keygen")
                .args(["-Y", "verify", "-I", &by, "-n", namespace, "-f"])
                .args([&signers])
                .args(["-s"])
                .args([&signature])
                .stdin(&file)
                .run()
        };
        verify(&namespace).fine();
        assert_ne!(verify("other@jit-ssh").code, 0);
        verified.push(kind);
    }
    verified.sort();
    verified.dedup();
    assert_eq!(verified, ["bundle", "decision", "request"]);
}

#[test]
fn a_statement_made_with_ssh_keygen_alone_is_accepted() {
    let (site, alice, _bob) = Site::running(POLICY);
    let caller = Caller::new(&site);
    let text = caller.request_text("alice", &alice.public_key(), "test-host");
    let file = site.path().join("request.json");
    fs::write(&file, &text).unwrap();
    let sign = ["-Y", "sign", "-n", "request@jit-ssh", "-f"];
    Program::new("ssh-keygen").args(sign).args([alice.key_file(), file.clone()]).run().fine();
    let armour = fs::read_to_string(file.with_extension("json.sig")).unwrap();
    let lines = armour.lines().filter(|line| !line.starts_with("-----"));
    let blob = jit_ssh_tests::api::base64(&lines.collect::<String>());
    let answer = caller.submit(text.as_bytes(), &blob).unwrap();
    assert!(answer.certificate.is_some());
}
