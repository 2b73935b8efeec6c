//! Names of files, what `jsplan.sum` notices, and what a file means.

use jsplan::{
    finding::Sources,
    migration::{Migration, read::load, sum},
};

use super::{Files, NOTE, file, line, reviewed};

/// Files by name and text, and what is found in all of them.
fn together(files: &[(&str, &str)]) -> Vec<String> {
    let files = files.iter().map(|(name, text)| file(name, text)).collect();
    reviewed(files).1.iter().map(line).collect()
}

#[test]
fn versions_and_names_come_from_the_files() {
    for (files, wanted) in [
        (["0001_a.toml", "0002_b_2.toml"], ""),
        (
            ["0001_a.toml", "0001_b.toml"],
            "error[duplicate]: `0001_b.toml` has the version of `0001_a.toml`",
        ),
        (
            ["0002_a.toml", "00010_b.toml"],
            "error[bad-name]: `0002_a.toml` and `00010_b.toml` have versions of different length",
        ),
        (["0001_a.toml", "12_b.toml"], "error[bad-name]: `12_b.toml` is no name for a migration"),
        (
            ["0001_a.toml", "0002_B.toml"],
            "error[bad-name]: `0002_B.toml` is no name for a migration",
        ),
        (["0001_a.toml", "0002.toml"], "error[bad-name]: `0002.toml` is no name for a migration"),
        (["0001_a.toml", "0002_.toml"], "error[bad-name]: `0002_.toml` is no name for a migration"),
        (
            ["0001_a.toml", "x001_a.toml"],
            "error[bad-name]: `x001_a.toml` is no name for a migration",
        ),
    ] {
        assert_eq!(together(&files.map(|it| (it, NOTE))).join(" | "), wanted, "{files:?}");
    }
    let (migrations, findings, _) =
        reviewed(vec![file("0001_a.toml", NOTE), file("0002_b_2.toml", NOTE)]);
    assert!(findings.is_empty());
    let titles: Vec<_> = migrations.0.values().map(Migration::title).collect();
    assert_eq!(titles, ["0001 a", "0002 b_2"]);
    let later = NOTE.replace("reason = 'a'", "reason = 'a'\nrequires = ['0002']");
    assert_eq!(
        together(&[("0001_a.toml", &later), ("0002_b.toml", NOTE)]),
        ["error[migration]: `0001` requires `0002`, which comes after it"]
    );
    // What requires a file that is wrong is not wrong for that.
    let found = together(&[("0002_b.toml", "reason = 1"), ("0003_c.toml", &later)]);
    assert_eq!(found.len(), 2, "{found:?}");
}

/// What `jsplan.sum` says of files other than those it was written for.
fn since(reviewed: &[(&str, &str)], now: &[(&str, &str)]) -> Vec<String> {
    let files =
        |of: &[(&str, &str)]| of.iter().map(|(name, text)| file(name, text)).collect::<Files>();
    checked(files(now), Some(sum::write(&files(reviewed))))
}

fn checked(files: Files, sum: Option<String>) -> Vec<String> {
    load(files, sum, &mut Sources::default()).1.iter().map(line).collect()
}

#[test]
fn what_happened_to_files_since_they_were_reviewed_is_said_of_those_alone() {
    let (a, b, c) = (("0001_a.toml", NOTE), ("0002_b.toml", NOTE), ("0003_c.toml", NOTE));
    let other = NOTE.replace("'b'", "'c'");
    let spaced = NOTE.replace("'b'", "\"b\" # layout").replace('\n', "\n\n");
    let windows = NOTE.replace('\n', "\r\n");
    for (before, now, wanted) in [
        (vec![a, b, c], vec![a, b, c], vec![]),
        (vec![], vec![], vec![]),
        (vec![a, b, c], vec![("0001_a.toml", windows.as_str()), b, c], vec![]),
        (
            vec![a, b, c],
            vec![("0001_a.toml", &other), b, c],
            vec!["error[integrity]: `0001_a.toml` was changed after it was reviewed"],
        ),
        (
            vec![a, b, c],
            vec![a, b, ("0003_c.toml", &other)],
            vec!["error[integrity]: `0003_c.toml` was changed after it was reviewed"],
        ),
        (
            vec![a, b, c],
            vec![a, ("0002_b.toml", &spaced), c],
            vec![
                "note[integrity]: only the layout of `0002_b.toml` has changed since it was reviewed",
            ],
        ),
        (vec![a, b], vec![a, b, c], vec!["error[integrity]: `0003_c.toml` is not in `jsplan.sum`"]),
        (
            vec![a, c],
            vec![a, b, c],
            vec![
                "error[integrity]: `0002_b.toml` was added before `0003_c.toml`, which was reviewed earlier",
            ],
        ),
        (
            vec![a, b, c],
            vec![a, c],
            vec!["error[integrity]: `0002_b.toml` was reviewed, and is gone"],
        ),
        (
            vec![a, b],
            vec![a, ("0002_x.toml", NOTE)],
            vec![
                "error[integrity]: `0002_x.toml` is not in `jsplan.sum`",
                "error[integrity]: `0002_b.toml` was reviewed, and is gone",
            ],
        ),
        (vec![a], vec![], vec!["error[integrity]: `0001_a.toml` was reviewed, and is gone"]),
    ] {
        assert_eq!(since(&before, &now), wanted, "{before:?} {now:?}");
    }
    assert_eq!(
        checked(vec![file("0001_a.toml", NOTE), file("0002_b.toml", NOTE)], None),
        [
            "error[integrity]: there is no `environments/migrations/jsplan.sum`, so nobody has reviewed these migrations"
        ]
    );
    assert_eq!(checked(Vec::new(), None), [""; 0]);
}

#[test]
fn two_branches_that_meet_are_noticed_however_they_are_merged() {
    let (a, b, c) =
        (file("0001_a.toml", NOTE), file("0002_b.toml", NOTE), file("0003_c.toml", NOTE));
    let ours = sum::write(&[a.clone(), b.clone()]);
    let theirs = sum::write(&[a.clone(), c.clone()]);
    let ours_last = ours.lines().last().expect("a line");
    let theirs_last = theirs.lines().last().expect("a line");
    let all = || vec![a.clone(), b.clone(), c.clone()];
    // Both change the first line and add one in the same place: no merge of git is without a word.
    assert_ne!(ours.lines().next(), theirs.lines().next());
    let both = format!("{ours}{theirs_last}\n");
    let met = "error[integrity]: `0003_c.toml` was reviewed with other migrations before it";
    assert_eq!(checked(all(), Some(both)), [met]);
    let conflict =
        format!("{ours}<<<<<<< ours\n{ours_last}\n=======\n{theirs_last}\n>>>>>>> theirs\n");
    assert_eq!(
        checked(all(), Some(conflict)),
        ["error[integrity]: two branches met in `jsplan.sum`"]
    );
    assert_eq!(checked(all(), Some(sum::write(&all()))), [""; 0]);
}

#[test]
fn a_sum_that_was_changed_by_hand_is_refused() {
    let files = vec![file("0001_a.toml", NOTE), file("0002_b.toml", NOTE)];
    let sum = sum::write(&files);
    assert_eq!(checked(files.clone(), Some(sum.replace('\n', "\r\n"))), [""; 0]);
    for at in 0..sum.len() {
        let mut bytes = sum.clone().into_bytes();
        bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
        let changed = String::from_utf8(bytes).expect("it is ASCII");
        assert!(!checked(files.clone(), Some(changed)).is_empty(), "byte {at}");
    }
    let lines: Vec<_> = sum.lines().collect();
    let without = |number: usize| {
        let kept = lines.iter().enumerate().filter(|it| it.0 != number);
        kept.flat_map(|it| [it.1, "\n"]).collect::<String>()
    };
    let last = checked(files.clone(), Some(without(2)));
    assert_eq!(last, ["error[integrity]: `0002_b.toml` is not in `jsplan.sum`"]);
    // A file that went together with its line.
    let gone = checked(files[1..].to_vec(), Some(without(1)));
    assert!(gone.iter().any(|it| it.starts_with("error[integrity]")), "{gone:?}");
    assert!(!checked(files.clone(), Some(without(0))).is_empty());
    assert!(!checked(files, Some(String::new())).is_empty());
}

#[test]
fn a_meaning_is_that_of_keys_and_values_alone() {
    let of = |text: &str| {
        let (migrations, findings, _) = reviewed(vec![file("0001_a.toml", text)]);
        assert_eq!(findings.iter().map(line).collect::<Vec<_>>(), [""; 0], "{text}");
        let migration = &migrations.0["0001"];
        let steps: Vec<_> = migration.steps.iter().map(|it| it.meaning.clone()).collect();
        (migration.meaning.clone(), steps)
    };
    let written = "[migration]\nreason = \"a\"\n\n[[step]]\nid = \"a\"\ndo = \"gate\"\napprove = []\n\n\
                   [[step]]\nid = \"b\"\ndo = \"note\"\ntext = \"c\"\n";
    for same in [
        "# why\n[migration]\nreason = 'a'\n[[step]]\napprove = [ # none\n]\ndo = 'gate'\nid = 'a'\n[[step]]\ntext = '''c'''\nid = 'b'\ndo = 'note'",
        "migration = { reason = 'a' }\nstep = [{ id = 'a', do = 'gate', approve = [] }, { id = 'b', do = \"note\", text = \"\\u0063\" }]",
        "migration.reason = 'a'\r\n[[step]]\r\nid = 'a'\r\ndo = 'gate'\r\napprove = []\r\n[[step]]\r\nid = 'b'\r\ndo = 'note'\r\ntext = 'c'\r\n",
    ] {
        assert_eq!(of(written), of(same), "{same}");
    }
    let (whole, steps) = of(written);
    for (from, to) in [("\"c\"", "\"d\""), ("\"b\"", "\"e\"")] {
        let (other, others) = of(&written.replace(from, to));
        assert_ne!(whole, other);
        assert_eq!(steps[0], others[0]);
        assert_ne!(steps[1], others[1]);
    }
    // What is left out is not filled in.
    assert_ne!(of(&written.replace("approve = []\n", "")).0, whole);
}
