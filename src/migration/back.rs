//! The way back: what takes the steps of a migration back that are done, in order.

use super::{Does, Migration, Strategy};
use crate::state::ledger::Ledger;

/// One step of the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// `from` takes its subjects again: `to` never took them.
    Unpark,
    /// `from` follows `to`, from the first message on that `from` lacks.
    Follow,
    /// Waits until `from` has come to where `to` stands.
    Wait,
    /// Proves that `from` holds what `to` took since it was bound.
    Verify,
    /// `to` takes nothing more, and follows nothing.
    Park,
    /// Waits until `from` holds the last message of `to`.
    Drain,
    /// Proves the rest.
    Prove,
    /// `from` takes its subjects again, and follows nothing.
    Bind,
    /// Publishes to `from` what publishers sent to `to`.
    Copy,
    /// Consumers of `from` go on where those of `to` stand, where they have come further.
    Consumers,
    /// `to` goes: everything in it is in `from` too.
    Discard,
}

impl Back {
    /// Each with its name and what it does.
    const ALL: [(Self, &'static str, &'static str); 11] = [
        (Self::Unpark, "unpark", "FROM takes its subjects again"),
        (Self::Follow, "follow-back", "FROM follows TO, from the first message on that it lacks"),
        (Self::Wait, "wait-back", "wait until FROM has come to where TO stands"),
        (Self::Verify, "verify-back", "prove that FROM holds what TO took"),
        (Self::Park, "park-back", "TO takes nothing more"),
        (Self::Drain, "drain-back", "wait until FROM holds the last message of TO"),
        (Self::Prove, "prove-back", "prove the rest"),
        (Self::Bind, "bind-back", "FROM takes its subjects again"),
        (Self::Copy, "copy-back", "publish to FROM what publishers sent to TO, and prove it"),
        (Self::Consumers, "consumers-back", "consumers of FROM go on where those of TO stand"),
        (Self::Discard, "discard", "delete TO and its consumers; what it holds is in FROM too"),
    ];

    /// The step with a name.
    #[must_use]
    pub fn named(id: &str) -> Option<Self> {
        Some(Self::ALL.iter().find(|it| it.1 == id)?.0)
    }

    /// Its name.
    #[must_use]
    pub fn id(self) -> &'static str {
        Self::ALL.iter().find(|it| it.0 == self).map_or("", |it| it.1)
    }

    /// What it does, in words.
    #[must_use]
    pub fn words(self, migration: &Migration) -> String {
        let words = Self::ALL.iter().find(|it| it.0 == self).map_or("", |it| it.2);
        let alone = self == Self::Discard && migration.strategy == Some(Strategy::Parallel);
        let words = if alone { "delete TO and its consumers, with what it took" } else { words };
        let name = |it: &Option<String>| it.clone().unwrap_or_default();
        words.replace("FROM", &name(&migration.from)).replace("TO", &name(&migration.to))
    }
}

/// Why there is no way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoWay {
    /// This step is done, and nothing takes it back.
    Beyond(String),
    /// Nothing was begun.
    Nothing,
}

/// What takes a migration back from where it stands.
pub fn way(migration: &Migration, ledger: &Ledger) -> Result<Vec<Back>, NoWay> {
    let begun = |id: &str| ledger.steps.iter().any(|it| it.id == id);
    // A step that was begun and cannot be taken back may have been carried out.
    if let Some(end) = migration.point_of_no_return().filter(|it| begun(&it.id)) {
        return Err(NoWay::Beyond(end.id.clone()));
    }
    if ledger.steps.is_empty() {
        return Err(NoWay::Nothing);
    }
    if migration.to.is_none() {
        return Ok(Vec::new());
    }
    let steps = || migration.steps.iter().filter(|it| begun(&it.id)).map(|it| &it.does);
    let bound = steps().any(|it| matches!(it, Does::Bind));
    let parked = steps().any(|it| matches!(it, Does::Park));
    let placed = steps().any(|it| matches!(it, Does::Consumers { .. }));
    let mut way = Vec::new();
    match (bound, migration.strategy.is_some_and(Strategy::takes_subjects)) {
        (true, true) => way.extend([
            Back::Follow,
            Back::Wait,
            Back::Verify,
            Back::Park,
            Back::Drain,
            Back::Prove,
            Back::Bind,
        ]),
        (true, false) => {
            way.extend(parked.then_some(Back::Unpark));
            way.extend([Back::Park, Back::Copy]);
        }
        (false, _) => way.extend(parked.then_some(Back::Unpark)),
    }
    way.extend(placed.then_some(Back::Consumers));
    way.push(Back::Discard);
    Ok(way)
}

/// The steps of a way back that are not done, in order.
#[must_use]
pub fn left(way: &[Back], ledger: &Ledger) -> Vec<Back> {
    let done = |it: &Back| ledger.back.iter().any(|entry| entry.id == it.id() && entry.is_done());
    way.iter().copied().filter(|it| !done(it)).collect()
}
