//! What `log show` says of each kind of entry.

use super::super::show::Row;
use super::*;

#[test]
fn each_kind_of_entry_is_one_line_with_who_and_what() {
    let lines: Vec<String> =
        good().entries.iter().zip(0..).map(|(entry, index)| Row::of(entry).line(index)).collect();
    let expected = [
        ("bundle", "admins: version 1 in force, signed by 1"),
        ("request", "alice: deploy@other-host, deploy@prod-host for 10m, because INC-42 disk full"),
        ("approval", "bob: deploy@other-host, deploy@prod-host for 10m"),
        (
            "certificate",
            "alice: deploy@other-host, deploy@prod-host until 2026-09-21 14:18:50 UTC, serial \
             281474976710659, rule prod",
        ),
    ];
    for (line, (kind, text)) in lines.iter().zip(expected) {
        assert!(line.contains(kind) && line.ends_with(text), "{line}");
    }
    assert!(lines[6].contains("alice: taken back"));
    let id = |line: &str| line.split_whitespace().nth(5).unwrap().to_owned();
    assert_eq!(id(&lines[1]), id(&lines[3]));
}

#[test]
fn hostile_text_and_broken_entries_stay_on_their_line() {
    let mut scene = Scene::new();
    let mut request = scene.request(10, 1);
    request.reason = "fine \u{202e}gnp.exe".to_owned();
    scene.add(10, ALICE, &request);
    let line = Row::of(&scene.entries[0]).line(0);
    assert!(line.contains("\\u{202e}") && !line.contains('\u{202e}'), "{line}");

    let line = Row::of(b"\x1b[2J\n{}").line(1);
    assert!(line.contains("unreadable") && !line.contains(['\u{1b}', '\n']), "{line}");
}
