//! Any two environments: what is planned from one to the other is undone by going back, but for
//! the steps that say that they are not.

use std::collections::BTreeSet;

use jsplan::{
    address::Address,
    finding::{Severity, Sources},
    history,
    live::{Facts, Live},
    plan::{Ask, Mode, Plan, Step, plan, undo},
    schema::{Field, Release, Update, Verdict},
    spec::Desired,
    state::State,
};
use proptest::{prelude::*, test_runner::Config as Runs};

use crate::{
    fixpoint::{all_harm, carry_out, desired, free, said, side},
    observe, record_all,
};

/// What an update may change, if only once.
fn updated(field: &Field) -> bool {
    // A consumer is made beyond the limits that the server, at an update, finds it to be beyond.
    (free(field) || matches!(field.rule(Release(2, 15, 1)), Update::OneWay))
        && field.name != "consumer_limits"
}

/// The addresses of the steps for which something holds.
fn those(plan: &Plan, holds: impl Fn(&Step) -> bool) -> BTreeSet<Address> {
    plan.steps.iter().filter(|it| holds(it)).map(|it| it.address.clone()).collect()
}

/// Steps of which a field stays as it is made.
fn lasting(plan: &Plan) -> BTreeSet<Address> {
    let field = |it: &undo::Lasting| matches!(it, undo::Lasting::Field(_));
    those(plan, |step| undo::lasting(plan, step).iter().any(field))
}

/// What a server takes of what is declared.
fn right(mut wanted: Desired) -> Desired {
    let nothing = observe(&desired(&Vec::new(), None), said("2.15.1"));
    loop {
        let made = plan(&wanted, &State::new("case"), &nothing, &Ask::default());
        let wrong = made.findings.iter().filter(|it| it.severity == Severity::Error);
        let Some(wrong) = wrong.filter_map(|it| it.about.clone()).next() else { return wanted };
        let goes = |it: &Address| *it == wrong || wrong == Address::stream(it.stream_name());
        wanted.resources.retain(|it, _| !goes(it));
    }
}

/// Streams that are there hold messages, so that none is replaced.
fn filled(mut live: Live) -> Live {
    for is in live.resources.values_mut() {
        if let Facts::Stream { messages, .. } = &mut is.facts {
            *messages = 1;
        }
    }
    live
}

proptest! {
    #![proptest_config(Runs { cases: 200, failure_persistence: None, ..Runs::default() })]

    #[test]
    fn a_rollback_leads_back_wherever_the_plan_did_not_say_otherwise(
        one in side(updated),
        other in side(updated),
    ) {
        let [one, other] = [one, other].map(|it| right(desired(&it, Some(false))));
        let first = State { serial: 1, ..record_all(one.clone(), &said("2.15.1").server) };
        let mut live = filled(observe(&one, said("2.15.1")));
        let allow = all_harm(&other, &first);
        let forward = plan(&other, &first, &live, &Ask { allow, ..Ask::default() });
        prop_assume!(!forward.is_refused());
        let mut state = first.clone();
        carry_out(&forward, &mut live, &mut state);

        let wanted = history::desired(&other, &first, &mut Sources::default());
        let allow = all_harm(&wanted, &state);
        let ask = Ask { mode: Mode::Rollback(1), allow, ..Ask::default() };
        let back = plan(&wanted, &state, &live, &ask);
        let refused = |it: &Step| {
            it.changes.iter().any(|it| matches!(it.verdict, Verdict::Refused(_)))
        };
        prop_assert_eq!(lasting(&forward), those(&back, refused), "{:#?}", forward.steps);
        if lasting(&forward).is_empty() {
            prop_assert!(!back.is_refused(), "{:#?}", back.findings);
            carry_out(&back, &mut live, &mut state);
            let left = history::between(&first, &state);
            prop_assert!(left.is_empty(), "{left:#?}\nafter\n{:#?}", back.steps);
            let mut then = state.clone();
            then.resources.values_mut().for_each(|it| it.live_sha256.clear());
            prop_assert!(plan(&wanted, &then, &live, &ask).is_empty());
            // The declarations of then are what is recorded, so nothing is left to compare either.
            prop_assert!(plan(&one, &state, &live, &Ask::default()).is_empty());
            prop_assert_eq!(plan(&other, &state, &live, &Ask::default()).is_empty(), forward.is_empty());
        }
    }
}
