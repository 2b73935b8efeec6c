//! Migrations as people write them: what is refused and how it is said, that no text breaks the
//! reader, and what `jsplan.sum` notices.

mod keys;
mod order;
mod declared;
mod reviewed;

use std::{collections::BTreeSet, fs, path::Path};

use jsplan::{
    finding::{Code, Finding, Sources},
    migration::{
        Does, FOLDER, Mapping, Migrations, Retire, Strategy, lint,
        read::load,
        sum,
        template::{Wish, template},
    },
    render,
    spec::{self, Desired, format},
};
use proptest::prelude::*;

type Files = Vec<(String, String)>;

fn file(name: &str, text: &str) -> (String, String) {
    (format!("{FOLDER}/{name}"), text.to_owned())
}

/// Loads files that were reviewed as they are.
fn reviewed(files: Files) -> (Migrations, Vec<Finding>, Sources) {
    let sum = sum::write(&files);
    let mut sources = Sources::default();
    let (migrations, findings) = load(files, Some(sum), &mut sources);
    (migrations, findings, sources)
}

fn shown(findings: &[Finding], sources: &Sources) -> String {
    anstream::adapter::strip_str(&render::findings(findings, sources)).to_string()
}

fn shipped() -> Files {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Files = fs::read_dir(root.join(FOLDER))
        .expect("the folder is there")
        .map(|it| it.expect("it can be listed").path())
        .filter(|it| it.extension().is_some_and(|it| it == "toml"))
        .map(|it| {
            let name = it.file_name().and_then(|it| it.to_str()).expect("names are Unicode");
            file(name, &fs::read_to_string(&it).expect("it can be read"))
        })
        .collect();
    files.sort();
    files
}

fn shipped_sum() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER).join(sum::FILE);
    fs::read_to_string(path).expect("it is there")
}

/// A migration by a strategy; each word is a step, perhaps with more: `retire{mode = "seal"}`.
fn by(strategy: &str, words: &str) -> String {
    let mut text = format!(
        "[migration]\nreason = \"tests\"\nstrategy = \"{strategy}\"\nfrom = \"A\"\nto = \"B\"\n"
    );
    let mut rest = words;
    for number in 0.. {
        rest = rest.trim_start();
        if rest.is_empty() {
            break;
        }
        let end = rest.find([' ', '{']).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        let (more, behind) = match behind.strip_prefix('{') {
            Some(it) => it.split_once("}}").expect("it is closed"),
            None => ("", behind),
        };
        text += &format!("[[step]]\nid = \"s{number}\"\ndo = \"{word}\"\n{more}\n");
        rest = behind;
    }
    text
}

const NEW: &str = "new-subjects";
const SOURCE: &str = "same-subjects-source";
const MIRROR: &str = "same-subjects-mirror";
const PARALLEL: &str = "parallel";

const SOAK: &str = "soak{idle = \"72h\"}}";
const SEAL: &str = "retire{mode = \"seal\"}}";
const DELETE: &str = "retire{mode = \"delete\"}}";
const KEEP: &str = "retire{mode = \"keep\"}}";
const EXEC: &str = "source{exec = [\"./up\"]\ndead_letters = \"C\"}}";

/// What is found in one file: the severity, the code and the message of each.
fn found(text: &str) -> Vec<String> {
    let (_, findings, _) = reviewed(vec![file("0001_a.toml", text)]);
    findings.iter().map(line).collect()
}

fn line(it: &Finding) -> String {
    format!("{}[{}]: {}", it.severity, it.code, it.message)
}

/// The least there can be.
const NOTE: &str = "[migration]\nreason = 'a'\n[[step]]\nid = 'a'\ndo = 'note'\ntext = 'b'\n";

fn wish<'a>(strategy: Strategy, environments: &'a [String], mapping: &'a [Mapping]) -> Wish<'a> {
    Wish {
        strategy,
        from: "ORDERS_V1",
        to: "ORDERS_V2",
        environments,
        mapping,
        reason: "a \"new\" \\ shape",
    }
}

#[test]
fn every_template_is_a_migration_without_a_remark() {
    let names: Vec<_> = ["dev", "prod"].map(str::to_owned).into();
    let mapping =
        [Mapping { src: "a.v1.*.>".to_owned(), dest: "a.v2.{{wildcard(1)}}.>".to_owned() }];
    for (strategy, _) in Strategy::ALL {
        for environments in [&names[..0], &names] {
            for mapping in [&mapping[..0], &mapping] {
                let text = template(&wish(strategy, environments, mapping));
                let (migrations, findings, sources) = reviewed(vec![file("0001_a.toml", &text)]);
                assert_eq!(shown(&findings, &sources), "", "{text}");
                let migration = &migrations.0["0001"];
                assert_eq!(migration.strategy, Some(strategy));
                assert_eq!(migration.reason, "a \"new\" \\ shape");
                assert_eq!(migration.environments, environments);
                assert_eq!(lint::lint(&migrations).len(), 0);
                let copies =
                    matches!(strategy, Strategy::NewSubjects | Strategy::SameSubjectsSource);
                assert_eq!(migration.mapping(), if copies { mapping } else { &[] });
                let end = migration.point_of_no_return().map(|it| &it.does);
                assert_eq!(end, Some(&Does::Retire(Retire::Seal)));
                assert_eq!(format::format("a.toml", &text).expect("it is TOML"), text);
                assert!(text.lines().all(|it| it.chars().count() <= 110), "{text}");
            }
        }
        insta::assert_snapshot!(
            format!("template-{strategy}"),
            template(&wish(
                strategy,
                &names,
                if strategy == Strategy::NewSubjects { &mapping } else { &[] }
            ))
        );
    }
}

#[test]
fn the_shipped_migrations_are_right_reviewed_and_laid_out() {
    let files = shipped();
    let mut sources = Sources::default();
    let (migrations, findings) = load(files.clone(), Some(shipped_sum()), &mut sources);
    assert_eq!(shown(&findings, &sources), "");
    assert_eq!(shipped_sum(), sum::write(&files), "`jsplan migrate hash`");
    for (path, text) in &files {
        assert_eq!(format::format(path, text).expect("it is TOML"), *text, "`jsplan fmt`: {path}");
    }
    let names: Vec<_> = migrations.0.values().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["baseline", "ingest_v2"]);
    for name in ["dev", "staging", "prod"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("environments");
        let read = |it: &str| fs::read_to_string(root.join(it)).map_err(|it| it.to_string());
        let desired = spec::load(&format!("{name}.toml"), read).desired.expect("it is right");
        for migration in migrations.0.values() {
            assert_eq!(shown(&lint::against(migration, &desired), &sources), "", "{name}");
        }
    }
}

/// An environment with streams as they are written.
fn environment(streams: &str) -> Desired {
    let text = format!("[server]\nurl = \"nats://127.0.0.1:4222\"\n{streams}");
    let loaded = spec::load("dev.toml", |_| Ok(text.clone()));
    loaded.desired.unwrap_or_else(|| panic!("{}", shown(&loaded.findings, &loaded.sources)))
}

const A: &str = "[streams.A]\nsubjects = ['a.>']\n";
const B: &str = "[streams.B]\nsubjects = ['b.>']\n";

#[test]
fn every_finding_has_a_code_a_place_and_a_remedy() {
    let orders = order::WRONG.iter().map(|it| by(it.0, it.1));
    let more = order::wrong_with_keys().into_iter().map(|it| by(it.0, &it.1));
    let keys = keys::WRONG.iter().map(|it| format!("[migration]\n{}\n[[step]]\n{}\n", it.0, it.1));
    let mut codes = BTreeSet::new();
    for text in orders.chain(more).chain(keys) {
        let (_, findings, sources) = reviewed(vec![file("0001_a.toml", &text)]);
        assert!(!findings.is_empty(), "{text}");
        for it in &findings {
            codes.insert(it.code);
            let place = it.place.expect("a mistake has a place");
            assert!(!sources.span(place).is_empty(), "{text}: {}", it.message);
            assert!(
                it.help.as_ref().is_some_and(|it| !it.is_empty() && !it.ends_with('.')),
                "{text}: {}",
                it.message
            );
            assert!(Code::ALL.contains(&it.code) && !it.message.ends_with('.'), "{text}");
        }
    }
    assert!(codes.contains(&Code::Migration) && codes.contains(&Code::Unproven));
}

/// Whatever it says of a text, it says it and goes on.
fn survives(text: &str) {
    let files = vec![file("0001_a.toml", text), file("0002_b.toml", NOTE)];
    for sum in [Some(sum::write(&files)), Some(text.to_owned()), None] {
        let mut sources = Sources::default();
        let (migrations, findings) = load(files.clone(), sum, &mut sources);
        drop(render::findings(&findings, &sources));
        let desired = environment(&format!("{A}{B}"));
        migrations.0.values().for_each(|it| drop(lint::against(it, &desired)));
    }
}

#[test]
fn no_part_of_a_migration_breaks_the_reader() {
    let names: Vec<_> = ["dev", "prod"].map(str::to_owned).into();
    let mapping = [Mapping { src: "a.*.>".to_owned(), dest: "b.{{wildcard(1)}}.>".to_owned() }];
    let text = template(&wish(Strategy::NewSubjects, &names, &mapping));
    for at in (0..=text.len()).filter(|it| text.is_char_boundary(*it)) {
        survives(&text[..at]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_breaks_the_reader(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<char>()), 1..6),
        strategy in 0..4_usize,
    ) {
        let names: Vec<_> = ["dev", "prod"].map(str::to_owned).into();
        let mapping = [Mapping { src: "a.*".to_owned(), dest: "b.$1".to_owned() }];
        let mut text: Vec<char> = template(&wish(Strategy::ALL[strategy].0, &names, &mapping)).chars().collect();
        for (at, letter) in flips {
            let at = at.index(text.len());
            text[at] = letter;
        }
        survives(&text.into_iter().collect::<String>());
    }

    #[test]
    fn no_sum_breaks_the_check(text in "(h1:)?[a-z0-9_. :=\n<>äs]{0,60}") {
        survives(&text);
    }
}
