//! Text of others made plain: nothing in it can move the cursor, hide, or turn the text around.
//!
//! Which characters do that is said here alone; who refuses them and who only escapes them is the
//! caller's choice.

/// `text` with every character that disturbs the text around it escaped as `\u{...}`: what others
/// wrote must not be able to look like something else. Line breaks are escaped too.
pub fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if disturbs(char) { out.extend(char.escape_unicode()) } else { out.push(char) }
    }
    out
}

/// Whether [`harmless`] escapes `char`.
pub fn disturbs(char: char) -> bool {
    moves(char) || hides(char)
}

/// Whether `char` is a control character, or one that reorders the text around it (so that a name
/// could be shown as another).
pub(crate) fn moves(char: char) -> bool {
    char.is_control()
        || matches!(char,
            // Arabic letter mark, direction marks.
            '\u{61c}' | '\u{200e}' | '\u{200f}'
            // Separators, embeddings and overrides; isolates.
            | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether `char` is one that is not seen: two texts that differ in it look the same.
fn hides(char: char) -> bool {
    matches!(char,
        // Soft hyphen, grapheme joiner, Mongolian selectors, zero width.
        '\u{ad}' | '\u{34f}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200d}'
        // Letters that are blank: Hangul fillers, Khmer inherent vowels, an empty Braille cell.
        | '\u{115f}'..='\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{17b4}'..='\u{17b5}' | '\u{2800}'
        // Word joiner, invisible operators; deprecated format characters.
        | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}'
        // Byte order mark, interlinear annotation and what is reserved before it.
        | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
        // Controls of shorthand and of music.
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        // Variation selectors and tags: text within text.
        | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_can_neither_move_the_cursor_nor_turn_around_nor_hide() {
        for bad in [
            "\u{1b}[2J",
            "a\rb",
            "a\nb",
            "\u{202e}gpj.exe",
            "a\u{200b}b",
            "\u{2066}x",
            "\u{9b}31m",
            "\u{feff}",
            "\u{e0041}",
            "\0",
            "\u{7f}",
            "\u{61c}",
            "a\u{3164}b",
            "\u{2800}",
        ] {
            let shown = harmless(bad);
            assert!(!shown.chars().any(disturbs), "{shown:?}");
            assert!(shown.contains("\\u{"), "{shown:?}");
        }
        for good in ["INC-42 disk full", "Störung an der Platte", "磁盘已满", "\\u{1b} as text"]
        {
            assert_eq!(harmless(good), good);
        }
    }

    #[test]
    fn every_character_that_is_escaped_is_in_one_of_these_ranges() {
        // The whole of Unicode, so that splitting or joining ranges loses none at an edge.
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for char in ('\0'..=char::MAX).filter(|char| disturbs(*char)) {
            let code = u32::from(char);
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == code => *last = code,
                _ => ranges.push((code, code)),
            }
        }
        assert_eq!(
            ranges,
            [
                (0x0, 0x1f),
                (0x7f, 0x9f),
                (0xad, 0xad),
                (0x34f, 0x34f),
                (0x61c, 0x61c),
                (0x115f, 0x1160),
                (0x17b4, 0x17b5),
                (0x180b, 0x180f),
                (0x200b, 0x200f),
                (0x2028, 0x202e),
                (0x2060, 0x206f),
                (0x2800, 0x2800),
                (0x3164, 0x3164),
                (0xfe00, 0xfe0f),
                (0xfeff, 0xfeff),
                (0xffa0, 0xffa0),
                (0xfff0, 0xfffb),
                (0x1bca0, 0x1bca3),
                (0x1d173, 0x1d17a),
                (0xe0000, 0xe0fff),
            ]
        );
    }
}
