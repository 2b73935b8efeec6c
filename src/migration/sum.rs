//! `jsplan.sum`: which migrations were reviewed, and what each meant.
//!
//! Its first line is the digest of the others. Each of those has the digest of a file's text chained
//! to the line before, so that two branches which both add a migration meet in git, and the digest
//! of what the file means, which a layout does not change.

use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};

use super::read::{File, base, meaning_of, sorted};
use crate::finding::{Code, Finding, Place, Severity, Sources};

/// Its name, beside the migrations.
pub const FILE: &str = "jsplan.sum";

const REMEDY: &str = "`jsplan migrate hash` writes it";

/// One line of a file.
struct Line<'a> {
    name: &'a str,
    chained: &'a str,
    meaning: &'a str,
    place: Place,
}

/// The text of `jsplan.sum` for some files.
#[must_use]
pub fn write(files: &[(String, String)]) -> String {
    let mut lines = String::new();
    let mut before = String::new();
    for (path, text) in sorted(files.to_vec()) {
        let name = base(&path);
        before = chain(&before, name, &text);
        lines += &format!("{name} h1:{before} s1:{}\n", meaning_of(&text));
    }
    format!("h1:{}\n{lines}", digest(&[&lines]))
}

/// Holds the files against the text of `jsplan.sum`, which is at `path` if there is one.
pub(super) fn check(
    files: &[File],
    sum: Option<String>,
    path: &str,
    sources: &mut Sources,
) -> Vec<Finding> {
    let Some(text) = sum else {
        let missing = |it: &File| {
            let message = format!("there is no `{path}`, so nobody has reviewed these migrations");
            Finding::error(Code::Integrity, message).at(it.start).help(REMEDY)
        };
        return files.first().map(missing).into_iter().collect();
    };
    let number = sources.add(path.to_owned(), text.clone());
    let lines = match lines(&text, number) {
        Ok(lines) => lines,
        Err(finding) => return vec![*finding],
    };
    let mut findings = Vec::new();
    for file in files {
        match lines.iter().position(|it| it.name == file.name) {
            Some(at) => findings.extend(changed(file, at, &lines, files)),
            None => findings.push(added(file, &lines)),
        }
    }
    let gone = lines.iter().filter(|it| !files.iter().any(|file| file.name == it.name));
    findings.extend(gone.map(removed));
    let rest: String = text.lines().skip(1).flat_map(|it| [it, "\n"]).collect();
    let first = text.lines().next().unwrap_or_default();
    let is_whole = first.strip_prefix("h1:") == Some(digest(&[&rest]).as_str());
    if !is_whole && !findings.iter().any(|it| it.severity == Severity::Error) {
        let message =
            format!("`{FILE}` was changed by hand: its first line is not that of the rest");
        let help = "read what differs in git; `jsplan migrate hash` writes it anew";
        let place = Place::new(number, 0..first.len());
        findings.push(Finding::error(Code::Integrity, message).at(place).help(help));
    }
    findings
}

/// The lines of the files, below the first one.
fn lines(text: &str, number: u16) -> Result<Vec<Line<'_>>, Box<Finding>> {
    let mut lines = Vec::new();
    let mut start = 0;
    for (at, whole) in text.split_inclusive('\n').enumerate() {
        let line = whole.trim_end();
        let place = Place::new(number, start..start + line.len());
        start += whole.len();
        let mut words = line.split(' ');
        let read = match (words.next(), words.next(), words.next(), words.next()) {
            (Some(first), None, None, None) if at == 0 && first.starts_with("h1:") => continue,
            (Some(name), Some(chained), Some(meaning), None) if at > 0 => {
                let digests = chained.strip_prefix("h1:").zip(meaning.strip_prefix("s1:"));
                digests.map(|(chained, meaning)| Line { name, chained, meaning, place })
            }
            (_, _, _, _) => None,
        };
        lines.push(read.ok_or_else(|| Box::new(unreadable(line, at + 1, place)))?);
    }
    Ok(lines)
}

fn unreadable(line: &str, number: usize, place: Place) -> Finding {
    let conflict = ["<<<<<<<", "=======", ">>>>>>>"].iter().any(|it| line.starts_with(it));
    let (message, help) = if conflict {
        (
            format!("two branches met in `{FILE}`"),
            "see that their migrations work one after the other, renumber the later one, then run \
             `jsplan migrate hash`",
        )
    } else {
        (format!("line {number} of `{FILE}` is damaged"), REMEDY)
    };
    Finding::error(Code::Integrity, message).at(place).help(help)
}

/// What became of a file that has a line.
fn changed(file: &File, at: usize, lines: &[Line<'_>], files: &[File]) -> Option<Finding> {
    let (line, name) = (&lines[at], &file.name);
    let follows = |before: &str| chain(before, name, &file.text) == line.chained;
    let before = at.checked_sub(1).map_or("", |it| lines[it].chained);
    let same = file.meaning.as_deref() == Some(line.meaning);
    if follows(before) && same {
        return None;
    }
    // Where only the chain is broken, the file follows another one than it did when it was hashed.
    let earlier = lines[..at].iter().map(|it| it.chained.to_owned());
    let mut known = earlier.chain([String::new()]).chain(chains(files));
    if same && known.any(|it| follows(&it)) {
        let message = format!("`{name}` was reviewed with other migrations before it");
        let help = "two branches met here: see that theirs work one after the other, then run \
                    `jsplan migrate hash`";
        return Some(Finding::error(Code::Integrity, message).at(file.start).help(help));
    }
    if same {
        let message = format!("only the layout of `{name}` has changed since it was reviewed");
        let finding = Finding::note(Code::Integrity, message).at(file.start);
        return Some(finding.help("`jsplan migrate hash` takes it over"));
    }
    let message = format!("`{name}` was changed after it was reviewed");
    let help = "put it back as it was, or review what it says now and run `jsplan migrate hash`";
    Some(Finding::error(Code::Integrity, message).at(file.start).help(help))
}

/// The chained digests of the files as they are.
fn chains(files: &[File]) -> Vec<String> {
    let mut before = String::new();
    let chained = files.iter().map(|it| {
        before = chain(&before, &it.name, &it.text);
        before.clone()
    });
    chained.collect()
}

/// A file that has no line: new at the end, or pushed in between.
fn added(file: &File, lines: &[Line<'_>]) -> Finding {
    let name = &file.name;
    let (message, help) = match lines.iter().find(|it| it.name > name.as_str()) {
        Some(later) => (
            format!("`{name}` was added before `{}`, which was reviewed earlier", later.name),
            "give it the next free number: an environment may be beyond this one already",
        ),
        None => {
            (format!("`{name}` is not in `{FILE}`"), "review it, then run `jsplan migrate hash`")
        }
    };
    Finding::error(Code::Integrity, message).at(file.start).help(help)
}

fn removed(line: &Line<'_>) -> Finding {
    let message = format!("`{}` was reviewed, and is gone", line.name);
    let help = "put it back: an environment may be at it; or run `jsplan migrate hash`";
    Finding::error(Code::Integrity, message).at(line.place.part(0..line.name.len())).help(help)
}

/// The digest of a file, chained to that of the one before it.
fn chain(before: &str, name: &str, text: &str) -> String {
    digest(&[before, "\n", name, "\n", &text.replace("\r\n", "\n")])
}

fn digest(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    parts.iter().for_each(|it| digest.update(it));
    BASE64.encode(&digest.finalize())
}
