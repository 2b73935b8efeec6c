//! Subjects: whether a text is one, and whether two take the same messages.

use std::collections::BTreeMap;

/// Whether a text is a subject, wildcards allowed; the error says what is wrong with it.
pub(crate) fn check(text: &str) -> Result<(), &'static str> {
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
pub(crate) fn overlap(a: &str, b: &str) -> bool {
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
pub(crate) fn covers(outer: &str, inner: &str) -> bool {
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

/// Functions that a destination may hold. Their first argument is the number of a wildcard, but of
/// `partition`, where it is how many partitions there are.
const FUNCTIONS: &[&str] = &[
    "wildcard",
    PARTITION,
    "splitfromleft",
    "splitfromright",
    "slicefromleft",
    "slicefromright",
    "split",
    "left",
    "right",
];
const PARTITION: &str = "partition";

/// Whether subjects that match `src` can be rewritten to `dest`; the error says why not.
pub(crate) fn transform(src: &str, dest: &str) -> Result<(), &'static str> {
    if ends_open(src) != ends_open(dest) {
        return Err("`>` ends both or neither");
    }
    if dest.split('.').any(|it| it == "*") {
        return Err("a destination holds no `*`: `{{wildcard(1)}}` is what the first one matched");
    }
    let wildcards = src.split('.').filter(|it| *it == "*").count();
    for token in dest.split('.') {
        let known = |it: &usize| (1..=wildcards).contains(it);
        if !used(token)?.iter().all(known) {
            return Err("the destination uses a wildcard that the source does not have");
        }
    }
    Ok(())
}

fn ends_open(subject: &str) -> bool {
    subject == ">" || subject.ends_with(".>")
}

/// The wildcards that a token of a destination uses, by number.
fn used(token: &str) -> Result<Vec<usize>, &'static str> {
    if let Some(number) = token.strip_prefix('$').and_then(|it| it.parse().ok()) {
        return Ok(vec![number]);
    }
    let Some(call) = token.strip_prefix("{{").and_then(|it| it.strip_suffix("}}")) else {
        return Ok(Vec::new());
    };
    let (name, arguments) = call.split_once('(').ok_or("a function is called with brackets")?;
    let name = name.trim().to_lowercase();
    if !FUNCTIONS.contains(&name.as_str()) {
        return Err("the destination calls a function that the server lacks");
    }
    let arguments = arguments.trim_end().strip_suffix(')').ok_or("a bracket is not closed")?;
    let arguments: Vec<_> = arguments.split(',').map(str::trim).collect();
    let (first, rest) = arguments.split_at(1);
    let wildcards = if name == PARTITION { rest } else { first };
    let numbers: Result<_, _> = wildcards.iter().map(|it| it.parse()).collect();
    numbers.map_err(|_| "a wildcard is called by its number")
}

/// The subjects that a mapping such as `a.{{wildcard(1)}}` or `a.$1` can give.
pub(crate) fn mapped(dest: &str) -> String {
    let numbered = |it: &str| it.strip_prefix('$').is_some_and(|it| it.parse::<u8>().is_ok());
    let computed = |it: &str| it.contains("{{") || numbered(it);
    let tokens = dest.split('.').map(|it| if computed(it) { "*" } else { it });
    tokens.collect::<Vec<_>>().join(".")
}

/// Whether [`transformed`] can tell what the server makes of subjects by a destination: whether it
/// uses wildcards alone, and none of the functions that compute something.
#[must_use]
pub(crate) fn is_plain(dest: &str) -> bool {
    dest.split('.').all(|it| !it.starts_with("{{") || place(it).is_some())
}

/// What the server makes of a literal subject; `None` where `src` does not match it. An empty
/// destination keeps the subject.
#[must_use]
pub(crate) fn transformed(src: &str, dest: &str, subject: &str) -> Option<String> {
    let src = if src.is_empty() { ">" } else { src };
    if !covers(src, subject) {
        return None;
    }
    if dest.is_empty() {
        return Some(subject.to_owned());
    }
    let tokens: Vec<_> = subject.split('.').collect();
    let pairs = src.split('.').zip(&tokens);
    let matched: Vec<&str> = pairs.filter(|it| it.0 == "*").map(|it| *it.1).collect();
    let fixed = src.split('.').filter(|it| *it != ">").count();
    let mut made = Vec::new();
    for token in dest.split('.') {
        match (token, place(token)) {
            (">", _) => made.extend(&tokens[fixed..]),
            (_, Some(number)) => made.push(*matched.get(number.checked_sub(1)?)?),
            (_, None) => made.push(token),
        }
    }
    Some(made.join("."))
}

/// Source and destination that turn subjects back; `None` where different ones became the same.
#[must_use]
pub(crate) fn inverse(src: &str, dest: &str) -> Option<(String, String)> {
    let src = if src.is_empty() { ">" } else { src };
    let dest = if dest.is_empty() { src } else { dest };
    let mut numbers = Vec::new();
    let mut back = Vec::new();
    for token in dest.split('.') {
        match place(token) {
            Some(number) => {
                numbers.push(number);
                back.push("*".to_owned());
            }
            None if token == "*" => {
                numbers.push(numbers.len() + 1);
                back.push("*".to_owned());
            }
            None => back.push(token.to_owned()),
        }
    }
    let mut seen = 0;
    let mut forth = Vec::new();
    for token in src.split('.') {
        if token == "*" {
            seen += 1;
            let at = numbers.iter().position(|it| *it == seen)?;
            forth.push(format!("{{{{wildcard({})}}}}", at + 1));
        } else {
            forth.push(token.to_owned());
        }
    }
    let rest = |it: &str| it == ">" || it.ends_with(".>");
    (rest(src) == rest(dest)).then(|| (back.join("."), forth.join(".")))
}

/// The wildcard that a token of a destination repeats, by number: `$1`, `{{wildcard(1)}}`.
fn place(token: &str) -> Option<usize> {
    if let Some(number) = token.strip_prefix('$') {
        return number.parse().ok();
    }
    let call = token.strip_prefix("{{")?.strip_suffix("}}")?;
    let (name, argument) = call.split_once('(')?;
    let argument = argument.trim_end().strip_suffix(')')?;
    let number = argument.trim().parse().ok()?;
    name.trim().eq_ignore_ascii_case("wildcard").then_some(number)
}

/// Subjects by token, so that one is compared with those it can meet and not with all.
#[derive(Default)]
pub(crate) struct Subjects<'a> {
    next: BTreeMap<&'a str, Subjects<'a>>,
    /// The numbers given with the subjects that end here.
    here: Vec<usize>,
}

impl<'a> Subjects<'a> {
    /// Adds a subject under a number, which may stand for several.
    pub(crate) fn insert(&mut self, subject: &'a str, number: usize) {
        let end = subject.split('.').fold(self, |node, token| node.next.entry(token).or_default());
        end.here.push(number);
    }

    /// The numbers of the subjects that share a message with this one, in order.
    pub(crate) fn meeting(&self, subject: &str) -> Vec<usize> {
        let tokens: Vec<_> = subject.split('.').collect();
        let mut found = Vec::new();
        self.collect(&tokens, &mut found);
        found.sort_unstable();
        found
    }

    fn collect(&self, tokens: &[&str], found: &mut Vec<usize>) {
        let Some((token, rest)) = tokens.split_first() else {
            found.extend(&self.here);
            return;
        };
        match *token {
            ">" => self.next.values().for_each(|it| it.all(found)),
            "*" => {
                for (token, node) in &self.next {
                    if *token == ">" {
                        found.extend(&node.here);
                    } else {
                        node.collect(rest, found);
                    }
                }
            }
            literal => {
                for node in [self.next.get(literal), self.next.get("*")].into_iter().flatten() {
                    node.collect(rest, found);
                }
                found.extend(self.next.get(">").into_iter().flat_map(|it| &it.here));
            }
        }
    }

    fn all(&self, found: &mut Vec<usize>) {
        found.extend(&self.here);
        self.next.values().for_each(|it| it.all(found));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Subjects, check, overlap};

    proptest! {
        #[test]
        fn those_that_meet_are_those_that_overlap(
            all in prop::collection::vec("([ab*]\\.){0,3}[ab*>]", 1..8),
        ) {
            prop_assume!(all.iter().all(|it| check(it).is_ok()));
            let mut taken = Subjects::default();
            all.iter().enumerate().for_each(|(number, it)| taken.insert(it, number));
            for one in &all {
                let wanted: Vec<_> = (0..all.len()).filter(|it| overlap(one, &all[*it])).collect();
                prop_assert_eq!(taken.meeting(one), wanted);
            }
        }
    }
}
