//! What the compiler does not hold: layers, who touches the world, who prints, sizes, rows,
//! secrets and generated pages. The sources are read as text.
//!
//! Every check is a function from texts to complaints; the module at the end proves of each that
//! it can fail.

#![expect(clippy::unwrap_used, reason = "a source that cannot be read fails the test")]

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use jsplan::{
    cli, reference,
    schema::{
        Field, Kind,
        bucket::{KV, OBJECT},
        consumer::CONSUMER,
        stream::STREAM,
    },
};

/// Lines of a source file; tables of rows may be longer.
const LONGEST_FILE: usize = 600;

/// Names that stand for the world, as beginnings of paths.
const WORLD: &[&str] = &[
    "async_nats",
    "tokio",
    "tempfile",
    "rustix",
    "std::fs",
    "std::env",
    "std::net",
    "std::process::Command",
];

/// Names that ask what time it is, as ends of paths.
const CLOCKS: &[&str] = &["SystemTime", "SystemTime::now", "Timestamp::now", "Zoned::now"];

/// The one seam: `main` hands the arguments over.
const ARGUMENTS: (&str, &str) = ("src/main.rs", "std::env::args_os");

const PRINTS: &[&str] = &["println!", "print!", "eprintln!", "eprint!"];

/// Where a format is promised: the record, its seal and its journal, the saved plan and what it is made of, the
/// machine-readable output, and the words of the vocabulary that these are written in. What `io/`
/// keeps on disk is its own affair.
const SERIALIZED: &[&str] = &[
    "src/forecast.rs",
    "src/address.rs",
    "src/config.rs",
    "src/schema.rs",
    "src/seal.rs",
    "src/state.rs",
    "src/state/journal.rs",
    "src/state/ledger.rs",
    "src/drift.rs",
    "src/plan.rs",
    "src/plan/risk.rs",
    "src/plan/call.rs",
    "src/plan/file.rs",
    "src/render/json.rs",
];

#[test]
fn only_io_touches_the_world() {
    tidy(each(Path::new("src"), "rs", world));
}

#[test]
fn only_the_terminal_prints() {
    tidy(each(Path::new("src"), "rs", prints));
}

#[test]
fn only_io_and_the_command_line_wait() {
    tidy(each(Path::new("src"), "rs", waits));
}

#[test]
fn a_module_names_only_those_above_it() {
    let order = |file: &str| modules(&fs::read_to_string(file).unwrap());
    let (crate_order, io_order) = (order("src/lib.rs"), order("src/io.rs"));
    tidy(each(Path::new("src"), "rs", |file, text| layers(file, text, &crate_order, &io_order)));
}

#[test]
fn the_world_comes_after_every_decision() {
    tidy(layers_last(&modules(&fs::read_to_string("src/lib.rs").unwrap())));
}

#[test]
fn files_are_short() {
    tidy(each(Path::new("src"), "rs", length));
}

#[test]
fn formats_are_promised_in_few_places() {
    tidy(each(Path::new("src"), "rs", serialized));
}

#[test]
fn rows_have_one_name_and_a_sentence_each() {
    let all = [("stream", STREAM), ("consumer", CONSUMER), ("kv", KV), ("object", OBJECT)];
    tidy(all.into_iter().flat_map(|(kind, of)| rows(kind, of)).collect());
}

#[test]
fn environments_hold_no_secret() {
    tidy(each(Path::new("environments"), "toml", secrets));
}

#[test]
fn the_reference_pages_are_fresh() {
    let pages = [
        ("docs/reference/fields.md", reference::fields()),
        ("docs/reference/codes.md", reference::codes()),
        ("docs/reference/migrations.md", reference::migrations()),
        ("docs/reference/permissions.md", reference::permissions()),
        ("docs/reference/policy.md", reference::policy()),
        ("docs/reference/spec.schema.json", reference::schema::schema()),
        ("docs/reference/cli.md", cli::reference::cli()),
    ];
    let mut complaints = Vec::new();
    for (file, page) in pages {
        if !stale(Path::new(file), &page) {
            continue;
        }
        complaints
            .push(format!("{file} is stale: run `cargo test`, which writes it, and commit it"));
        // In CI nobody would see what was written.
        if env::var_os("CI").is_none() {
            renew(Path::new(file), &page);
        }
    }
    tidy(complaints);
}

#[test]
fn each_invariant_names_a_test_that_exists() {
    tidy(each(Path::new("docs"), "md", references));
}

#[test]
fn each_fault_names_its_test_and_its_figure() {
    let page = fs::read_to_string("docs/reliability.md").unwrap();
    tidy(faults(&page));
}

/// Fails with all complaints at once.
fn tidy(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Complaints about the files of a folder, which may be absent.
fn each(folder: &Path, extension: &str, check: impl Fn(&str, &str) -> Vec<String>) -> Vec<String> {
    let judge = |file: PathBuf| {
        let text = fs::read_to_string(&file).unwrap();
        check(&file.to_string_lossy().replace('\\', "/"), &text)
    };
    files(folder, extension).into_iter().flat_map(judge).collect()
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn in_io(file: &str) -> bool {
    file == "src/io.rs" || file.starts_with("src/io/")
}

fn in_cli(file: &str) -> bool {
    file == "src/cli.rs" || file.starts_with("src/cli/")
}

fn world(file: &str, text: &str) -> Vec<String> {
    if in_io(file) {
        return Vec::new();
    }
    let names_world = |path: &Vec<String>| {
        let whole = path.join("::");
        let below = |name: &&&str| whole == **name || whole.starts_with(&format!("{name}::"));
        // The module as a whole gives access to `Command`.
        let process = whole == "std::process" || whole == "std::process::self";
        let ends = |name: &&&str| whole == **name || whole.ends_with(&format!("::{name}"));
        let clock = CLOCKS.iter().any(|it| ends(&it));
        let named = WORLD.iter().any(|it| below(&it)) || process || clock;
        (named && (file, whole.as_str()) != ARGUMENTS).then_some(whole)
    };
    let code = code(text);
    let mut complaints: Vec<_> = paths(&code)
        .iter()
        .filter_map(|(line, path)| Some((line, names_world(path)?)))
        .map(|(line, name)| format!("{file}:{line}: `{name}` belongs in src/io/"))
        .collect();
    if code.contains("stdin()") {
        complaints.push(format!("{file}: `stdin()` belongs in src/io/"));
    }
    complaints
}

fn prints(file: &str, text: &str) -> Vec<String> {
    if file == "src/io/terminal.rs" {
        return Vec::new();
    }
    let code = code(text);
    let printed = paths(&code)
        .into_iter()
        .filter(|(_, path)| path.last().is_some_and(|it| PRINTS.contains(&it.as_str())))
        .map(|(line, path)| (line, path.join("::")));
    let opened = code.lines().zip(1..).filter_map(|(text, line)| {
        let stream = ["stdout()", "stderr()"].into_iter().find(|it| text.contains(it))?;
        Some((line, stream.to_owned()))
    });
    let complain =
        |(line, name)| format!("{file}:{line}: `{name}`: only src/io/terminal.rs prints");
    printed.chain(opened).map(complain).collect()
}

fn waits(file: &str, text: &str) -> Vec<String> {
    if in_io(file) || in_cli(file) {
        return Vec::new();
    }
    let words = |text: &str| {
        let mut words = text.split(|it: char| !it.is_alphanumeric() && it != '_' && it != '.');
        words.any(|it| it == "async" || it.ends_with(".await") || it.contains(".await."))
    };
    let code = code(text);
    let lines = code.lines().zip(1..).filter(|(text, _)| words(text));
    lines.map(|(_, line)| format!("{file}:{line}: only src/io/ and src/cli/ wait")).collect()
}

/// The public and private modules of a file, in order.
fn modules(text: &str) -> Vec<String> {
    let code = code(text);
    let declared = code.lines().filter_map(|line| {
        let line = line.trim().strip_suffix(';')?;
        Some(line.split_once("mod ")?.1.trim().to_owned())
    });
    declared.collect()
}

/// `src/plan/risk.rs` is part of `plan`; `src/io/store/file.rs` is part of `io` and there of
/// `store`.
fn layers(file: &str, text: &str, order: &[String], io: &[String]) -> Vec<String> {
    let place = file.trim_start_matches("src/").trim_end_matches(".rs");
    let here: Vec<_> = place.split('/').collect();
    let mut complaints = Vec::new();
    for (line, path) in paths(&code(text)) {
        let path = absolute(&path, &here);
        let [first, rest @ ..] = path.as_slice() else { continue };
        let (own, named, listed) = match (here.as_slice(), rest.first()) {
            (["io", own, ..], Some(named)) if first == "io" => (*own, named, io),
            ([own, ..], _) => (*own, first, order),
            ([], _) => continue,
        };
        let rank = |name: &str| listed.iter().position(|it| it == name);
        let (Some(there), Some(named_from)) = (rank(named), rank(own)) else { continue };
        if there > named_from {
            complaints.push(format!("{file}:{line}: `{own}` may not name `{named}`, below it"));
        }
    }
    complaints
}

/// What follows `crate` in a path, with `super` and `self` resolved; empty for other crates' paths.
fn absolute(path: &[String], here: &[&str]) -> Vec<String> {
    let ups = path.iter().take_while(|it| *it == "super").count();
    let own = || here.iter().map(|it| (*it).to_owned());
    match path.first().map(String::as_str) {
        Some("crate") => path[1..].to_vec(),
        // Inside `mod tests` one `super` is the file itself, which this takes for its parent: a
        // module of the same name among the siblings would be needed to mistake one for the other.
        Some("super") => {
            let kept = here.len().saturating_sub(ups);
            own().take(kept).chain(path[ups..].iter().cloned()).collect()
        }
        Some(_) | None => Vec::new(),
    }
}

fn layers_last(order: &[String]) -> Vec<String> {
    let world: Vec<_> = order.iter().skip_while(|it| *it != "io").collect();
    match world.as_slice() {
        [_] => Vec::new(),
        [_, cli] if *cli == "cli" => Vec::new(),
        other => vec![format!("src/lib.rs ends with `io` and `cli`, not with {other:?}")],
    }
}

fn length(file: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    let long = lines > LONGEST_FILE && !file.starts_with("src/schema/");
    long.then(|| format!("{file}: {lines} lines; cut it in two")).into_iter().collect()
}

fn serialized(file: &str, text: &str) -> Vec<String> {
    if in_io(file) || SERIALIZED.contains(&file) {
        return Vec::new();
    }
    // By the derived name, so that neither another order nor a path hides it.
    let named = paths(&code(text))
        .into_iter()
        .filter(|(_, path)| path.last().is_some_and(|it| it == "Serialize"));
    named.map(|(line, _)| format!("{file}:{line}: no format is promised here")).collect()
}

fn rows(table: &str, rows: &'static [Field]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut names = BTreeMap::new();
    for field in rows {
        let here = format!("{table}.{}", field.name);
        *names.entry(field.name).or_insert(0) += 1;
        if !field.doc.ends_with('.') {
            complaints.push(format!("{here}: the sentence ends without a full stop"));
        }
        if let Some(inner) = inner(&field.kind) {
            complaints.extend(self::rows(&here, inner));
        }
    }
    let twice = names.into_iter().filter(|it| it.1 > 1);
    complaints.extend(twice.map(|(name, _)| format!("{table}.{name}: there is more than one")));
    complaints
}

fn inner(kind: &Kind) -> Option<&'static [Field]> {
    match kind {
        Kind::Table(rows) => Some(rows),
        Kind::Set(kind) | Kind::List(kind) => inner(kind),
        Kind::Bool | Kind::Number | Kind::Bytes | Kind::Duration | Kind::Time => None,
        Kind::Text | Kind::Subject | Kind::Literal | Kind::Labels | Kind::OneOf(_) => None,
    }
}

fn secrets(file: &str, text: &str) -> Vec<String> {
    const SECRET: &[&str] =
        &["password", "pass", "token", "nkey", "seed", "jwt", "creds", "secret"];
    let table: toml::Table = text.parse().unwrap();
    let mut complaints = Vec::new();
    let mut open: Vec<_> = table.into_iter().collect();
    while let Some((key, value)) = open.pop() {
        match value {
            toml::Value::Table(table) => open.extend(table),
            toml::Value::Array(list) => open.extend(list.into_iter().map(|it| (key.clone(), it))),
            toml::Value::String(text) => {
                let reference = text.starts_with("env:") || text.starts_with("file:");
                let host = text.split_once("://").map_or("", |it| it.1);
                let seed = text.split(|it: char| !it.is_ascii_alphanumeric()).any(is_seed);
                if SECRET.contains(&key.as_str()) && !reference || host.contains('@') || seed {
                    complaints.push(format!("{file}: `{key}` holds a secret, not a reference"));
                }
            }
            toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) => {}
            toml::Value::Datetime(_) => {}
        }
    }
    complaints
}

/// An nkey's private half: S, a letter for its kind, base 32.
fn is_seed(word: &str) -> bool {
    let base32 = |it: char| it.is_ascii_uppercase() || ('2'..='7').contains(&it);
    word.len() >= 56 && word.starts_with('S') && word.chars().all(base32)
}

fn stale(file: &Path, page: &str) -> bool {
    fs::read_to_string(file).map_or(true, |it| it != page)
}

fn renew(file: &Path, page: &str) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, page).unwrap();
}

/// Every `tests/FILE.rs::NAME` or `src/FILE.rs::NAME` in backticks is a test, and every
/// `tests/planner/FILE.txt::NAME` a case of the planner.
fn references(file: &str, text: &str) -> Vec<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    let cases = quoted.clone().filter_map(|it| it.split_once(".txt::")).filter(|(source, case)| {
        let cases = fs::read_to_string(format!("{source}.txt")).unwrap_or_default();
        !cases.lines().any(|it| it.strip_prefix("=== ") == Some(case))
    });
    let cases = cases.map(|(source, case)| format!("{file}: `{source}.txt::{case}` is no case"));
    let named = quoted.filter_map(|it| {
        let (source, test) = it.split_once(".rs::")?;
        (source.starts_with("tests/") || source.starts_with("src/")).then_some((source, test))
    });
    let missing = named.filter(|(source, test)| {
        let source = fs::read_to_string(format!("{source}.rs")).unwrap_or_default();
        !is_test(&source, test.rsplit("::").next().unwrap_or(test))
    });
    let missing = missing.map(|(source, test)| format!("{file}: `{source}.rs::{test}` is no test"));
    missing.chain(cases).collect()
}

/// Every row of a table of faults has a test in its third cell, and something in its fourth.
fn faults(page: &str) -> Vec<String> {
    let rows = page.lines().filter_map(|it| it.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = rows.filter(|it| !it.starts_with("fault |"));
    let whole = |row: &&str| match row.split(" | ").collect::<Vec<_>>().as_slice() {
        [_, _, test, figure] => test.contains("::") && !figure.trim().is_empty(),
        _ => false,
    };
    rows.filter(|it| !whole(it)).map(|it| format!("docs/reliability.md: `{it}`")).collect()
}

fn is_test(source: &str, name: &str) -> bool {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let declares = |line: &str| {
        let line = line.trim_start_matches("async ");
        line.strip_prefix("fn ").is_some_and(|it| it.starts_with(&format!("{name}(")))
    };
    let marked = |at: usize| {
        let above = lines[..at].iter().rev();
        let mut above = above.take_while(|it| it.starts_with('#') || it.starts_with("//"));
        above.any(|it| it.contains("test]") || it.contains("test("))
    };
    // proptest's cases stand inside its macro, with the same mark.
    (0..lines.len()).any(|at| declares(lines[at]) && marked(at))
}

/// The text without comments and without what stands in quotes; lines stay where they are.
fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = comment(rest).or_else(|| raw_string(rest)).or_else(|| quoted(rest));
        if let Some(skipped) = skipped {
            code.extend(rest[..skipped].matches('\n'));
            rest = &rest[skipped..];
            continue;
        }
        // A word is taken whole, so that the `r` at its end begins no raw string.
        let word = rest.find(|it: char| !it.is_alphanumeric() && it != '_').unwrap_or(rest.len());
        let taken = word.max(first.len_utf8());
        code.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    code
}

fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    let mut depth = usize::from(text.starts_with("/*"));
    let mut at = 2;
    while depth > 0 && at < text.len() {
        match text.as_bytes().get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            Some(_) | None => at += 1,
        }
    }
    text.starts_with("/*").then_some(at.min(text.len()))
}

fn raw_string(text: &str) -> Option<usize> {
    let text_after = text.strip_prefix('b').unwrap_or(text).strip_prefix('r')?;
    let hashes = text_after.len() - text_after.trim_start_matches('#').len();
    let body = text_after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = text.len() - body.len();
    Some(body.find(&end).map_or(text.len(), |it| start + it + end.len()))
}

/// A text or a character in quotes; a lifetime is neither.
fn quoted(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|it| matches!(it, '"' | '\''))?;
    let mut after = text.char_indices().skip(1);
    if quote == '\'' {
        let second = after.next()?.1;
        let third = after.next()?.1;
        if second != '\\' && third != '\'' {
            return None;
        }
        after = text.char_indices().skip(1);
    }
    while let Some((at, character)) = after.next() {
        match character {
            '\\' => drop(after.next()),
            it if it == quote => return Some(at + 1),
            _ => {}
        }
    }
    Some(text.len())
}

/// Every path in some code, with its line; `use a::{b, c::d}` holds `a::b` and `a::c::d`, and the
/// name of a macro keeps its `!`.
fn paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = path(&tokens, at, &[], &mut found);
    }
    found
}

type Token<'a> = (usize, &'a str);

fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (text, line) in code.lines().zip(1..) {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|it: char| !it.is_alphanumeric() && it != '_');
            let length = match word.unwrap_or(rest.len()) {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                length => length,
            };
            tokens.push((line, &rest[..length]));
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// Reads what begins at a token and returns where to go on.
fn path(
    tokens: &[Token<'_>],
    start: usize,
    before: &[String],
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let is_word = |at: usize| {
        let first = tokens.get(at).and_then(|it| it.1.chars().next());
        first.is_some_and(|it| it.is_alphabetic() || it == '_')
    };
    let text = |at: usize| tokens.get(at).map_or("", |it| it.1);
    if !is_word(start) {
        return start + 1;
    }
    let mut path = before.to_vec();
    let mut at = start;
    loop {
        path.push(text(at).to_owned());
        at += 1;
        if text(at) != "::" {
            break;
        }
        match text(at + 1) {
            "{" => return group(tokens, at + 2, &path, found),
            _ if is_word(at + 1) => at += 1,
            _ => break,
        }
    }
    if text(at) == "!" && text(at + 1) != "=" {
        path.last_mut().expect("a path has a word").push('!');
    }
    found.push((tokens[start].0, path));
    at
}

fn group(
    tokens: &[Token<'_>],
    mut at: usize,
    before: &[String],
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    while at < tokens.len() && tokens[at].1 != "}" {
        at = path(tokens, at, before, found);
        // `as name` is no path of this group.
        while at < tokens.len() && !matches!(tokens[at].1, "," | "}") {
            at += 1;
        }
        at += usize::from(tokens.get(at).is_some_and(|it| it.1 == ","));
    }
    at + 1
}

mod each_check_can_fail {
    use super::*;

    const DECISION: &str = "src/plan/scope.rs";

    /// Complaints about one snippet, as a decision's.
    fn count(check: fn(&str, &str) -> Vec<String>, snippet: &str) -> usize {
        check(DECISION, snippet).len()
    }

    #[test]
    fn the_world_is_seen_however_it_is_named() {
        for wrong in [
            "use std::fs;",
            "use std::{collections::BTreeMap, fs::{self, File}};",
            "use std::fs as files;",
            "fn f() { std::env::var(\"HOME\"); }",
            "use tokio::sync::mpsc;",
            "fn f(it: &async_nats::Client) {}",
            "use std::process::Command;",
            "use std::process;",
            "use std::{process::{self, ExitCode}};",
            "use std::time::SystemTime;",
            "fn f() { time::SystemTime::now(); }",
            "fn f() { jiff::Timestamp::now(); }",
            "use std::net::TcpStream;",
            "fn f() { io::stdin().lines(); }",
            "fn f() {}\n\n/* a /* b */ c */ use std::fs;",
            "const A: char = '\"'; use std::fs; const B: char = '\"';",
            "const A: &str = r#\"a\"b\"#; use std::fs;",
        ] {
            assert!(count(world, wrong) > 0, "{wrong}");
            assert_eq!(world("src/io/files.rs", wrong), [""; 0], "{wrong}");
        }
        for right in [
            "const V: &str = env!(\"CARGO_PKG_VERSION\");",
            "const V: &str = std::env!(\"CARGO_PKG_VERSION\");",
            "use std::process::ExitCode;",
            "/// Reads through `std::fs` elsewhere.\nfn f<'a>(it: &'a str) -> &'a str { it }",
            "// use std::fs;",
            "const A: &str = \"use std::fs; \\\" tokio::spawn\";",
            "const A: &str = r\"use std::fs;\";",
            "fn f() { let now = live.at; clock::now(); }",
        ] {
            assert_eq!(count(world, right), 0, "{right}");
        }
    }

    #[test]
    fn main_hands_over_the_arguments_and_nothing_else() {
        let main = |text| world("src/main.rs", text).len();
        assert_eq!(main("fn main() { run(std::env::args_os()) }"), 0);
        assert_eq!(main("fn main() { run(std::env::vars()) }"), 1);
        assert_eq!(count(world, "fn f() { std::env::args_os(); }"), 1);
    }

    #[test]
    fn a_line_is_named_as_an_editor_counts_it() {
        let text = "//! Doc.\n\nconst A: &str = \"\n\n\";\nuse std::fs;\n";
        assert_eq!(world(DECISION, text), ["src/plan/scope.rs:6: `std::fs` belongs in src/io/"]);
    }

    #[test]
    fn printing_is_seen() {
        for wrong in [
            "fn f() { println!(\"a\"); }",
            "fn f() { anstream::eprintln!(\"a\"); }",
            "use std::print;\nfn f() { print!(\"a\"); }",
            "fn f() { writeln!(std::io::stdout(), \"a\"); }",
            "fn f() { let mut out = io::stderr().lock(); }",
        ] {
            assert!(count(prints, wrong) > 0, "{wrong}");
            assert!(!prints("src/io/store.rs", wrong).is_empty(), "{wrong}");
            assert_eq!(prints("src/io/terminal.rs", wrong), [""; 0], "{wrong}");
        }
        assert_eq!(
            count(prints, "fn f() { writeln!(page, \"println!\"); command.stdout(out); }"),
            0
        );
    }

    #[test]
    fn waiting_is_seen() {
        for wrong in ["async fn f() {}", "let a = async { 1 };", "f(a).await?;", "a.await.b();"] {
            assert_eq!(count(waits, wrong), 1, "{wrong}");
            assert_eq!(waits("src/cli/apply.rs", wrong), [""; 0], "{wrong}");
            assert_eq!(waits("src/io/nats.rs", wrong), [""; 0], "{wrong}");
        }
        assert_eq!(
            count(waits, "const PERSIST: Choice = Choice::new(\"async\"); fn awaits() {}"),
            0
        );
    }

    fn layered(file: &str, text: &str) -> usize {
        let order = modules("pub mod config;\npub mod diff;\npub mod plan;\npub mod io;\nmod cli;");
        let io = modules("pub mod files;\n\npub(crate) mod store;");
        layers(file, text, &order, &io).len()
    }

    #[test]
    fn a_name_from_below_is_seen() {
        for (file, wrong) in [
            ("src/config.rs", "use crate::diff::Delta;"),
            ("src/config.rs", "use crate::{diff, plan::Plan};"),
            ("src/config.rs", "fn f(it: &crate::io::Live) {}"),
            ("src/config.rs", "use super::diff;"),
            ("src/plan/scope.rs", "use crate::{io::nats};"),
            ("src/plan/scope.rs", "use super::super::io;"),
            ("src/plan.rs", "use crate::cli::Exit;"),
            ("src/io/files.rs", "use crate::io::store::Store;"),
            ("src/io/files.rs", "use super::store::Store;"),
            ("src/io/store.rs", "use crate::cli;"),
        ] {
            assert!(layered(file, wrong) > 0, "{file}: {wrong}");
        }
        for (file, right) in [
            ("src/plan.rs", "use crate::{config::Config, diff::{self, deltas}, plan::risk};"),
            ("src/plan/scope.rs", "use super::{Plan, order};\nuse crate::plan::Step;"),
            ("src/io/store/file.rs", "use crate::io::{files, store::Store};\nuse super::Store;"),
            ("src/io.rs", "use crate::io::store;"),
            ("src/cli.rs", "use crate::{io::store, plan};"),
            ("src/config.rs", "//! Compared by [`crate::diff::deltas`].\nuse std::io;"),
        ] {
            assert_eq!(layered(file, right), 0, "{file}: {right}");
        }
    }

    #[test]
    fn a_decision_after_the_world_is_seen() {
        let order = |text| layers_last(&modules(text)).len();
        assert_eq!(order("pub mod plan;\npub mod io;\npub mod cli;"), 0);
        assert_eq!(order("pub mod plan;\npub mod io;"), 0);
        assert_eq!(order("pub mod io;\npub mod plan;\npub mod cli;"), 1);
        assert_eq!(order("pub mod cli;\npub mod plan;"), 1);
    }

    #[test]
    fn a_long_file_is_seen() {
        assert_eq!(count(length, &"\n".repeat(LONGEST_FILE)), 0);
        assert_eq!(count(length, &"\n".repeat(LONGEST_FILE + 1)), 1);
        assert_eq!(length("src/schema/stream.rs", &"\n".repeat(2000)), [""; 0]);
    }

    #[test]
    fn an_unexpected_format_is_seen() {
        for wrong in ["#[derive(Debug, Serialize)]", "#[derive(serde::Serialize)]"] {
            assert_eq!(count(serialized, wrong), 1, "{wrong}");
            assert_eq!(serialized("src/state.rs", wrong), [""; 0]);
        }
        assert_eq!(count(serialized, "#[derive(Debug, Deserialize)]"), 0);
    }

    #[test]
    fn wrong_rows_are_seen() {
        // `STREAM` twice over would be right in everything but its names.
        let twice: Vec<Field> = vec![row("a", "A sentence."), row("a", "A sentence.")];
        assert_eq!(rows("t", twice.leak()), ["t.a: there is more than one"]);
        let open: Vec<Field> = vec![row("a", "No sentence")];
        assert_eq!(rows("t", open.leak()), ["t.a: the sentence ends without a full stop"]);
        let inner: &'static [Field] = vec![row("b", "None")].leak();
        let outer = Field { kind: Kind::Table(inner), ..row("a", "A sentence.") };
        assert_eq!(rows("t", vec![outer].leak()).len(), 1);
    }

    fn row(name: &'static str, doc: &'static str) -> Field {
        Field::new(name, Kind::Text, doc)
    }

    #[test]
    fn secrets_are_seen() {
        let seed = format!("[server]\nuser = \"SU{}\"", "A".repeat(56));
        for wrong in [
            "[server]\npassword = \"hunter2\"",
            "[server]\nurl = \"nats://me:hunter2@example.com\"",
            "[server]\nurls = [\"nats://token@example.com\"]",
            &seed,
        ] {
            assert_eq!(count(secrets, wrong), 1, "{wrong}");
        }
        let right =
            "[server]\npassword = \"env:PW\"\ncreds = \"file:a.creds\"\nurl = \"nats://a:1\"";
        assert_eq!(count(secrets, right), 0);
    }

    #[test]
    fn a_stale_page_is_seen_and_renewed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("reference").join("page.md");
        assert!(stale(&file, "new"));
        renew(&file, "new");
        assert!(!stale(&file, "new") && stale(&file, "newer"));
    }

    #[test]
    fn a_fault_without_its_test_is_seen() {
        let count = |row: &str| {
            faults(&format!("| fault | a | test | b |\n|---|---|---|---|\n{row}\n")).len()
        };
        assert_eq!(count("| It dies | goes on | `tests/a.rs::b` | 3 |"), 0);
        assert_eq!(count("| It dies | goes on | | 3 |"), 1);
        assert_eq!(count("| It dies | goes on | `tests/a.rs::b` | |"), 1);
    }

    #[test]
    fn an_invariant_without_its_test_is_seen() {
        let named = |name: &str| count(references, &format!("Held by `tests/tidy.rs::{name}`."));
        assert_eq!(named("files_are_short"), 0);
        assert_eq!(named("each_check_can_fail::waiting_is_seen"), 0);
        assert_eq!(named("tidy"), 1, "a function, and no test");
        assert_eq!(named("files_are_shor"), 1);
        assert_eq!(count(references, "`tests/absent.rs::files_are_short`"), 1);
        assert_eq!(count(references, "`src/plan.rs` and `plan::Step`"), 0);
        let case = |name: &str| count(references, &format!("`tests/planner/kinds.txt::{name}`"));
        assert_eq!(case("a text that is removed is unset"), 0);
        assert_eq!(case("a text that is removed"), 1);
    }
}
