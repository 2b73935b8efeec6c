//! The one layout of specs: what it looks like, that it says what was said before, and that laying
//! out twice changes nothing more.

use std::{collections::BTreeMap, fs, path::Path};

use jsplan::{
    address::Address,
    finding::Finding,
    spec::{self, Loaded, format},
};
use proptest::prelude::*;

/// The text in its layout, where it is TOML.
fn laid_out(text: &str) -> Option<String> {
    format::format("dev.toml", text).ok()
}

fn load(text: &str) -> Loaded {
    spec::load("dev.toml", |it| {
        let base = (it == "base.toml").then_some("[streams.BASE]\nsubjects = [\"base\"]\n");
        Ok(if it == "dev.toml" { text } else { base.ok_or("no such file")? }.to_owned())
    })
}

/// Every resource by its digest; and every remark, without its place.
fn meaning(text: &str) -> (BTreeMap<Address, String>, Vec<String>) {
    let loaded = load(text);
    // A remark may name the line of another place, and lines move.
    let places = regex::Regex::new(r"\.toml:\d+").expect("a pattern");
    let remark = |it: &Finding| places.replace_all(&it.message, ".toml").into_owned();
    let mut remarks: Vec<_> = loaded.findings.iter().map(remark).collect();
    remarks.sort();
    let resources = loaded.desired.map(|it| it.resources).unwrap_or_default();
    (resources.into_iter().map(|(address, it)| (address, it.sha256)).collect(), remarks)
}

#[track_caller]
fn means_the_same(text: &str) {
    let Some(once) = laid_out(text) else { return };
    assert_eq!(meaning(text), meaning(&once), "\n{text}\n---\n{once}");
    assert_eq!(laid_out(&once).as_deref(), Some(once.as_str()), "\n{text}");
}

/// Every spec of a folder, by name.
fn specs(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut specs = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there").filter_map(Result::ok) {
        if entry.path().extension().is_some_and(|it| it == "toml") {
            let text = fs::read_to_string(entry.path()).expect("it can be read");
            specs.push((entry.path().display().to_string(), text));
        }
    }
    assert!(!specs.is_empty());
    specs
}

#[test]
fn the_shipped_environments_are_laid_out() {
    for (path, text) in specs("environments") {
        assert_eq!(laid_out(&text).as_deref(), Some(text.as_str()), "`jsplan fmt`: {path}");
    }
}

#[test]
fn every_spec_of_the_tests_means_the_same_afterwards() {
    for (_, text) in specs("tests/specs").into_iter().chain(specs("tests/specs/wrong")) {
        means_the_same(&text);
    }
}

#[test]
fn a_layout_puts_everything_in_its_place_and_keeps_every_comment() {
    let text = fs::read_to_string("tests/specs/untidy.toml").expect("it is there");
    insta::assert_snapshot!(laid_out(&text).expect("it is TOML"));
}

#[test]
fn what_is_no_toml_is_left_alone_and_said() {
    let broken = format::format("dev.toml", "[streams.A\nmax_age = 7d\n").expect_err("it is none");
    assert!(!broken.findings.is_empty());
    assert!(broken.findings.iter().all(|it| it.place.is_some() && it.help.is_some()));
}

/// Lines of a stream, each in several spellings.
const LINES: &[&[&str]] = &[
    &["description = 'a # b'", "description = \"\"\"\na\nb\"\"\"", "description=\"\\u00e9\\n\""],
    &[
        "subjects = ['~.b' ,\"~\"]",
        "subjects=[\n  \"~.b\", # one\n\n '~',\n]",
        "\"subjects\" = [ ]",
    ],
    &["max_age = '90m'", "max_age=\"unlimited\"", "max_age = \"1d 2h\"", "max_age = \"168h\""],
    &["max_bytes = 1_048_576", "max_bytes = '1.5 GiB'", "max_bytes = 0x400", "max_bytes = \"9GB\""],
    &["storage = \"memory\"", "storage = 'file'"],
    &["placement = {cluster='c',tags=[ 'x' ]}", "placement.tags = ['x']\nplacement.cluster='c'"],
    &["republish = { src = \"a.>\", dest = 'r.>' }", "republish . dest='r'"],
    &["metadata = {'a b'='1', \"b\" = \"2\"}", "metadata . 'x.y' = \"z\""],
    &["consumer_limits={inactive_threshold=\"3600s\"}", "consumer_limits = { }"],
    &["sources=[{name='S'},\n{ name = \"T\", opt_start_seq=7 }]", "sources = [ { name='S' } ]"],
    &["prevent_destroy=true", "enabled = true"],
    &["num_replicas = 0b1", "num_replicas=+1"],
];

/// What stands between lines.
const BETWEEN: &[&str] =
    &["", "\n", "\n\n\n", "# about\n", "   #  about\n\n# more\n", "\t", "  # ünïcode '\"\n"];

/// Those that are said of one stream and not of all.
const OWN: &[&str] = &["subjects", "sources", "enabled", "prevent"];

fn stream(tag: &'static str) -> impl Strategy<Value = String> {
    let line = |lines: &'static [&'static str]| {
        (prop::option::of(prop::sample::select(lines)), prop::sample::select(BETWEEN))
    };
    let own = |it: &&&[&str]| tag.is_empty() && OWN.iter().any(|name| it[0].starts_with(name));
    let lines: Vec<_> = LINES.iter().filter(|it| !own(it)).map(|it| line(it)).collect();
    (lines.prop_shuffle(), prop::sample::select(BETWEEN), any::<bool>()).prop_map(
        |(lines, end, comment)| {
            let mut text = String::new();
            for (line, between) in lines {
                let Some(line) = line else { continue };
                let comment = if comment && !line.ends_with(']') { "   # beside" } else { "" };
                let line = line.replace('~', tag);
                text += &format!("{between}{line}{comment}\n");
            }
            text + end
        },
    )
}

/// Tables in any order, each with a header in some spelling.
fn spec() -> impl Strategy<Value = String> {
    const HEADERS: &[&str] = &[
        "[server]\nurl = 'nats://127.0.0.1:4222' # here\n",
        "[ streams . A . consumers . 'C' ]\nack_policy='explicit'\nack_wait=\"60s\"\n",
        "[streams.B.consumers.\"d@e\"] # of B\ndescription = 'x'\nservice='s'\n",
        "[defaults.consumer]\nmax_deliver=\"unlimited\"\n",
        "[[streams.M.sources]]\nname = 'O'\n# between\n[[streams.M.sources]]\nname='P'\n",
    ];
    let streams = [
        ("[streams.A]", "a"),
        ("[ streams.\"B\" ]  # b", "b"),
        ("[streams.'naïve@2']", "c"),
        ("[defaults.stream]", ""),
    ];
    let table = |(header, tag)| stream(tag).prop_map(move |it| format!("{header}\n{it}")).boxed();
    let tables: Vec<_> = streams.into_iter().map(table).collect();
    let fixed = HEADERS.iter().map(|it| Just((*it).to_owned()).boxed());
    let tables: Vec<_> = tables.into_iter().chain(fixed).collect();
    let top = prop::sample::select(
        &["", "# head\n\n", "extends='base.toml'\n", "\n# a\nextends = \"base.toml\"# b\n"][..],
    );
    (top, tables.prop_shuffle(), prop::sample::select(BETWEEN))
        .prop_map(|(top, tables, end)| format!("{top}{}{end}", tables.concat()))
}

proptest! {
    #[test]
    fn a_layout_never_changes_what_a_spec_says(text in spec()) {
        prop_assert!(laid_out(&text).is_some(), "{text}");
        means_the_same(&text);
    }

    #[test]
    fn no_comment_is_lost(text in spec()) {
        let comments = |text: &str| {
            let mut found: Vec<_> = ["about", "more", "beside", "between", "ode '", "head", "one", "of B"]
                .iter().map(|it| text.matches(it).count()).collect();
            found.push(text.matches('#').count());
            found
        };
        let once = laid_out(&text).expect("it is TOML");
        prop_assert_eq!(comments(&text), comments(&once), "\n{}\n---\n{}", text, once);
    }

    #[test]
    fn no_text_breaks_the_layout(text in "[\\[\\]a-c.=\"'#{}, \n0-9\\\\]{0,60}") {
        means_the_same(&text);
    }
}
