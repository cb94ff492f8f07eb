//! docs/policy.md and its ten examples: each loads, does what its cases say, and is quoted as it is.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use jit_ssh_tests::Said;
use jit_ssh_tests::program::Program;

const SHAPES: [&str; 10] = [
    "audit-only",
    "bastions",
    "break-glass",
    "change-windows",
    "ci-deploys",
    "contractors",
    "database-root",
    "labelled-fleets",
    "on-call-rotation",
    "two-person-startup",
];
const FILES: [&str; 4] = ["hosts.toml", "people.toml", "policy.toml", "policy_test.toml"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn example(shape: &str) -> PathBuf {
    root().join("examples/policies").join(shape)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The names in a folder, sorted.
fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Runs `jit-ssh-ca policy WHAT` on a configuration.
fn policy(what: &str, config: &Path) -> Said {
    Program::new("jit-ssh-ca").args(["policy", what, "--json", "--config"]).args([config]).run()
}

#[test]
fn there_are_ten_examples_of_four_files_each_and_no_private_key() {
    assert_eq!(names_in(&root().join("examples/policies")), SHAPES);
    for shape in SHAPES {
        assert_eq!(names_in(&example(shape)), FILES, "{shape}");
        for file in FILES {
            let text = read(&example(shape).join(file));
            assert!(!text.contains("PRIVATE KEY"), "{shape}/{file} holds a private key");
        }
    }
}

#[test]
fn every_example_loads_does_what_its_cases_say_and_has_no_fault_that_lint_finds() {
    for shape in SHAPES {
        policy("test", &example(shape)).fine();
        policy("lint", &example(shape)).fine();
    }
}

#[test]
fn a_case_that_expects_something_else_fails() {
    let folder = tempfile::tempdir().unwrap();
    for file in FILES {
        let text = read(&example("two-person-startup").join(file));
        let changed = match file {
            "policy_test.toml" => text.replacen("approvals = 1", "approvals = 2", 1),
            _ => text.clone(),
        };
        assert!(file != "policy_test.toml" || changed != text, "there is a case to change");
        fs::write(folder.path().join(file), changed).unwrap();
    }
    let said = policy("test", folder.path());
    assert_eq!(said.code, 1, "{said:?}");
}

#[test]
fn the_guide_quotes_every_policy_to_the_letter() {
    let guide = read(&root().join("docs/policy.md"));
    for shape in SHAPES {
        let quoted = format!("```toml\n{}```\n", read(&example(shape).join("policy.toml")));
        assert!(
            guide.contains(&quoted),
            "docs/policy.md does not quote {shape}/policy.toml as it is"
        );
        let link = format!("(../examples/policies/{shape})");
        assert!(guide.contains(&link), "docs/policy.md does not point at {shape}");
    }
}

#[test]
fn every_example_says_what_must_be_allowed_and_what_must_not() {
    for shape in SHAPES {
        let cases = read(&example(shape).join("policy_test.toml"));
        let expected = |what: &str| cases.matches(&format!("\nexpect = {{ {what} = ")).count();
        let (allowed, refused) = (expected("rule"), expected("refused"));
        assert!(allowed >= 2 && refused >= 1, "{shape}: {allowed} allowed, {refused} refused");
        assert_eq!(allowed + refused, cases.matches("[[case]]").count(), "{shape}");
    }
}
