//! Single keys, and what is wrong with them.

use super::{SOURCE, by, found};

/// What is wrong with single keys: what stands under `[migration]`, the steps, and what is found.
pub(crate) const WRONG: &[(&str, &str, &str)] = &[
    (
        "",
        "",
        "error[missing]: `[migration]` has no `reason` | error[missing]: there is no `[[step]]`",
    ),
    ("reason = ' '", "do = 'gate'\nid = 'a'", "error[missing]: `[migration]` has no `reason`"),
    ("reason = 1", "do = 'gate'\nid = 'a'", "error[wrong-type]: `reason` is given a whole number"),
    (
        "reason = 'a'\nstratagy = 'parallel'",
        "do = 'gate'\nid = 'a'",
        "error[unknown-key]: `[migration]` has no key `stratagy`",
    ),
    (
        "reason = 'a'\nstrategy = 'paralel'\nfrom = 'A'\nto = 'B'",
        "do = 'create'\nid = 'a'",
        "error[bad-value]: `strategy` does not take \"paralel\"",
    ),
    (
        "reason = 'a'\nstrategy = 'parallel'\nfrom = 'A'",
        "do = 'create'\nid = 'a'",
        "error[missing]: `parallel` needs `to`",
    ),
    (
        "reason = 'a'\nstrategy = 'parallel'\nto = 'A'",
        "do = 'create'\nid = 'a'",
        "error[missing]: `parallel` needs `from`",
    ),
    (
        "reason = 'a'\nstrategy = 'parallel'\nfrom = 'A'\nto = 'A'",
        "do = 'create'\nid = 'a'",
        "error[migration]: `from` and `to` are the same stream",
    ),
    (
        "reason = 'a'\nstrategy = 'parallel'\nfrom = 'a.b'\nto = 'B'",
        "do = 'create'\nid = 'a'",
        "error[bad-name]: `from` is `a.b`, which is no name for a stream",
    ),
    (
        "reason = 'a'\nto = 'B'",
        "do = 'gate'\nid = 'a'",
        "error[missing]: `to` says where messages go, and no `strategy` how",
    ),
    (
        "reason = 'a'\nenvironments = ['dev', 'Prod']",
        "do = 'gate'\nid = 'a'",
        "error[bad-name]: `Prod` is no name for an environment",
    ),
    (
        "reason = 'a'\nenvironments = ['dev', 'dev']",
        "do = 'gate'\nid = 'a'",
        "error[duplicate]: `dev` stands twice among the environments",
    ),
    (
        "reason = 'a'\nrequires = ['x']",
        "do = 'gate'\nid = 'a'",
        "error[bad-value]: `requires` names `x`, which is no version",
    ),
    (
        "reason = 'a'\nrequires = ['0001']",
        "do = 'gate'\nid = 'a'",
        "error[migration]: `0001` requires itself",
    ),
    (
        "reason = 'a'\nrequires = ['0000']",
        "do = 'gate'\nid = 'a'",
        "error[migration]: `requires` names `0000`, which is no migration",
    ),
    ("reason = 'a'", "id = 'a'", "error[missing]: a step has no `do`"),
    ("reason = 'a'", "do = 'gate'", "error[missing]: a step has no `id`"),
    ("reason = 'a'", "do = 'gat'\nid = 'a'", "error[bad-value]: `do` does not take \"gat\""),
    ("reason = 'a'", "do = 'gate'\nid = 'A b'", "error[bad-name]: `A b` is no name for a step"),
    (
        "reason = 'a'",
        "do = 'gate'\nid = 'a'\n[[step]]\ndo = 'gate'\nid = 'a'",
        "error[duplicate]: two steps are called `a`",
    ),
    (
        "reason = 'a'",
        "do = 'gate'\nid = 'a'\naprove = ['dev']",
        "error[unknown-key]: `gate` has no key `aprove`",
    ),
    (
        "reason = 'a'",
        "do = 'source'\nid = 'a'",
        "error[migration]: `source` is about messages that move, and there is no `strategy`",
    ),
    (
        "reason = 'a'",
        "do = 'retire'\nid = 'a'\nmode = 'keep'",
        "error[missing]: `retire` ends `from`, which is not named",
    ),
    (
        "reason = 'a'",
        "do = 'soak'\nid = 'a'\nidle = '1h'",
        "error[missing]: `soak` looks whether `from` is used, which is not named",
    ),
    ("reason = 'a'", "do = 'soak'\nid = 'a'", "error[missing]: `soak` waits for nothing"),
    (
        "reason = 'a'",
        "do = 'soak'\nid = 'a'\nat_least = '3 moons'",
        "error[bad-value]: `at_least` is not understood",
    ),
    (
        "reason = 'a'\nenvironments = ['dev']",
        "do = 'gate'\nid = 'a'\napprove = ['prod']",
        "error[bad-value]: `approve` names `prod`, which the migration is not for",
    ),
    (
        "reason = 'a'\nfrom = 'A'",
        "do = 'retire'\nid = 'a'",
        "error[missing]: `retire` has no `mode`",
    ),
    (
        "reason = 'a'\nfrom = 'A'",
        "do = 'retire'\nid = 'a'\nmode = 'seal'",
        "error[migration]: `retire` seals `from`, and nobody has seen that it is used no more",
    ),
    ("reason = 'a'", "do = 'note'\nid = 'a'", "error[missing]: `note` has no `text`"),
    ("reason = 'a'", "do = 'assert'\nid = 'a'", "error[missing]: `assert` asserts nothing"),
    (
        "reason = 'a'",
        "do = 'assert'\nid = 'a'\nexists = ['A']",
        "error[bad-value]: `A` is no address",
    ),
    (
        "reason = 'a'",
        "do = 'assert'\nid = 'a'\nempty = ['consumer.A.B']",
        "error[bad-value]: `consumer.A.B` holds no messages of its own",
    ),
];

#[test]
fn what_is_wrong_with_a_key_is_said_once() {
    for (head, step, wanted) in WRONG {
        let step = if step.is_empty() { String::new() } else { format!("[[step]]\n{step}\n") };
        let text = format!("[migration]\n{head}\n{step}");
        assert_eq!(found(&text).join(" | "), *wanted, "{text}");
    }
    for (text, wanted) in [
        ("", "error[missing]: there is no `[migration]`"),
        (
            "[migratoin]\n",
            "error[missing]: there is no `[migration]` | error[unknown-key]: a migration has no key `migratoin`",
        ),
        (
            "migration = 1\nstep = 2",
            "error[missing]: `[migration]` has no `reason` | error[wrong-type]: `migration` is given a whole number | error[wrong-type]: `step` is no list of tables",
        ),
        (
            "step = [1]\n[migration]\nreason = 'a'",
            "error[wrong-type]: `step` is given a whole number",
        ),
        ("[migration\n", "error[syntax]: a header without its `]`"),
    ] {
        assert!(found(text).join(" | ").contains(wanted), "{text}: {:?}", found(text));
    }
}

/// Keys of a copy that cannot be, in a migration that could otherwise.
const WRONG_COPIES: &[(&str, &str)] = &[
    (
        "mapping = [{ src = 'a..b', dest = 'c' }]",
        "error[bad-subject]: `mapping.src` holds \"a..b\", which is no subject",
    ),
    ("mapping = [{ src = 'a' }]", "error[missing]: `mapping` has no `dest`"),
    ("mapping = [{ src = 'a.>', dest = 'b' }]", "error[bad-subject]: `a.>` cannot become `b`"),
    (
        "mapping = [{ src = 'a.*', dest = 'b.{{wildcard(2)}}' }]",
        "error[bad-subject]: `a.*` cannot become `b.{{wildcard(2)}}`",
    ),
    (
        "mapping = [{ src = 'a.*', dest = 'b.{{partition(3,1)}}' }]",
        "error[unproven]: jsplan does not follow `{{partition(3,1)}}`, so that no copy could be held against its origin",
    ),
    (
        "mapping = [{ src = 'a.*', dest = 'b.{{left(1,2)}}' }]",
        "error[unproven]: jsplan does not follow `{{left(1,2)}}`, so that no copy could be held against its origin",
    ),
    (
        "mapping = [{ src = 'a.*', dest = 'b.x{{wildcard(1)}}' }]",
        "error[unproven]: jsplan does not follow `x{{wildcard(1)}}`, so that no copy could be held against its origin",
    ),
    (
        "mapping = [{ src = 'a.*', dest = 'b.$1' }, { src = 'a.x', dest = 'c' }]",
        "error[subject-overlap]: `a.*` and `a.x` take the same messages",
    ),
    (
        "mapping = [{ src = 'a.*', dest = 'b' }]",
        "warning[migration]: different subjects of `a.*` become one of `b`",
    ),
    (
        "mapping = [{ src = 'a', dest = 'c' }, { src = 'b', dest = 'c' }]",
        "warning[migration]: different subjects of `a and b` become one of `c`",
    ),
    ("exec = ['./up']", "error[missing]: `exec` stands without `dead_letters`"),
    ("dead_letters = 'C'", "error[missing]: `dead_letters` stands without `exec`"),
    ("exec = []\ndead_letters = 'C'", "error[bad-value]: `exec` names no program"),
    ("exec = ['./up']\ndead_letters = 'C D'", "error[bad-name]: `C D` is no name for a stream"),
    (
        "exec = ['./up']\ndead_letters = 'A'",
        "error[conflict]: what the program rejects would go to a stream of the migration itself",
    ),
];

#[test]
fn a_copy_that_could_not_be_proved_is_refused() {
    for (keys, wanted) in WRONG_COPIES {
        let text = by(SOURCE, "source wait verify park wait verify bind");
        let text = text.replace("do = \"source\"\n", &format!("do = \"source\"\n{keys}\n"));
        assert_eq!(found(&text).join(" | "), *wanted, "{keys}");
    }
    for keys in [
        "mapping = [{ src = 'a.*.>', dest = 'b.{{wildcard(1)}}.>' }]",
        "mapping = [{ src = 'a.*.*', dest = 'b.{{ Wildcard( 2 ) }}.$1' }, { src = 'c', dest = 'c' }]",
    ] {
        let text = by(SOURCE, "source wait verify park wait verify bind");
        let text = text.replace("do = \"source\"\n", &format!("do = \"source\"\n{keys}\n"));
        assert_eq!(found(&text), [""; 0], "{keys}");
    }
    let text = by(SOURCE, "source wait{within = \"0s\"}} verify park wait verify bind");
    assert_eq!(
        found(&text),
        ["error[bad-value]: `within` is 0, so that nothing could come in time"]
    );
    let text = by(SOURCE, "source wait verify park wait verify bind consumers{only = []}}");
    assert_eq!(found(&text), ["error[bad-value]: `only` names no consumer"]);
}
