//! Migrations: what a plan says of them, how each stands, and the lines of a run.

use std::cmp::Reverse;

use serde_json::{Value, json};

use super::{
    ADDED, ASIDE, CHANGED, DANGER, NAME, escape,
    text::{columns, joined},
};
use crate::{
    address::Address,
    event::Event,
    live::Live,
    migration::{
        Migration, Migrations, Strategy,
        progress::{broken, words},
        stage::{Stage, takes_nothing},
    },
    plan::Plan,
    render::progress,
    spec::Move,
    state::{
        State,
        ledger::{End, Entry, Ledger, Proof, Standing},
    },
    units::{count, count_of, elapsed, show_about, show_count},
};

/// What a page of migrations is made of.
pub(crate) struct Shown<'a> {
    pub(crate) environment: &'a str,
    pub(crate) migrations: &'a Migrations,
    pub(crate) moves: &'a [Move],
    pub(crate) state: &'a State,
    pub(crate) live: &'a Live,
    pub(crate) options: &'a str,
}

/// What an apply goes on with, under the steps of a plan.
#[must_use]
pub(super) fn moves(moves: &[Move]) -> String {
    let Some(_) = moves.first() else { return String::new() };
    let mut text = format!("{}\n", NAME.style("Migrations:"));
    for it in moves {
        text += &one_ahead(it);
    }
    text
}

fn one_ahead(it: &Move) -> String {
    let Move { version, name, meaning: _, from: _, done: (done, of), next, until } = it;
    let far = if *done > 0 { format!("{done} of {of} steps done") } else { count_of(*of, "step") };
    let sign = if next.is_empty() {
        ASIDE.style("·").to_string()
    } else {
        CHANGED.style("~").to_string()
    };
    let mut text = format!(
        "  {sign} {} {}  {}\n",
        NAME.style(escape(version)),
        escape(name),
        ASIDE.style(far)
    );
    let rows: Vec<Vec<String>> = next
        .iter()
        .map(|(id, words)| vec![escape(id).into_owned(), escape(words).into_owned()])
        .collect();
    text += &joined(&columns("      ", &rows));
    if let Some(until) = until {
        let then = if next.is_empty() { "waits for" } else { "then waits for" };
        text += &format!("      {} {}\n", ASIDE.style(then), escape(until));
    }
    text
}

/// The same alone, before `migrate apply` asks.
#[must_use]
pub(crate) fn ahead(plan: &Plan) -> String {
    if plan.moves.is_empty() {
        return format!("{}\n", ADDED.style("No migration has anything to do."));
    }
    let id = plan.id();
    format!("{}{}\n", moves(&plan.moves), ASIDE.style(format!("id {}", &id[..12])))
}

/// What takes a migration back, before it is asked about.
#[must_use]
pub(crate) fn way_back(migration: &Migration, plan: &Plan) -> String {
    let title = escape(&migration.title()).into_owned();
    let id = plan.id();
    let steps: String = plan.moves.iter().map(one_ahead).collect();
    format!(
        "{}\n{steps}{}\n",
        NAME.style(format!("To take {title} back:")),
        ASIDE.style(format!("id {}", &id[..12]))
    )
}

/// Said before anything else: nobody can publish.
#[must_use]
pub(crate) fn publishers_fail(migration: &Migration, options: &str) -> String {
    let from = migration.from.as_deref().unwrap_or_default();
    let line = format!(
        "Publishers are failing: the subjects of {from} are with no stream since {} stopped half-way.",
        migration.title()
    );
    let options = escape(options);
    format!(
        "{}\n  To finish it: jsplan migrate resume {options}\n  To go back:   jsplan migrate resume --back {options}\n",
        DANGER.style(escape(&line))
    )
}

/// A migration is gone on with.
#[must_use]
pub(crate) fn begins(migration: &Migration) -> String {
    let reason = escape(&migration.reason).into_owned();
    format!("\n{}  {}\n", NAME.style(escape(&migration.title())), ASIDE.style(reason))
}

/// A step is begun.
#[must_use]
pub(crate) fn step(id: &str, words: &str) -> String {
    format!("  {:<14} {}\n", escape(id), escape(words))
}

/// What a step found.
#[must_use]
pub(crate) fn found(text: &str) -> String {
    format!("  {:<14} {}\n", "", ASIDE.style(escape(text)))
}

/// What happens on the server within a step.
#[must_use]
pub(crate) fn event(event: &Event) -> String {
    let text = progress::event(event);
    let indent = |line: &str| format!("  {:<14} {line}\n", "");
    text.lines().filter(|it| !it.is_empty()).map(indent).collect()
}

/// A migration has come to a stop.
#[must_use]
pub(crate) fn waits(migration: &Migration, waiting: &str, options: &str) -> String {
    let title = escape(&migration.title()).into_owned();
    let mut text = format!("\n{} waits for {}.\n", NAME.style(title), escape(waiting));
    if waiting.starts_with("approval") {
        let command = format!("jsplan migrate apply --approve {} {options}", migration.version);
        text += &format!("  To approve: {}\n", escape(&command));
    }
    text
}

/// A migration has come to its end.
#[must_use]
pub(crate) fn done(migration: &Migration, ledger: &Ledger) -> String {
    let took = ledger.ended.as_deref().and_then(|it| elapsed(&ledger.begun, it));
    let took =
        took.map_or_else(String::new, |it| format!(", {} after it was begun", show_about(it)));
    let line = format!("{} is done{took}.", migration.title());
    format!("\n{}\n", ADDED.bold().style(escape(&line)))
}

/// A migration was taken back.
#[must_use]
pub(crate) fn gone_back(migration: &Migration) -> String {
    let line = format!("{} was taken back.", migration.title());
    format!(
        "\n{}\nTo begin it anew: jsplan migrate apply {}\n",
        ADDED.bold().style(escape(&line)),
        escape(&migration.version)
    )
}

/// What a proof came to, and what of it was new.
#[must_use]
pub(crate) fn proof(proof: &Proof, since: &Proof) -> String {
    let compared = count(proof.messages, "message");
    let named = count_of(proof.subjects.len(), "subject");
    let on = match proof.subjects.values().sum::<u64>() {
        0 => String::new(),
        counted if counted < proof.messages => format!(", on more than {named}"),
        _ => format!(", on {named}"),
    };
    let new = proof.messages.saturating_sub(since.messages);
    let new = if since.messages > 0 {
        format!(" ({} since the last proof)", show_count(new))
    } else {
        String::new()
    };
    let gone = if proof.gone > 0 {
        format!(", {} aged out meanwhile", show_count(proof.gone))
    } else {
        String::new()
    };
    let rejected = if proof.rejected > 0 {
        format!(", {} rejected", show_count(proof.rejected))
    } else {
        String::new()
    };
    let digest = proof.digest.get(..12).unwrap_or(&proof.digest);
    format!("{compared} equal, in order{on}{new}{gone}{rejected}; digest {digest}")
}

/// How many messages were proved by subject, the most first: a line each.
fn by_subject(proof: &Proof) -> String {
    const LINES: usize = 10;
    let mut counts: Vec<_> = proof.subjects.iter().collect();
    counts.sort_by_key(|(subject, count)| (Reverse(**count), *subject));
    let (shown, rest) = counts.split_at(counts.len().min(LINES));
    let line = |(subject, count): &(&String, &u64)| {
        format!("      {:>15} {}\n", show_count(**count), escape(subject))
    };
    let mut text: String = shown.iter().map(line).collect();
    let left = proof.messages.saturating_sub(shown.iter().map(|it| it.1).sum());
    if left > 0 {
        let others = match proof.subjects.values().sum::<u64>() < proof.messages {
            true => "on others".to_owned(),
            false => format!("on {}", count_of(rest.len(), "other")),
        };
        text += &format!("      {:>15} {}\n", show_count(left), ASIDE.style(&others));
    }
    text
}

/// What a program made.
#[must_use]
pub(crate) fn fed(copied: u64, rejected: u64) -> String {
    let rejected = if rejected > 0 {
        format!(", {} to the dead letters", count(rejected, "message"))
    } else {
        String::new()
    };
    format!("{} copied through the program{rejected}", count(copied, "message"))
}

/// What was published again on the way back.
#[must_use]
pub(crate) fn returned(copied: u64) -> String {
    format!("{} published again, and proved to be there", count(copied, "message"))
}

/// How long nobody could publish.
#[must_use]
pub(crate) fn window(milliseconds: u64) -> String {
    found(&format!("no stream took the subjects for at most {} ms", show_count(milliseconds)))
}

/// A switch did not come to its end.
#[must_use]
pub(crate) fn taken_back(milliseconds: u128) -> String {
    format!("the switch was taken back after {milliseconds} ms: the subjects are where they were")
}

/// A consumer is made where its namesake stands.
#[must_use]
pub(crate) fn placed(address: &Address, next: u64, start: u64, again: u64) -> String {
    let again = if again > 0 {
        format!(", {} come again", count(again, "unacknowledged message"))
    } else {
        String::new()
    };
    found(&format!(
        "{address} begins at {}, where its namesake stands at {}{again}; 0 skipped",
        show_count(start),
        show_count(next)
    ))
}

/// A consumer that has no namesake.
#[must_use]
pub(crate) fn new_consumer(address: &Address) -> String {
    found(&format!("{address} has no namesake, and begins as it is declared"))
}

/// A consumer of which nothing says where it stands.
#[must_use]
pub(crate) fn unread_consumer(address: &Address) -> String {
    found(&format!("{address} begins as it is declared: its namesake has acknowledged nothing"))
}

/// Somebody still uses what a soak waits for to rest.
#[must_use]
pub(crate) fn in_use(from: &str, what: &str, rests: i64, idle: i64) -> String {
    format!("{from} to be idle for {}: {what} {} ago", show_about(idle), show_about(rests))
}

/// A deletion waits for consent.
#[must_use]
pub(crate) fn deletes(migration: &Migration, from: &str, messages: u64, options: &str) -> String {
    format!(
        "consent to delete {from} with its {}: jsplan migrate apply {} --allow destroy=stream.{from} {options}",
        count(messages, "message"),
        migration.version
    )
}

/// What to do about a step that stopped, where things stand like this at worst.
#[must_use]
pub(crate) fn way_on(migration: &Migration, worst: &Stage, options: &str) -> String {
    let failing = worst.refuses_publishers(migration);
    let urgent = if failing { "publishers are failing: " } else { "" };
    format!(
        "{urgent}go on with `jsplan migrate resume {options}`, or back with `jsplan migrate rollback {} {options}`",
        migration.version
    )
}

/// A migration was written.
#[must_use]
pub(crate) fn written(strategy: Strategy) -> String {
    format!(
        "It follows the strategy {strategy}: read it, change what is not so, then `jsplan migrate hash`.\n"
    )
}

/// `jsplan.sum` was written.
#[must_use]
pub(crate) fn hashed(many: usize) -> String {
    format!("jsplan.sum holds {}.\n", count_of(many, "migration"))
}

/// Nothing is wrong with them.
#[must_use]
pub(crate) fn linted(many: usize, environment: &str) -> String {
    format!("Nothing is wrong with {} for {}.\n", count_of(many, "migration"), escape(environment))
}

/// A step, or all of a migration, was noted as done.
#[must_use]
pub(crate) fn repaired(migration: &Migration, step: Option<&str>) -> String {
    let what = step.map_or_else(String::new, |it| format!("step `{it}` of "));
    format!("{}{} counts as done.\n", escape(&what), escape(&migration.title()))
}

/// Every migration with how far it has come; those under way step by step.
#[must_use]
pub(crate) fn status(shown: &Shown<'_>) -> String {
    let Shown { environment, migrations, state, .. } = shown;
    let many = count_of(migrations.0.len(), "migration");
    let mut text = format!(
        "jsplan {} · env {} · {many} · integrity ok (jsplan.sum)\n\n",
        env!("CARGO_PKG_VERSION"),
        NAME.style(escape(environment))
    );
    if migrations.0.is_empty() {
        return text + "There is none: `jsplan migrate new` writes one.\n";
    }
    let rows: Vec<_> = migrations.0.values().map(|it| row(it, shown)).collect();
    text += &joined(&columns("  ", &rows));
    for migration in migrations.0.values() {
        let ledger = state.migrations.get(&migration.version);
        let Some(ledger) =
            ledger.filter(|it| matches!(it.standing, Standing::Underway | Standing::GoingBack))
        else {
            continue;
        };
        text += &format!("\n{}", detail(migration, ledger, shown));
    }
    text
}

fn row(migration: &Migration, shown: &Shown<'_>) -> Vec<String> {
    let ledger = shown.state.migrations.get(&migration.version);
    let word = standing(migration, ledger, shown);
    let when = ledger.map(|it| it.ended.as_ref().unwrap_or(&it.begun).clone()).unwrap_or_default();
    let by = ledger.map(|it| format!("by {}", it.by)).unwrap_or_default();
    let window =
        ledger.and_then(|it| it.facts.window_ms).map(|it| format!("gap {} ms", show_count(it)));
    [migration.version.clone(), migration.name.clone(), word, when, by, window.unwrap_or_default()]
        .map(|it| escape(&it).into_owned())
        .to_vec()
}

fn standing(migration: &Migration, ledger: Option<&Ledger>, shown: &Shown<'_>) -> String {
    let Some(ledger) = ledger else {
        let ahead = shown.moves.iter().find(|it| it.version == migration.version);
        let for_it = migration.is_for(shown.environment);
        return match ahead {
            Some(it) if it.next.is_empty() => "waits".to_owned(),
            Some(_) => "pending".to_owned(),
            None if for_it => "not needed".to_owned(),
            None => "not for it".to_owned(),
        };
    };
    let is_dirty = broken(migration, ledger).is_some();
    if is_dirty { "DIRTY" } else { word(ledger.standing) }.to_owned()
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Baselined => "baselined",
        Standing::Underway => "under way",
        Standing::Done => "done",
        Standing::GoingBack => "going back",
        Standing::GoneBack => "taken back",
    }
}

fn detail(migration: &Migration, ledger: &Ledger, shown: &Shown<'_>) -> String {
    let mut text = format!("  {}\n", NAME.style(escape(&migration.title())));
    let steps = migration.steps.iter().map(|it| {
        let entry = ledger.steps.iter().find(|entry| entry.id == it.id);
        vec![it.id.clone(), state_of(entry), words(it, migration)]
    });
    let back = ledger.back.iter().map(|it| vec![it.id.clone(), state_of(Some(it)), String::new()]);
    let rows: Vec<Vec<String>> = steps
        .chain(back)
        .map(|row| row.iter().map(|it| escape(it).into_owned()).collect())
        .collect();
    text += &joined(&columns("    ", &rows));
    text += &facts(migration, shown);
    let ahead = shown.moves.iter().find(|it| it.version == migration.version);
    let stands = ahead.filter(|it| it.next.is_empty());
    if let Some(until) = stands.and_then(|it| it.until.as_ref()) {
        text += &format!("    {} {}\n", ASIDE.style("waits for"), escape(until));
    }
    let options = escape(shown.options);
    if let Some((entry, why)) = broken(migration, ledger) {
        let line = format!("    `{}` stopped: {why}\n", entry.id);
        text += &DANGER.style(escape(&line)).to_string();
        text += &format!("    To go on:              jsplan migrate resume {options}\n");
        text += &format!(
            "    To note it as done:    jsplan migrate repair {} --step {} --reason TEXT {options}\n",
            migration.version, entry.id
        );
    }
    let end = migration.point_of_no_return();
    let passed = end.is_some_and(|end| ledger.steps.iter().any(|it| it.id == end.id));
    text += &match end {
        Some(end) if passed => format!("    No way back: `{}` was begun.\n", end.id),
        end => {
            let until = end.map_or_else(String::new, |it| format!(" (until `{}`)", it.id));
            format!(
                "    To go back{until}: jsplan migrate rollback {} {options}\n",
                migration.version
            )
        }
    };
    text
}

/// What is true now, whatever the ledger says.
fn facts(migration: &Migration, shown: &Shown<'_>) -> String {
    let mut text = String::new();
    for name in [&migration.from, &migration.to].into_iter().flatten() {
        let address = Address::stream(name);
        let line = match shown.live.resources.get(&address) {
            None => "is not there".to_owned(),
            Some(is) => {
                let config = is.config();
                let takes = if takes_nothing(&config) {
                    "takes nothing from publishers".to_owned()
                } else {
                    format!("takes {}", config.texts("subjects").join(", "))
                };
                format!("holds {}, {takes}", count(is.messages(), "message"))
            }
        };
        text += &format!("    {} {} {}\n", ASIDE.style("now:"), escape(name), escape(&line));
    }
    let ledger = shown.state.migrations.get(&migration.version);
    if let Some(proved) = ledger.and_then(|it| it.facts.proof.as_ref()) {
        let line = proof(proved, &Proof::default());
        text += &format!("    {} {line}\n{}", ASIDE.style("proved:"), by_subject(proved));
    }
    text
}

fn state_of(entry: Option<&Entry>) -> String {
    match entry.map(|it| &it.end) {
        None => "waiting",
        Some(End::Open) => "running",
        Some(End::Done) => "done",
        Some(End::Failed(_)) => "failed",
        Some(End::Repaired(_)) => "repaired",
    }
    .to_owned()
}

/// Version by environment.
#[must_use]
pub(crate) fn matrix(migrations: &Migrations, states: &[(String, Option<State>)]) -> String {
    let mut head = vec![String::new(), String::new()];
    head.extend(states.iter().map(|it| it.0.clone()));
    let cell = |migration: &Migration, state: &Option<State>| match state {
        None => "unreadable".to_owned(),
        Some(state) => match state.migrations.get(&migration.version) {
            None if migration.is_for(&state.environment) => "pending".to_owned(),
            None => "-".to_owned(),
            Some(it) => {
                let other = it.standing == Standing::Done && it.meaning != migration.meaning;
                let mark = if other { " (another version)" } else { "" };
                format!("{}{mark}", word(it.standing))
            }
        },
    };
    let rows = migrations.0.values().map(|migration| {
        let mut row = vec![migration.version.clone(), migration.name.clone()];
        row.extend(states.iter().map(|it| cell(migration, &it.1)));
        row
    });
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    joined(&columns("  ", &rows))
}

/// The same as one JSON object.
#[must_use]
pub(crate) fn json(shown: &Shown<'_>) -> Value {
    let one = |migration: &Migration| {
        let ledger = shown.state.migrations.get(&migration.version);
        let worst = Stage::at_worst(migration, ledger);
        let ahead = shown.moves.iter().find(|it| it.version == migration.version);
        json!({
            "version": migration.version,
            "name": migration.name,
            "standing": standing(migration, ledger, shown),
            "publishers_refused": worst.refuses_publishers(migration),
            "steps": migration.steps.iter().map(|it| {
                let entry = ledger.and_then(|ledger| ledger.steps.iter().find(|e| e.id == it.id));
                json!({ "id": it.id, "does": it.does.word(), "state": state_of(entry) })
            }).collect::<Vec<_>>(),
            "next": ahead.map(|it| it.next.iter().map(|it| &it.0).collect::<Vec<_>>()),
            "waits_for": ahead.and_then(|it| it.until.as_ref()),
            "facts": ledger.map(|it| &it.facts),
        })
    };
    let all: Vec<_> = shown.migrations.0.values().map(one).collect();
    json!({ "environment": shown.environment, "migrations": all })
}
