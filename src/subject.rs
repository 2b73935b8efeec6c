//! Subjects: whether a text is one, and whether two take the same messages.

/// Whether a text is a subject, wildcards allowed; the error says what is wrong with it.
pub fn check(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("a subject is never empty");
    }
    if text.chars().any(|it| it.is_whitespace() || it.is_control()) {
        return Err("a subject holds no spaces or control characters");
    }
    let tokens: Vec<_> = text.split('.').collect();
    if tokens.iter().any(|it| it.is_empty()) {
        return Err("a subject has no empty token: no dot at either end, no two in a row");
    }
    if tokens[..tokens.len() - 1].contains(&">") {
        return Err("`>` stands only at the end of a subject");
    }
    Ok(())
}

/// Whether some literal subject matches both.
#[must_use]
pub fn overlap(a: &str, b: &str) -> bool {
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(l), Some(r)) if l == r || l == "*" || r == "*" => {}
            (Some(_) | None, Some(_) | None) => return false,
        }
    }
}

/// Whether every literal subject that `inner` matches is matched by `outer`.
#[must_use]
pub fn covers(outer: &str, inner: &str) -> bool {
    let (mut outer, mut inner) = (outer.split('.'), inner.split('.'));
    loop {
        match (outer.next(), inner.next()) {
            (None, None) | (Some(">"), Some(_)) => return true,
            (Some("*"), Some(it)) if it != ">" => {}
            (Some(l), Some(r)) if l == r => {}
            (Some(_) | None, Some(_) | None) => return false,
        }
    }
}
