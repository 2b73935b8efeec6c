//! A file of a migration → a [`Migration`], with everything that is wrong with it.
//!
//! `word` has the keys and the words of steps, as tables; `head` reads `[migration]`, `step` a step
//! and `mapping` what becomes of subjects.

mod head;
pub(crate) mod mapping;
mod step;
pub(crate) mod word;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::{Migration, Migrations, Step, lint, sum};
use crate::{
    config::sha256,
    finding::{Code, Finding, Place, Severity, Sources},
    spec::value::{Reader, quoted},
};

/// What stands at the top of a file.
const TOP: [&str; 2] = ["migration", "step"];

/// One file, and what became of it.
pub(super) struct File {
    /// Its name, without folders.
    pub(super) name: String,
    /// Its text.
    pub(super) text: String,
    /// Where it begins to say something.
    pub(super) start: Place,
    /// Digest of what it means; `None` where it is no TOML.
    pub(super) meaning: Option<String>,
}

/// Reads the migrations of a project: the files by path, and the text of `jsplan.sum` if there is
/// one. A file with a mistake in it is left out, and the rest is judged without it.
pub fn load(
    files: Vec<(String, String)>,
    sum: Option<String>,
    sources: &mut Sources,
) -> (Migrations, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut read: Vec<File> = Vec::new();
    let mut migrations = Migrations::default();
    let mut versions: BTreeMap<String, String> = BTreeMap::new();
    let folder = files.first().and_then(|it| it.0.rsplit_once('/')).map(|it| it.0.to_owned());
    for (path, text) in sorted(files) {
        let name = base(&path).to_owned();
        let number = sources.add(path, text.clone());
        let start = start(number, &text);
        let known = title(&name).map(|(version, rest)| (version.to_owned(), rest.to_owned()));
        findings.extend(misnamed(&name, start, known.as_ref(), &versions));
        let before = findings.len();
        let mut reader = Reader { file: number, findings: &mut findings, secrets: Vec::new() };
        let document = reader.document(&text, |reader, table| Some(top(reader, &table, start)));
        let (meaning, migration) = document.unwrap_or_default();
        let broken = findings[before..].iter().any(|it| it.code == Code::Syntax);
        let wrong = findings[before..].iter().any(|it| it.severity == Severity::Error);
        if let Some((version, rest)) = known
            && versions.insert(version.clone(), name.clone()).is_none()
            && let Some(migration) = migration.filter(|_| !wrong)
        {
            let migration = Migration { version: version.clone(), name: rest, ..migration };
            migrations.0.insert(version, migration);
        }
        read.push(File { name, text, start, meaning: (!broken).then_some(meaning) });
    }
    let versions: BTreeSet<_> = versions.keys().map(String::as_str).collect();
    findings.extend(lint::among(&migrations, &versions));
    let path = format!("{}/{}", folder.as_deref().unwrap_or(super::FOLDER), sum::FILE);
    findings.extend(sum::check(&read, sum, &path, sources));
    findings.sort_by(|a, b| (a.place, a.code, &a.message).cmp(&(b.place, b.code, &b.message)));
    findings.dedup_by(|a, b| (a.place, a.code, &a.message) == (b.place, b.code, &b.message));
    (migrations, findings)
}

/// The files in the order of their names, which is that of their versions.
pub(super) fn sorted(mut files: Vec<(String, String)>) -> Vec<(String, String)> {
    files.sort_by(|a, b| base(&a.0).cmp(base(&b.0)));
    files
}

/// The name of a file, without its folders.
pub(super) fn base(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// `0002` and `ingest_v2` of `0002_ingest_v2.toml`; `None` where a migration is not called so.
fn title(file: &str) -> Option<(&str, &str)> {
    let (version, name) = file.strip_suffix(".toml")?.split_once('_')?;
    let fits = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_';
    let right = version.len() >= 4
        && version.bytes().all(|it| it.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(fits);
    right.then_some((version, name))
}

/// What is wrong with the name of a file, beside those before it.
fn misnamed(
    name: &str,
    start: Place,
    title: Option<&(String, String)>,
    versions: &BTreeMap<String, String>,
) -> Option<Finding> {
    let Some((version, _)) = title else {
        let message = format!("{} is no name for a migration", quoted(name));
        let help = "call it `NNNN_name.toml`: four digits or more, then lower-case letters, digits \
                    and `_`";
        return Some(Finding::error(Code::BadName, message).at(start).help(help));
    };
    if let Some(other) = versions.get(version) {
        let message = format!("`{name}` has the version of `{other}`");
        let help = "give the newer of the two the next free number";
        return Some(Finding::error(Code::Duplicate, message).at(start).help(help));
    }
    // Versions stand in the order of their texts, which is that of the numbers only so.
    let other = versions.iter().find(|it| it.0.len() != version.len())?.1;
    let message = format!("`{name}` and `{other}` have versions of different length");
    let help = "write all of them with as many digits, zeros in front";
    Some(Finding::error(Code::BadName, message).at(start).help(help))
}

/// The first line of a file that says something.
fn start(file: u16, text: &str) -> Place {
    let says = |it: &&str| !it.trim().is_empty() && !it.trim_start().starts_with('#');
    let line = text.lines().find(says).or_else(|| text.lines().next()).unwrap_or_default();
    let from = line.as_ptr() as usize - text.as_ptr() as usize;
    Place::new(file, from..from + line.len())
}

/// A whole file: what it means, and the migration but for what its name says.
fn top(reader: &mut Reader<'_>, table: &DeTable<'_>, start: Place) -> (String, Option<Migration>) {
    for key in table.keys().filter(|it| !TOP.contains(&it.get_ref().as_ref())) {
        reader.unknown("a migration", key, &TOP);
    }
    let meaning = digest(&json_of(table));
    let Some((key, given)) = table.get_key_value("migration") else {
        let help = "begin with `[migration]`: why there is one, and from where to where";
        let finding = Finding::error(Code::Missing, "there is no `[migration]`").at(start);
        reader.findings.push(finding.help(help));
        return (meaning, None);
    };
    let place = reader.place(key.span());
    let head = head::read(reader, given, place);
    let steps = steps(reader, table, &head, place);
    let head::Head { reason, strategy, from, to, environments, requires, place, places } = head;
    let (version, name) = (String::new(), String::new());
    let migration = Migration {
        version,
        name,
        reason,
        strategy,
        from,
        to,
        environments,
        requires,
        steps,
        meaning: meaning.clone(),
        place,
        places,
    };
    (meaning, Some(migration))
}

fn steps(
    reader: &mut Reader<'_>,
    table: &DeTable<'_>,
    head: &head::Head,
    place: Place,
) -> Vec<Step> {
    let help = "write `[[step]]` for each step, in the order in which they are done";
    let Some(given) = table.get("step") else {
        let finding = Finding::error(Code::Missing, "there is no `[[step]]`").at(place).help(help);
        reader.findings.push(finding);
        return Vec::new();
    };
    let Some(list) = given.get_ref().as_array() else {
        let place = reader.place(given.span());
        let finding = Finding::error(Code::WrongType, "`step` is no list of tables").at(place);
        reader.findings.push(finding.help(help));
        return Vec::new();
    };
    step::read(reader, head, list)
}

/// Digest of what the text of a file means; of the text itself where it is no TOML.
pub(super) fn meaning_of(text: &str) -> String {
    let mut findings = Vec::new();
    let mut reader = Reader { file: 0, findings: &mut findings, secrets: Vec::new() };
    let meaning = reader.document(text, |_, table| digest(&json_of(&table)));
    if findings.is_empty() { meaning } else { sha256(text) }
}

/// Digest of what a value means, whatever its layout.
fn meaning(value: &DeValue<'_>) -> String {
    digest(&json(value))
}

fn digest(value: &Value) -> String {
    sha256(value.to_string())
}

fn json_of(table: &DeTable<'_>) -> Value {
    let fields = table.iter().map(|(key, it)| (key.get_ref().to_string(), json(it.get_ref())));
    // By name, so that the order in which keys were written says nothing.
    fields.collect::<BTreeMap<_, _>>().into_iter().collect::<serde_json::Map<_, _>>().into()
}

fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(it) => it.as_ref().into(),
        DeValue::Integer(it) => {
            let number = i64::from_str_radix(it.as_str(), it.radix());
            number.map_or_else(|_| it.as_str().into(), Value::from)
        }
        DeValue::Float(it) => it.as_str().into(),
        DeValue::Boolean(it) => (*it).into(),
        DeValue::Datetime(it) => it.to_string().into(),
        DeValue::Array(list) => list.iter().map(|it| json(it.get_ref())).collect(),
        DeValue::Table(table) => json_of(table),
    }
}
