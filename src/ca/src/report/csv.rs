//! Comma-separated values (RFC 4180), safe to open in a spreadsheet.

use jit_ssh_core::plain::harmless;

/// One line, without its end.
pub(super) fn line<const N: usize>(cells: [String; N]) -> String {
    cells.iter().map(|text| cell(text)).collect::<Vec<_>>().join(",")
}

/// A cell. A reason is written by who asks, and read in a spreadsheet, which would run a text that
/// begins like a formula (CWE-1236): such a text gets an apostrophe before it.
fn cell(text: &str) -> String {
    let text = harmless(text);
    let formula =
        text.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠', '|', '%']);
    let text = if formula { format!("'{text}") } else { text };
    let quote = text.contains([',', '"', ';', '\'']) || text.trim() != text;
    if quote { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be_and_never_formulas() {
        for (text, expected) in [
            ("plain", "plain"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"it\"", "\"say \"\"it\"\"\""),
            ("a;b", "\"a;b\""),
            (" spaced", "\" spaced\""),
            ("=HYPERLINK(\"http://x\")", "\"'=HYPERLINK(\"\"http://x\"\")\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("  =1", "\"'  =1\""),
            ("＝1", "\"'＝1\""),
            ("1=1", "1=1"),
            ("a-b", "a-b"),
            ("two\nlines", "two\\u{a}lines"),
            ("\t=1", "\\u{9}=1"),
            ("\u{202e}=1", "\\u{202e}=1"),
        ] {
            assert_eq!(cell(text), expected, "{text:?}");
        }
        assert_eq!(line(["a".to_owned(), "b,c".to_owned()]), "a,\"b,c\"");
    }
}
