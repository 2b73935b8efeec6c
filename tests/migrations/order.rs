//! How steps stand to each other: what cannot work, and what can.

use super::{DELETE, EXEC, KEEP, MIRROR, NEW, PARALLEL, SEAL, SOAK, SOURCE, by, found};

/// Steps that cannot work, each for one reason.
pub(crate) const WRONG: &[(&str, &str, &str)] = &[
    // The wrong words.
    (NEW, "mirror", "error[migration]: `mirror` has no place in `new-subjects`"),
    (NEW, "create", "error[migration]: `create` has no place in `new-subjects`"),
    (
        NEW,
        "source wait verify promote",
        "error[migration]: `promote` has no place in `new-subjects`",
    ),
    (
        NEW,
        "source wait verify bind reverse",
        "error[migration]: `reverse` has no place in `new-subjects`",
    ),
    (
        MIRROR,
        "mirror wait verify park wait verify bind",
        "error[migration]: `bind` has no place in `same-subjects-mirror`",
    ),
    (MIRROR, "source", "error[migration]: `source` has no place in `same-subjects-mirror`"),
    (PARALLEL, "create consumers", "error[migration]: `consumers` has no place in `parallel`"),
    // What makes `to`.
    (NEW, "gate", "error[migration]: no step makes `to`"),
    (
        NEW,
        "source source wait verify bind",
        "error[migration]: `source` does again what the step `s0` did",
    ),
    (
        NEW,
        "wait source wait verify bind",
        "error[migration]: `wait` stands before the step that makes `to`",
    ),
    // Twice what is done once.
    (
        NEW,
        "source wait verify bind bind",
        "error[migration]: `bind` does again what the step `s3` did",
    ),
    (
        SOURCE,
        "source wait verify park wait verify bind reverse reverse",
        "error[migration]: `reverse` does again what the step `s7` did",
    ),
    // A proof needs its wait.
    (
        NEW,
        "source verify bind",
        "error[unproven]: `verify` has no `wait` before it: what is on its way is not there yet",
    ),
    (
        SOURCE,
        "source wait verify park verify bind",
        "error[unproven]: `verify` has no `wait` before it: what is on its way is not there yet",
    ),
    // What `bind` needs.
    (
        NEW,
        "source wait verify",
        "error[migration]: `to` never gets its subjects: there is no `bind`",
    ),
    (
        MIRROR,
        "mirror wait verify",
        "error[migration]: `to` never gets its subjects: there is no `promote`",
    ),
    (
        SOURCE,
        "source wait verify park wait verify",
        "error[migration]: `to` never gets its subjects: there is no `bind`",
    ),
    (
        NEW,
        "source bind",
        "error[unproven]: `bind` stands before it is proved that `to` holds what `from` holds",
    ),
    (
        NEW,
        "source wait bind verify",
        "error[unproven]: `bind` stands before it is proved that `to` holds what `from` holds",
    ),
    (
        SOURCE,
        "source wait verify bind",
        "error[migration]: `from` still has the subjects when `bind` gives them to `to`",
    ),
    (
        MIRROR,
        "mirror wait verify promote",
        "error[migration]: `from` still has the subjects when `promote` gives them to `to`",
    ),
    (
        SOURCE,
        "source wait verify bind park wait verify",
        "error[migration]: `from` still has the subjects when `bind` gives them to `to`",
    ),
    (
        SOURCE,
        "source wait verify park bind",
        "error[unproven]: nothing proves between `park` and `bind` that the last messages came over",
    ),
    (
        MIRROR,
        "mirror wait verify park wait promote",
        "error[unproven]: nothing proves between `park` and `promote` that the last messages came over",
    ),
    // While publishers are refused.
    (
        SOURCE,
        "source park wait verify bind",
        "error[migration]: the whole stream would be verified while publishers are refused",
    ),
    (
        SOURCE,
        "source wait verify park gate wait verify bind",
        "error[migration]: `gate` stands between `park` and `bind`, while publishers are refused",
    ),
    (
        SOURCE,
        "source wait verify park wait verify consumers bind",
        "error[migration]: `consumers` stands between `park` and `bind`, while publishers are refused",
    ),
    (
        NEW,
        "source wait verify park wait verify bind",
        "error[migration]: `park` refuses the publishers of `from` before they have where to go",
    ),
    (
        NEW,
        "source wait verify bind park wait verify",
        "error[migration]: `park` refuses the publishers of `from` before they had time to move",
    ),
    // The way back, and consumers.
    (
        SOURCE,
        "source wait verify reverse park wait verify bind",
        "error[migration]: `reverse` stands before `bind`: both would copy each other",
    ),
    (
        NEW,
        "source consumers wait verify bind",
        "error[unproven]: `consumers` stands before it is proved what their positions are in `to`",
    ),
];

/// The same, of steps with keys.
pub(crate) fn wrong_with_keys() -> Vec<(&'static str, String, &'static str)> {
    let moved = "source wait verify bind";
    let taken = "source wait verify park wait verify bind";
    vec![
        (
            NEW,
            format!("{EXEC} wait verify bind"),
            "error[unproven]: what is published to `from` behind the last `verify` would not be in `to`",
        ),
        (
            SOURCE,
            format!("{EXEC} wait verify park wait verify bind reverse"),
            "error[migration]: what the program made of messages would come back to `from`",
        ),
        (
            NEW,
            format!("{moved} {SOAK} park wait verify {SEAL} note{{text = \"done\"}}}} gate"),
            "error[migration]: `gate` stands behind `retire`, with which it ends",
        ),
        (
            NEW,
            format!("{moved} {KEEP} {KEEP}"),
            "error[migration]: `retire` does again what the step `s4` did",
        ),
        (
            NEW,
            format!("source wait verify {KEEP} bind"),
            "error[migration]: `retire` ends `from` before `to` has its subjects | error[migration]: `bind` stands behind `retire`, with which it ends",
        ),
        (
            NEW,
            format!("{moved} {SOAK} {SEAL}"),
            "error[unproven]: what is published to `from` at the last moment would not be in `to`",
        ),
        (
            NEW,
            format!("{moved} {SOAK} park {DELETE}"),
            "error[unproven]: what is published to `from` at the last moment would not be in `to`",
        ),
        (
            NEW,
            format!("{moved} {SOAK} park park wait verify {DELETE}"),
            "error[migration]: `park` does again what the step `s5` did",
        ),
        (
            SOURCE,
            format!("{taken} {SEAL}"),
            "error[migration]: `retire` seals `from`, and nobody has seen that it is used no more",
        ),
        (
            SOURCE,
            format!("{SOAK} {taken} {DELETE}"),
            "error[migration]: `retire` deletes `from`, and nobody has seen that it is used no more",
        ),
        (
            PARALLEL,
            format!("create {SEAL}"),
            "error[migration]: `retire` seals `from`, and nobody has seen that it is used no more",
        ),
    ]
}

#[test]
fn steps_in_an_order_that_cannot_work_are_refused_each_for_one_reason() {
    let plain =
        WRONG.iter().map(|(strategy, words, wanted)| (*strategy, (*words).to_owned(), *wanted));
    for (strategy, words, wanted) in plain.chain(wrong_with_keys()) {
        assert_eq!(found(&by(strategy, &words)).join(" | "), wanted, "{strategy}: {words}");
    }
}

#[test]
fn steps_in_an_order_that_works_are_taken() {
    let taken = "source wait verify park wait verify bind";
    for (strategy, words) in [
        (NEW, "source wait verify bind".to_owned()),
        (NEW, format!("source wait verify bind {SOAK} park wait verify {DELETE}")),
        (NEW, format!("source wait verify bind {KEEP}")),
        (NEW, format!("{EXEC} wait verify gate park wait verify bind consumers {SOAK} {SEAL}")),
        (NEW, format!("gate source wait wait verify verify consumers gate consumers bind {SOAK}")),
        (SOURCE, taken.to_owned()),
        (
            SOURCE,
            format!("{taken} reverse consumers {SOAK} {DELETE} assert{{empty = [\"stream.A\"]}}}}"),
        ),
        (SOURCE, format!("{EXEC} wait verify park wait verify bind {SOAK} {SEAL}")),
        (MIRROR, "mirror wait verify park wait verify promote consumers".to_owned()),
        (PARALLEL, format!("create {SOAK} {SEAL}")),
        (PARALLEL, format!("create {KEEP}")),
    ] {
        assert_eq!(found(&by(strategy, &words)), [""; 0], "{strategy}: {words}");
    }
}
