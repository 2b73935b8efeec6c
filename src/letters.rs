//! Letters that nobody sees, or that move what can be seen: what servers and files hold may be made
//! to deceive whoever reads it on a terminal, in a log or in a review.

use std::{borrow::Cow, fmt::Write as _};

/// C0, DEL, C1; line and paragraph separators; marks that reorder text; letters without width.
#[must_use]
pub(crate) fn is_invisible(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// JSON that says the same without them: only line breaks between its values stay.
#[must_use]
pub(crate) fn in_json(text: &str) -> Cow<'_, str> {
    let harmful = |it: char| it != '\n' && is_invisible(it);
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 64);
    for letter in text.chars() {
        if harmful(letter) {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                write!(safe, "\\u{unit:04x}").expect("a String takes every write");
            }
        } else {
            safe.push(letter);
        }
    }
    Cow::Owned(safe)
}
