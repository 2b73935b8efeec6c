//! What people and programs are shown, each as a snapshot that somebody read.

use std::collections::{BTreeMap, BTreeSet};

use anstream::adapter::strip_str;
use insta::assert_snapshot;
use jsplan::{
    address::Address,
    config::{Config, sha256},
    drift,
    event::{Event, Kept, Outcome},
    finding::{Code, Finding, Place, Sources},
    forecast::{Amount, How, Question, Tally},
    history,
    live::{Account, Facts, Live, Observed, Server},
    plan::{Action, Ask, Mode, Plan, counts::Counts, plan, risk::Reach},
    render,
    schema::{Harm, Release, complete},
    spec::{Connection, Declared, Desired, Environment, Expect},
    state::{LastApply, Origin, Recorded, State, Steps, Target, Totals},
};
use serde_json::{Value, json, value::RawValue};

const RELEASE: Release = Release(2, 15, 1);

/// The three values of a plan, built resource by resource.
struct World {
    desired: Desired,
    recorded: State,
    live: Live,
    sources: Sources,
    ask: Ask,
}

fn world() -> World {
    let environment = Environment {
        name: "prod".to_owned(),
        protected: true,
        require_signed_by: Vec::new(),
        server: Connection::default(),
        expect: Expect::default(),
        keeping: jsplan::spec::Keeping::File,
    };
    let server = Server {
        release: RELEASE,
        version: "2.15.1".to_owned(),
        api_level: 4,
        cluster: Some("nats-eu1".to_owned()),
        domain: None,
        account: Some("ORDERS".to_owned()),
    };
    let mut sources = Sources::default();
    sources.add("environments/prod.toml".to_owned(), "#\n".repeat(80));
    World {
        desired: Desired { environment, resources: BTreeMap::new(), moves: Vec::new() },
        recorded: State { lineage: "3f2a81c0".to_owned(), ..State::new("prod") },
        live: Live {
            server,
            at: "2026-11-23T18:00:00Z".to_owned(),
            resources: BTreeMap::new(),
            unknown: BTreeMap::new(),
            account: Account::default(),
            tallies: BTreeMap::new(),
        },
        sources,
        ask: Ask::default(),
    }
}

fn address(text: &str) -> Address {
    text.parse().expect("tests write addresses")
}

/// A configuration as a spec gives it, with the names from its key.
fn config(of: &Address, fields: &Value) -> Config {
    if let Some((kind, bucket)) = of.as_bucket() {
        return kind.lower(bucket, &Config::of(fields));
    }
    let mut config = Config::of(fields);
    config.set("name", json!(of.name()));
    if let Address::Consumer { name, .. } = of {
        config.set("durable_name", json!(name));
    }
    config
}

/// What the server makes of it.
fn read_back(of: &Address, fields: &Value) -> Box<RawValue> {
    let full = complete(of.rows(), &config(of, fields), RELEASE);
    RawValue::from_string(full.to_json()).expect("canonical JSON")
}

impl World {
    fn wanted(mut self, of: &str, fields: Value) -> Self {
        let of = address(of);
        let config = config(&of, &fields);
        let line = 10 * (self.desired.resources.len() + 1);
        let declared = Declared {
            bucket: of.as_bucket().map(|it| it.0),
            sha256: sha256(config.to_json()),
            config,
            places: BTreeMap::new(),
            place: Place::new(0, 2 * line..2 * line + 1),
            prevent_destroy: None,
            ignore: BTreeSet::new(),
        };
        self.desired.resources.insert(of, declared);
        self
    }

    fn was(mut self, of: &str, fields: Value) -> Self {
        let of = address(of);
        let raw = read_back(&of, &fields);
        let recorded = Recorded {
            created: "2026-11-01T09:00:00Z".to_owned(),
            origin: Origin::Created,
            prevent_destroy: None,
            spec_sha256: sha256(config(&of, &fields).to_json()),
            live_sha256: sha256(raw.get()),
            config: raw,
        };
        self.recorded.resources.insert(of, recorded);
        self
    }

    fn is(self, of: &str, fields: Value) -> Self {
        self.holds(of, 0, fields)
    }

    /// Live, with messages stored, or for a consumer to be delivered.
    fn holds(mut self, of: &str, messages: u64, fields: Value) -> Self {
        let of = address(of);
        let facts = match of {
            Address::Stream(_) => Facts::Stream { messages, bytes: messages * 1024, consumers: 1 },
            Address::Consumer { .. } => Facts::Consumer {
                pending: messages,
                ack_pending: 2,
                ack_floor: 7,
                delivered: 9,
                deliveries: 2,
                ephemeral: false,
            },
        };
        let created = "2026-11-01T09:00:00Z".to_owned();
        self.live
            .resources
            .insert(of.clone(), Observed::new(read_back(&of, &fields), created, facts));
        self
    }

    /// Recorded and live alike.
    fn settled(self, of: &str, fields: Value) -> Self {
        self.was(of, fields.clone()).is(of, fields)
    }

    fn allowing(mut self, harm: Harm, of: &str) -> Self {
        self.ask.allow.insert((harm, address(of)), Reach::Counted);
        self
    }

    fn towards(mut self, mode: Mode) -> Self {
        self.ask.mode = mode;
        self
    }

    fn plan(&self) -> Plan {
        plan(&self.desired, &self.recorded, &self.live, &self.ask)
    }

    fn styled(&self) -> String {
        render::plan(&self.plan(), &self.sources)
    }

    fn shown(&self) -> String {
        tidy(&self.styled())
    }

    fn drift(&self) -> String {
        let report = drift::compare(&self.desired, &self.recorded, &self.live);
        let options = format!("--env {}", self.desired.environment.name);
        tidy(&render::drift(&report, &self.desired, &self.recorded, &self.live, &options))
    }
}

/// The text without its styles, once it is certain that nothing else was in it.
fn checked(styled: &str) -> String {
    let plain = strip_str(styled).to_string();
    let odd = |it: char| it.is_control() && it != '\n';
    assert!(!plain.contains(odd), "a control character came through: {plain:?}");
    plain
}

/// The same of a page that quotes nobody's files.
fn tidy(styled: &str) -> String {
    let plain = checked(styled);
    assert!(!plain.lines().any(|it| it.ends_with(' ')), "a line ends in spaces: {plain:?}");
    plain
}

macro_rules! shows {
    ($text:expr) => {
        insta::with_settings!({
            filters => vec![
                (r"jsplan \d+\.\d+\.\d+", "jsplan [version]"),
                (r#""version": "0\.\d+\.\d+""#, r#""version": "[version]""#),
                (r#""plan_id": "[0-9a-f]{64}""#, r#""plan_id": "[id]""#),
            ],
            omit_expression => true,
        }, { assert_snapshot!($text) })
    };
}

fn orders() -> Value {
    json!({ "subjects": ["orders.new", "orders.paid", "orders.sent"], "max_age": 259_200_000_000_000_u64 })
}

#[test]
fn a_creation_shows_what_is_set_and_counts_the_defaults() {
    let world = world()
        .wanted(
            "stream.ORDERS",
            json!({
                "description": "every order,\nfrom basket to door",
                "subjects": ["orders.>"],
                "retention": "limits",
                "num_replicas": 3,
                "max_age": 604_800_000_000_000_u64,
                "max_bytes": 53_687_091_200_u64,
                "placement": { "cluster": "nats-eu1", "tags": ["ssd", "az:a"] },
                "sources": [
                    {
                        "name": "ORDERS_V1",
                        "filter_subject": "orders.v1.>",
                        "subject_transforms": [{ "src": "orders.v1.>", "dest": "orders.v2.>" }],
                    },
                    { "name": "ORDERS_V0" },
                ],
                "metadata": { "team": "checkout", "cost.centre": "4711" },
            }),
        )
        .wanted("consumer.ORDERS.audit", json!({ "ack_policy": "explicit", "max_deliver": 5 }));
    shows!(world.shown());
}

#[test]
fn a_bucket_is_shown_in_the_words_of_its_clients() {
    const HOUR: u64 = 3_600_000_000_000;
    let far = json!([{ "name": "FAR", "domain": "hub" }]);
    let settings = json!({ "history": 5, "ttl": HOUR, "compression": true });
    let world = world()
        .wanted("kv.NEW", json!({ "history": 5, "ttl": HOUR, "sources": far }))
        .wanted("object.FILES", json!({ "description": "files", "compression": true }))
        .wanted("kv.SETTINGS", json!({ "history": 1, "ttl": HOUR, "max_value_size": 1024 }))
        .was("kv.SETTINGS", settings.clone())
        .holds("kv.SETTINGS", 100, settings)
        .wanted("kv.FIXED", json!({ "storage": "memory" }))
        .settled("kv.FIXED", json!({}))
        .settled("object.OLD", json!({ "ttl": HOUR, "max_bytes": 1_048_576 }))
        .wanted("kv.DRIFTED", json!({ "ttl": HOUR }))
        .was("kv.DRIFTED", json!({ "ttl": HOUR }))
        .is("kv.DRIFTED", json!({ "ttl": 2 * HOUR }))
        .is("kv.TMP", json!({}));
    let plan = world.plan();
    let pages = [
        world.shown(),
        tidy(&render::findings(&plan.findings, &world.sources)),
        world.drift(),
        tidy(&render::state(&world.recorded)),
    ];
    shows!(pages.join("\n----\n"));
}

#[test]
fn an_update_shows_each_kind_of_value_its_own_way() {
    let before = json!({
        "description": "first line\nsecond line\nthird line\nfourth line\nlast line",
        "subjects": ["orders.new", "orders.paid", "orders.sent", "orders.old"],
        "max_age": 259_200_000_000_000_u64,
        "allow_direct": true,
        "placement": { "cluster": "nats-eu1", "tags": ["ssd"] },
        "republish": { "src": "orders.>", "dest": "copy.orders.>" },
        "sources": [{ "name": "A", "filter_subject": "a.>" }, { "name": "B" }, { "name": "C" }],
        "metadata": { "team": "checkout", "tier": "1", "owner": "ann" },
    });
    let after = json!({
        "description": "first line\nsecond line\nthird line\n4th line\nlast line",
        "subjects": ["orders.new", "orders.paid", "orders.sent", "orders.cancelled"],
        "max_age": 604_800_000_000_000_u64,
        "max_msgs": 1_000_000,
        "placement": { "cluster": "nats-eu2", "tags": ["ssd", "az:a"], "preferred": "n1" },
        "sources": [{ "name": "A", "filter_subject": "a.b.>" }, { "name": "B" }, { "name": "D" }],
        "metadata": { "team": "orders", "tier": "1", "on.call": "bob" },
    });
    let world = world().wanted("stream.ORDERS", after).settled("stream.ORDERS", before);
    shows!(world.shown());
}

#[test]
fn a_long_text_is_compared_by_line_and_a_long_list_by_element() {
    let text = |days| {
        format!(
            "Everything that ever happened to an order, from the basket to the door, kept for \
             {days} days so that an auditor can ask"
        )
    };
    let waits = |last: u64| {
        let mut waits: Vec<u64> = (1..=20).map(|it| it * 1_500_000_000).collect();
        waits.push(last * 1_000_000_000);
        json!(waits)
    };
    let consumer = |days, last| {
        let (text, waits) = (text(days), waits(last));
        json!({ "ack_policy": "explicit", "description": text, "backoff": waits, "max_deliver": 30 })
    };
    let world = world()
        .wanted("consumer.ORDERS.audit", consumer(7, 60))
        .settled("consumer.ORDERS.audit", consumer(3, 90));
    shows!(world.shown());
}

#[test]
fn the_plan_tells_an_edit_from_drift_and_says_what_drifted() {
    let wanted = json!({ "subjects": ["orders.>"], "max_age": 259_200_000_000_000_u64,
        "max_msgs": 5000, "max_msg_size": 2_097_152 });
    let was = json!({ "subjects": ["orders.>"], "max_age": 259_200_000_000_000_u64,
        "max_msgs": 1000, "max_msg_size": 1_048_576 });
    let is = json!({ "subjects": ["orders.>"], "max_age": 86_400_000_000_000_u64,
        "max_msgs": 2000, "max_msg_size": 1_048_576 });
    let world = world()
        .wanted("stream.ORDERS", wanted)
        .was("stream.ORDERS", was)
        .is("stream.ORDERS", is)
        .wanted("stream.GONE", json!({ "subjects": ["gone.>"] }))
        .was("stream.GONE", json!({ "subjects": ["gone.>"] }))
        .wanted("consumer.GONE.audit", json!({ "ack_policy": "explicit" }))
        .was("consumer.GONE.audit", json!({ "ack_policy": "explicit" }));
    shows!(world.shown());
}

#[test]
fn alike_changes_of_many_consumers_are_one_block() {
    let mut world = world().wanted("stream.ORDERS", orders()).settled("stream.ORDERS", orders());
    let fields = |wait: u64, most: u64| json!({ "ack_policy": "explicit", "ack_wait": wait * 1_000_000_000, "max_ack_pending": most });
    for name in ["audit", "export", "mailer", "search"] {
        let of = format!("consumer.ORDERS.{name}");
        world = world.wanted(&of, fields(60, 5000)).settled(&of, fields(30, 1000));
    }
    for region in 0..12 {
        let of = format!("consumer.ORDERS.warehouse_of_region_{region:02}");
        world = world.wanted(&of, json!({ "ack_policy": "explicit" }));
    }
    world = world.wanted("stream.OTHER", json!({ "subjects": ["other"] }));
    world = world.settled("stream.OTHER", json!({ "subjects": ["other"] }));
    for of in ["consumer.ORDERS.old", "consumer.OTHER.old"] {
        world = world.settled(of, fields(30, 1000));
    }
    shows!(world.shown());
}

#[test]
fn what_loses_messages_or_is_blocked_is_marked_and_counted() {
    let with = |limits: Value| {
        let mut all = json!({ "subjects": ["billing.>"] });
        all.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
        all
    };
    let world = world()
        .wanted("stream.BILLING", with(json!({ "max_msgs": 1_000_000, "num_replicas": 1 })))
        .was("stream.BILLING", with(json!({ "num_replicas": 3 })))
        .holds("stream.BILLING", 1_214_880, with(json!({ "num_replicas": 3 })))
        .wanted("stream.SEALED", json!({ "subjects": ["sealed"], "sealed": true }))
        .settled("stream.SEALED", json!({ "subjects": ["sealed"] }))
        .wanted("stream.LOGS", json!({ "subjects": ["logs"], "max_age": 3_600_000_000_000_u64 }))
        .was("stream.LOGS", json!({ "subjects": ["logs"] }))
        .holds("stream.LOGS", 1200, json!({ "subjects": ["logs"] }))
        .allowing(Harm::DataLoss, "stream.LOGS")
        .wanted(
            "stream.MIX",
            json!({ "subjects": ["mix"], "sources": [{ "name": "A", "opt_start_seq": 7 }] }),
        )
        .was("stream.MIX", json!({ "subjects": ["mix"], "sources": [{ "name": "A" }] }))
        .holds("stream.MIX", 70, json!({ "subjects": ["mix"], "sources": [{ "name": "A" }] }))
        .wanted("consumer.LOGS.tail", json!({ "ack_policy": "explicit", "filter_subject": "logs" }))
        .settled("consumer.LOGS.tail", json!({ "ack_policy": "explicit" }));
    let plan = world.plan();
    let page = world.shown() + "\n" + &checked(&render::findings(&plan.findings, &world.sources));
    shows!(page);
}

#[test]
fn what_was_counted_is_told_with_its_time_and_who_still_needs_it() {
    let limits = |more: Value| {
        let mut all = json!({ "subjects": ["billing.>"] });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let acks = || json!({ "ack_policy": "explicit" });
    let mut world = world()
        .wanted("stream.BILLING", limits(json!({ "max_msgs": 1_000_000 })))
        .was("stream.BILLING", limits(json!({})))
        .holds("stream.BILLING", 1_214_880, limits(json!({})))
        .wanted("stream.AGES", limits(json!({ "max_age": 3_600_000_000_000_u64 })))
        .was("stream.AGES", limits(json!({})))
        .holds("stream.AGES", 1000, limits(json!({})))
        .wanted("stream.COPY", json!({ "subjects": ["COPY"] }))
        .was("stream.COPY", json!({ "mirror": { "name": "BILLING" } }))
        .holds("stream.COPY", 200, json!({ "mirror": { "name": "BILLING" } }))
        .wanted("stream.FAR", json!({ "subjects": ["FAR"] }))
        .was(
            "stream.FAR",
            json!({ "mirror": { "name": "X", "external": { "api": "$JS.hub.API" } } }),
        )
        .holds(
            "stream.FAR",
            2,
            json!({ "mirror": { "name": "X", "external": { "api": "$JS.hub.API" } } }),
        )
        .allowing(Harm::OneWay, "stream.FAR");
    for (name, unread) in [("invoices", 1_214_880), ("dunning", 1_003_100), ("done", 7)] {
        let of = format!("consumer.BILLING.{name}");
        world = world.wanted(&of, acks()).was(&of, acks()).holds(&of, unread, acks());
    }
    for name in ["a", "b", "c", "d"] {
        let of = format!("consumer.BILLING.region_{name}");
        world = world.wanted(&of, acks()).was(&of, acks()).holds(&of, 1_214_880, acks());
    }
    let tally = |messages: u64, upto, how| Tally {
        messages: Amount::Exactly(messages),
        bytes: Some(messages * 89),
        oldest: Some("2026-11-01T08:00:00.5Z".to_owned()),
        newest: Some("2026-11-20T04:11:59Z".to_owned()),
        upto,
        how,
    };
    for question in world.plan().questions {
        let billing = matches!(&question, Question::Beyond { stream, .. } if stream == "BILLING");
        let answer = if billing {
            tally(214_880, Some(214_880), How::ByTime)
        } else if matches!(question, Question::Uncopied { .. }) {
            tally(45, None, How::Info)
        } else {
            tally(40, Some(40), How::Walk)
        };
        world.live.tallies.insert(question, answer);
    }
    shows!(world.shown());
}

#[test]
fn limits_lowered_together_never_count_more_than_there_is() {
    let limits = json!({ "subjects": ["x"], "max_msgs": 1000, "max_bytes": 1024,
        "max_age": 3_600_000_000_000_u64 });
    let world = world()
        .wanted("stream.X", limits)
        .was("stream.X", json!({ "subjects": ["x"] }))
        .holds("stream.X", 1200, json!({ "subjects": ["x"] }));
    let page = world.shown();
    assert!(page.contains("Data: at most 1,200 messages would be deleted by 1 action."), "{page}");
}

#[test]
fn a_replacement_takes_the_consumers_of_its_stream_along() {
    let world = world()
        .wanted("stream.CACHE", json!({ "subjects": ["cache.>"], "storage": "memory" }))
        .settled("stream.CACHE", json!({ "subjects": ["cache.>"] }))
        .wanted("consumer.CACHE.warm", json!({ "ack_policy": "explicit" }))
        .settled("consumer.CACHE.warm", json!({ "ack_policy": "explicit" }))
        .wanted("stream.FULL", json!({ "subjects": ["full.>"], "storage": "memory" }))
        .was("stream.FULL", json!({ "subjects": ["full.>"] }))
        .holds("stream.FULL", 1, json!({ "subjects": ["full.>"] }));
    shows!(world.shown());
}

#[test]
fn a_deletion_says_why_and_what_goes_with_it() {
    let world = world()
        .settled("stream.EMPTY", orders())
        .was("stream.FULL", orders())
        .holds("stream.FULL", 3131, orders())
        .settled("consumer.FULL.audit", json!({ "ack_policy": "explicit" }));
    shows!(world.shown());
}

#[test]
fn adopting_recording_forgetting_and_binding_say_what_is_left_alone() {
    let interest = json!({ "subjects": ["news.>"], "retention": "interest" });
    let world = world()
        .wanted("stream.FOUND", orders())
        .is("stream.FOUND", orders())
        .wanted("stream.NEARLY", json!({ "subjects": ["nearly"], "max_msgs": 10 }))
        .is("stream.NEARLY", json!({ "subjects": ["nearly"] }))
        .wanted("stream.CAUGHT_UP", json!({ "subjects": ["up"], "max_msgs": 20 }))
        .was("stream.CAUGHT_UP", json!({ "subjects": ["up"], "max_msgs": 10 }))
        .is("stream.CAUGHT_UP", json!({ "subjects": ["up"], "max_msgs": 20 }))
        .was("stream.LEFT", orders())
        .wanted("stream.NEWS", interest)
        .wanted("consumer.NEWS.reader", json!({ "ack_policy": "explicit" }));
    shows!(world.shown());
}

#[test]
fn a_refresh_changes_the_state_only_and_says_so() {
    let world = world()
        .wanted("stream.ORDERS", orders())
        .was("stream.ORDERS", orders())
        .is("stream.ORDERS", json!({ "subjects": ["orders.new", "orders.paid"], "max_msgs": 7 }))
        .wanted("stream.GONE", json!({ "subjects": ["gone.>"] }))
        .was("stream.GONE", json!({ "subjects": ["gone.>"] }))
        .towards(Mode::RefreshOnly);
    shows!(world.shown());
}

#[test]
fn an_empty_plan_says_so_in_each_mode() {
    let settled = || world().wanted("stream.ORDERS", orders()).settled("stream.ORDERS", orders());
    let foreign = || settled().is("stream.TMP", orders()).is("consumer.TMP.x", json!({}));
    let mut unread = world().wanted("stream.ORDERS", orders());
    unread.live.unknown.insert(address("stream.ORDERS"), "no leader".to_owned());
    let pages = [
        settled().shown(),
        foreign().shown(),
        settled().towards(Mode::RefreshOnly).shown(),
        world().towards(Mode::Destroy).shown(),
        unread.shown(),
    ];
    shows!(pages.join("----\n"));
}

#[test]
fn destroying_an_environment_lists_everything_that_goes() {
    let mut world = world().wanted("stream.ORDERS", orders()).settled("stream.ORDERS", orders());
    for name in ["a", "b"] {
        let of = format!("consumer.ORDERS.{name}");
        world = world.wanted(&of, json!({})).settled(&of, json!({}));
    }
    for at in 0..30 {
        world = world.is(&format!("stream.FOREIGN_{at:02}"), orders());
    }
    shows!(world.towards(Mode::Destroy).shown());
}

#[test]
fn a_rollback_says_where_it_goes_and_what_does_not_come_back() {
    let mut world = world()
        .wanted("stream.ORDERS", orders())
        .settled("stream.ORDERS", json!({ "subjects": ["orders.new"], "max_age": 1_000_000_000 }))
        .wanted("stream.LOST", json!({ "subjects": ["lost"] }))
        .wanted("consumer.ORDERS.lost", json!({}))
        .wanted("stream.FIXED", json!({ "subjects": ["fixed"] }))
        .was("stream.FIXED", json!({ "subjects": ["fixed"], "deny_delete": true }))
        .holds("stream.FIXED", 5, json!({ "subjects": ["fixed"], "deny_delete": true }))
        .settled("stream.NEW", json!({ "subjects": ["new"] }))
        .was("stream.TAKEN", json!({ "subjects": ["taken"] }))
        .holds("stream.TAKEN", 9, json!({ "subjects": ["taken"] }))
        .settled("stream.THEIRS", json!({ "subjects": ["theirs"] }))
        .towards(Mode::Rollback(42));
    let theirs = world.recorded.resources.get_mut(&address("stream.THEIRS")).unwrap();
    theirs.origin = Origin::Adopted;
    let page = world.shown() + &tidy(&render::findings(&world.plan().findings, &world.sources));
    shows!(page);
}

#[test]
fn a_step_says_what_of_it_cannot_be_undone_and_says_nothing_where_all_of_it_can() {
    let hour = json!({ "subjects": ["a"], "max_msgs": 9, "max_age": 3_600_000_000_000_u64 });
    let world = world()
        .wanted("stream.BACK", json!({ "subjects": ["a", "b"] }))
        .settled("stream.BACK", json!({ "subjects": ["a"] }))
        .settled("stream.EMPTY", json!({ "subjects": ["e"] }))
        .wanted("stream.FULL", hour.clone())
        .was("stream.FULL", json!({ "subjects": ["a"] }))
        .holds("stream.FULL", 12, json!({ "subjects": ["a"] }))
        .was("consumer.FULL.one", json!({}))
        .holds("consumer.FULL.one", 3, json!({}))
        .was("consumer.FULL.other", json!({}))
        .holds("consumer.FULL.other", 3, json!({}))
        .was("stream.GOES", hour.clone())
        .holds("stream.GOES", 7, hour)
        .was("consumer.GOES.too", json!({}))
        .holds("consumer.GOES.too", 7, json!({}))
        .allowing(Harm::DataLoss, "stream.FULL");
    shows!(world.shown());
}

/// A change of the state, as an apply leaves it.
fn applied(operation: &str, plan: &str) -> LastApply {
    let (at, by) = ("2026-11-22T20:01:00Z".to_owned(), "ci@runner-12".to_owned());
    LastApply { plan: plan.to_owned(), ..LastApply::by_hand(operation, at, by) }
}

#[test]
fn the_history_is_a_table_and_each_change_of_it_is_shown_field_by_field() {
    let mut first = world().was("stream.OLD", orders()).was("stream.S", orders()).recorded;
    let mut second = world()
        .was("stream.S", json!({ "subjects": ["orders.new"] }))
        .was("kv.B", json!({ "history": 5 }))
        .was("consumer.S.audit", json!({ "ack_policy": "explicit" }))
        .recorded;
    second.resources.get_mut(&address("stream.S")).unwrap().prevent_destroy = Some(true);
    (first.serial, second.serial) = (41, 43);
    first.last_apply = Some(applied("apply", "7f3a9c2e00112233"));
    second.last_apply = Some(LastApply {
        commit: Some("a1b2c3d4e5f60718a1b2c3d4e5f60718a1b2c3d4".to_owned()),
        steps: Some(Steps { planned: 5, done: 4 }),
        totals: Some(Totals { added: 2, changed: 1, destroyed: 1, ..Totals::default() }),
        deletes: Some(Amount::AtMost(1200)),
        ..applied("rollback 39", "00112233")
    });
    let by_hand = applied("state rm \u{1b}[2J", "");
    let states = [
        (40, None),
        (41, first.last_apply.as_ref()),
        (42, Some(&by_hand)),
        (43, second.last_apply.as_ref()),
        (44, second.last_apply.as_ref()),
    ];
    let entries = history::entries(states.into_iter());
    let differences = history::between(&first, &second);
    let pages = [
        render::history::table(&second, &entries),
        render::history::choose("--env prod"),
        render::history::one(&second, &entries[1], Some(41), &differences),
        render::history::one(&second, &entries[1], None, &[]),
        render::history::table(&State::new("prod"), &[]),
    ];
    let json = [
        render::json::history(&second, &entries[1..3]),
        render::json::change(&second, &entries[1], Some(41), &differences),
    ];
    let json = json.map(|it| format!("{it:#}\n"));
    shows!(tidy(&pages.join("----\n")) + "----\n" + &json.join("----\n"));
}

#[test]
fn colours_underline_what_the_symbols_already_say() {
    let world = world()
        .wanted("stream.ORDERS", json!({ "subjects": ["orders.>"], "max_msgs": 10 }))
        .was("stream.ORDERS", json!({ "subjects": ["orders.new"] }))
        .holds("stream.ORDERS", 1200, json!({ "subjects": ["orders.new"] }));
    shows!(world.styled().replace('\u{1b}', "␛"));
}

#[test]
fn hostile_texts_stay_texts() {
    let evil = "a\u{1b}[2J\u{1b}]0;x\u{7}\r\nPlan: 0 to add\u{202e}\u{200b}\u{9b}31m\u{2028}b\u{e0041}\"\\";
    let mut world = world()
        .wanted(
            "stream.ORDERS",
            json!({ "subjects": ["orders"], "description": evil,
            "metadata": { evil: evil }, "placement": { "cluster": evil, "tags": [evil] } }),
        )
        .was("stream.ORDERS", json!({ "subjects": ["orders"], "description": "plain" }))
        .is(
            "stream.ORDERS",
            json!({ "subjects": ["orders", evil], "description": format!("{evil}!"),
            "retention": evil, "placement": { "cluster": "x", "odd": { evil: evil } } }),
        );
    world.live.resources.insert(
        Address::stream(evil),
        Observed::new(
            read_back(&Address::stream(evil), &json!({})),
            evil.to_owned(),
            Facts::Stream { messages: 0, bytes: 0, consumers: 0 },
        ),
    );
    world.live.server.cluster = Some(evil.to_owned());
    let finding = Finding::error(Code::Unreadable, evil).about(&Address::stream(evil)).help(evil);
    let plan = world.plan();
    let event = Event::Failed {
        address: Address::stream(evil),
        action: Action::Create,
        error: evil.to_owned(),
    };
    let page = [
        render::plan(&plan, &world.sources),
        render::findings(&[finding], &world.sources),
        render::progress::event(&event),
    ];
    let styled = page.concat();
    let ours = styled.replace(|it: char| it.is_ascii_graphic() || it == ' ', "");
    assert!(ours.chars().all(|it| it == '\n' || it == '\u{1b}' || !it.is_control()));
    let drift = world.drift();
    for text in [&checked(&styled), &drift] {
        for letter in ['\u{202e}', '\u{200b}', '\u{2028}', '\u{e0041}', '\u{1b}', '\r'] {
            assert!(!text.contains(letter), "{letter:?} came through");
        }
    }
    let json = render::json::line(&render::json::plan(&plan, &Sources::default()));
    assert!(!json.trim_end().contains(char::is_control) && !json.contains('\u{202e}'));
    let back: Value = serde_json::from_str(&json).expect("it is JSON still");
    assert_eq!(back["jsplan"]["server"]["cluster"], evil);
    shows!(checked(&styled) + "\n" + &drift);
}

#[test]
fn drift_names_every_resource_that_is_not_in_sync() {
    let mut world = world()
        .wanted("stream.ORDERS", orders())
        .was("stream.ORDERS", orders())
        .is(
            "stream.ORDERS",
            json!({ "subjects": ["orders.new", "orders.paid", "orders.all"],
                "max_age": 86_400_000_000_000_u64, "metadata": { "by": "alice" } }),
        )
        .wanted("consumer.ORDERS.export", json!({}))
        .was("consumer.ORDERS.export", json!({}))
        .wanted("stream.AUDIT", orders())
        .was("stream.AUDIT", orders())
        .is(
            "stream.AUDIT",
            json!({ "subjects": ["orders.new", "orders.paid", "orders.sent"],
            "max_age": 259_200_000_000_000_u64, "max_bytes": 21_474_836_480_u64 }),
        )
        .wanted("stream.EDITED", json!({ "subjects": ["edited"], "max_msgs": 7 }))
        .settled("stream.EDITED", json!({ "subjects": ["edited"] }))
        .wanted("stream.NEW", json!({ "subjects": ["new"] }))
        .settled("stream.DROPPED", json!({ "subjects": ["dropped"] }))
        .wanted("stream.SAME", json!({ "subjects": ["same"] }))
        .settled("stream.SAME", json!({ "subjects": ["same"] }))
        .wanted("stream.DARK", json!({ "subjects": ["dark"] }))
        .was("stream.DARK", json!({ "subjects": ["dark"] }))
        .wanted("stream.ANOTHER", json!({ "subjects": ["another"] }))
        .settled("stream.ANOTHER", json!({ "subjects": ["another"] }))
        .holds("stream.TMP_LOAD", 1204, json!({ "subjects": ["tmp"] }))
        .holds("consumer.TMP_LOAD.probe", 1200, json!({}));
    let another = address("stream.ANOTHER");
    world.live.resources.get_mut(&another).unwrap().created = "2026-11-22T03:00:00Z".to_owned();
    let of = address("stream.AUDIT");
    world.desired.resources.get_mut(&of).unwrap().ignore.insert("max_bytes");
    world.live.unknown.insert(address("stream.DARK"), "its raft group has no leader".to_owned());
    shows!(world.drift());
}

#[test]
fn without_drift_the_report_is_short() {
    let calm = world().wanted("stream.SAME", orders()).settled("stream.SAME", orders());
    let pending = world().wanted("stream.NEW", orders());
    shows!(calm.drift() + "----\n" + &pending.drift());
}

#[test]
fn a_long_text_that_drifted_is_shown_where_it_differs() {
    let text = |days| {
        format!(
            "Everything that ever happened to an order, kept for {days} days so that auditors can ask"
        )
    };
    let fields = |days| json!({ "subjects": ["x"], "description": text(days) });
    let world =
        world().wanted("stream.X", fields(7)).was("stream.X", fields(7)).is("stream.X", fields(30));
    shows!(world.drift());
}

#[test]
fn the_state_is_a_table_with_consumers_under_their_streams() {
    let mut world = world()
        .was("stream.ORDERS", orders())
        .was("consumer.ORDERS.audit", json!({ "ack_policy": "explicit", "max_deliver": 5 }))
        .was("consumer.ORDERS.export", json!({ "deliver_subject": "push.here" }))
        .was(
            "stream.BILLING",
            json!({ "max_msgs": 1_000_000, "num_replicas": 3,
            "max_bytes": 53_687_091_200_u64 }),
        )
        .was("stream.COPY", json!({ "mirror": { "name": "ORDERS" } }))
        .was("consumer.FOREIGN.reader", json!({ "ack_policy": "explicit" }));
    let state = &mut world.recorded;
    state.serial = 43;
    state.target = Some(Target {
        account: Some("ORDERS".to_owned()),
        cluster: Some("nats-eu1".to_owned()),
        domain: None,
    });
    state.last_apply = Some(LastApply {
        at: "2026-11-22T20:01:00Z".to_owned(),
        by: "ci@runner-12".to_owned(),
        plan: "7f3a9c2e00112233".to_owned(),
        operation: "apply".to_owned(),
        commit: Some("a1b2c3d4e5f60718a1b2c3d4e5f60718a1b2c3d4".to_owned()),
        steps: None,
        totals: None,
        deletes: None,
    });
    let of = state.resources.get_mut(&address("stream.BILLING")).unwrap();
    of.prevent_destroy = Some(true);
    of.origin = Origin::Adopted;
    state.resources.get_mut(&address("stream.COPY")).unwrap().prevent_destroy = Some(false);
    let empty = State::new("dev");
    let parts = [render::state(state), render::state_list(state), render::state(&empty)];
    shows!(tidy(&parts.join("----\n")));
}

#[test]
fn one_resource_is_shown_with_what_jsplan_does_not_manage() {
    let world = world().was(
        "stream.ORDERS",
        json!({ "subjects": ["orders.>"], "max_bytes": 53_687_091_200_u64,
            "metadata": { "team": "checkout", "_nats.level": "1" }, "some_future": { "x": 3 } }),
    );
    let of = address("stream.ORDERS");
    shows!(tidy(&render::resource(&of, &world.recorded.resources[&of])));
}

#[test]
fn findings_are_drawn_as_rustc_draws_them() {
    let mut sources = Sources::default();
    let text =
        "[streams.ORDERS]\nmax_mesages = 1_000_000\n\tmax_age\t= \"grün\" # é\nlast = \"日本\"";
    let file = sources.add("environments/prod.toml".to_owned(), text.to_owned());
    let windows = sources.add("environments/base.toml".to_owned(), "a = 1\r\nb = 2\r\n".to_owned());
    let at = |part: &str| {
        let start = text.find(part).expect("it is in the text");
        Place::new(file, start..start + part.len())
    };
    let findings = [
        Finding::error(Code::UnknownKey, "a stream has no field `max_mesages`")
            .at(at("max_mesages"))
            .help("did you mean `max_msgs`?"),
        Finding::error(Code::BadValue, "`grün` is no duration").at(at("\"grün\"")),
        Finding::warning(Code::BadValue, "after a wide letter").at(at("本\"")),
        Finding::error(Code::Syntax, "the file ends too early")
            .at(Place::new(file, text.len()..text.len())),
        Finding::note(Code::Conflict, "of two lines").at(at("\"grün\" # é\nlast")),
        Finding::error(Code::WrongType, "on windows").at(Place::new(windows, 11..12)),
        Finding::error(Code::WrongTarget, "the spec expects account `A`, and this is `B`")
            .help("check `--env`"),
        Finding::warning(Code::Unreadable, "no leader").about(&address("stream.ORDERS")),
    ];
    shows!(checked(&render::findings(&findings, &sources)));
}

#[test]
fn no_span_makes_the_drawing_panic() {
    let mut sources = Sources::default();
    let texts = ["", "\n", "a", "é", "日\n本", "a\tb\r\n\tc", "\u{feff}x\u{1b}\u{85}\u{e0041}y"];
    for text in texts {
        let file = sources.add("a.toml".to_owned(), text.to_owned());
        for start in 0..text.len() + 3 {
            for end in [0, start, start + 1, start + 2, text.len(), usize::MAX] {
                let place = Place::new(file, start..end);
                let finding = [Finding::error(Code::Syntax, "odd").at(place)];
                checked(&render::findings(&finding, &sources));
                assert_eq!(render::json::findings(&finding, &sources)["error_count"], 1);
            }
        }
    }
}

#[test]
fn an_apply_tells_what_it_does() {
    let world = world()
        .wanted(
            "stream.ORDERS",
            json!({ "subjects": ["orders.>"], "max_age": 259_200_000_000_000_u64 }),
        )
        .settled("stream.ORDERS", json!({ "subjects": ["orders.new"], "max_msgs": 5 }));
    let plan = world.plan();
    let of = || address("stream.ORDERS");
    let all = [
        Action::Create,
        Action::Update,
        Action::Replace,
        Action::Delete,
        Action::Bind,
        Action::Adopt,
        Action::Record,
        Action::Forget,
    ];
    let mut page = String::new();
    for action in all {
        page += &render::progress::event(&Event::Started { address: of(), action });
        let waiting = Event::Waiting { address: of(), action, elapsed_ms: 10_010 };
        page += &render::progress::event(&waiting);
        let step = plan.steps.iter().find(|it| it.action == action);
        let note = step.and_then(render::progress::note);
        let done = Event::Finished { address: of(), action, took_ms: 1999, note };
        page += &render::progress::event(&done);
    }
    let error = "insufficient storage resources available (10047)".to_owned();
    page +=
        &render::progress::event(&Event::Failed { address: of(), action: Action::Create, error });
    page += &render::progress::event(&Event::Verified { resources: 7 });
    let counts = Counts { import: 0, add: 1, change: 2, destroy: 0, forget: 0 };
    page += &render::progress::complete(Mode::Normal, counts);
    let counts = Counts { import: 3, add: 1, change: 2, destroy: 4, forget: 5 };
    page += &render::progress::complete(Mode::Normal, counts);
    page += &render::progress::complete(Mode::Destroy, counts);
    shows!(tidy(&page));
}

#[test]
fn an_apply_that_stops_says_what_was_done_and_what_was_not() {
    let many = (0..9).map(|it| address(&format!("consumer.ORDERS.reader_{it}"))).collect();
    let outcome = Outcome {
        done: vec![address("stream.ORDERS")],
        failed: vec![address("stream.INGEST_V2")],
        not_started: many,
        beyond: Vec::new(),
        touched: [address("stream.ORDERS")].into(),
        interrupted: false,
        counts: Counts { change: 1, ..Counts::default() },
    };
    let told = |it: &Outcome| {
        tidy(&render::progress::stopped(it, "--env prod", Mode::Normal, Kept::State(43)))
    };
    shows!(told(&outcome));
    let failed = Vec::new();
    let beyond = vec![address("stream.ORDERS")];
    let beyond = told(&Outcome { failed: failed.clone(), beyond, ..outcome.clone() });
    assert!(beyond.contains("beyond plan  stream.ORDERS\n"), "{beyond}");
    let interrupted = Outcome { failed, interrupted: true, ..outcome };
    let told = told(&interrupted);
    assert!(
        told.contains("Apply interrupted: ") && told.contains("To see what is left: "),
        "{told}"
    );
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("a value is always written")
}

#[test]
fn a_plan_in_json_has_the_shape_of_terraforms() {
    let world = world()
        .wanted("stream.ORDERS", json!({ "subjects": ["orders.>"], "max_msgs": 1000 }))
        .was("stream.ORDERS", json!({ "subjects": ["orders.new"] }))
        .holds("stream.ORDERS", 1200, json!({ "subjects": ["orders.new"], "no_ack": true }))
        .wanted("consumer.ORDERS.audit", json!({ "ack_policy": "explicit" }))
        .settled("stream.OLD", json!({}))
        .wanted("stream.FOUND", json!({}))
        .is("stream.FOUND", json!({}))
        .wanted("stream.CACHE", json!({ "subjects": ["cache"], "storage": "memory" }))
        .settled("stream.CACHE", json!({ "subjects": ["cache"] }))
        .was("stream.GONE", json!({}))
        .is("stream.TMP", json!({}));
    shows!(pretty(&render::json::plan(&world.plan(), &world.sources)));
}

#[test]
fn state_drift_and_findings_have_json_forms() {
    let world = world()
        .wanted("stream.ORDERS", json!({ "subjects": ["orders"], "max_msgs": 1 }))
        .was("stream.ORDERS", json!({ "subjects": ["orders"], "max_msgs": 1 }))
        .is("stream.ORDERS", json!({ "subjects": ["orders"], "max_msgs": 2 }))
        .is("stream.TMP", json!({}));
    let report = drift::compare(&world.desired, &world.recorded, &world.live);
    let finding = Finding::error(Code::UnknownKey, "no field `x`")
        .at(Place::new(0, 4..5))
        .about(&address("stream.ORDERS"))
        .help("did you mean `y`?");
    let pages = [
        pretty(&render::json::state(&world.recorded)),
        pretty(&render::json::drift(&report, &world.recorded, &world.live)),
        pretty(&render::json::findings(&[finding], &world.sources)),
    ];
    shows!(pages.join("\n----\n"));
}
