//! Any environment, recorded and live: `plan` never panics, and a plan that is carried out leaves
//! nothing to plan.

use std::collections::BTreeMap;

use jsplan::{
    address::Address,
    config::{Config, sha256},
    live::{Facts, Live, Observed},
    plan::{
        Action, Ask, Mode, Plan,
        call::{Call, Does},
        plan,
        risk::Reach,
    },
    schema::{
        Field, Harm, Kind, Release, Update, Writer, complete, consumer::CONSUMER, stream::STREAM,
    },
    spec::Desired,
    state::{Recorded, State},
};
use proptest::{collection::btree_map, option, prelude::*, sample, test_runner::Config as Runs};
use serde_json::{Value, json};

use crate::{CREATED, Said, observe, raw, read, record_all};

/// A value of some kind, as the wire has it.
fn value(kind: &'static Kind) -> BoxedStrategy<Value> {
    const SECOND: i64 = 1_000_000_000;
    match kind {
        Kind::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Kind::Number | Kind::Bytes => (0..6_i64).prop_map(Value::from).boxed(),
        Kind::Duration => (0..4_i64).prop_map(|it| (it * 90 * SECOND).into()).boxed(),
        Kind::Time => (1..9).prop_map(|it| json!(format!("2026-01-0{it}T00:00:00Z"))).boxed(),
        Kind::Text => "[a-c]{0,2}".prop_map(Value::from).boxed(),
        Kind::Subject => "[a-c]{1,2}(\\.[a-c*]){0,1}".prop_map(Value::from).boxed(),
        Kind::Literal => "[a-c]{1,2}".prop_map(Value::from).boxed(),
        Kind::Labels => btree_map("[a-c]", "[a-c]{1,2}", 0..3).prop_map(|it| json!(it)).boxed(),
        Kind::OneOf(choices) => {
            let names: Vec<_> = choices.iter().map(|it| it.name).collect();
            sample::select(names).prop_map(Value::from).boxed()
        }
        Kind::Set(kind) | Kind::List(kind) => {
            proptest::collection::vec(value(kind), 0..3).prop_map(Value::from).boxed()
        }
        Kind::Table(rows) => config(rows, |_| true).prop_map(Config::into_value).boxed(),
    }
}

/// A configuration of some of the rows.
fn config(rows: &'static [Field], takes: fn(&Field) -> bool) -> BoxedStrategy<Config> {
    let fields = rows.iter().filter(|it| it.writer == Writer::Spec && takes(it));
    let fields = fields.map(|it| {
        // Most fields are left out, as in any spec.
        option::weighted(0.2, value(&it.kind)).prop_map(|value| Some((it.name.to_owned(), value?)))
    });
    let fields: Vec<_> = fields.collect();
    fields.prop_map(|it| it.into_iter().flatten().collect()).boxed()
}

/// What one side says of two streams and two consumers of each.
pub(crate) type Side = Vec<(Address, Option<Config>)>;

pub(crate) fn side(takes: fn(&Field) -> bool) -> impl Strategy<Value = Side> {
    let stream = move |name: &'static str| {
        let consumer = move |of: &str| {
            let address = Address::consumer(name, of);
            option::of(config(CONSUMER, takes)).prop_map(move |it| (address.clone(), it))
        };
        let whole = option::weighted(0.8, config(STREAM, takes));
        (whole, consumer("C"), consumer("D")).prop_map(move |(stream, c, d)| {
            let there = stream.is_some();
            let of = |(address, config)| (address, Option::filter(config, |_| there));
            vec![(Address::stream(name), stream), of(c), of(d)]
        })
    };
    (stream("A"), stream("B")).prop_map(|(a, b)| a.into_iter().chain(b).collect())
}

/// The same as a spec, without the judgement of the reader.
pub(crate) fn desired(side: &Side, prevent_destroy: Option<bool>) -> Desired {
    let text = "[streams.A]\n[streams.A.consumers.C]\nack_policy = \"explicit\"\n";
    let (mut desired, _) = read(text);
    let like = desired.resources.values().next().expect("there is one").clone();
    desired.resources.clear();
    for (address, config) in side {
        let Some(mut config) = config.clone() else { continue };
        config.set("name", address.name().into());
        if let Address::Consumer { name, .. } = address {
            config.set("durable_name", name.as_str().into());
        }
        let mut declared = like.clone();
        declared.sha256 = sha256(config.to_json());
        declared.prevent_destroy = prevent_destroy;
        declared.places.clear();
        declared.config = config;
        desired.resources.insert(address.clone(), declared);
    }
    desired
}

pub(crate) fn said(release: &str) -> Said {
    read(&format!("[live]\nrelease = \"{release}\"\ncluster = \"C\"\n")).1
}

/// Carries a plan out on a model of the server, which completes what it is sent, and of the state.
pub(crate) fn carry_out(plan: &Plan, live: &mut Live, state: &mut State) {
    for step in &plan.steps {
        for call in &step.calls {
            answer(call, live);
        }
        let is = live.resources.get(&step.address);
        match (&step.record, is) {
            (Some(intent), Some(is)) => {
                let recorded = Recorded {
                    created: is.created.clone(),
                    origin: intent.origin,
                    prevent_destroy: intent.prevent_destroy,
                    spec_sha256: intent.spec_sha256.clone(),
                    live_sha256: is.sha256.clone(),
                    config: is.raw.clone(),
                };
                state.resources.insert(step.address.clone(), recorded);
            }
            (_, _) => drop(state.resources.remove(&step.address)),
        }
    }
}

fn answer(call: &Call, live: &mut Live) {
    let Call { address, does, subject, body, .. } = call;
    if *does == Does::Delete {
        assert!(live.resources.remove(address).is_some(), "{address} is deleted, and not there");
        if let Address::Stream(name) = address {
            live.resources.retain(|it, _| it.stream_name() != name);
        }
        return;
    }
    let stream = Address::stream(address.stream_name());
    assert!(
        *address == stream || live.resources.contains_key(&stream),
        "{address} is sent before {stream} is there"
    );
    let facts = live.resources.get(address).map_or(empty(address), |it| it.facts);
    if *does == Does::Set {
        let mut config = live.resources[address].config();
        for (name, value) in body.as_object().into_iter().flatten() {
            config.set(name, value.clone());
        }
        live.resources
            .insert(address.clone(), Observed::new(raw(&config), CREATED.to_owned(), facts));
        return;
    }
    let updates = match address {
        Address::Stream(_) => subject.starts_with("STREAM.UPDATE."),
        Address::Consumer { .. } => body["action"] == "update",
    };
    assert_eq!(updates, live.resources.contains_key(address), "{subject}: {body}");
    let sent = Config::of(body.get("config").unwrap_or(body));
    let config = complete(address.rows(), &sent, live.server.release);
    let created = CREATED.to_owned();
    live.resources.insert(address.clone(), Observed::new(raw(&config), created, facts));
}

fn empty(address: &Address) -> Facts {
    match address {
        Address::Stream(_) => Facts::Stream { messages: 0, bytes: 0, consumers: 0 },
        Address::Consumer { .. } => Facts::Consumer {
            pending: 0,
            ack_pending: 0,
            ack_floor: 0,
            delivered: 0,
            deliveries: 0,
            ephemeral: false,
        },
    }
}

pub(crate) fn free(field: &Field) -> bool {
    // Copies wait for streams that the model does not have, and 2.15.1 knows every field.
    matches!(field.rule(Release(2, 15, 1)), Update::Free | Update::Request(_))
        && !["sources", "subject_delete_marker_ttl"].contains(&field.name)
}

pub(crate) fn all_harm(wanted: &Desired, state: &State) -> BTreeMap<(Harm, Address), Reach> {
    let known = wanted.resources.keys().chain(state.resources.keys());
    known.flat_map(|it| Harm::ALL.map(|harm| ((harm, it.clone()), Reach::Unknown))).collect()
}

proptest! {
    #![proptest_config(Runs { cases: 200, failure_persistence: None, ..Runs::default() })]

    #[test]
    fn no_input_makes_a_plan_panic(
        wanted in side(|_| true),
        was in side(|_| true),
        is in side(|_| true),
        release in sample::select(&["2.10.26", "2.11.0", "2.12.8", "2.14.6", "2.15.1", "junk"][..]),
        mode in sample::select(&[Mode::Normal, Mode::Destroy, Mode::RefreshOnly][..]),
        messages in 0..3_u64,
    ) {
        let wanted = desired(&wanted, None);
        let state = record_all(desired(&was, Some(false)), &said(release).server);
        let mut live = observe(&desired(&is, None), said(release));
        for is in live.resources.values_mut() {
            if let Facts::Stream { messages: stored, .. } = &mut is.facts {
                *stored = messages;
            }
        }
        let found = plan(&wanted, &state, &live, &Ask { mode, ..Ask::default() });
        prop_assert!(found.findings.iter().all(|it| it.help.is_some()));
        prop_assert!(found.steps.is_sorted_by_key(|it| it.wave));
    }

    #[test]
    fn a_plan_that_is_carried_out_leaves_nothing_to_plan(
        wanted in side(free),
        was in side(free),
        is in side(free),
        mode in sample::select(&[Mode::Normal, Mode::Destroy][..]),
    ) {
        let wanted = desired(&wanted, Some(false));
        let mut state = record_all(desired(&was, Some(false)), &said("2.15.1").server);
        let mut live = observe(&desired(&is, None), said("2.15.1"));
        let ask = Ask { mode, allow: all_harm(&wanted, &state), ..Ask::default() };
        let first = plan(&wanted, &state, &live, &ask);
        // Consumers that nobody manages, and circles of subjects, are refused.
        prop_assume!(!first.is_refused());
        prop_assert!(first.steps.iter().all(|it| it.action != Action::Replace));
        carry_out(&first, &mut live, &mut state);
        // Without the digests everything is compared field by field.
        state.resources.values_mut().for_each(|it| it.live_sha256.clear());
        let second = plan(&wanted, &state, &live, &ask);
        prop_assert!(second.is_empty(), "{:#?}\nthen\n{:#?}", first.steps, second.steps);
    }
}
