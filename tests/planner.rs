//! The planner, case by case: what is wanted, what was, what is; and the plan that follows.
//!
//! A case is a paragraph of a file in `tests/planner/`:
//!
//! ```text
//! === a lower max_msgs deletes what is over it
//! --- wanted
//! [streams.S]
//! max_msgs = 10
//! --- was
//! [streams.S]
//! --- is
//! [streams.S]
//! live = { messages = 100 }
//! --- plan
//! …
//! ```
//!
//! All three are specs in the tool's own language, so a case tests the reader too. `was` and `is`
//! are completed to what a server reads back. `(as wanted)` and `(as was)` repeat a section.
//! `live` says what a resource holds; `[live]` at the top of `is` says what the server is, and what
//! the account may hold.
//! `answers` says what comes of the questions that the plan asks; those that are left are listed, and
//! a cost that begins with `.` is none so far.
//! `JSPLAN_BLESS=1 cargo test --test planner` writes the plans anew: read them before committing.

#![expect(clippy::unwrap_used, reason = "a case that cannot be read is a failed test")]

#[path = "planner/fixpoint.rs"]
mod fixpoint;
#[path = "planner/rollback.rs"]
mod rollback;

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use jsplan::{
    address::Address,
    config::{Config, sha256},
    diff::Delta,
    finding::{Finding, Severity},
    forecast::{Amount, How, Question, Tally},
    live::{Account, Facts, Live, Observed, Room, Server},
    plan::{
        Action, Ask, Mode, Plan, Step, plan,
        risk::{Reach, Risk, When},
    },
    schema::{Harm, Release, Verdict, bucket::Bucket, complete},
    spec::{self, Desired},
    state::{Origin, Recorded, State},
};
use serde_json::value::RawValue;
use toml::{Table, Value};

const CREATED: &str = "2026-01-01T00:00:00Z";

#[test]
fn every_case_gives_the_plan_beside_it() {
    let bless = std::env::var_os("JSPLAN_BLESS").is_some();
    let mut count = 0;
    let mut wrong = String::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/planner")).unwrap()
    {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|it| it != "txt") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let cases = parse(&text);
        count += cases.len();
        let mut blessed = String::new();
        for case in &cases {
            let found = case.run();
            if found.trim() != case.section("plan").trim() {
                let name = path.file_name().unwrap().to_string_lossy();
                let expected = case.section("plan").trim();
                let diff = similar::TextDiff::from_lines(expected, found.trim());
                let diff = diff.unified_diff().to_string();
                writeln!(wrong, "{name}: {}\n{diff}", case.name).unwrap();
            }
            blessed.push_str(&case.write(&found));
        }
        if bless {
            fs::write(&path, blessed).unwrap();
        }
    }
    assert!(bless || wrong.is_empty(), "{wrong}");
    assert!(count >= 100, "{count} cases are fewer than the hundred that cover the decision");
}

#[test]
fn a_case_with_another_plan_is_noticed() {
    let cases = parse("=== one\n--- wanted\n[streams.S]\n--- plan\nnothing\n");
    assert_ne!(cases[0].run().trim(), cases[0].section("plan").trim());
}

struct Case {
    name: String,
    sections: Vec<(String, String)>,
}

fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("=== ") {
            cases.push(Case { name: name.to_owned(), sections: Vec::new() });
        } else if let Some(section) = line.strip_prefix("--- ") {
            let case = cases.last_mut().expect("a section belongs to a case");
            let known = ["wanted", "was", "is", "ask", "answers", "plan"].contains(&section);
            assert!(known, "{}: `{section}` is no section", case.name);
            case.sections.push((section.to_owned(), String::new()));
        } else if let Some((_, text)) = cases.last_mut().and_then(|it| it.sections.last_mut()) {
            text.push_str(line);
            text.push('\n');
        }
    }
    cases
}

impl Case {
    fn section(&self, name: &str) -> &str {
        let found = self.sections.iter().find(|(it, _)| it == name);
        match found.map_or("", |(_, text)| text.as_str()) {
            text if text.trim() == "(as wanted)" => self.section("wanted"),
            text if text.trim() == "(as was)" => self.section("was"),
            text => text,
        }
    }

    fn write(&self, plan: &str) -> String {
        let mut text = format!("=== {}\n", self.name);
        for (name, body) in self.sections.iter().filter(|(name, _)| name != "plan") {
            write!(text, "--- {name}\n{}\n", body.trim_end()).unwrap();
        }
        write!(text, "--- plan\n{}\n\n", plan.trim_end()).unwrap();
        text
    }

    fn run(&self) -> String {
        let desired = read(self.section("wanted")).0;
        let (is, live) = read(self.section("is"));
        let server = live.server.clone();
        let recorded = record(self.section("was"), &server);
        let mut live = observe(&is, live);
        let asked = self.section("ask");
        let shown = if asked.lines().any(|it| it.trim() == "bodies") {
            Calls::Whole
        } else {
            Calls::Subjects
        };
        let ask = ask(asked);
        let first = plan(&desired, &recorded, &live, &ask);
        live.tallies = answers(self.section("answers"), &first.questions);
        dump(&plan(&desired, &recorded, &live, &ask), shown)
    }
}

/// Lines such as `beyond.S = { exactly = 40, upto = 40 }`, for what the plan asks about the stream.
fn answers(text: &str, questions: &[Question]) -> BTreeMap<Question, Tally> {
    let table: Table = text.parse().unwrap_or_else(|it| panic!("{it}\n{text}"));
    let mut found = BTreeMap::new();
    for (kind, streams) in &table {
        for (stream, answer) in streams.as_table().unwrap() {
            let asked = |it: &&Question| {
                serde_json::to_value(it).unwrap()[kind]["stream"] == stream.as_str()
            };
            let asked: Vec<_> = questions.iter().filter(asked).collect();
            assert!(!asked.is_empty(), "nobody asks `{kind}` of `{stream}`: {questions:#?}");
            for question in asked {
                found.insert(question.clone(), tally(answer.as_table().unwrap()));
            }
        }
    }
    found
}

fn tally(answer: &Table) -> Tally {
    let number = |name: &str| Some(answer.get(name)?.as_integer().unwrap().unsigned_abs());
    let text = |name: &str| Some(answer.get(name)?.as_str().unwrap().to_owned());
    let messages = match (number("exactly"), number("most"), text("unknown")) {
        (Some(0), None, None) => Amount::Nothing,
        (Some(count), None, None) => Amount::Exactly(count),
        (None, Some(count), None) => Amount::AtMost(count),
        (None, None, Some(why)) => Amount::Unknown(why),
        _ => panic!("{answer} says how many"),
    };
    let how = text("how").unwrap_or_else(|| "info".to_owned());
    Tally {
        messages,
        bytes: number("bytes"),
        oldest: text("oldest"),
        newest: text("newest"),
        upto: number("upto"),
        how: serde_json::from_value(how.into()).unwrap(),
    }
}

/// What the sections say beside the specs.
struct Said {
    server: Server,
    holds: BTreeMap<Address, Table>,
    unknown: Vec<String>,
    account: Account,
}

fn read(text: &str) -> (Desired, Said) {
    let mut table: Table = text.parse().unwrap_or_else(|it| panic!("{it}\n{text}"));
    let said = said(&mut table);
    table.entry("server").or_insert_with(|| {
        Value::Table(Table::from_iter([("url".to_owned(), "nats://127.0.0.1:4222".into())]))
    });
    let text = toml::to_string(&table).unwrap();
    let loaded = spec::load("environments/case.toml", |_| Ok(text.clone()));
    let errors: Vec<_> =
        loaded.findings.iter().filter(|it| it.severity == Severity::Error).collect();
    (loaded.desired.unwrap_or_else(|| panic!("{errors:#?}\n{text}")), said)
}

fn said(table: &mut Table) -> Said {
    let top = table.remove("live").and_then(|it| it.as_table().cloned()).unwrap_or_default();
    let text = |name: &str| top.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
    let version = text("release").unwrap_or_else(|| "2.15.1".to_owned());
    let unknown = top.get("unknown").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut holds = BTreeMap::new();
    let streams = table.get_mut("streams").and_then(Value::as_table_mut);
    for (stream, body) in streams.into_iter().flatten() {
        let body = body.as_table_mut().unwrap();
        if let Some(Value::Table(live)) = body.remove("live") {
            holds.insert(Address::stream(stream), live);
        }
        let consumers = body.get_mut("consumers").and_then(Value::as_table_mut);
        for (name, body) in consumers.into_iter().flatten() {
            if let Some(Value::Table(live)) = body.as_table_mut().unwrap().remove("live") {
                holds.insert(Address::consumer(stream, name), live);
            }
        }
    }
    for kind in Bucket::ALL {
        let buckets = table.get_mut(kind.noun()).and_then(Value::as_table_mut);
        for (name, body) in buckets.into_iter().flatten() {
            if let Some(Value::Table(live)) = body.as_table_mut().unwrap().remove("live") {
                holds.insert(Address::bucket(kind, name), live);
            }
        }
    }
    Said {
        server: Server {
            release: Release::parse(&version),
            version,
            api_level: 5,
            cluster: text("cluster"),
            domain: text("domain"),
            account: text("account"),
        },
        holds,
        unknown: unknown.iter().filter_map(|it| it.as_str().map(ToOwned::to_owned)).collect(),
        account: account(&top),
    }
}

/// What `[live]` says of the account: `max_streams`, `file = { most = 1000, reserved = 10 }` …
fn account(top: &Table) -> Account {
    let number = |of: &Table, name: &str| of.get(name).and_then(Value::as_integer);
    let count = |name: &str| number(top, name).map(i64::unsigned_abs);
    let room = |name: &str| {
        let of = top.get(name).and_then(Value::as_table).cloned().unwrap_or_default();
        let reserved = number(&of, "reserved").unwrap_or_default();
        Room { most: number(&of, "most"), each: number(&of, "each"), reserved }
    };
    Account {
        max_streams: count("max_streams"),
        max_consumers: count("max_consumers"),
        max_ack_pending: number(top, "max_ack_pending"),
        max_bytes_required: top.get("max_bytes_required") == Some(&Value::Boolean(true)),
        tiered: top.get("tiered") == Some(&Value::Boolean(true)),
        memory: room("memory"),
        file: room("file"),
        servers: usize::try_from(count("servers").unwrap_or_default()).unwrap(),
    }
}

fn raw(config: &Config) -> Box<RawValue> {
    RawValue::from_string(config.to_json()).unwrap()
}

fn record(text: &str, server: &Server) -> State {
    let (mut was, said) = read(text);
    for (address, declared) in &mut was.resources {
        let holds = said.holds.get(address).cloned().unwrap_or_default();
        declared.config = with_extra(declared.config.clone(), &holds);
    }
    let mut state = record_all(was, server);
    let server = said.server;
    if server.cluster.is_some() || server.account.is_some() || server.domain.is_some() {
        let (account, cluster, domain) = (server.account, server.cluster, server.domain);
        state.target = Some(jsplan::state::Target { account, cluster, domain });
    }
    state
}

/// The state after everything was applied as it is declared.
fn record_all(was: Desired, server: &Server) -> State {
    let mut state = State::new("case");
    for (address, declared) in was.resources {
        let config = complete(address.rows(), &declared.config, server.release);
        let recorded = Recorded {
            created: CREATED.to_owned(),
            origin: Origin::Created,
            prevent_destroy: declared.prevent_destroy,
            spec_sha256: declared.sha256,
            live_sha256: sha256(config.to_json()),
            config: raw(&config),
        };
        state.resources.insert(address, recorded);
    }
    state
}

/// `live.extra` holds fields that no row knows, and values that no spec may set.
fn with_extra(mut config: Config, live: &Table) -> Config {
    for (name, value) in live.get("extra").and_then(Value::as_table).into_iter().flatten() {
        config.set(name, serde_json::to_value(value).unwrap());
    }
    config
}

fn observe(is: &Desired, said: Said) -> Live {
    let mut live = Live {
        server: said.server,
        at: "2026-11-23T20:00:00Z".to_owned(),
        resources: BTreeMap::new(),
        unknown: BTreeMap::new(),
        account: said.account,
        tallies: BTreeMap::new(),
    };
    for (address, declared) in &is.resources {
        let config = complete(address.rows(), &declared.config, live.server.release);
        let holds = said.holds.get(address).cloned().unwrap_or_default();
        let number = |name: &str| {
            holds.get(name).and_then(Value::as_integer).unwrap_or_default().unsigned_abs()
        };
        let facts = match address {
            Address::Stream(_) => Facts::Stream {
                messages: number("messages"),
                bytes: number("bytes"),
                consumers: number("consumers"),
            },
            Address::Consumer { .. } => Facts::Consumer {
                pending: number("pending"),
                ack_pending: number("ack_pending"),
                ack_floor: number("ack_floor"),
                delivered: number("delivered"),
                deliveries: number("deliveries"),
                ephemeral: holds.get("ephemeral").is_some_and(|it| it.as_bool() == Some(true)),
            },
        };
        let created = holds.get("created").and_then(Value::as_str).unwrap_or(CREATED).to_owned();
        let raw = raw(&with_extra(config, &holds));
        live.resources.insert(address.clone(), Observed::new(raw, created, facts));
    }
    for address in said.unknown {
        live.unknown.insert(address.parse().unwrap(), "no answer".to_owned());
    }
    live
}

/// How much of the requests a dump shows.
#[derive(Clone, Copy, PartialEq)]
enum Calls {
    Subjects,
    Whole,
}

/// Lines such as `destroy`, `refresh-only`, `rollback 1` (what is wanted is what that state
/// recorded), `target stream.S`, `allow data-loss=stream.S`;
/// `bodies` shows what the requests carry.
fn ask(text: &str) -> Ask {
    let mut ask = Ask::default();
    for line in text.lines().map(str::trim).filter(|it| !it.is_empty()) {
        match line.split_once(' ') {
            None if line == "destroy" => ask.mode = Mode::Destroy,
            None if line == "bodies" => {}
            None if line == "refresh-only" => ask.mode = Mode::RefreshOnly,
            Some(("rollback", serial)) => ask.mode = Mode::Rollback(serial.parse().unwrap()),
            Some(("target", address)) => drop(ask.targets.insert(address.parse().unwrap())),
            Some(("allow", consent)) => {
                let (class, address) = consent.split_once('=').unwrap();
                let harm = Harm::ALL.into_iter().find(|it| it.to_string() == class).unwrap();
                let (address, reach) = match address.split_once(':') {
                    None => (address, Reach::Counted),
                    Some((address, "unknown")) => (address, Reach::Unknown),
                    Some((address, number)) => (address, Reach::UpTo(number.parse().unwrap())),
                };
                ask.allow.insert((harm, address.parse().unwrap()), reach);
            }
            _ => panic!("`{line}` asks nothing"),
        }
    }
    ask
}

/// The decision in a few plain lines; how it looks to people is tested elsewhere.
fn dump(plan: &Plan, calls: Calls) -> String {
    let mut text = String::new();
    for entry in &plan.drift {
        if entry.class.is_drift() {
            let fields: Vec<_> =
                entry.deltas.iter().map(|it| show(&it.spoken(&entry.address))).collect();
            let again = if entry.recreated { " (recreated)" } else { "" };
            let class = format!("{:?}", entry.class).to_lowercase();
            writeln!(text, "drift: {} {class}{again} {}", entry.address, fields.join(", "))
                .unwrap();
        }
    }
    for step in &plan.steps {
        text.push_str(&dump_step(step, calls));
    }
    for question in &plan.questions {
        writeln!(text, "asks {}", serde_json::to_string(question).unwrap()).unwrap();
    }
    for finding in &plan.findings {
        text.push_str(&dump_finding(finding));
    }
    if !plan.unmanaged.is_empty() {
        let names: Vec<_> = plan.unmanaged.iter().map(ToString::to_string).collect();
        writeln!(text, "unmanaged: {}", names.join(", ")).unwrap();
    }
    if plan.is_empty() {
        writeln!(text, "nothing to do; {} unchanged", plan.unchanged).unwrap();
    }
    text.lines().map(|it| format!("{}\n", it.trim_end())).collect()
}

fn dump_step(step: &Step, calls: Calls) -> String {
    let mut text = String::new();
    let action = format!("{:?}", step.action).to_lowercase();
    let cause = format!("{:?}", step.cause).to_lowercase();
    let adopts = if step.adopts { ", adopting" } else { "" };
    let blocked = if step.blocked { ", blocked" } else { "" };
    writeln!(text, "{}. {action} {} ({cause}{adopts}{blocked})", step.wave, step.address).unwrap();
    for change in &step.changes {
        let verdict = match change.verdict {
            Verdict::InPlace => String::new(),
            Verdict::OneWay => " (one way)".to_owned(),
            Verdict::Refused(why) => format!(" (refused: {why})"),
        };
        let cause = if matches!(step.action, Action::Update | Action::Replace) {
            format!(" [{}]", format!("{:?}", change.cause).to_lowercase())
        } else {
            String::new()
        };
        writeln!(text, "     {}{cause}{verdict}", show(&change.delta.spoken(&step.address)))
            .unwrap();
    }
    step.risks.iter().for_each(|it| text.push_str(&dump_risk(it)));
    for call in &step.calls {
        let waits = if call.waits { " (once it has settled)" } else { "" };
        writeln!(text, "   > {}{waits}", call.subject).unwrap();
        if calls == Calls::Whole && !call.body.is_null() {
            writeln!(text, "     {}", call.body).unwrap();
        }
    }
    text
}

/// What is only watched begins with `.`; a number that may grow unhindered ends with `+`.
fn dump_risk(risk: &Risk) -> String {
    let mut text = String::new();
    let mark = if risk.is_latent() { '.' } else { '!' };
    let grows = if risk.question.is_some() && risk.most.is_none() { "+" } else { "" };
    let when = match risk.when {
        When::AtOnce => String::new(),
        When::Within(time) => format!(" within {}s", time / 1_000_000_000),
        When::Idle(time) => format!(" after {}s unused", time / 1_000_000_000),
    };
    let allowed = if risk.allowed { " (allowed)" } else { "" };
    let Tally { messages, bytes, oldest, newest, upto, how } = &risk.tally;
    let number = amount(messages);
    writeln!(text, "   {mark} {}{number}{grows}{when}: {}{allowed}", risk.harm, risk.why).unwrap();
    let span = oldest.iter().chain(newest).cloned().collect::<Vec<_>>().join(" to ");
    let bytes = bytes.map(|it| format!("{it} bytes")).unwrap_or_default();
    let upto = upto.map(|it| format!("up to sequence {it}")).unwrap_or_default();
    let how = if *how == How::Info { String::new() } else { format!("by {how:?}").to_lowercase() };
    let details = [bytes, span, upto, how];
    let details: Vec<_> = details.iter().filter(|it| !it.is_empty()).cloned().collect();
    if !details.is_empty() {
        writeln!(text, "       {}", details.join(", ")).unwrap();
    }
    for (consumer, number) in &risk.needed_by {
        writeln!(text, "       needed by {consumer}:{}", amount(number)).unwrap();
    }
    if let Some(safer) = &risk.safer {
        writeln!(text, "       safer: {safer}").unwrap();
    }
    text
}

fn amount(amount: &Amount) -> String {
    match amount {
        Amount::Nothing => String::new(),
        Amount::Exactly(count) => format!(" exactly {count}"),
        Amount::AtMost(count) => format!(" at most {count}"),
        Amount::Unknown(why) => format!(" unknown ({why})"),
    }
}

fn show(delta: &Delta) -> String {
    let value = |it: &serde_json::Value| {
        if it.is_null() { "unset".to_owned() } else { delta.field.show(it) }
    };
    format!("{}: {} -> {}", delta.field.name, value(&delta.before), value(&delta.after))
}

fn dump_finding(finding: &Finding) -> String {
    let at = if finding.place.is_some() { " (placed)" } else { "" };
    let help = finding.help.as_deref().unwrap_or("NO REMEDY");
    format!("{}[{}]: {}{at}\n  help: {help}\n", finding.severity, finding.code, finding.message)
}
