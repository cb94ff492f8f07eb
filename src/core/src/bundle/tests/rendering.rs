//! Problems as people see them.

use super::*;

fn shown(files: &Files) -> String {
    files.parse().unwrap_err().to_string()
}

#[test]
fn an_unknown_field_is_shown_with_a_way_out() {
    let files = good().with("people.toml", "groups = [\"ci\"]", "gorups = [\"ci\"]");
    assert_eq!(
        shown(&files),
        r#"error: `gorups` is not a field of [[machine]]
  --> people.toml:23:1
   |
23 | gorups = ["ci"]
   | ^^^^^^
   = help: did you mean `groups`?"#
    );
}

#[test]
fn a_missing_field_is_shown_at_its_table() {
    let files = good().with("hosts.toml", "logins = [\"jump\"]", "");
    assert_eq!(
        shown(&files),
        "error: [[host]] lacks the field `logins`
  --> hosts.toml:14:1
   |
14 | [[host]]
   | ^^^^^^^^"
    );
}

#[test]
fn columns_count_characters() {
    let files =
        good().with("people.toml", "name = \"Carol\"", "name = \"Carol\"\ngroups = [\"ä\", \"ö\"]");
    let problems = files.problems();
    assert_eq!(
        problems.iter().map(|p| (p.line, p.column)).collect::<Vec<_>>(),
        [(18, 11), (18, 16)]
    );
    let shown = Diagnostics(vec![problems[1].clone()]).to_string();
    assert!(shown.ends_with("\n18 | groups = [\"ä\", \"ö\"]\n   |                ^^^"), "{shown}");
}

#[test]
fn a_syntax_error_is_shown_and_the_other_files_are_still_read() {
    let files = good()
        .with("people.toml", "id = \"carol\"", "id = \"carol")
        .with("hosts.toml", "logins = [\"jump\"]", "logins = [\"jump\"]\r\nlogin = 1\r")
        .with("policy.toml", "permit = [\"pty\"]", "permit = [\"tty\"]");
    assert_eq!(
        shown(&files),
        r#"error: TOML syntax: invalid basic string, expected `"`
  --> people.toml:16:12
   |
16 | id = "carol
   |            ^

error: `login` is not a field of [[host]]
  --> hosts.toml:17:1
   |
17 | login = 1
   | ^^^^^
   = help: did you mean `logins`?

error: `tty` is not a permit; did you mean `pty`?
  --> policy.toml:20:11
   |
20 | permit = ["tty"]
   |           ^^^^^"#
    );
}

#[test]
fn all_problems_of_all_files_are_reported_at_once() {
    let files = good()
        .with("people.toml", "id = \"alice\"", "id = \"Alice\"")
        .with("people.toml", "email = \"alice@example.com\"", "email = \"alice\"")
        .with("hosts.toml", "address = \"10.0.0.5:22\"", "adress = 1")
        .with(
            "policy.toml",
            "who = [\"machine:deploy-bot\"]",
            "who = [\"group:cl\", \"person:zoe\"]",
        )
        .with("policy.toml", "cert_for = \"5m\"", "cert_for = \"5\"")
        .with("signers.toml", "number = 1", "number = 0");
    let problems = files.problems();
    let places: Vec<_> = problems.iter().map(|p| (p.file, p.line)).collect();
    assert_eq!(
        places,
        [
            ("people.toml", 3),
            ("people.toml", 5),
            ("hosts.toml", 4),
            ("policy.toml", 15),
            ("policy.toml", 25),
            ("policy.toml", 25),
            ("signers.toml", 3),
        ]
    );
}

#[test]
fn what_a_terminal_would_obey_is_not_shown() {
    let files = good().with("people.toml", "id = \"carol\"", "id = \"carol\u{1b}[2J\u{202e}\"");
    let shown = shown(&files);
    assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown}");
}

#[test]
fn a_long_line_is_shown_around_the_problem() {
    let many = "\"sre\", ".repeat(500);
    let files =
        good().with("people.toml", "groups = [\"ci\"]", &format!("groups = [\"a\", {many}]"));
    let problems = files.problems();
    let shown = problems[0].to_string();
    assert_eq!(problems[0].message, "`sre` is listed twice");
    assert!(shown.lines().all(|line| line.chars().count() < 200), "{shown}");
    let lines: Vec<_> = shown.lines().collect();
    let caret = lines[4].find('^').unwrap();
    assert_eq!(lines[3].chars().skip(caret).take(5).collect::<String>(), "\"sre\"");
    // More than a screenful of problems helps nobody.
    assert_eq!(problems.len(), 201);
    assert_eq!(problems[200].message, "299 more problems in this file are not shown");
}

#[test]
fn what_is_not_text_is_one_problem() {
    let mut files = good().bytes();
    files.hosts.push(0xff);
    let problems = Bundle::parse(1, &files, &admins()).unwrap_err().0;
    assert_eq!(problems.len(), 1);
    assert_eq!(
        (problems[0].line, problems[0].message.as_str()),
        (17, "the file is not UTF-8 text from here on")
    );
}

#[test]
fn the_four_files_are_bounded_together() {
    let mut files = good().bytes();
    let rest =
        BundleFiles::MAX_BYTES - files.people.len() - files.policy.len() - files.signers.len();
    files.hosts.resize(rest, b'#');
    assert!(Bundle::parse(1, &files, &admins()).is_ok());
    files.hosts.push(b'#');
    let problems = Bundle::parse(1, &files, &admins()).unwrap_err().0;
    assert_eq!(problems.len(), 1);
    assert!(problems[0].to_string().starts_with("error: the four files hold 67108865 bytes"));
}
