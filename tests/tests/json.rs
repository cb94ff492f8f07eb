//! What programs read: every line of `--json` obeys the command's file in `docs/schema`, and a script needs
//! no text.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::fs;

use jit_ssh_tests::program::{Program, Said, binaries, free_port};
use jit_ssh_tests::{ASK, POLICY, Persona, Site, Sshd, me, pipeline};
use serde_json::Value;

fn schema() -> Value {
    serde_json::from_str(include_str!("../../docs/schema/jit-ssh.json")).unwrap()
}

/// What of `value` does not obey `rule`: the part of JSON Schema that the file uses, and no word of it
/// that is not known here.
fn fault(schema: &Value, rule: &Value, value: &Value) -> Option<String> {
    for (word, wanted) in rule.as_object().unwrap() {
        let bad = match word.as_str() {
            "description" => false,
            "$ref" => {
                let path = wanted.as_str().unwrap().strip_prefix('#').unwrap();
                let found = fault(schema, schema.pointer(path).unwrap(), value);
                if found.is_some() {
                    return found;
                }
                false
            }
            "type" => {
                let is = |name: &Value| match name.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "boolean" => value.is_boolean(),
                    "null" => value.is_null(),
                    other => panic!("{other}"),
                };
                !wanted.as_array().map_or_else(|| is(wanted), |names| names.iter().any(is))
            }
            "enum" => !wanted.as_array().unwrap().contains(value),
            "items" => {
                let items = value.as_array().into_iter().flatten();
                if let Some(found) = items.filter_map(|item| fault(schema, wanted, item)).next() {
                    return Some(found);
                }
                false
            }
            "properties" => {
                let known = wanted.as_object().unwrap();
                let found = value.as_object().into_iter().flatten().find_map(|(name, part)| {
                    match known.get(name) {
                        Some(rule) => fault(schema, rule, part).map(|e| format!("{name}: {e}")),
                        None => Some(format!("{name} is not in the schema")),
                    }
                });
                if found.is_some() {
                    return found;
                }
                false
            }
            "required" => {
                let missing = wanted
                    .as_array()
                    .unwrap()
                    .iter()
                    .find(|name| value.get(name.as_str().unwrap()).is_none());
                if let Some(name) = missing {
                    return Some(format!("{name} is missing"));
                }
                false
            }
            // Said by `properties` above.
            "additionalProperties" => wanted.as_bool() != Some(false),
            other => panic!("the schema has a word that is not checked: {other}"),
        };
        if bad {
            return Some(format!("{value} is not {word} {wanted}"));
        }
    }
    None
}

/// Every line is of exactly the kinds that the schema says of this command.
#[track_caller]
fn obeys(schema: &Value, command: &str, said: &Said) {
    let kinds = schema["commands"][command].as_array().unwrap_or_else(|| panic!("{command}"));
    let rows = said.json();
    assert!(!rows.is_empty(), "{command}: {said:?}");
    for row in rows {
        let kinds = kinds.iter().map(|kind| kind.as_str().unwrap()).chain(["failure"]);
        let faults: Vec<String> = kinds
            .map(|kind| fault(schema, &schema["$defs"][kind], &row).map(|e| format!("{kind}: {e}")))
            .map_while(|found| found)
            .collect();
        let tried = schema["commands"][command].as_array().unwrap().len() + 1;
        assert!(faults.len() < tried, "{command}: {row}: {faults:?}");
    }
}

fn run(persona: &Persona, args: &[&str]) -> Said {
    let said = persona.jit(args).args(["--yes", "--json"]).run();
    obeys(&schema(), args[0], &said);
    said
}

#[test]
fn every_command_prints_what_the_schema_says() {
    let (site, alice, bob) = Site::running(POLICY);
    run(&alice, &["enroll", &site.url]);
    run(&alice, &[&ASK[..], &["--dry-run"]].concat());
    let id = run(&alice, &[&ASK[..], &["--no-wait"]].concat()).text("id");
    for args in [&["requests"][..], &["show", &id], &["status"]] {
        run(&alice, args);
    }
    run(&alice, &[&ASK[..], &["--dry-run"]].concat());
    run(&bob, &["approve", &id]);
    run(&alice, &["watch", &id]);
    for args in
        [&["show", &id][..], &["status"], &["doctor", "prod-host"], &["hosts", "--known-hosts"]]
    {
        run(&alice, args);
    }
    run(&alice, &ASK);
    run(&alice, &[&ASK[..], &["--dry-run"]].concat());
    run(&alice, &["release", &id]);
    let second = alice.ask(&[]);
    run(&bob, &["deny", &second, "--because", "not now"]);
    run(&alice, &["cancel", &second]);
    let third = alice.granted_by(&bob);
    run(&bob, &["revoke", &third]);
    run(&alice, &["watch", &third]);
    run(&alice, &["logout"]);
    run(&alice, &["login", "prod-host", "--for", "9h", "--because", "INC-42 x"]);
    // The control: what the schema does not say is found.
    let schema = schema();
    let failure = &schema["$defs"]["failure"];
    let good = serde_json::json!({"error": "X", "message": "x", "hint": null});
    assert_eq!(fault(&schema, failure, &good), None);
    for bad in [
        serde_json::json!({"error": "X", "message": "x"}),
        serde_json::json!({"error": "X", "message": 1, "hint": null}),
        serde_json::json!({"error": "X", "message": "x", "hint": null, "more": 1}),
    ] {
        assert!(fault(&schema, failure, &bad).is_some(), "{bad}");
    }
}

#[test]
fn what_the_admin_runs_prints_what_its_schema_says() {
    let schema: Value =
        serde_json::from_str(include_str!("../../docs/schema/jit-ssh-ca.json")).unwrap();
    let (site, alice, pipeline) = pipeline::site();
    let host = Sshd::new(site.path(), "ci-2");
    let run = |command: &str, args: &[&str]| {
        let words: Vec<&str> = command.split(' ').collect();
        let said = site.ca(&[&words[..], args, &["--json"]].concat()).run();
        obeys(&schema, command, &said);
        said
    };
    let config = ["--config", "ca-config"];
    let listen = format!("127.0.0.1:{}", free_port());
    let init = ["--config", "new", "--state", "new-state", "--admin", "admin.pub", "--listen"];
    run("init", &[&init[..], &[&listen]].concat()).fine();

    let key = pipeline.key_file();
    let login = me();
    let offer = ["--ca", &site.url, "--enroller", "pipeline", "--labels", "env=ci"];
    let offer = [&offer[..], &["--logins", &login, "--for", "1h", "--identity"]].concat();
    let offer = [&offer[..], &[key.to_str().unwrap()]].concat();
    run("token", &[&offer[..], &["--name", "ci-*"]].concat()).fine();
    let public = host.etc.join("host_key.pub");
    let of_host = ["--name", host.name(), "--key", public.to_str().unwrap()];
    run("vouch", &[&offer[..], &of_host].concat()).fine();

    pipeline::login(&alice, host.name(), "2m").fine();
    run("log verify", &config).fine();
    run("log show", &config).fine();
    run("log export", &[&config[..], &["--to", "copy"]].concat()).fine();
    run("report", &config).fine();
    run("policy replay", &[&config[..], &["--since", "1d"]].concat()).fine();

    // The files before, and after one rule is gone and one field is spelt wrong.
    let file = site.config().join("policy.toml");
    let policy = fs::read_to_string(&file).unwrap();
    let old = site.path().join("old");
    fs::create_dir(&old).unwrap();
    for name in ["people.toml", "hosts.toml", "policy.toml", "signers.toml"] {
        fs::copy(site.config().join(name), old.join(name)).unwrap();
    }
    fs::write(&file, policy.replacen("max_for = \"", "max_for = \"1", 1)).unwrap();
    run("policy diff", &["old", "ca-config"]).fine();
    run("apply", &[&config[..], &["--identity", "admin", "--yes"]].concat()).fine();
    fs::write(&file, format!("{policy}\nno_such_field = 1\n")).unwrap();
    run("policy lint", &config).ended(1);

    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/policies/break-glass");
    run("policy test", &["--config", example]).fine();
    // The same rule twice: the second never decides.
    let twice = format!("{policy}{}", policy.replacen("name = \"ci\"", "name = \"again\"", 1));
    fs::write(old.join("policy.toml"), twice).unwrap();
    run("policy lint", &["--config", "old"]);
}

#[test]
fn what_a_host_runs_prints_what_its_schema_says() {
    let schema: Value =
        serde_json::from_str(include_str!("../../docs/schema/jit-ssh-host.json")).unwrap();
    let (site, _alice, pipeline) = pipeline::site();
    let host = Sshd::new(site.path(), "ci-1");
    obeys(&schema, "setup", &host.setup(&site.url, &["--json"]).ended(1));
    let token = pipeline::token(&site, &pipeline, "1h", "1");
    let enroll = Program::new("jit-ssh-host").args(["enroll", "--json", "--name", host.name()]);
    let enroll = enroll.args(["--token-file", &token, "--host-key"]);
    let enroll = enroll.args([host.etc.join("host_key.pub")]).args(["--etc"]).args([&host.etc]);
    obeys(&schema, "enroll", &enroll.run().fine());
    obeys(&schema, "setup", &host.setup(&site.url, &["--json"]).fine());
    let doctor = Program::new("jit-ssh-host").args(["doctor", "--json", "--etc"]);
    let said = doctor.args([&host.etc]).run();
    obeys(&schema, "doctor", &said);
    assert!(said.json().len() >= 4, "the four promises: {said:?}");
}

#[test]
fn every_code_of_doctor_stands_in_the_schema() {
    let schema = schema();
    let codes = schema["$defs"]["finding"]["properties"]["code"]["enum"].as_array().unwrap();
    let rules = include_str!("../../src/cli/src/commands/doctor/rules.rs");
    let config = include_str!("../../src/cli/src/commands/doctor/ssh_config.rs");
    for code in codes {
        let quoted = code.to_string();
        assert!(rules.contains(&quoted) || config.contains(&quoted), "{code} is never found");
    }
    assert_eq!(codes.len(), 41);
}

#[test]
fn a_script_requests_waits_connects_and_cleans_up_without_reading_text() {
    let (site, alice, bob) = Site::running(POLICY);
    let host = site.host("prod-host");
    let ssh = format!("ssh {}", host.client_options().join(" "));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/with-access.sh");
    let path = format!("{}:{}", binaries().display(), std::env::var("PATH").unwrap());
    let go = || {
        let login = me();
        let args = ["prod-host", login.as_str(), "2m", "INC-42 disk full", "echo", "inside"];
        alice.program(script).args(args).env("PATH", &path).env("SSH", &ssh)
    };
    let running = go().start();
    let waits = || bob.jit(&["requests", "--to-decide", "--json"]).run().fine().json();
    jit_ssh_tests::program::wait_until("the request", || !waits().is_empty());
    let id = waits()[0]["id"].as_str().unwrap().to_owned();
    bob.jit(&["approve", &id, "--yes"]).run().fine();
    assert_eq!(running.wait().fine().out, "inside\n");
    assert_eq!(alice.jit(&["show", &id, "--json"]).run().fine().text("status"), "released");
    assert!(alice.certificates().is_empty());

    let running = go().start();
    jit_ssh_tests::program::wait_until("the request", || !waits().is_empty());
    let id = waits()[0]["id"].as_str().unwrap().to_owned();
    bob.jit(&["deny", &id, "--because", "no", "--yes"]).run().fine();
    let denied = running.wait().ended(4);
    assert_eq!(denied.out, "", "the command did not run");
}
