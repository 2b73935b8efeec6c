//! `[[step]]`: one step, as its word takes it.

use toml::de::DeTable;

use super::{
    head::{Head, items, texts},
    mapping,
    word::{STEP, WORDS, Word},
};
use crate::{
    address::Address,
    finding::{Code, Finding, Place},
    migration::{Does, Retire, Step, Strategy},
    spec::{
        read::is_name,
        value::{Fields, Reader, Toml, quoted},
    },
};

/// How long a step waits where its file does not say.
const WITHIN: i64 = 600_000_000_000;

/// What every step has, which is read before the rest.
const STEP_KEYS: [&str; 2] = [STEP[0].0, STEP[1].0];

/// One `[[step]]`, and what is known of it so far.
struct Draft<'a, 't> {
    table: &'a DeTable<'t>,
    /// Where the value of `do` stands.
    place: Place,
    word: &'static Word,
    fields: Fields,
}

/// Reads the steps. What is not known of one is made up, once a finding says so.
pub(super) fn read(reader: &mut Reader<'_>, head: &Head, given: &[Toml<'_>]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for given in given {
        let Some(table) = reader.table_of("step", given) else { continue };
        let whole = reader.place(given.span());
        let id = id(reader, table, whole, &steps);
        let Some((word, place)) = word(reader, table, whole) else { continue };
        in_place(reader, head, word, place);
        let whose = format!("`{}`", word.name);
        let fields = reader.keys(&whose, word.keys, &STEP_KEYS, table);
        let draft = Draft { table, place, word, fields };
        draft.needs(reader);
        let does = draft.does(reader, head);
        steps.push(Step { id, does, meaning: super::meaning(given.get_ref()), place });
    }
    steps
}

fn id(reader: &mut Reader<'_>, table: &DeTable<'_>, whole: Place, steps: &[Step]) -> String {
    let Some(given) = table.get("id") else {
        let help = "add `id`: the name by which it is shown, approved and repaired";
        let finding = Finding::error(Code::Missing, "a step has no `id`").at(whole).help(help);
        reader.findings.push(finding);
        return String::new();
    };
    let written = reader.key(&STEP[0], given);
    let id = written.value.as_str().unwrap_or_default().to_owned();
    let fits = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || b"-_".contains(&it);
    let finding = if written.value.is_null() {
        return id;
    } else if id.is_empty() || !id.bytes().all(fits) {
        let help = "use lower-case letters, digits, `-` and `_`";
        Finding::error(Code::BadName, format!("{} is no name for a step", quoted(&id))).help(help)
    } else if steps.iter().any(|it| it.id == id) {
        let help = "give it another: the ledger knows steps by their `id`";
        Finding::error(Code::Duplicate, format!("two steps are called `{id}`")).help(help)
    } else {
        return id;
    };
    reader.findings.push(finding.at(written.place));
    id
}

fn word(
    reader: &mut Reader<'_>,
    table: &DeTable<'_>,
    whole: Place,
) -> Option<(&'static Word, Place)> {
    let Some(given) = table.get("do") else {
        let words: Vec<_> = WORDS.iter().map(|it| it.name).collect();
        let help = format!("add `do`, one of {}", words.join(", "));
        let finding = Finding::error(Code::Missing, "a step has no `do`").at(whole).help(help);
        reader.findings.push(finding);
        return None;
    };
    let written = reader.key(&STEP[1], given);
    Some((Word::find(written.value.as_str()?)?, written.place))
}

/// Each word has its place in some strategies, and none in others.
fn in_place(reader: &mut Reader<'_>, head: &Head, word: &Word, place: Place) {
    if !head.is_clear() || word.of.contains(&head.strategy) {
        return;
    }
    let name = word.name;
    let Some(strategy) = head.strategy else {
        let message = format!("`{name}` is about messages that move, and there is no `strategy`");
        let help = "say under `[migration]` how they move: `strategy`, `from` and `to`";
        reader.findings.push(Finding::error(Code::Migration, message).at(place).help(help));
        return;
    };
    let help = match (name, strategy) {
        ("bind", Strategy::SameSubjectsMirror) => {
            "a mirror is promoted: write `promote`".to_owned()
        }
        ("promote", Strategy::NewSubjects | Strategy::SameSubjectsSource) => {
            "only a mirror is promoted: write `bind`".to_owned()
        }
        (_, _) => {
            let of = word.of.iter().flatten().map(|it| format!("`{it}`"));
            format!("remove it: it belongs to {}", of.collect::<Vec<_>>().join(", "))
        }
    };
    let message = format!("`{name}` has no place in `{strategy}`");
    reader.findings.push(Finding::error(Code::Migration, message).at(place).help(help));
}

impl Draft<'_, '_> {
    /// What the word cannot do without.
    fn needs(&self, reader: &mut Reader<'_>) {
        let Self { word: Word { name, keys, needs, .. }, fields, .. } = self;
        for key in keys.iter().filter(|it| needs.contains(&it.0) && !fields.contains_key(it.0)) {
            let message = format!("`{name}` has no `{}`", key.0);
            let help = format!("add `{}`, {}", key.0, key.1.expected());
            self.wrong(reader, Code::Missing, message, &help);
        }
    }

    fn does(&self, reader: &mut Reader<'_>, head: &Head) -> Does {
        match self.word.name {
            "source" => self.source(reader, head),
            "mirror" => Does::Mirror,
            "wait" => self.wait(reader),
            "verify" => Does::Verify,
            "gate" => self.gate(reader, head),
            "park" => Does::Park,
            "bind" | "promote" => Does::Bind,
            "reverse" => Does::Reverse,
            "consumers" => self.consumers(reader),
            "soak" => self.soak(reader, head),
            "retire" => self.retire(reader, head),
            "assert" => self.assert(reader),
            "note" => Does::Note { text: self.text("text").unwrap_or_default() },
            _ => Does::Create,
        }
    }

    fn source(&self, reader: &mut Reader<'_>, head: &Head) -> Does {
        let fine = self.fields.get("mapping").is_some_and(|it| it.value.is_array());
        let mapping = if fine { mapping::read(reader, self.table) } else { Vec::new() };
        let (exec, dead_letters) = (texts(&self.fields, "exec"), self.text("dead_letters"));
        for (has, lacks) in [("exec", "dead_letters"), ("dead_letters", "exec")] {
            if let Some(place) = self.at(has).filter(|_| self.at(lacks).is_none()) {
                let message = format!("`{has}` stands without `{lacks}`");
                let help = "write both: the program, and the stream that takes what it rejects";
                reader.findings.push(Finding::error(Code::Missing, message).at(place).help(help));
            }
        }
        if self.fields.get("exec").is_some_and(|it| it.value.is_array())
            && exec.first().is_none_or(String::is_empty)
        {
            let help = "write the program and its arguments: [\"./upcast.py\", \"--strict\"]";
            let message = "`exec` names no program".to_owned();
            reader
                .findings
                .push(Finding::error(Code::BadValue, message).at(self.at("exec")).help(help));
        }
        let Some(dead_letters) = dead_letters else { return Does::Source { mapping } };
        let place = self.at("dead_letters");
        if !is_name(&dead_letters) {
            let message = format!("{} is no name for a stream", quoted(&dead_letters));
            let help = "write the name that it has on the server, such as `ORDERS_REJECTED`";
            reader.findings.push(Finding::error(Code::BadName, message).at(place).help(help));
        } else if [&head.from, &head.to].contains(&&Some(dead_letters.clone())) {
            let message = "what the program rejects would go to a stream of the migration itself";
            let help = "give `dead_letters` a stream of its own";
            reader.findings.push(Finding::error(Code::Conflict, message).at(place).help(help));
        }
        Does::Copy { mapping, exec, dead_letters }
    }

    fn wait(&self, reader: &mut Reader<'_>) -> Does {
        let within = self.number("within");
        if within == Some(0) {
            let help =
                "write how long at most, such as \"10m\"; a step that waits may be run again";
            let message = "`within` is 0, so that nothing could come in time";
            let place = self.at("within");
            reader.findings.push(Finding::error(Code::BadValue, message).at(place).help(help));
        }
        Does::Wait { within: within.unwrap_or(WITHIN) }
    }

    fn gate(&self, reader: &mut Reader<'_>, head: &Head) -> Does {
        for (name, span) in items(self.table, "approve") {
            if !head.environments.is_empty() && !head.environments.iter().any(|it| it == name) {
                let message =
                    format!("`approve` names {}, which the migration is not for", quoted(name));
                let help = format!("it is for {}", head.environments.join(", "));
                let place = reader.place(span);
                reader.findings.push(Finding::error(Code::BadValue, message).at(place).help(help));
            }
        }
        Does::Gate { approve: texts(&self.fields, "approve") }
    }

    fn consumers(&self, reader: &mut Reader<'_>) -> Does {
        let only = texts(&self.fields, "only");
        if only.is_empty() && self.fields.get("only").is_some_and(|it| it.value.is_array()) {
            let help = "name consumers, or leave `only` out: then all are made";
            let finding = Finding::error(Code::BadValue, "`only` names no consumer");
            reader.findings.push(finding.at(self.at("only")).help(help));
        }
        Does::Consumers { only }
    }

    fn soak(&self, reader: &mut Reader<'_>, head: &Head) -> Does {
        let (least, idle) = (self.number("at_least"), self.number("idle"));
        let wrong = ["at_least", "idle"]
            .iter()
            .any(|it| self.fields.get(it).is_some_and(|it| it.value.is_null()));
        if !wrong && least.unwrap_or_default() == 0 && idle.unwrap_or_default() == 0 {
            let help = "say for how long: `at_least = \"72h\"`, `idle = \"72h\"`, or both";
            self.wrong(reader, Code::Missing, "`soak` waits for nothing".to_owned(), help);
        }
        if idle.is_some() {
            self.ends_from(reader, head, "looks whether `from` is used");
        }
        Does::Soak { least: least.unwrap_or_default(), idle: idle.unwrap_or_default() }
    }

    fn retire(&self, reader: &mut Reader<'_>, head: &Head) -> Does {
        self.ends_from(reader, head, "ends `from`");
        Does::Retire(match self.text("mode").as_deref() {
            Some("delete") => Retire::Delete,
            Some("seal") => Retire::Seal,
            Some(_) | None => Retire::Keep,
        })
    }

    /// Without a strategy nobody has asked for `from` yet.
    fn ends_from(&self, reader: &mut Reader<'_>, head: &Head, does: &str) {
        if head.strategy.is_none() && head.is_clear() && !head.places.contains_key("from") {
            let message = format!("`{}` {does}, which is not named", self.word.name);
            let help = "name the stream under `[migration]`: `from = \"…\"`";
            self.wrong(reader, Code::Missing, message, help);
        }
    }

    fn assert(&self, reader: &mut Reader<'_>) -> Does {
        let (exists, empty) = (self.addresses(reader, "exists"), self.addresses(reader, "empty"));
        let said = ["exists", "empty"].iter().any(|it| {
            self.fields
                .get(it)
                .is_some_and(|it| it.value.as_array().is_none_or(|it| !it.is_empty()))
        });
        if !said {
            let help = "say what must be so: `exists = [\"stream.A\"]`, `empty = [\"stream.B\"]`";
            self.wrong(reader, Code::Missing, "`assert` asserts nothing".to_owned(), help);
        }
        Does::Assert { exists, empty }
    }

    fn addresses(&self, reader: &mut Reader<'_>, key: &'static str) -> Vec<Address> {
        let mut addresses = Vec::new();
        for (text, span) in items(self.table, key) {
            let place = reader.place(span);
            let (message, help) = match text.parse::<Address>() {
                Err(_) => (
                    format!("{} is no address", quoted(text)),
                    "write `stream.NAME`, `consumer.STREAM.NAME`, `kv.BUCKET` or `object.BUCKET`",
                ),
                Ok(address) if key == "empty" && !address.is_stream() => (
                    format!("`{address}` holds no messages of its own"),
                    "name its stream: only a stream can be empty",
                ),
                Ok(address) => {
                    addresses.push(address);
                    continue;
                }
            };
            reader.findings.push(Finding::error(Code::BadValue, message).at(place).help(help));
        }
        addresses
    }

    fn at(&self, key: &str) -> Option<Place> {
        self.fields.get(key).map(|it| it.place)
    }

    fn text(&self, key: &str) -> Option<String> {
        self.fields.get(key)?.value.as_str().map(str::to_owned)
    }

    fn number(&self, key: &str) -> Option<i64> {
        self.fields.get(key)?.value.as_i64()
    }

    /// Reports what is wrong with the step as a whole.
    fn wrong(&self, reader: &mut Reader<'_>, code: Code, message: String, help: &str) {
        reader.findings.push(Finding::error(code, message).at(self.place).help(help));
    }
}
