//! Mappings of subjects: only those by which a copy can be held against its origin.

use std::collections::BTreeSet;

use toml::de::{DeTable, DeValue};

use crate::{
    finding::{Code, Finding, Place},
    migration::Mapping,
    spec::value::{Reader, quoted},
    subject,
};

/// One mapping, and where its halves stand.
struct Line {
    mapping: Mapping,
    src: Place,
    dest: Place,
}

/// The mappings under a key of a step, which is of the right shape.
pub(super) fn read(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Vec<Mapping> {
    let Some(DeValue::Array(list)) = table.get("mapping").map(|it| it.get_ref()) else {
        return Vec::new();
    };
    let line = |given: &DeValue<'_>| {
        let half = |name: &str| {
            let half = given.get(name)?;
            Some((half.get_ref().as_str()?.to_owned(), reader.place(half.span())))
        };
        let ((src, from), (dest, to)) = (half("src")?, half("dest")?);
        Some(Line { mapping: Mapping { src, dest }, src: from, dest: to })
    };
    let lines: Vec<_> = list.iter().filter_map(|it| line(it.get_ref())).collect();
    reader.findings.extend(lines.iter().filter_map(alone));
    for (number, it) in lines.iter().enumerate() {
        reader.findings.extend(lines[..number].iter().find_map(|earlier| beside(earlier, it)));
    }
    lines.into_iter().map(|it| it.mapping).collect()
}

/// What is wrong with one mapping.
fn alone(line: &Line) -> Option<Finding> {
    let Line { mapping: Mapping { src, dest }, dest: place, .. } = line;
    if let Err(why) = subject::transform(src, dest) {
        let message = format!("{} cannot become {}", quoted(src), quoted(dest));
        return Some(Finding::error(Code::BadSubject, message).at(*place).help(why));
    }
    let mut used = BTreeSet::new();
    for token in dest.split('.') {
        match wildcard(token) {
            Ok(number) => used.extend(number),
            Err(()) => {
                let message = format!(
                    "jsplan does not follow {}, so that no copy could be held against its origin",
                    quoted(token)
                );
                let help = "map by `{{wildcard(1)}}` or `$1`, plain tokens, and `>` at the end";
                return Some(Finding::error(Code::Unproven, message).at(*place).help(help));
            }
        }
    }
    let wildcards = src.split('.').filter(|it| *it == "*").count();
    let dropped = (1..=wildcards).find(|it| !used.contains(it))?;
    Some(collapse(src, dest, *place).help(format!(
        "say what becomes of its wildcard {dropped}: `{{{{wildcard({dropped})}}}}`; or leave it so, \
         if the subject says nothing that matters"
    )))
}

/// What is wrong with two of them, said of the later one.
fn beside(earlier: &Line, later: &Line) -> Option<Finding> {
    let (one, other) = (&earlier.mapping, &later.mapping);
    if subject::overlap(&one.src, &other.src) {
        let message =
            format!("{} and {} take the same messages", quoted(&one.src), quoted(&other.src));
        let help = "part them: a message that both take is copied as the first one says";
        return Some(Finding::error(Code::SubjectOverlap, message).at(later.src).help(help));
    }
    let (a, b) = (subject::mapped(&one.dest), subject::mapped(&other.dest));
    let both = format!("{} and {}", one.src, other.src);
    let help = "map them apart; or leave it so, if the subject says nothing that matters";
    subject::overlap(&a, &b).then(|| collapse(&both, &other.dest, later.dest).help(help))
}

fn collapse(src: &str, dest: &str, place: Place) -> Finding {
    let message = format!("different subjects of {} become one of {}", quoted(src), quoted(dest));
    Finding::warning(Code::Migration, message).at(place)
}

/// The wildcard that a token of a destination stands for, if it stands for one; an error where it
/// is computed in another way.
fn wildcard(token: &str) -> Result<Option<usize>, ()> {
    if let Some(number) = token.strip_prefix('$') {
        return Ok(number.parse().ok());
    }
    let Some(call) = token.strip_prefix("{{").and_then(|it| it.strip_suffix("}}")) else {
        // Braces that call nothing are plain to the server, and nobody means that.
        return if token.contains(['{', '}']) { Err(()) } else { Ok(None) };
    };
    let call = call.replace(' ', "").to_lowercase();
    let number = call.strip_prefix("wildcard(").and_then(|it| it.strip_suffix(')')).ok_or(())?;
    number.parse().map(Some).map_err(|_| ())
}

/// Whether a mapping can make one subject of several.
pub(crate) fn collapses(mapping: &[Mapping]) -> bool {
    let drops = |it: &Mapping| {
        let used: BTreeSet<_> = it.dest.split('.').filter_map(|it| wildcard(it).ok()?).collect();
        it.src.split('.').filter(|it| *it == "*").count() > used.len()
    };
    let meets = |(number, it): (usize, &Mapping)| {
        let dest = subject::mapped(&it.dest);
        mapping[..number].iter().any(|other| subject::overlap(&subject::mapped(&other.dest), &dest))
    };
    mapping.iter().any(drops) || mapping.iter().enumerate().any(meets)
}
