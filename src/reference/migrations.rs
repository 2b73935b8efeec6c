//! The page of migrations: the keys of a file and the words of its steps, each with its way back.

use super::{setting, write};
use crate::migration::{
    Strategy,
    read::word::{MIGRATION, STEP, WORDS, Word},
};

const PAGE: &str = "\
# Migrations

A migration is a file `environments/migrations/NNNN_name.toml`: a version of four digits or more, and a
name of lower-case letters, digits and `_`. The spec says where an environment ends, a migration how it
gets there where no update can. This page is written from `src/migration/read/word.rs`; a test fails
when it is stale.

```toml
[migration]
reason = \"orders get a new shape\"
strategy = \"new-subjects\"
from = \"ORDERS_V1\"
to = \"ORDERS_V2\"
environments = [\"staging\", \"prod\"]

[[step]]
id = \"copy\"
do = \"source\"
mapping = [{ src = \"orders.v1.>\", dest = \"orders.v2.>\" }]
```

`jsplan migrate new` writes a whole one for each strategy, with a comment above every step.

- Steps are done in the order in which they stand, and each is written down before it begins and when it
  has ended. A run that is cut short is gone on with by the next.
- `to` is made as the spec declares it, and takes its subjects with `bind` or `promote`, not before.
- `jsplan.sum` beside the files says which were reviewed and what each meant. A layout may change, and
  comments: what a file means is its keys and values. An environment is never at a migration that nobody
  reviewed.

## `[migration]`

| key | value | what it is |
|---|---|---|
";

const MAPPING: &str = "
A mapping is one by which a copy can be held against its origin: plain tokens, `{{wildcard(1)}}` or `$1`,
and `>` at the end. The other functions of the server are refused.
";

const REFUSED: &str = "
## What is asked of the order

- One step makes `to`, before any that uses it, and one gives it its subjects.
- A `verify` has a `wait` before it: since `to` was made, or since `park` where that was before.
- Nothing is bound before it is proved. Where `to` takes the subjects of `from`, and behind a program,
  that is `park`, `wait`, `verify` and nothing else; another `verify` stands before `park`, so that
  publishers wait for the last messages only.
- `from` is sealed or deleted behind a `soak`. With new subjects `park`, `wait` and `verify` follow that
  one, so that nothing is published too late to be proved. In `parallel` what `from` holds stays there.
- `retire` is the last step; only `assert` and `note` may follow.
";

/// The whole page.
pub(super) fn page() -> String {
    let mut page = PAGE.to_owned();
    MIGRATION.iter().for_each(|it| write(&mut page, &setting(it)));
    write(&mut page, "\n| strategy | what it does |\n|---|---|\n");
    for (strategy, name) in Strategy::ALL {
        write(&mut page, &format!("| `{name}` | {} |\n", about(strategy)));
    }
    write(&mut page, "\n## `[[step]]`\n\n| key | value | what it is |\n|---|---|---|\n");
    // The words themselves are listed below.
    let [id, does] = STEP else { return page };
    write(&mut page, &setting(id));
    write(&mut page, &format!("| `{}` | a word | {} |\n", does.0, does.2));
    write(&mut page, "\n| word | what it does | in | what a rollback does |\n|---|---|---|---|\n");
    for Word { name, doc, of, back, .. } in WORDS {
        write(&mut page, &format!("| `{name}` | {doc} | {} | {back} |\n", places(of)));
    }
    for Word { name, keys, needs, .. } in WORDS.iter().filter(|it| !it.keys.is_empty()) {
        write(&mut page, &format!("\n### `{name}`\n\n"));
        write(&mut page, "| key | value | what it is |\n|---|---|---|\n");
        keys.iter().for_each(|it| write(&mut page, &setting(it)));
        for it in *needs {
            write(&mut page, &format!("\n`{it}` is required.\n"));
        }
        if keys.iter().any(|it| it.0 == "mapping") {
            write(&mut page, MAPPING);
        }
    }
    page + REFUSED
}

/// A strategy in a sentence.
fn about(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::NewSubjects => {
            "`to` has subjects of its own and follows `from`; publishers move when they like."
        }
        Strategy::SameSubjectsSource => {
            "`to` follows `from`, and takes its subjects over in one moment."
        }
        Strategy::SameSubjectsMirror => {
            "The same by a mirror that is promoted: sequences and time stamps are kept, as a bucket \
             needs it. It takes nats-server 2.12 or later."
        }
        Strategy::Parallel => {
            "`to` begins empty beside `from`; no messages are moved, and what `from` holds stays there."
        }
    }
}

/// The strategies in which a word has a place.
fn places(of: &[Option<Strategy>]) -> String {
    let named: Vec<_> = of.iter().flatten().map(|it| format!("`{it}`")).collect();
    match (named.len() == Strategy::ALL.len(), of.contains(&None)) {
        (true, true) => "any, and without a strategy".to_owned(),
        (_, _) => named.join(", "),
    }
}
