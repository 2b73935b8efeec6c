//! How far a migration has come: what the next run does, and what it then waits for.

use super::{Does, Migration, Migrations, Retire, Step, back};
use crate::{
    address::Address,
    finding::{Code, Finding},
    spec::Move,
    state::{
        State,
        ledger::{End, Entry, Ledger, Standing},
    },
    units::show_duration,
};

/// What the next run does of a migration; `None` where nothing is left to do, or where it was taken
/// back.
///
/// `blocked` says what it waits for before it may begin.
#[must_use]
pub fn ahead(
    migration: &Migration,
    ledger: Option<&Ledger>,
    environment: &str,
    blocked: Option<&str>,
) -> Option<Move> {
    match ledger.map(|it| it.standing) {
        None | Some(Standing::Underway) => {}
        Some(Standing::GoingBack) => return Some(going_back(migration, ledger?)),
        Some(Standing::Baselined | Standing::Done | Standing::GoneBack) => return None,
    }
    let blocked = blocked.filter(|_| ledger.is_none());
    let left: Vec<&Step> = left(migration, ledger).collect();
    let stops = |it: &&Step| stop(it, ledger, environment).is_some();
    let next = left.iter().take_while(|it| !stops(it)).filter(|_| blocked.is_none());
    let stop = left.iter().find_map(|it| stop(it, ledger, environment));
    Some(Move {
        version: migration.version.clone(),
        name: migration.name.clone(),
        meaning: migration.meaning.clone(),
        from: migration.from.clone(),
        done: (migration.steps.len() - left.len(), migration.steps.len()),
        next: next.map(|it| (it.id.clone(), words(it, migration))).collect(),
        until: blocked.map(ToOwned::to_owned).or(stop),
    })
}

/// The steps that are not done, in order.
pub fn left<'a>(
    migration: &'a Migration,
    ledger: Option<&'a Ledger>,
) -> impl Iterator<Item = &'a Step> {
    let done = move |step: &&Step| {
        let entries = ledger.into_iter().flat_map(|it| &it.steps);
        entries.filter(|it| it.id == step.id).any(Entry::is_done)
    };
    migration.steps.iter().filter(move |it| !done(it))
}

/// Whether it is proved that `to` holds all of `from`, which takes nothing more since before that.
#[must_use]
pub fn is_proved_since_parked(migration: &Migration, ledger: &Ledger) -> bool {
    let done = |it: &&Step| ledger.steps.iter().any(|entry| entry.id == it.id && entry.is_done());
    let mut since = migration.steps.iter().filter(done).skip_while(|it| it.does != Does::Park);
    since.any(|it| it.does == Does::Verify)
}

/// What a run ends at before a step; `None` where it does the step.
#[must_use]
pub fn stop(step: &Step, ledger: Option<&Ledger>, environment: &str) -> Option<String> {
    match &step.does {
        Does::Gate { approve } => {
            let approved = ledger.is_some_and(|it| it.approved.contains(&step.id));
            let asks = approve.iter().any(|it| it == environment) && !approved;
            asks.then(|| format!("approval of `{}`", step.id))
        }
        Does::Soak { least, idle } => Some(soak(*least, *idle)),
        Does::Create
        | Does::Source { .. }
        | Does::Copy { .. }
        | Does::Mirror
        | Does::Wait { .. }
        | Does::Verify
        | Does::Park
        | Does::Bind
        | Does::Consumers { .. }
        | Does::Reverse
        | Does::Retire(_)
        | Does::Assert { .. }
        | Does::Note { .. } => None,
    }
}

/// What is left of the way back.
#[must_use]
pub fn going_back(migration: &Migration, ledger: &Ledger) -> Move {
    let way = back::way(migration, ledger).unwrap_or_default();
    let left = back::left(&way, ledger);
    Move {
        version: migration.version.clone(),
        name: migration.name.clone(),
        meaning: migration.meaning.clone(),
        from: migration.from.clone(),
        done: (way.len() - left.len(), way.len()),
        next: left.iter().map(|it| (it.id().to_owned(), it.words(migration))).collect(),
        until: None,
    }
}

/// The step that failed or was cut short in the middle of a change, and why.
#[must_use]
pub fn broken<'a>(migration: &'a Migration, ledger: &'a Ledger) -> Option<(&'a Entry, &'a str)> {
    let changes = |entry: &Entry| {
        let step = migration.steps.iter().find(|it| it.id == entry.id);
        step.is_none_or(|it| it.does.changes())
    };
    ledger.steps.iter().chain(&ledger.back).find_map(|entry| match &entry.end {
        End::Failed(why) => Some((entry, why.as_str())),
        End::Open if changes(entry) => Some((entry, "it was cut short")),
        End::Open | End::Done | End::Repaired(_) => None,
    })
}

/// What a step does, in words.
#[must_use]
pub fn words(step: &Step, migration: &Migration) -> String {
    let name = |it: &Option<String>| it.clone().unwrap_or_default();
    let (from, to) = (name(&migration.from), name(&migration.to));
    match &step.does {
        Does::Create => format!("make {to}, empty"),
        Does::Source { mapping } => {
            let pairs = mapping.iter().map(|it| format!("{} -> {}", it.src, it.dest));
            let pairs: Vec<_> = pairs.collect();
            let through =
                if pairs.is_empty() { String::new() } else { format!(", {}", pairs.join(", ")) };
            format!("make {to}, which copies {from}{through}")
        }
        Does::Copy { exec, .. } => {
            format!("make {to}, and copy {from} through `{}`", exec.join(" "))
        }
        Does::Mirror => format!("make {to}, a mirror of {from}"),
        Does::Wait { within } => {
            format!("wait until {to} has what {from} has, at most {}", show_duration(*within))
        }
        Does::Verify => format!("prove it: every message of {from} is in {to}, in order"),
        Does::Gate { approve } if approve.is_empty() => {
            "go on where everything so far holds".to_owned()
        }
        Does::Gate { approve } => {
            format!("go on once it is approved, which {} asks for", approve.join(", "))
        }
        Does::Park => format!("take its subjects from {from}"),
        Does::Bind => format!("give {to} its subjects"),
        Does::Consumers { only } if only.is_empty() => {
            format!("make the consumers of {to}, where their namesakes on {from} stand")
        }
        Does::Consumers { only } => {
            format!("make {} on {to}, where their namesakes on {from} stand", only.join(", "))
        }
        Does::Reverse => format!("have {from} follow {to}, for applications that still read there"),
        Does::Soak { least, idle } => soak(*least, *idle),
        Does::Retire(Retire::Seal) => format!("seal {from}: it stays to be read"),
        Does::Retire(Retire::Delete) => format!("delete {from} with its messages"),
        Does::Retire(Retire::Keep) => format!("let go of {from}, which stays as it is"),
        Does::Assert { exists, empty } => {
            let says = |list: &[Address], what: &str| {
                let names: Vec<_> = list.iter().map(ToString::to_string).collect();
                (!names.is_empty()).then(|| format!("{} {what}", names.join(", ")))
            };
            let says = [says(exists, "exist"), says(empty, "are empty")];
            format!("see that {}", says.into_iter().flatten().collect::<Vec<_>>().join(" and "))
        }
        Does::Note { text } => text.clone(),
    }
}

fn soak(least: i64, idle: i64) -> String {
    let least = (least > 0).then(|| format!("{} have passed", show_duration(least)));
    let idle =
        (idle > 0).then(|| format!("nobody uses the old stream for {}", show_duration(idle)));
    let both: Vec<_> = [least, idle].into_iter().flatten().collect();
    format!("soak until {}", both.join(" and "))
}

/// Why an environment does not count as having done a migration; `None` where it has done the same.
#[must_use]
pub fn not_promoted(migration: &Migration, state: &State) -> Option<String> {
    let environment = &state.environment;
    match state.migrations.get(&migration.version) {
        Some(ledger) if ledger.standing == Standing::Baselined => None,
        Some(ledger) if ledger.standing != Standing::Done => {
            Some(format!("{environment} to finish it"))
        }
        Some(ledger) if ledger.meaning != migration.meaning => {
            Some(format!("{environment}, which did another version of it"))
        }
        Some(_) => None,
        None => Some(format!("{environment} to have done it")),
    }
}

/// What keeps anything else from being applied: migrations that stopped in the middle of a change,
/// and files that no longer say what was done.
#[must_use]
pub fn stops(migrations: &Migrations, state: &State, options: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for (version, ledger) in &state.migrations {
        let Some(migration) = migrations.0.get(version) else {
            if matches!(ledger.standing, Standing::Underway | Standing::GoingBack) {
                let message = format!(
                    "migration {version} {} is under way, and its file is gone",
                    ledger.name
                );
                let help = "put it back from the history of the repository";
                found.push(Finding::error(Code::Migration, message).help(help));
            }
            continue;
        };
        found.extend(edited(migration, ledger));
        let Some((entry, why)) = broken(migration, ledger) else { continue };
        let title = migration.title();
        let message = format!("migration {title} stopped in step `{}`: {why}", entry.id);
        let help = format!(
            "go on with `jsplan migrate resume {options}`, or back with `jsplan migrate rollback \
             {version} {options}`; `jsplan migrate status {options}` shows where it stands"
        );
        found.push(Finding::error(Code::Migration, message).at(migration.place).help(help));
    }
    found
}

/// Why no plan leads from one state back to an earlier one: a migration lies between them, and moved
/// messages.
#[must_use]
pub fn between(earlier: &State, present: &State) -> Option<Finding> {
    let moved = |(version, ledger): &(&String, &Ledger)| {
        let before = earlier.migrations.get(*version).map_or(0, |it| it.steps.len());
        before != ledger.steps.len()
    };
    let (version, ledger) = present.migrations.iter().rev().find(moved)?;
    let message = format!(
        "serial {} lies before steps of migration {version} {}",
        earlier.serial, ledger.name
    );
    let help = format!("messages are moved back by steps too: `jsplan migrate rollback {version}`");
    Some(Finding::error(Code::Migration, message).help(help))
}

/// Why nothing is destroyed as a whole while a migration is under way.
#[must_use]
pub fn holds_destruction(migrations: &Migrations, state: &State) -> Option<Finding> {
    let underway = |it: &&Ledger| matches!(it.standing, Standing::Underway | Standing::GoingBack);
    let (version, ledger) = state.migrations.iter().find(|it| underway(&it.1))?;
    let message = format!("migration {version} {} is under way", ledger.name);
    let help = format!("finish it first, or take it back: `jsplan migrate rollback {version}`");
    let place = migrations.0.get(version).map(|it| it.place);
    Some(Finding::error(Code::Migration, message).at(place).help(help))
}

/// What is done cannot be edited; what is not done yet can.
fn edited(migration: &Migration, ledger: &Ledger) -> Option<Finding> {
    if ledger.meaning == migration.meaning || ledger.standing == Standing::Baselined {
        return None;
    }
    let underway = matches!(ledger.standing, Standing::Underway | Standing::GoingBack);
    let kept = |entry: &&Entry| {
        migration.steps.iter().any(|it| it.id == entry.id && it.meaning == entry.meaning)
    };
    let changed = ledger.steps.iter().find(|it| !kept(it));
    if underway && changed.is_none() {
        return None;
    }
    let (title, step) = (migration.title(), changed.map(|it| it.id.as_str()));
    let what = step.map_or_else(String::new, |it| format!(" in step `{it}`, which was begun"));
    let message = format!("migration {title} was edited{what} after it was carried out here");
    let help = "put it back as it was, and write what is to be done now as another migration";
    Some(Finding::error(Code::Migration, message).at(migration.place).help(help))
}
