//! The recording that README.md shows is of these programs: what is shown in it is what they print now.
//! Where that has changed: `./run record`, and look at the picture before it is committed.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use jit_ssh_tests::program::is_root;
use jit_ssh_tests::recording::Cast;
use jit_ssh_tests::{Program, me, snapshot};

const CAST: &str = include_str!("../../docs/session.cast");
const PICTURE: &str = include_str!("../../docs/session.svg");

/// The screens at the marks, without what differs from run to run.
fn screens(cast: &Cast) -> Vec<(String, String)> {
    let marks = cast.marks();
    let (_, last) = marks.last().unwrap();
    let (_, rest) = last.split_once("jit-ssh approve ").unwrap();
    let id: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
    assert!(id.len() >= 10, "{last}");
    marks
        .iter()
        .map(|(name, text)| (name.clone(), snapshot::plain(&text.replace(&id, "ID"))))
        .collect()
}

#[test]
fn the_picture_is_that_of_the_recording_and_tells_nothing_of_the_machine_it_was_made_on() {
    let cast = Cast::parse(CAST);
    assert!(cast.svg() == PICTURE, "make it anew: ./run record");
    assert!(cast.columns <= 104, "README shows no more columns in a size that can be read");
    let names: Vec<String> = screens(&cast).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["asked", "shown to whoever approves", "in", "over"]);
    // What a picture holds that can not move: all of it, from the first word on.
    let end: String =
        cast.frames().last().unwrap().rows.iter().flatten().map(|cell| cell.char).collect();
    for words in ["ssh prod-host", "Why do you need it?", "[y/N] y", "closed.", "jit-ssh status"] {
        assert!(end.contains(words), "{words}: {end}");
    }
    let names = ["/tmp", "/home", "/work", "/root", "target/"].map(str::to_owned);
    for name in names.into_iter().chain([me() + "@"]) {
        assert!(!CAST.contains(&name) && !PICTURE.contains(&name), "{name}");
    }
}

#[test]
fn what_is_shown_is_what_the_programs_print_now_with_no_other_file_named_to_ssh() {
    if !is_root() {
        eprintln!("skipped: only root can make the accounts of the people who are recorded");
        return;
    }
    let said = Program::new("jit-ssh-record").args(["--at-once"]).run().fine();
    for (shown, now) in screens(&Cast::parse(CAST)).iter().zip(screens(&Cast::parse(&said.out))) {
        assert!(*shown == now, "make it anew: ./run record\nshown: {}\nnow: {}", shown.1, now.1);
    }
}
