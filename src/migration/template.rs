//! A migration for each strategy, as `migrate new` writes it: whole, and with what a newcomer has to
//! know of every step beside it.

use super::{Mapping, Strategy};

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// How it gets there.
    pub strategy: Strategy,
    /// The stream that messages come from.
    pub from: &'a str,
    /// The stream that they go to.
    pub to: &'a str,
    /// The environments it is for, in the order of promotion.
    pub environments: &'a [String],
    /// What becomes of subjects; empty keeps them.
    pub mapping: &'a [Mapping],
    /// Why there is a migration.
    pub reason: &'a str,
}

/// One step: what is said above it, and its lines.
type Part = (&'static str, String);

/// The text of a migration.
#[must_use]
pub fn template(wish: &Wish<'_>) -> String {
    let Wish { strategy, from, to, environments, reason, .. } = wish;
    let mut text = format!("# {}\n", about(*strategy).replace('\n', "\n# "));
    text += &format!("[migration]\nreason = {}\n", quoted(reason));
    text += &format!("strategy = \"{strategy}\"\n");
    text += &format!("from = {}\nto = {}\n", quoted(from), quoted(to));
    if !environments.is_empty() {
        text += "# In this order: each once the migration is done in the one before.\n";
        text += &format!("environments = {}\n", list(environments));
    }
    let parts = match strategy {
        Strategy::NewSubjects => new_subjects(wish),
        Strategy::SameSubjectsSource => same_subjects(wish, source(wish), "bind"),
        Strategy::SameSubjectsMirror => same_subjects(wish, mirror(), "promote"),
        Strategy::Parallel => parallel(wish),
    };
    for (comment, lines) in parts {
        text.push('\n');
        for line in comment.lines() {
            text += &format!("# {line}\n");
        }
        text += &format!("[[step]]\n{lines}");
    }
    text
}

fn about(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::NewSubjects => {
            "New subjects beside the old ones: the new stream copies the old one and goes on following it,\n\
             publishers and readers move when they like, and the old stream ends once nobody uses it."
        }
        Strategy::SameSubjectsSource => {
            "The same subjects in a new stream: it copies the old one, and takes its subjects over in one\n\
             moment, in which publishers are refused and try again. Sequences and time stamps are new."
        }
        Strategy::SameSubjectsMirror => {
            "The same subjects in a new stream: it mirrors the old one, with its sequences and time stamps,\n\
             and takes its subjects over in one moment, in which publishers are refused and try again.\n\
             It takes nats-server 2.12 or later."
        }
        Strategy::Parallel => {
            "A new stream beside the old one. It begins empty: what the old one holds stays there, until its\n\
             readers are done with it."
        }
    }
}

fn source(wish: &Wish<'_>) -> Part {
    let mut lines = step("copy", "source");
    if let [_, ..] = wish.mapping {
        let line =
            |it: &Mapping| format!("{{ src = {}, dest = {} }}", quoted(&it.src), quoted(&it.dest));
        let mapping: Vec<_> = wish.mapping.iter().map(line).collect();
        lines += &format!("mapping = [{}]\n", mapping.join(", "));
    }
    ("The new stream is made, and copies the old one. Nobody publishes to it yet.", lines)
}

fn mirror() -> Part {
    ("The new stream is made, and mirrors the old one.", step("copy", "mirror"))
}

/// What every copy is held against before anything else is done.
fn proved() -> [Part; 2] {
    [
        (
            "Until it has come to where the old one stands. A run that ends here is gone on with.",
            step("caught-up", "wait") + "within = \"1h\"\n",
        ),
        (
            "Every message is compared, by content and in order: counts and lag prove nothing.",
            step("proved", "verify"),
        ),
    ]
}

/// The same for what was published while that was done.
fn proved_again() -> [Part; 2] {
    [
        ("The last messages come over …", step("drained", "wait") + "within = \"1m\"\n"),
        (
            "… and are compared too: only those, so that it takes moments.",
            step("complete", "verify"),
        ),
    ]
}

/// Somebody approves where it matters: in the last environment.
fn ready(wish: &Wish<'_>) -> Part {
    let approve = match wish.environments {
        [.., last] => format!("approve = [{}]\n", quoted(last)),
        [] => String::new(),
    };
    let comment = if approve.is_empty() {
        "Nobody has to approve. Name environments to change that: `approve = [\"prod\"]`."
    } else {
        "Somebody looks, and approves: `jsplan migrate apply --approve`."
    };
    (comment, step("ready", "gate") + &approve)
}

fn consumers() -> Part {
    (
        "Each consumer begins where its namesake on the old stream stands: nothing is skipped. What was\n\
         acknowledged out of order may come again.",
        step("consumers", "consumers"),
    )
}

fn soaked() -> Part {
    (
        "Until nobody has used the old stream for three days.",
        step("soak", "soak") + "idle = \"72h\"\n",
    )
}

fn retired(strategy: Strategy) -> Part {
    let comment = if strategy.takes_subjects() {
        "The point of no return: the old stream can be read, and takes nothing more."
    } else {
        "The point of no return: the old stream can be read, and takes nothing more. Once every\n\
         environment is there its block can go from the spec: jsplan keeps it until a migration deletes it."
    };
    (comment, step("retire", "retire") + "mode = \"seal\"\n")
}

fn new_subjects(wish: &Wish<'_>) -> Vec<Part> {
    let mut parts = vec![source(wish)];
    parts.extend(proved());
    parts.extend([ready(wish), consumers()]);
    parts.push((
        "The new stream takes its own subjects. From here on publishers and readers move when they like:\n\
         it goes on following the old one.",
        step("bind", "bind"),
    ));
    parts.push(soaked());
    parts.push((
        "Whoever publishes on the old subjects now is refused, so that nothing is late for the proof.",
        step("park", "park"),
    ));
    parts.extend(proved_again());
    parts.push(retired(wish.strategy));
    parts
}

fn same_subjects(wish: &Wish<'_>, copy: Part, bind: &str) -> Vec<Part> {
    let mut parts = vec![copy];
    parts.extend(proved());
    parts.push(ready(wish));
    parts.push((
        "The moment begins: the old stream lets go of its subjects, and publishers are refused.",
        step("park", "park"),
    ));
    parts.extend(proved_again());
    parts.push((
        "The moment ends: the new stream has the subjects, and publishers come through.",
        step(bind, bind),
    ));
    parts.push((
        "The old stream follows the new one, so that its readers move when they like, and so that all of\n\
         it can be taken back.",
        step("reverse", "reverse"),
    ));
    parts.extend([consumers(), soaked(), retired(wish.strategy)]);
    parts
}

fn parallel(wish: &Wish<'_>) -> Vec<Part> {
    let made = ("The new stream is made as the spec declares it, empty.", step("create", "create"));
    vec![made, ready(wish), soaked(), retired(wish.strategy)]
}

fn step(id: &str, word: &str) -> String {
    format!("id = \"{id}\"\ndo = \"{word}\"\n")
}

fn list(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|it| quoted(it)).collect::<Vec<_>>().join(", "))
}

/// A text in quotes, as TOML has it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            it if it.is_control() => quoted += &format!("\\u{:04X}", u32::from(it)),
            it => quoted.push(it),
        }
    }
    quoted.push('"');
    quoted
}
