//! Shows the difference between two texts the way `diff -u` does.

use std::fmt::Write as _;

/// Lines shown around a change.
const CONTEXT: usize = 3;

/// One unified hunk that covers everything between the first and the last change; empty if the
/// texts are equal. Our changes lie together, so one hunk is the smallest honest picture.
pub(crate) fn hunk(old: &[u8], new: &[u8]) -> String {
    let (old, new) = (shown_lines(old), shown_lines(new));
    let shortest = old.len().min(new.len());
    let same_head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let same_tail = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take(shortest.saturating_sub(same_head))
        .take_while(|(a, b)| a == b)
        .count();
    let (old_end, new_end) = (old.len() - same_tail, new.len() - same_tail);
    if same_head == old_end && same_head == new_end {
        return String::new();
    }
    let from = same_head.saturating_sub(CONTEXT);
    let after = same_tail.min(CONTEXT);
    let mut out = format!(
        "@@ -{} +{} @@\n",
        range(from, old_end + after - from),
        range(from, new_end + after - from)
    );
    let mut show = |sign: char, lines: &[String]| {
        for line in lines {
            let _ = writeln!(out, "{sign}{line}");
        }
    };
    show(' ', old.get(from..same_head).unwrap_or_default());
    show('-', old.get(same_head..old_end).unwrap_or_default());
    show('+', new.get(same_head..new_end).unwrap_or_default());
    show(' ', old.get(old_end..old_end + after).unwrap_or_default());
    out
}

fn range(start: usize, count: usize) -> String {
    let first = if count == 0 { start } else { start + 1 };
    format!("{first},{count}")
}

/// The lines of a file somebody else may have written, fit for a terminal.
fn shown_lines(text: &[u8]) -> Vec<String> {
    let fit = |char: char| match char {
        '\t' => '\t',
        _ if char.is_control() => char::REPLACEMENT_CHARACTER,
        _ => char,
    };
    let text = String::from_utf8_lossy(text);
    let mut lines: Vec<String> = text
        .split_inclusive('\n')
        .map(|l| l.trim_end_matches('\n').chars().map(fit).collect())
        .collect();
    if let Some(last) = lines.last_mut()
        && !text.ends_with('\n')
    {
        last.push_str("  (no line break at the end)");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_hunk_shows_what_changed_with_three_lines_around_it() {
        let old = b"1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let new = b"1\n2\n3\n4\nfive\n6\n7\n8\n9\n";
        assert_eq!(hunk(old, new), "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n");
        assert_eq!(hunk(old, old), "");
        assert_eq!(hunk(b"", b"a\n"), "@@ -0,0 +1,1 @@\n+a\n");
        assert_eq!(hunk(b"a\na\n", b"a\n"), "@@ -1,2 +1,1 @@\n a\n-a\n");
    }

    #[test]
    fn foreign_content_can_not_move_the_cursor() {
        assert!(!hunk(b"", b"a\x1b[2Jb\r\n").contains(['\x1b', '\r']));
    }
}
