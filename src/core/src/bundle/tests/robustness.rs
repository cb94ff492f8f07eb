//! No input makes the reader panic or report nothing.

use proptest::prelude::*;

use super::*;

/// What files are made of: to be put where it does not belong.
const PIECES: [&str; 24] = [
    "[[person]]",
    "[[allow]]",
    "[a.b]",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "\"\"\"",
    "'",
    "=",
    "\n",
    ",",
    ".",
    "#",
    "\\u",
    "id",
    "approvals",
    "-1",
    "0x",
    "1979-05-27",
    "inf",
    "\u{feff}",
    "ä",
];

/// The good files, with every field there is.
fn whole() -> Files {
    let (auto, source) = ("auto = {}", "source = \"client\"");
    let glass =
        r#"break_glass = { strength = "hardware", max_for = "15m", notify = ["group:sre"] }"#;
    let terms = r#"auto = { hours = "Mon-Fri 08:00-18:00 Europe/Berlin", review_by = "2027-01-31" }
on_behalf = ["group:sre"]
extend = { max = "30m", times = 2 }"#;
    let files = good().with("policy.toml", source, &format!("{source}\n{glass}"));
    files.with("policy.toml", auto, terms)
}

fn parse(files: &BundleFiles) -> Result<(), TestCaseError> {
    if let Err(problems) = Bundle::parse(1, files, &admins()) {
        prop_assert!(!problems.0.is_empty());
        prop_assert!(problems.0.iter().all(|problem| problem.line > 0 && problem.column > 0));
        prop_assert!(!problems.to_string().is_empty());
    }
    Ok(())
}

fn file_of(files: &mut BundleFiles, which: usize) -> &mut Vec<u8> {
    match which {
        0 => &mut files.people,
        1 => &mut files.hosts,
        2 => &mut files.policy,
        _ => &mut files.signers,
    }
}

#[test]
fn the_whole_files_are_good() {
    assert!(whole().parse().is_ok(), "{:?}", whole().parse().err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(which in 0usize..4, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut files = good().bytes();
        *file_of(&mut files, which) = bytes;
        parse(&files)?;
    }

    #[test]
    fn mutated_files_never_panic(
        which in 0usize..4,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..12, 0usize..PIECES.len()), 1..6),
    ) {
        let mut files = whole().bytes();
        let file = file_of(&mut files, which);
        for (place, cut, piece) in edits {
            let start = place.index(file.len() + 1);
            let end = (start + cut).min(file.len());
            file.splice(start..end, PIECES[piece].bytes());
        }
        parse(&files)?;
    }

    #[test]
    fn files_made_of_pieces_never_panic(which in 0usize..4, pieces in proptest::collection::vec(0usize..PIECES.len(), 0..40)) {
        let mut files = good().bytes();
        *file_of(&mut files, which) = pieces.into_iter().flat_map(|piece| PIECES[piece].bytes()).collect();
        parse(&files)?;
    }
}

#[test]
fn deep_nesting_is_a_problem_and_no_stack_overflow() {
    for open in ["[", "{a="] {
        let files = Files { policy: format!("auditors = {}", open.repeat(100_000)), ..good() };
        assert!(files.parse().is_err());
    }
}
