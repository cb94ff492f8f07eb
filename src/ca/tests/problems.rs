//! What programs get of problems in the configuration: objects on stdout, and the same exit code.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// A configuration that is empty and fits together, but for `policy`.
fn config(policy: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in
        [("people.toml", ""), ("hosts.toml", ""), ("policy.toml", policy), ("policy_test.toml", "")]
    {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn run(dir: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_jit-ssh-ca")).current_dir(dir).args(words).output().unwrap()
}

fn objects(output: &Output) -> Vec<serde_json::Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const DENY: &str = "[[deny]]\nname = \"a\"\nhosts = [\"nowhere\"]\n";

#[test]
fn problems_of_files_are_objects_on_stdout_one_a_line() {
    let (good, bad) = (config(""), config(&format!("{DENY}x = 1\n")));
    for words in [
        &["policy", "test", "--config", "."][..],
        &["policy", "lint", "--config", "."],
        &["policy", "diff", ".", "."],
        &[
            "policy", "explain", "--config", ".", "--who", "a", "--host", "b", "--as", "c",
            "--for", "1m",
        ],
    ] {
        let plain = run(bad.path(), words);
        assert!(plain.stdout.is_empty(), "{words:?}");
        let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
        let output = run(bad.path(), &words);
        assert_eq!((plain.status.code(), output.status.code()), (Some(1), Some(1)), "{words:?}");
        let found = objects(&output);
        let [host, field, error] = found.as_slice() else { panic!("{words:?}: {found:?}") };
        assert_eq!(host["file"], "policy.toml");
        assert_eq!((host["line"].as_u64(), host["column"].as_u64()), (Some(3), Some(10)));
        assert!(host["message"].as_str().unwrap().contains("nowhere"), "{host}");
        assert_eq!(field["line"], 4);
        assert!(field.as_object().unwrap().contains_key("hint"), "{field}");
        assert_eq!(error["error"], "BUNDLE");
        // The neighbour without problems has none of these.
        let good = run(good.path(), &words);
        assert!(objects(&good).iter().all(|object| object["file"].is_null()), "{words:?}");
    }
}

#[test]
fn problems_of_the_cases_are_objects_too() {
    let dir = config("");
    let words = ["policy", "test", "--config", ".", "--json"];
    let output = run(dir.path(), &words);
    assert_eq!((output.status.code(), objects(&output).len()), (Some(0), 0));
    fs::write(dir.path().join("policy_test.toml"), "[[case]]\nname = 1\n").unwrap();
    let output = run(dir.path(), &words);
    assert_eq!(output.status.code(), Some(1));
    let found = objects(&output);
    assert_eq!(found[0]["file"], "policy_test.toml");
    assert_eq!(found.last().unwrap()["error"], "POLICY_TEST");
}
