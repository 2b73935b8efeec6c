//! What became of steps that were begun and whose end nobody saw: decided by what is live, by the
//! identity of what was there, and by what their journal says of them.
//!
//! A create that was carried out is ours, and not adopted; a deletion that was carried out is not
//! drift. What cannot be told from what somebody else did stays as it is recorded, and the plan
//! compares it as always.

use crate::{
    address::Address,
    diff::{deltas, meaning},
    live::{Live, Observed},
    schema::Release,
    state::{
        Recorded, State,
        journal::{Aim, Done, Intent, Leaves},
    },
};

/// What became of the undecided steps of an apply that was cut short.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// They were carried out.
    pub done: Vec<Address>,
    /// They were not, or not to their end: the plan holds what is left of them.
    pub not_done: Vec<Address>,
    /// What they are about cannot be read.
    pub unknown: Vec<Address>,
}

/// What became of a step.
#[derive(Debug)]
pub enum Became {
    /// It was carried out, and this is what the state holds now.
    Done(Option<Recorded>),
    /// What was to be made again is gone, and not there again.
    Half,
    /// It was not carried out, or somebody else was there since.
    NotDone,
}

/// Decides the steps that a journal leaves open, as far as what they are about could be read, and
/// changes the state with them.
pub fn reconcile(state: &mut State, live: &Live) -> Reconciled {
    let mut found = Reconciled::default();
    let Some(mut cut) = state.cut_short.take() else { return found };
    for intent in std::mem::take(&mut cut.undecided) {
        let address = intent.address.clone();
        if live.doubt(&address).is_some() {
            found.unknown.push(address);
            cut.undecided.push(intent);
            continue;
        }
        let is = live.resources.get(&address);
        let became = became(&intent, is, live.server.release, &live.at);
        let is_done = matches!(became, Became::Done(_));
        let list = if is_done { &mut found.done } else { &mut found.not_done };
        list.push(address.clone());
        if let Some(recorded) = became.recorded() {
            state.take(Done { step: intent.step, address, recorded });
        }
    }
    state.cut_short = Some(cut);
    found
}

/// What became of a step, by what is live now.
#[must_use]
pub fn became(intent: &Intent, is: Option<&Observed>, release: Release, at: &str) -> Became {
    let Intent { address, aim, created, leaves, .. } = intent;
    let Some(is) = is else {
        return match aim {
            Aim::End => Became::Done(None),
            Aim::Remake => Became::Half,
            Aim::Make | Aim::Change => Became::NotDone,
        };
    };
    // A consumer may tell another time of creation after a restart (2.10).
    let another = address.is_stream() && created.as_ref().is_some_and(|it| *it != is.created);
    let same = address.is_stream() && created.as_ref() == Some(&is.created);
    let there = match aim {
        Aim::End if another => return Became::Done(None),
        Aim::End => false,
        Aim::Make => true,
        Aim::Change => !another,
        Aim::Remake => !same,
    };
    match leaves {
        Some(leaves) if there && is_as_sent(address, leaves, is, (release, at)) => {
            Became::Done(Some(recorded(leaves, is)))
        }
        Some(_) | None => Became::NotDone,
    }
}

impl Became {
    /// What the state holds of the resource from now on, where that changes.
    #[must_use]
    pub fn recorded(self) -> Option<Option<Recorded>> {
        match self {
            Self::Done(recorded) => Some(recorded),
            Self::Half => Some(None),
            Self::NotDone => None,
        }
    }
}

fn is_as_sent(
    address: &Address,
    leaves: &Leaves,
    is: &Observed,
    (release, at): (Release, &str),
) -> bool {
    let rows = address.rows();
    let is = is.config();
    let sent = if leaves.whole { leaves.config.clone() } else { leaves.config.clone().over(&is) };
    let (is, sent) = (meaning(rows, &is, at), meaning(rows, &sent, at));
    deltas(rows, &is, &sent, &is, release).is_empty()
}

fn recorded(leaves: &Leaves, is: &Observed) -> Recorded {
    Recorded {
        created: is.created.clone(),
        origin: leaves.origin,
        prevent_destroy: leaves.prevent_destroy,
        spec_sha256: leaves.spec_sha256.clone(),
        live_sha256: is.sha256.clone(),
        config: is.raw.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, value::RawValue};

    use super::{Became, became};
    use crate::{
        address::Address,
        config::Config,
        live::{Facts, Observed},
        schema::OLDEST,
        state::{
            Origin,
            journal::{Aim, Intent, Leaves},
        },
    };

    const AT: &str = "2026-01-01T00:00:00Z";

    fn config(age: u64) -> serde_json::Value {
        json!({ "name": "S", "subjects": ["s"], "max_age": age, "duplicate_window": age })
    }

    fn live(created: &str, age: u64) -> Observed {
        let raw = RawValue::from_string(config(age).to_string()).expect("it is JSON");
        Observed::new(
            raw,
            created.to_owned(),
            Facts::Stream { messages: 0, bytes: 0, consumers: 0 },
        )
    }

    /// A step that was decided from the stream of `created` and leaves an age of 2.
    fn said(aim: Aim, created: Option<&str>, is: Option<&Observed>) -> &'static str {
        let leaves = Leaves {
            config: Config::of(&config(2)),
            whole: true,
            origin: Origin::Created,
            prevent_destroy: None,
            spec_sha256: "spec".to_owned(),
        };
        let intent = Intent {
            step: 1,
            address: Address::stream("S"),
            aim,
            created: created.map(ToOwned::to_owned),
            leaves: Some(leaves).filter(|_| aim != Aim::End),
        };
        match became(&intent, is, OLDEST, AT) {
            Became::Done(Some(it)) if it.origin == Origin::Created => "done",
            Became::Done(Some(_)) => "adopted",
            Became::Done(None) => "gone",
            Became::Half => "half",
            Became::NotDone => "not done",
        }
    }

    #[test]
    fn what_became_of_a_step_is_told_by_what_is_there_and_since_when() {
        let (before, after) = (live("old", 1), live("old", 2));
        let (anew, other) = (live("new", 2), live("new", 1));
        let cases = [
            (Aim::Make, None, None, "not done"),
            (Aim::Make, None, Some(&anew), "done"),
            (Aim::Make, None, Some(&other), "not done"),
            (Aim::Change, Some("old"), None, "not done"),
            (Aim::Change, Some("old"), Some(&before), "not done"),
            (Aim::Change, Some("old"), Some(&after), "done"),
            (Aim::Change, Some("old"), Some(&anew), "not done"),
            (Aim::Remake, Some("old"), None, "half"),
            (Aim::Remake, Some("old"), Some(&before), "not done"),
            (Aim::Remake, Some("old"), Some(&after), "not done"),
            (Aim::Remake, Some("old"), Some(&anew), "done"),
            (Aim::Remake, Some("old"), Some(&other), "not done"),
            (Aim::End, Some("old"), None, "gone"),
            (Aim::End, Some("old"), Some(&before), "not done"),
            (Aim::End, Some("old"), Some(&anew), "gone"),
        ];
        for (aim, created, is, expected) in cases {
            assert_eq!(said(aim, created, is), expected, "{aim:?} of {created:?}, and {is:?}");
        }
    }
}
