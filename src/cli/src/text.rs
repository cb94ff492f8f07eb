//! Text for people: short, in tables and lists, and times as they read them. What makes the text
//! of others harmless is `jit_ssh_core::plain`.

use std::cmp::Ordering;

use jit_ssh_core::plain::harmless;
use jit_ssh_core::time::UnixTime;
use unicode_width::UnicodeWidthChar as _;

/// At most `max` columns of `text`, made harmless.
pub(crate) fn short(text: &str, max: usize) -> String {
    cut(&harmless(text), max)
}

/// At most `max` columns of `text`, which is harmless; what is cut off is marked. Colours of ours
/// count for nothing, and are dropped where something is cut off.
pub(crate) fn cut(text: &str, max: usize) -> String {
    if columns(text) <= max {
        return text.to_owned();
    }
    let mut room = max.saturating_sub(1);
    let mut out = String::new();
    for char in plain(text) {
        let width = char.width().unwrap_or_default();
        if width > room {
            break;
        }
        room = room.saturating_sub(width);
        out.push(char);
    }
    if max > 0 {
        out.push('…');
    }
    out
}

/// How many columns of a terminal `text` takes, which is harmless: a wide character takes two, a
/// combining one and a colour of ours none.
pub(crate) fn columns(text: &str) -> usize {
    plain(text).map(|char| char.width().unwrap_or_default()).sum()
}

/// The characters that are shown: without the colours, which nobody but `ui.rs` can have put there.
fn plain(text: &str) -> impl Iterator<Item = char> {
    let mut colour = false;
    text.chars().filter(move |char| {
        let within = colour || *char == '\u{1b}';
        colour = within && *char != 'm';
        !within
    })
}

/// A span as people read it: `4m10s`, at most two units.
pub(crate) fn span(secs: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let first = UNITS.iter().position(|(_, factor)| secs >= *factor).unwrap_or(3);
    let mut rest = secs;
    let mut out = String::new();
    for (name, factor) in UNITS.iter().skip(first).take(2) {
        let count = rest / factor;
        if count > 0 || out.is_empty() {
            out.push_str(&format!("{count}{name}"));
        }
        rest %= factor;
    }
    out
}

/// A moment as seen from `now`: `in 4m10s`, `3m ago`.
pub(crate) fn relative(moment: UnixTime, now: UnixTime) -> String {
    match moment.cmp(&now) {
        Ordering::Greater => format!("in {}", span(moment.since(now))),
        Ordering::Equal => "now".to_owned(),
        Ordering::Less => format!("{} ago", span(now.since(moment))),
    }
}

/// A moment in UTC: `2026-05-20 14:03:10 UTC`.
pub(crate) fn utc(moment: UnixTime) -> String {
    moment.utc()
}

/// `a, b or c`.
pub(crate) fn either<T: AsRef<str>>(names: &[T]) -> String {
    join(names, "or")
}

/// `a, b and c`.
pub(crate) fn all_of<T: AsRef<str>>(names: &[T]) -> String {
    join(names, "and")
}

fn join<T: AsRef<str>>(names: &[T], word: &str) -> String {
    let names: Vec<String> = names.iter().map(|name| harmless(name.as_ref())).collect();
    match names.split_last() {
        None => "nobody".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} {word} {last}", rest.join(", ")),
    }
}

/// Lines up rows under a heading, two spaces between columns.
pub(crate) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let heading = heading.map(str::to_owned);
    let mut widths = [0usize; N];
    for row in std::iter::once(&heading).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(columns(cell));
        }
    }
    let mut out = String::new();
    for row in std::iter::once(&heading).chain(rows) {
        let cells = row.iter().zip(widths).map(|(cell, width)| {
            let rest = width.saturating_sub(columns(cell));
            format!("{cell}{:rest$}", "")
        });
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_show_at_most_two_units() {
        for (secs, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (250, "4m10s"),
            (3_600, "1h"),
            (3_661, "1h1m"),
            (90_000, "1d1h"),
            (86_401, "1d"),
        ] {
            assert_eq!(span(secs), text);
        }
        assert_eq!(relative(UnixTime(100), UnixTime(40)), "in 1m");
        assert_eq!(relative(UnixTime(40), UnixTime(100)), "1m ago");
        assert_eq!(relative(UnixTime(40), UnixTime(40)), "now");
        assert_eq!(utc(UnixTime(1_790_000_900)), "2026-09-21 14:28:20 UTC");
    }

    #[test]
    fn tables_line_up_and_lists_read_as_sentences() {
        let rows = [["a".into(), "1".into()], ["abc".into(), "22".into()]];
        assert_eq!(table(["ID", "N"], &rows), "ID   N\na    1\nabc  22\n");
        assert_eq!(either(&["bob"]), "bob");
        assert_eq!(either(&["bob", "carol", "dave"]), "bob, carol or dave");
        assert_eq!(all_of::<&str>(&[]), "nobody");
        assert_eq!(short("abcdef", 4), "abc…");
        let rows = [["磁盘".into(), "1".into()], ["\u{1b}[32mab\u{1b}[0m".into(), "2".into()]];
        let wide = table(["ID", "N"], &rows);
        assert_eq!(wide, "ID    N\n磁盘  1\n\u{1b}[32mab\u{1b}[0m    2\n");
    }

    #[test]
    fn text_is_cut_by_the_columns_it_takes() {
        assert_eq!(
            (columns("磁盘"), columns("e\u{301}"), columns("\u{1b}[1;31mab\u{1b}[0m")),
            (4, 1, 2)
        );
        // A wide character is never cut in half.
        assert_eq!((cut("磁盘已满", 8), cut("磁盘已满", 6)), ("磁盘已满".into(), "磁盘…".into()));
        assert_eq!(
            (cut("磁盘", 2), cut("ab", 1), cut("ab", 0)),
            ("…".into(), "…".into(), "".into())
        );
        assert_eq!(cut("\u{1b}[32mabc\u{1b}[0m", 2), "a…", "no colour is left open");
        assert_eq!(cut("\u{1b}[32mab\u{1b}[0m", 2), "\u{1b}[32mab\u{1b}[0m");
    }
}
