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
    assert!(
        lines[6].contains("cancel") && lines[6].ends_with("alice: taken back before it was used")
    );
    let id = |line: &str| line.split_whitespace().nth(5).unwrap().to_owned();
    assert_eq!(id(&lines[1]), id(&lines[3]));
}

#[test]
fn what_is_special_about_a_request_or_an_end_is_said_in_words() {
    let mut scene = Scene::new();
    let first = scene.add(10, ALICE, &scene.request(10, 1));
    let asked = "deploy@other-host, deploy@prod-host for 10m";
    let mut line = |change: &dyn Fn(&mut Request)| {
        let mut body = scene.request(10, 2);
        change(&mut body);
        scene.add(10, ALICE, &body);
        Row::of(scene.entries.last().unwrap()).line(1)
    };
    let glass = line(&|body| body.break_glass = Some("nobody answers".to_owned()));
    assert!(glass.contains("  break-glass  "), "{glass}");
    let says = format!(
        "alice: {asked}, because INC-42 disk full; without approvals, because nobody answers"
    );
    assert!(glass.ends_with(&says), "{glass}");
    let later = line(&|body| body.not_before = Some(at(100)));
    let says = format!("alice: {asked} from 2026-09-21 14:15:00 UTC, because INC-42 disk full");
    assert!(later.contains("  request  ") && later.ends_with(&says), "{later}");
    let more = line(&|body| body.extends = Some(first.digest()));
    let says = format!("alice: {asked} more, prolonging {}, because INC-42 disk full", first.id());
    assert!(more.ends_with(&says), "{more}");
    let behalf = line(&|body| body.subject = "carol".parse().unwrap());
    assert!(behalf.ends_with(&format!("alice: for carol: {asked}, because INC-42 disk full")));

    for (cause, says) in [
        (Cause::Cancel, "taken back before it was used"),
        (Cause::Release, "given back"),
        (Cause::Revoke, "taken away"),
    ] {
        let end = scene.end(20, "bob", cause, &first);
        scene.add(20, BOB, &end);
        let line = Row::of(scene.entries.last().unwrap()).line(2);
        assert!(line.contains(&format!("  {:<11}  ", cause.as_str())), "{line}");
        assert!(line.ends_with(&format!("bob: {says}")), "{line}");
    }
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

#[test]
fn as_json_each_entry_has_its_index_and_the_id_of_its_request_beside_its_own_fields() {
    let scene = good();
    let read = |index: usize| -> serde_json::Value {
        let bytes = &scene.entries[index];
        let line = Row::of(bytes).json(index as u64, bytes).unwrap();
        assert!(!line.contains('\n'));
        serde_json::from_str(&line).unwrap()
    };
    let (bundle, request, certificate) = (read(0), read(1), read(3));
    assert_eq!((&bundle["index"], &bundle["id"]), (&0.into(), &serde_json::Value::Null));
    assert_eq!((&request["index"], &certificate["index"]), (&1.into(), &3.into()));
    assert_eq!(request["id"].as_str().unwrap().len(), 10);
    assert_eq!(request["id"], certificate["id"]);
    // The entry's own names stay where they were.
    assert_eq!(certificate["kind"], "certificate");
    let own: serde_json::Value = serde_json::from_slice(&scene.entries[3]).unwrap();
    for (name, value) in own.as_object().unwrap() {
        assert_eq!(&certificate[name], value);
    }
    assert_eq!(Row::of(b"{}").json(7, b"{}"), None);
}
