//! A disk that is full, fails, loses power, or rots.

#![expect(clippy::print_stdout, reason = "the figures are for `docs/reliability.md`")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use jsplan::{
    io::{fault::VARIABLE, run, server::Server, store::Store},
    state::State,
};
use serde_json::Value;

use crate::support::{
    client::streams,
    project::{Output, Project},
    server::server,
};

const APPLY: [&str; 4] = ["apply", "--auto-approve", "--parallelism", "1"];

/// Numbers of the system: no space is left; input or output failed.
const FULL: i32 = 28;
const BROKEN: i32 = 5;

/// A project with a state that owns nothing yet, and a spec of a few things under a name.
fn project(server: &Server, name: &str) -> Project {
    let spec = format!(
        "[streams.{name}]\nsubjects = [\"{name}\"]\n[streams.{name}.consumers.C]\n\
         [streams.{name}2]\nsubjects = [\"{name}2\"]\n"
    );
    let project = Project::new(server, &spec);
    let old = State { serial: 7, lineage: "a lineage".to_owned(), ..State::new("test") };
    fs::create_dir(project.path("state")).expect("a folder can be made");
    fs::write(project.path("state/test.json"), old.write()).expect("a file can be written");
    project
}

fn load(folder: &Path) -> Result<State, String> {
    run(Store::new(folder, "test").load()).map_err(|it| it.to_string())
}

/// One line of a record: a point that was come to, or an operation on a file.
struct Noted {
    what: String,
    path: PathBuf,
    with: String,
}

impl Noted {
    fn is_on(&self, file: &str) -> bool {
        self.path.ends_with(file)
    }

    fn is_operation(&self) -> bool {
        !self.path.as_os_str().is_empty()
    }
}

/// Applies, and gives what was noted on the way.
fn recorded(project: &Project) -> Vec<Noted> {
    let record = project.path("record");
    project.run_with(&[(VARIABLE, &format!("record={}", record.display()))], &APPLY).ended(0);
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let noted = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("a line is JSON");
        let what = text(&line["point"]) + &text(&line["operation"]);
        // Of a temporary file the whole path is noted, and of others that within the project.
        let path = PathBuf::from(text(&line["path"]));
        let path = path.strip_prefix(project.path("")).map(Path::to_owned).unwrap_or(path);
        Noted { what, path, with: text(&line["with"]) }
    };
    project.read("record").lines().map(noted).collect()
}

fn failing(project: &Project, order: &str) -> Output {
    let temporary = project.path("temporary");
    fs::create_dir(&temporary).expect("a folder can be made");
    let temporary = temporary.display().to_string();
    project.run_with(&[(VARIABLE, order), ("TMPDIR", &temporary)], &APPLY)
}

/// After an apply on a failing disk: the state is the old one or the new one, and it or its journal
/// knows of everything that was sent.
fn holds(server: &Server, project: &Project, name: &str, order: &str) {
    let state = load(&project.path("")).unwrap_or_else(|error| panic!("{order}: {error}"));
    assert!([7, 8].contains(&state.serial), "{order}: serial {}", state.serial);
    let undecided = state.cut_short.iter().flat_map(|it| &it.undecided).map(|it| &it.address);
    let known: BTreeSet<String> =
        state.resources.keys().chain(undecided).map(ToString::to_string).collect();
    for stream in streams(server).iter().filter(|it| it.trim_end_matches('2') == name) {
        let known = known.contains(&format!("stream.{stream}"));
        assert!(known, "{order}: {stream} was made, and nothing knows of it");
    }
}

#[test]
fn whichever_operation_on_a_file_fails_nothing_is_lost_and_nothing_is_done_without_a_journal() {
    let server = server();
    let operations = recorded(&project(&server, "S")).iter().filter(|it| it.is_operation()).count();
    let once = (1..=operations).map(|it| format!("disk={it}:{BROKEN}"));
    let from_then_on = (1..=operations).map(|it| format!("disk={it}+:{FULL}"));
    for (number, order) in once.chain(from_then_on).enumerate() {
        let name = format!("S{number}N");
        let project = project(&server, &name);
        let failed = failing(&project, &order);
        assert_eq!(failed.code, 1, "{order}:\n{failed}");
        assert!(failed.stderr.contains("os error"), "{order}:\n{failed}");
        holds(&server, &project, &name, &order);
        let next = project.run(&APPLY).ended(0);
        assert!(!next.stdout.contains("to import"), "{order}: something was forgotten:\n{next}");
        let state = project.state();
        assert_eq!(state["resources"].as_object().expect("an object").len(), 3, "{order}");
    }
    let beyond = format!("disk={}:{FULL}", operations + 1);
    failing(&project(&server, "LAST"), &beyond).ended(0);
    println!("{operations} operations, each failed once and for good");
}

#[test]
fn whichever_operation_fails_a_saved_plan_and_a_state_changed_by_hand_are_whole() {
    let server = server();
    let project = project(&server, "S");
    project.apply();
    project.write_spec("[streams.S]\nsubjects = [\"other\"]\n");
    let fails = |arguments: &[&str]| {
        for number in 1.. {
            let order = format!("disk={number}:{BROKEN}");
            let output = project.run_with(&[(VARIABLE, &order)], arguments);
            load(&project.path("")).unwrap_or_else(|error| panic!("{order}: {error}"));
            if project.path("p.jsplan").exists() {
                project.run(&["show", "p.jsplan"]).ended(0);
            }
            if output.code == 0 {
                return number - 1;
            }
            assert!(output.ended(1).stderr.contains("os error"), "{order}");
        }
        0
    };
    let plan = fails(&["plan", "--out", "p.jsplan"]);
    let changed = fails(&["state", "restore", "7"]);
    assert!(plan > 5 && changed > 10, "{plan} and {changed}");
    assert_eq!(project.run(&["state", "list"]).ended(0).stdout, "", "as it was then");
    println!("{plan} operations of a plan, {changed} of a state command");
}

#[test]
fn a_state_that_cannot_be_saved_goes_beside_the_project_then_to_the_temporary_folder_then_to_stdout()
 {
    let server = server();
    let noted = recorded(&project(&server, "S"));
    let operations: Vec<_> = noted.iter().filter(|it| it.is_operation()).collect();
    let creates = (1..).zip(&operations).filter(|(_, it)| it.what == "create").map(|it| it.0);
    let creates: Vec<usize> = creates.collect();
    // After the state a note is made of the serial that was seen.
    let [.., last, _] = creates[..] else { panic!("a state is saved: {creates:?}") };

    let beside = project(&server, "A");
    let failed = failing(&beside, &format!("disk={last}:{FULL}")).ended(1);
    failed.says("could not be saved").says("`jsplan state push errored.test.8.json`");
    let path = beside.path("errored.test.8.json");
    let mode = fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    beside.run(&["state", "push", "errored.test.8.json"]).ended(0);
    assert_eq!(beside.read("state/test.json"), beside.read("errored.test.8.json"));
    beside.plans_empty();

    // What is in the way of the file beside the project is no file.
    let blocked = project(&server, "B");
    fs::create_dir_all(blocked.path("errored.test.8.json/x")).expect("a folder can be made");
    let rescued = blocked.path("temporary/errored.test.8.json");
    let failed = failing(&blocked, &format!("disk={last}:{FULL}")).ended(1);
    failed.says(&format!("`jsplan state push {}`", rescued.display()));
    let push = ["state", "push", "temporary/errored.test.8.json"];
    blocked.run(&push).ended(0);
    assert_eq!(blocked.read("state/test.json"), blocked.read("temporary/errored.test.8.json"));
    blocked.plans_empty();

    let nowhere = project(&server, "C");
    let failed = failing(&nowhere, &format!("disk={last}+:{FULL}")).ended(1).says("on stdout");
    let from = failed.stdout.rfind("\n{\n").expect("the state is on stdout") + 1;
    fs::write(nowhere.path("mine.json"), &failed.stdout[from..]).expect("a file can be written");
    fs::remove_file(nowhere.path("state/test.journal")).expect("it is kept");
    nowhere.run(&["state", "push", "mine.json"]).ended(0);
    nowhere.plans_empty();
}

#[test]
fn nothing_is_sent_where_there_is_no_room_for_a_journal() {
    let server = server();
    let project = project(&server, "S");
    fs::create_dir(project.path("state/test.journal")).expect("a folder can be made");
    project.run(&APPLY).ended(1).says("test.journal");
    assert!(streams(&server).is_empty());
    fs::remove_dir(project.path("state/test.journal")).expect("it is empty");
    project.apply();
}

#[test]
fn what_is_written_is_nobody_elses_and_goes_through_no_link() {
    let server = server();
    let mine = project(&server, "S");
    fs::remove_dir_all(mine.path("state")).expect("it is ours");
    mine.apply();
    let mode = |path: &str| {
        fs::metadata(mine.path(path)).expect("it is there").permissions().mode() & 0o777
    };
    assert_eq!(
        (mode("state"), mode("state/test.json"), mode("state/test.lock")),
        (0o700, 0o600, 0o600)
    );
    mine.run(&["plan"]).ended(0).never_says("others may write");
    fs::set_permissions(mine.path("state"), fs::Permissions::from_mode(0o777)).expect("ours");
    mine.run(&["plan"]).ended(0).says("others may write into `state/`: its mode is 777");

    let linked = project(&server, "T");
    fs::write(linked.path("theirs"), "precious").expect("a file can be written");
    symlink(linked.path("theirs"), linked.path("state/test.lock")).expect("a link can be made");
    linked.run(&APPLY).ended(1).says("it is a link out of `state/`");
    assert_eq!(linked.read("theirs"), "precious");
}

/// What a disk may hold after the power went: what was synced, and any part of what was not.
fn images(noted: &[Noted], mut see: impl FnMut(&BTreeMap<&Path, String>)) {
    let later = |from: usize, what: &str, path: &Path| {
        noted[from..].iter().any(|it| it.what == what && it.path == path)
    };
    let is_sure = |(at, it): (usize, &Noted)| match it.what.as_str() {
        "write" => later(at, "sync", &it.path),
        _ => later(at, "sync-folder", it.path.parent().expect("a file is in a folder")),
    };
    let changes =
        |it: &&(usize, &Noted)| ["write", "rename", "remove"].contains(&it.1.what.as_str());
    let all: Vec<_> = noted.iter().enumerate().filter(|it| changes(&it)).collect();
    let open: Vec<_> = all.iter().filter(|it| !is_sure(**it)).map(|it| it.0).collect();
    assert!(open.len() < 8, "more is left open than can be tried");
    // Of each open one: nothing, half, or all.
    for mut parts in 0..3_usize.pow(u32::try_from(open.len()).expect("few")) {
        let mut files = BTreeMap::<&Path, String>::new();
        for (at, it) in &all {
            let part = if open.contains(at) { parts % 3 } else { 2 };
            parts /= if open.contains(at) { 3 } else { 1 };
            match (it.what.as_str(), part) {
                (_, 0) => {}
                ("write", 1) => {
                    files.entry(&it.path).or_default().push_str(&it.with[..it.with.len() / 2]);
                }
                ("write", _) => files.entry(&it.path).or_default().push_str(&it.with),
                ("rename", _) => {
                    let text = files.remove(it.path.as_path()).unwrap_or_default();
                    files.insert(Path::new(&it.with), text);
                }
                (_, _) => drop(files.remove(it.path.as_path())),
            }
        }
        see(&files);
    }
}

#[test]
fn whenever_the_power_goes_the_state_is_the_old_or_the_new_one_and_all_that_was_sent_is_known() {
    let server = server();
    let project = project(&server, "S");
    let old = project.read("state/test.json");
    let mut noted = recorded(&project);
    noted.retain(|it| !it.is_on("test.lock"));
    let new = project.state();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let state = folder.path().join("state");
    let mut serials = Vec::new();
    for until in 0..=noted.len() {
        // One for each step, before its first request.
        let begun = noted[..until].iter().filter(|it| it.what == "premise-read").count();
        images(&noted[..until], |files| {
            drop(fs::remove_dir_all(&state));
            fs::create_dir_all(&state).expect("a folder can be made");
            fs::write(state.join("test.json"), &old).expect("a file can be written");
            for (path, text) in files.iter().filter(|it| it.0.parent() == Some(Path::new("state")))
            {
                let name = path.file_name().expect("a file has a name");
                fs::write(state.join(name), text).expect("a file can be written");
            }
            let found = load(folder.path()).unwrap_or_else(|it| panic!("{until}: {it}"));
            for (address, it) in &found.resources {
                assert_eq!(it.created, new["resources"][address.to_string()]["created"]);
            }
            let known =
                found.cut_short.iter().map(|it| it.done + it.undecided.len()).sum::<usize>();
            assert!(known.max(found.resources.len()) >= begun, "{until}: a step is not known");
            assert!(found.cut_short.is_none_or(|it| !it.is_damaged), "{until}: {files:#?}");
            serials.push(found.serial);
        });
    }
    let before = serials.iter().position(|it| *it == 8).expect("the new state is seen");
    assert!(before > 0 && serials.iter().all(|it| [7, 8].contains(it)), "{serials:?}");
    println!("{} disks", serials.len());
}

/// A text with each byte changed, and of each shorter length.
fn damaged(text: &str) -> impl Iterator<Item = Vec<u8>> {
    let flipped = (0..text.len()).map(|at| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    flipped.chain((0..text.len()).map(|length| text.as_bytes()[..length].to_vec()))
}

#[test]
fn a_state_with_any_byte_changed_or_of_any_shorter_length_is_refused() {
    let server = server();
    let project = project(&server, "S");
    project.apply();
    let whole = project.read("state/test.json");
    let mut refused = 0;
    for bytes in damaged(&whole) {
        let Ok(text) = String::from_utf8(bytes) else { continue };
        assert!(State::read(&text).is_err(), "taken for a state:\n{text}");
        refused += 1;
    }
    println!("{refused} damaged states of {} bytes", whole.len());
}

#[test]
fn of_a_damaged_journal_exactly_the_lines_before_the_damage_are_taken() {
    let server = server();
    let project = project(&server, "S");
    let old = State::read(&project.read("state/test.json")).expect("it is whole");
    let died = project.run_with(&[(VARIABLE, "abort=after-end:1")], &APPLY);
    assert_eq!(died.code, -1, "{died}");
    let journal = project.read("state/test.journal");
    let lines: Vec<_> = journal.split_inclusive('\n').collect();
    let told = |journal: &str| {
        let state = old.clone().replayed(journal);
        let cut = state.cut_short.clone().map(|it| (it.steps, it.done, it.undecided.len()));
        (state.write(), cut.unwrap_or_default())
    };
    let prefixes: Vec<_> = (0..=lines.len()).map(|it| told(&lines[..it].concat())).collect();
    let mut damages = 0;
    for bytes in damaged(&journal) {
        let text = String::from_utf8_lossy(&bytes);
        let whole = lines.iter().scan(0, |end, it| {
            *end += it.len();
            Some(*end)
        });
        let same = |end: &usize| text.as_bytes().get(..*end) == Some(&journal.as_bytes()[..*end]);
        let whole = whole.take_while(same).count();
        assert_eq!(told(&text), prefixes[whole], "{whole} lines are whole in:\n{text}");
        damages += 1;
    }
    println!("{damages} damaged journals of {} bytes", journal.len());
}
