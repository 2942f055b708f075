//! Text from events, fit for a terminal.

use std::borrow::Cow;

/// What a terminal would act on or hide: control characters (line ends among them), marks that turn the direction of writing, and characters
/// without width.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn escaped(text: &str, acts: fn(char) -> bool, escape: fn(char, &mut String)) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match acts(c) {
            true => escape(c, &mut out),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// The text with everything escaped that a terminal would act on or hide.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, acts, |c, out| out.extend(c.escape_unicode()))
}

/// As [`printable`], for text of several lines.
#[must_use]
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && acts(c), |c, out| out.extend(c.escape_unicode()))
}

/// As [`printable_lines`], for JSON, which stays the same JSON.
#[must_use]
pub fn printable_json(json: &str) -> Cow<'_, str> {
    let escape = |c: char, out: &mut String| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    };
    escaped(json, |c| c != '\n' && acts(c), escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        let table = [
            ("d9", "d9"),
            ("Zoë 李 🦀", "Zoë 李 🦀"),
            ("a\x1b]0;owned\x07b", "a\\u{1b}]0;owned\\u{7}b"),
            ("x\nlast action ban", "x\\u{a}last action ban"),
            ("x\u{9b}31m", "x\\u{9b}31m"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("a\u{200b}b", "a\\u{200b}b"),
            ("a\tb\rc\0", "a\\u{9}b\\u{d}c\\u{0}"),
        ];
        for (text, shown) in table {
            assert_eq!(printable(text), shown, "{text:?}");
        }
    }

    #[test]
    fn json_stays_the_same_json() {
        for text in ["d9", "a\u{202e}b", "x\u{9b}31m", "tag \u{e0041}", "\u{1b}[1m\n"] {
            let json = serde_json::to_string_pretty(&[text]).expect("it is JSON");
            let shown = printable_json(&json);
            assert!(!shown.chars().any(|c| c != '\n' && acts(c)), "{shown:?}");
            let [read]: [String; 1] = serde_json::from_str(&shown).expect("it is JSON");
            assert_eq!(read, text);
        }
        assert_eq!(printable_lines("a\nb\u{9b}"), "a\nb\\u{9b}");
    }
}
