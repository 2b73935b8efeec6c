//! Migrations held against what an environment declares.

use jsplan::{finding::Severity, migration::lint};

use super::{A, B, MIRROR, NEW, PARALLEL, SOURCE, by, environment, file, line, reviewed, shown};

/// What is found where a migration from `A` to `B` is held against these streams.
fn held(strategy: &str, mapping: &str, streams: &str) -> Vec<String> {
    let words = match strategy {
        NEW => "source wait verify bind",
        SOURCE => "source wait verify park wait verify bind",
        MIRROR => "mirror wait verify park wait verify promote",
        _ => "create",
    };
    let mapping =
        if mapping.is_empty() { String::new() } else { format!("mapping = [{mapping}]\n") };
    let text =
        by(strategy, words).replace("do = \"source\"\n", &format!("do = \"source\"\n{mapping}"));
    against(&text, streams)
}

fn against(text: &str, streams: &str) -> Vec<String> {
    let (migrations, findings, sources) = reviewed(vec![file("0001_a.toml", text)]);
    let errors = findings.iter().filter(|it| it.severity == Severity::Error).count();
    assert_eq!(errors, 0, "{}", shown(&findings, &sources));
    let migration = &migrations.0["0001"];
    let findings = lint::against(migration, &environment(streams));
    assert!(
        findings.iter().all(|it| it.place.is_some() && it.help.is_some() && it.about.is_some())
    );
    findings.iter().map(line).collect()
}

const MAP: &str = "{ src = 'a.>', dest = 'b.>' }";

/// The strategy, what B says, what A says if it is declared, and what is found.
const CASES: &[(&str, &str, Option<&str>, &str)] = &[
    (NEW, "", Some(""), ""),
    (SOURCE, "", None, ""),
    (MIRROR, "", None, ""),
    (PARALLEL, "", Some(""), ""),
    (
        SOURCE,
        "",
        Some(""),
        "error[conflict]: `stream.A` is still declared, and `stream.B` takes its subjects over",
    ),
    (
        MIRROR,
        "",
        Some(""),
        "error[conflict]: `stream.A` is still declared, and `stream.B` takes its subjects over",
    ),
    (
        SOURCE,
        "sealed = true",
        None,
        "error[migration]: `stream.B` is sealed, so that nothing could be copied into it",
    ),
    (
        NEW,
        "retention = 'interest'",
        Some(""),
        "error[migration]: `stream.B` keeps only what its consumers wait for, so that a copy made before them is empty",
    ),
    (PARALLEL, "retention = 'interest'", Some(""), ""),
    (
        NEW,
        "retention = 'workqueue'",
        Some(""),
        "error[migration]: `stream.B` is a work queue: what is copied out of it is not taken, and would be worked on twice",
    ),
    (
        NEW,
        "",
        Some("retention = 'workqueue'"),
        "error[migration]: `stream.A` is a work queue: what is copied out of it is not taken, and would be worked on twice",
    ),
    (
        NEW,
        "allow_msg_counter = true",
        Some(""),
        "error[migration]: `stream.B` counts, and a copied count is no message",
    ),
    (
        NEW,
        "",
        Some("allow_msg_schedules = true"),
        "error[migration]: `stream.A` holds schedules, which a copy does not carry out",
    ),
    (
        NEW,
        "sources = [{ name = 'C' }]",
        Some(""),
        "error[migration]: `stream.B` copies streams of its own, which would mix with those of the migration",
    ),
    (
        SOURCE,
        "subject_transform = { src = 'b.>', dest = 'c.>' }",
        None,
        "error[migration]: `stream.B` rewrites subjects by itself, so that a copy could not be held against its origin",
    ),
    (NEW, "discard = 'new'", Some(""), ""),
    (
        SOURCE,
        "discard = 'new'\nmax_msgs = 3",
        None,
        "error[migration]: `stream.B` refuses messages at its limit, where the copy would stop and look complete",
    ),
    (MIRROR, "discard = 'new'\nmax_msgs = 3", None, ""),
    // Limits.
    (NEW, "max_age = '1d'", Some("max_age = '1d'"), ""),
    (
        NEW,
        "max_age = '1d'",
        Some("max_age = '2d'"),
        "error[data-loss]: `max_age` of `stream.B` is 24h, and of `stream.A` 2d: what is beyond would be dropped",
    ),
    (
        NEW,
        "max_bytes = '1GiB'",
        Some(""),
        "error[data-loss]: `max_bytes` of `stream.B` is 1GiB, and of `stream.A` no limit: what is beyond would be dropped",
    ),
    (
        NEW,
        "max_msgs = 5",
        Some("max_msgs = 6"),
        "error[data-loss]: `max_msgs` of `stream.B` is 5, and of `stream.A` 6: what is beyond would be dropped",
    ),
    (
        NEW,
        "max_msgs_per_subject = 5",
        Some("max_msgs_per_subject = 6"),
        "error[data-loss]: `max_msgs_per_subject` of `stream.B` is 5, and of `stream.A` 6: what is beyond would be dropped",
    ),
    (NEW, "max_msg_size = 1256", Some("max_msg_size = 1000"), ""),
    (
        NEW,
        "max_msg_size = 1000",
        Some("max_msg_size = 1000"),
        "error[limit]: `max_msg_size` of `stream.B` is 1000: a message of `stream.A` that is as long as allowed would block the copy",
    ),
    (
        NEW,
        "max_msg_size = 1000",
        Some(""),
        "error[limit]: `max_msg_size` of `stream.B` is 1000: a message of `stream.A` that is as long as allowed would block the copy",
    ),
    (
        SOURCE,
        "max_msg_size = 1000",
        None,
        "note[limit]: `max_msg_size` of `stream.B` is 1000: a longer message of `stream.A` would block the copy",
    ),
    (
        SOURCE,
        "duplicate_window = '2m'",
        None,
        "warning[data-loss]: `duplicate_window` of `stream.B` is written, so that a copy whose id came before is dropped",
    ),
    (MIRROR, "duplicate_window = '2m'", None, ""),
];

#[test]
fn what_no_copy_can_be_made_into_is_refused_by_the_spec_alone() {
    for (strategy, to, from, wanted) in CASES {
        let from = from.map(|it| format!("{A}{it}\n")).unwrap_or_default();
        let mapping = if *strategy == NEW { MAP } else { "" };
        assert_eq!(
            held(strategy, mapping, &format!("{B}{to}\n{from}")).join(" | "),
            *wanted,
            "{strategy}: {to} {from}"
        );
    }
}

#[test]
fn a_mapping_takes_all_and_leads_to_what_is_declared() {
    let collapsing = "{ src = 'a.*', dest = 'b.x' }";
    for (mapping, to, from, wanted) in [
        (MAP, "", "", ""),
        (
            "",
            "",
            "",
            "error[migration]: copies would keep the subjects of `stream.A`, which `stream.B` does not take",
        ),
        (
            "{ src = 'a.>', dest = 'c.>' }",
            "",
            "",
            "error[migration]: `c.>` is no subject of `stream.B`",
        ),
        (
            "{ src = 'a.x', dest = 'b.x' }",
            "",
            "",
            "error[unproven]: messages of `stream.A` on `a.>` would not be copied",
        ),
        (
            collapsing,
            "",
            "",
            "error[unproven]: messages of `stream.A` on `a.>` would not be copied",
        ),
        (collapsing, "", "[streams.A]\nsubjects = ['a.*']\n", ""),
        (
            collapsing,
            "max_msgs_per_subject = 3",
            "[streams.A]\nsubjects = ['a.*']\nmax_msgs_per_subject = 3\n",
            "error[data-loss]: the mapping makes one subject of several, and `stream.B` keeps so many of each",
        ),
        ("{ src = 'A', dest = 'b.x' }", "", "[streams.A]\n", ""),
    ] {
        let from = if from.is_empty() { A } else { from };
        assert_eq!(
            held(NEW, mapping, &format!("{B}{to}\n{from}")).join(" | "),
            wanted,
            "{mapping} {to} {from}"
        );
    }
}

#[test]
fn what_is_named_is_declared_and_consumers_do_not_meet() {
    assert_eq!(held(NEW, MAP, A), ["error[missing]: `stream.B` is not declared in `dev`"]);
    let pushed = |stream: &str, subject: &str| {
        format!(
            "[streams.{stream}.consumers.C]\nack_policy = 'explicit'\ndeliver_subject = '{subject}'\n"
        )
    };
    let both = |subject| format!("{A}{}{B}{}", pushed("A", "deliver.x"), pushed("B", subject));
    assert_eq!(held(NEW, MAP, &both("deliver.y")), [""; 0]);
    let twice = "error[conflict]: `consumer.B.C` and `consumer.A.C` both deliver to `deliver.x`, where each message would come twice";
    assert_eq!(held(NEW, MAP, &both("deliver.x")), [twice]);
    assert_eq!(held(PARALLEL, "", &both("deliver.x")), [twice]);
    let only = by(NEW, "source wait verify consumers{only = ['C', 'D']}} bind");
    let only = only.replace("do = \"source\"\n", &format!("do = \"source\"\nmapping = [{MAP}]\n"));
    assert_eq!(
        against(&only, &both("deliver.y")),
        ["error[missing]: `consumer.B.D` is not declared"]
    );
    // One that is not for the environment says nothing of it.
    let elsewhere = only.replace("to = \"B\"", "to = \"B\"\nenvironments = [\"prod\"]");
    assert_eq!(against(&elsewhere, A), [""; 0]);
}

#[test]
fn buckets_are_mirrored_and_nothing_else() {
    for (strategy, names, wanted) in [
        (
            SOURCE,
            ["KV_A", "KV_B"],
            "error[migration]: the revisions of `kv.B` are sequences, which `same-subjects-source` does not keep",
        ),
        (
            SOURCE,
            ["OBJ_A", "OBJ_B"],
            "error[migration]: the parts of `object.B` are found by their sequences, which `same-subjects-source` does not keep",
        ),
        (MIRROR, ["KV_A", "KV_B"], ""),
        (MIRROR, ["OBJ_A", "OBJ_B"], ""),
    ] {
        let words = if strategy == MIRROR {
            "mirror wait verify park wait verify promote"
        } else {
            "source wait verify park wait verify bind"
        };
        let text = by(strategy, words)
            .replace("\"A\"", &format!("\"{}\"", names[0]))
            .replace("\"B\"", &format!("\"{}\"", names[1]));
        let table = if names[1].starts_with("KV") { "kv" } else { "object" };
        assert_eq!(
            against(&text, &format!("[{table}.B]\n")).join(" | "),
            wanted,
            "{strategy} {names:?}"
        );
    }
}
