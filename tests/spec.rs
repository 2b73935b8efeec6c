//! Specs: what is refused and how it is said, what layers make of each other, and that no text
//! breaks the reader.

use std::{collections::BTreeMap, fmt::Write as _, fs, io, iter, path::Path};

use jsplan::{
    address::Address,
    config::Config,
    finding::{Code, Finding, Severity},
    schema::{
        Release,
        bucket::{Bucket, lift},
        complete,
        stream::STREAM,
    },
    spec::{self, Declared, Desired, Loaded, Secret},
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Loads a file of `tests/specs` or of the repository.
fn load_from(folder: &str, path: &str) -> Loaded {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    spec::load(path, |it| fs::read_to_string(root.join(it)).map_err(|it| it.kind().to_string()))
}

/// Loads texts given by name; the first is the environment.
fn load_texts(files: &[(&str, &str)]) -> Loaded {
    let texts: BTreeMap<_, _> = files.iter().copied().collect();
    spec::load(files[0].0, |it| {
        texts.get(it).map(|it| (*it).to_owned()).ok_or_else(|| "no such file".to_owned())
    })
}

fn server(rest: &str) -> String {
    format!("[server]\nurl = \"nats://127.0.0.1:4222\"\n{rest}")
}

/// The environment of a text that is right.
fn right(text: &str) -> Desired {
    let loaded = load_texts(&[("dev.toml", &server(text))]);
    assert!(loaded.findings.is_empty(), "{}", shown(&loaded));
    loaded.desired.expect("nothing is wrong with it")
}

fn stream<'a>(desired: &'a Desired, name: &str) -> &'a Declared {
    &desired.resources[&Address::stream(name)]
}

fn shown(loaded: &Loaded) -> String {
    let mut text = String::new();
    for it in &loaded.findings {
        let place = it.place.map_or_else(String::new, |place| {
            let (line, column) = loaded.sources.line(place);
            format!("{}:{line}:{column} ", loaded.sources.path(place))
        });
        let line = format!("{}[{}] {place}{}", it.severity, it.code, it.message);
        let source = it.place.map_or("", |it| &loaded.sources.text(it)[it.span()]);
        let source = source.lines().map(|it| format!("  | {it}"));
        let help = it.help.iter().map(|it| format!("  help: {it}"));
        for line in iter::once(line).chain(source).chain(help) {
            text += &line;
            text.push('\n');
        }
    }
    text
}

fn wrong_files() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/specs/wrong");
    let files = fs::read_dir(folder).expect("the folder is there");
    let name = |it: io::Result<fs::DirEntry>| {
        it.expect("it can be listed").file_name().into_string().expect("names are Unicode")
    };
    let mut names: Vec<_> = files.map(name).collect();
    names.sort();
    names
}

#[test]
fn every_mistake_is_said_with_its_place_and_its_remedy() {
    for name in wrong_files() {
        let loaded = load_from("tests/specs", &format!("wrong/{name}"));
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("specs/snapshots");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| {
            insta::assert_snapshot!(name.trim_end_matches(".toml"), shown(&loaded));
        });
    }
}

#[test]
fn every_finding_has_a_code_a_place_and_a_remedy() {
    let names = wrong_files();
    assert!(names.len() >= 45, "{} files", names.len());
    for name in names {
        let loaded = load_from("tests/specs", &format!("wrong/{name}"));
        assert!(!loaded.findings.is_empty(), "{name} is not wrong");
        let errors = loaded.findings.iter().any(|it| it.severity == Severity::Error);
        assert_eq!(loaded.desired.is_none(), errors, "{name}");
        for finding in &loaded.findings {
            assert!(Code::ALL.contains(&finding.code), "{name}");
            assert!(finding.place.is_some(), "{name}: {}", finding.message);
            assert!(finding.help.as_ref().is_some_and(|it| !it.is_empty()), "{name}");
            assert!(!finding.message.ends_with('.'), "{name}: {}", finding.message);
        }
    }
}

#[test]
fn a_secret_is_neither_said_nor_shown() {
    for (line, secret) in [
        ("user = \"ada\"\npassword = \"hunter2\"", "hunter2"),
        ("token = 's3cr3t'", "s3cr3t"),
        ("token = s3cr3t", "s3cr3t"),
        ("creds = '''\n-----BEGIN NATS USER JWT-----\nabc\n'''", "BEGIN"),
        ("nkey = \"SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY\"", "SUACSSL"),
        ("tls.key = \"-----BEGIN PRIVATE KEY-----\"", "BEGIN"),
    ] {
        let loaded = load_texts(&[("dev.toml", &server(line))]);
        assert!(loaded.desired.is_none(), "{line}");
        let place = loaded.findings[0].place.expect("a mistake has a place");
        assert!(!loaded.sources.text(place).contains(secret), "{line}");
        assert!(!shown(&loaded).contains(secret), "{line}");
    }
}

#[test]
fn a_file_that_is_not_there_is_said_of_the_environment_too() {
    let loaded = load_texts(&[("dev.toml", "extends = \"base.toml\"")]);
    assert_eq!(loaded.findings[0].code, Code::File);
    let loaded = spec::load("prod.toml", |_| Err("no such file".to_owned()));
    assert_eq!(loaded.findings[0].code, Code::File);
    assert!(loaded.desired.is_none());
}

#[test]
fn the_shipped_environments_are_right() {
    for (name, protected, critical, status) in
        [("dev", false, 1, 1), ("staging", false, 3, 3), ("prod", true, 3, 1)]
    {
        let loaded = load_from("environments", &format!("{name}.toml"));
        assert_eq!(shown(&loaded), "");
        let desired = loaded.desired.expect("nothing is wrong with it");
        assert_eq!(desired.environment.name, name);
        assert_eq!(desired.environment.protected, protected);
        let names: Vec<_> = desired.resources.keys().map(ToString::to_string).collect();
        assert_eq!(
            names,
            [
                "stream.CONSENSUS_EVENTS_V1",
                "stream.INGEST_RAW_V1",
                "stream.INGEST_RAW_V2",
                "stream.INGEST_STATUS_V1",
                "consumer.CONSENSUS_EVENTS_V1.audit_CONSENSUS_AUDIT_TAIL",
                "consumer.INGEST_RAW_V1.analytics_ANALYTICS_BATCH",
                "consumer.INGEST_RAW_V1.realtime_REALTIME_PIPE",
                "consumer.INGEST_RAW_V2.analytics_ANALYTICS_BATCH",
                "consumer.INGEST_RAW_V2.realtime_REALTIME_PIPE",
            ]
        );
        for (stream, replicas) in [
            ("INGEST_RAW_V1", critical),
            ("INGEST_RAW_V2", critical),
            ("CONSENSUS_EVENTS_V1", critical),
            ("INGEST_STATUS_V1", status),
        ] {
            let config = &self::stream(&desired, stream).config;
            assert_eq!(config.number("num_replicas"), Some(replicas), "{name} {stream}");
            assert!(config.number("max_age").is_some_and(|it| it > 0), "{name} {stream}");
            assert!(config.number("max_bytes").is_some_and(|it| it > 0), "{name} {stream}");
            assert_eq!(config.text("name"), Some(stream));
        }
    }
}

#[test]
fn the_shipped_consumers_are_those_of_the_design() {
    let desired = load_from("environments", "prod.toml").desired.expect("it is right");
    let ms = |list: &[i64]| json!(list.iter().map(|it| it * 1_000_000).collect::<Vec<_>>());
    for (stream, name, in_flight, backoff) in [
        ("INGEST_RAW_V1", "analytics_ANALYTICS_BATCH", 512, ms(&[100, 250, 500])),
        ("INGEST_RAW_V1", "realtime_REALTIME_PIPE", 256, ms(&[50, 100, 250])),
        ("INGEST_RAW_V2", "analytics_ANALYTICS_BATCH", 512, ms(&[100, 250, 500])),
        ("INGEST_RAW_V2", "realtime_REALTIME_PIPE", 256, ms(&[50, 100, 250])),
        ("CONSENSUS_EVENTS_V1", "audit_CONSENSUS_AUDIT_TAIL", 128, ms(&[200, 400])),
    ] {
        let config = &desired.resources[&Address::consumer(stream, name)].config;
        assert_eq!(config.text("durable_name"), Some(name));
        assert_eq!(config.text("ack_policy"), Some("explicit"));
        assert_eq!(config.number("max_ack_pending"), Some(in_flight));
        assert_eq!(config.get("backoff"), Some(&backoff));
        assert_eq!(config.has("deliver_subject"), name == "realtime_REALTIME_PIPE");
    }
}

#[test]
fn a_field_points_at_the_layer_that_won() {
    let loaded = load_from("environments", "dev.toml");
    let desired = loaded.desired.expect("it is right");
    let raw = stream(&desired, "INGEST_RAW_V1");
    let written = |field| {
        let place = raw.places[field];
        (loaded.sources.path(place), &loaded.sources.text(place)[place.span()])
    };
    assert_eq!(written("num_replicas"), ("dev.toml", "1"));
    assert_eq!(written("max_bytes"), ("dev.toml", "\"256MiB\""));
    assert_eq!(written("subjects"), ("base.toml", "[\"ingest.v1.raw\"]"));
    assert_eq!(loaded.sources.path(raw.place), "base.toml");
}

#[test]
fn defaults_lie_under_and_overrides_over_the_streams_of_every_layer() {
    let base = server(
        "[defaults.stream]\nmax_age = '1h'\nmax_msgs = 1\nstorage = 'memory'\n\
         [override.stream]\nnum_replicas = 3\nallow_direct = true\n\
         [streams.A]\nmax_msgs = 2\nnum_replicas = 5\nmax_bytes = 7\n[streams.B]\n",
    );
    let dev = "extends = 'base.toml'\n[defaults.stream]\nmax_age = '2h'\nmax_msgs = 9\n\
               [override.stream]\nnum_replicas = 1\n\
               [streams.A]\nmax_bytes = 8\nallow_direct = false\n";
    let loaded = load_texts(&[("dev.toml", dev), ("base.toml", &base)]);
    assert_eq!(shown(&loaded), "");
    let desired = loaded.desired.expect("it is right");
    let shown = |name| serde_json::to_value(&stream(&desired, name).config).unwrap();
    let two_hours = 7_200_000_000_000_i64;
    assert_eq!(
        shown("A"),
        json!({
            "name": "A", "max_age": two_hours, "max_msgs": 2, "storage": "memory",
            "num_replicas": 1, "allow_direct": true, "max_bytes": 8,
        })
    );
    assert_eq!(
        shown("B"),
        json!({
            "name": "B", "max_age": two_hours, "max_msgs": 9, "storage": "memory",
            "num_replicas": 1, "allow_direct": true,
        })
    );
}

#[test]
fn what_is_said_of_all_streams_is_not_said_of_buckets() {
    let base = server(
        "[defaults.stream]\nmax_age = '1h'\n[override.stream]\nnum_replicas = 3\n\
         [defaults.kv]\nttl = '2h'\nhistory = 2\n[override.object]\nstorage = 'memory'\n\
         [kv.A]\nhistory = 4\ndescription = 'base'\n[kv.B]\n[kv.OFF]\n[object.O]\n",
    );
    let dev = "extends = 'base.toml'\n[override.kv]\nnum_replicas = 1\n\
               [kv.A]\nhistory = 5\n[kv.OFF]\nenabled = false\n";
    let loaded = load_texts(&[("dev.toml", dev), ("base.toml", &base)]);
    assert_eq!(shown(&loaded), "");
    let desired = loaded.desired.expect("it is right");
    let words = |address: &str| {
        let declared = &desired.resources[&address.parse::<Address>().expect("an address")];
        let lifted = lift(&declared.config).expect("it is a bucket");
        (lifted.words.into_value(), declared.config.number("num_replicas"))
    };
    let two_hours = 7_200_000_000_000_i64;
    let all = json!({ "history": 5, "ttl": two_hours, "description": "base" });
    assert_eq!(words("kv.A"), (all, Some(1)));
    assert_eq!(words("kv.B"), (json!({ "history": 2, "ttl": two_hours }), Some(1)));
    assert_eq!(words("object.O"), (json!({ "storage": "memory" }), None));
    assert_eq!(desired.resources.len(), 3);
    let history = desired.resources[&"kv.A".parse::<Address>().expect("an address")].places["max_msgs_per_subject"];
    assert_eq!(&loaded.sources.text(history)[history.span()], "5");
    assert_eq!(loaded.sources.path(history), "dev.toml");
}

#[test]
fn layers_may_stand_in_other_folders() {
    let loaded = load_texts(&[
        ("live/eu/dev.toml", "extends = \"../shared/./base.toml\"\n"),
        ("live/shared/base.toml", "extends = \"../../top.toml\"\n[streams.A]\n"),
        ("top.toml", &server("")),
    ]);
    assert_eq!(shown(&loaded), "");
    assert_eq!(loaded.desired.expect("it is right").environment.name, "dev");
}

#[test]
fn units_become_the_wires_numbers() {
    let desired = right(
        "[streams.A]\nmax_age = '7d'\nmax_bytes = '50GiB'\nmax_msg_size = 1_024\nmax_msgs = 0x10\n\
         duplicate_window = '90s'\n\
         mirror = { name = 'B', opt_start_time = 2026-11-23T18:00:00+01:00 }\n",
    );
    let config = &stream(&desired, "A").config;
    assert_eq!(config.number("max_age"), Some(604_800_000_000_000));
    assert_eq!(config.number("max_bytes"), Some(50 << 30));
    assert_eq!(config.number("max_msg_size"), Some(1024));
    assert_eq!(config.number("max_msgs"), Some(16));
    assert_eq!(config.number("duplicate_window"), Some(90_000_000_000));
    let mirror = json!({ "name": "B", "opt_start_time": "2026-11-23T17:00:00Z" });
    assert_eq!(config.get("mirror"), Some(&mirror));
}

#[test]
fn unlimited_is_each_fields_own_number() {
    let desired = right(
        "[streams.A]\nmax_age = 'unlimited'\nmax_bytes = 'unlimited'\ndescription = 'unlimited'\n",
    );
    let config = &stream(&desired, "A").config;
    assert_eq!(config.number("max_age"), Some(0));
    assert_eq!(config.number("max_bytes"), Some(-1));
    assert_eq!(config.text("description"), Some("unlimited"));
}

#[test]
fn a_durable_name_follows_the_rule() {
    let consumers = "[streams.A.consumers.X]\nack_policy = 'explicit'\n\
                     [streams.A.consumers.Y]\nack_policy = 'explicit'\nservice = 'web'\n";
    let names = |text: &str| -> Vec<_> {
        let desired = right(text);
        desired.resources.keys().skip(1).map(|it| it.name().to_owned()).collect()
    };
    assert_eq!(names(consumers), ["X", "web_Y"]);
    let rule = format!("[naming]\ndurable = 'v1-{{name}}'\n{consumers}");
    assert_eq!(names(&rule), ["v1-X", "v1-Y"]);
}

#[test]
fn what_is_switched_off_is_left_out_with_its_consumers() {
    let base = server(
        "[streams.A]\n[streams.A.consumers.X]\nack_policy = 'explicit'\n\
         [streams.B]\n[streams.B.consumers.X]\nack_policy = 'explicit'\n\
         [streams.B.consumers.Y]\nack_policy = 'explicit'\n",
    );
    let dev = "extends = 'base.toml'\n[streams.A]\nenabled = false\n\
               [streams.B.consumers.X]\nenabled = false\n";
    let loaded = load_texts(&[("dev.toml", dev), ("base.toml", &base)]);
    assert_eq!(shown(&loaded), "");
    let desired = loaded.desired.expect("it is right");
    let names: Vec<_> = desired.resources.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["stream.B", "consumer.B.Y"]);
}

#[test]
fn a_later_way_to_the_server_replaces_an_earlier_one() {
    let base = server("user = 'ada'\npassword = 'env:PASSWORD'\ntimeout = '10s'\n");
    let prod = "extends = 'base.toml'\n[server]\nurl = ['nats://a:4222', 'tls://b']\n\
                creds = 'file:/run/secrets/nats.creds'\n\
                [server.expect]\ncluster = 'prod'\n[server.tls]\nca = 'ca.pem'\nfirst = true\n";
    let loaded = load_texts(&[("prod.toml", prod), ("base.toml", &base)]);
    assert_eq!(shown(&loaded), "");
    let environment = loaded.desired.expect("it is right").environment;
    let server = environment.server;
    assert_eq!(server.urls, ["nats://a:4222", "tls://b"]);
    assert_eq!(server.creds, Some(Secret::File("/run/secrets/nats.creds".to_owned())));
    assert_eq!((server.user, server.password), (None, None));
    assert_eq!(server.timeout, Some(10_000_000_000));
    assert_eq!((server.tls_ca.as_deref(), server.tls_first), (Some("ca.pem"), true));
    assert_eq!(environment.expect.cluster.as_deref(), Some("prod"));
}

#[test]
fn the_digest_follows_what_matters_and_nothing_else() {
    let digest = |text: &str| stream(&right(text), "A").sha256.clone();
    let plain = digest("[streams.A]\nmax_age = '1h'\n");
    assert_eq!(plain, digest("# A comment.\n[streams.A]\nmax_age = '60m'\nenabled = true\n"));
    assert_ne!(plain, digest("[streams.A]\nmax_age = '2h'\n"));
    assert_ne!(plain, digest("[streams.A]\nmax_age = '1h'\nprevent_destroy = true\n"));
    let ignoring =
        "[streams.A]\nmax_age = '1h'\nignore = ['placement']\nreason = 'moved by hand'\n";
    assert_ne!(plain, digest(ignoring));
}

#[test]
fn a_key_of_endless_parts_is_a_finding() {
    let deep = ".a".repeat(200_000);
    for text in [
        format!("a{deep} = 1\n"),
        format!("[a{deep}]\n"),
        format!("x = {{ a{deep} = 1 }}\n"),
        format!("'a'{} = 1\n", deep.replace('a', "'a'")),
        format!("a = {}\n", "[".repeat(200_000)),
    ] {
        let loaded = load_texts(&[("dev.toml", &text)]);
        assert_eq!(loaded.findings[0].code, Code::Syntax, "{}", &text[..20]);
    }
    let dots =
        format!("# {}\n[streams.A]\nsubjects = ['a{}']\n", ".".repeat(500), ".a".repeat(500));
    right(&dots);
}

#[test]
fn a_subject_that_no_message_has_is_a_finding() {
    let text = server(&format!("[streams.A]\nsubjects = ['a{}']\n", ".a".repeat(100_000)));
    assert_eq!(load_texts(&[("dev.toml", &text)]).findings[0].code, Code::BadSubject);
}

#[test]
fn a_thousand_streams_with_three_thousand_consumers_are_right() {
    let mut text = server("[defaults.consumer]\nack_policy = 'explicit'\n");
    for stream in 0..1000 {
        writeln!(
            text,
            "[streams.S{stream}]\nsubjects = ['all.{stream}.>']\nmax_age = '7d'\nmax_bytes = '1GiB'"
        )
        .unwrap();
        for consumer in 0..3 {
            writeln!(
                text,
                "[streams.S{stream}.consumers.C{consumer}]\nmax_ack_pending = 10\n\
                 filter_subject = 'all.{stream}.{consumer}'\nbackoff = ['1s', '5s']"
            )
            .unwrap();
        }
    }
    let loaded = load_texts(&[("dev.toml", &text)]);
    assert_eq!(shown(&loaded), "");
    assert_eq!(loaded.desired.expect("it is right").resources.len(), 4000);
}

/// Loads two texts, shows what is found and looks at every place.
fn survives(environment: &str, base: &str) {
    let loaded = load_texts(&[("dev.toml", environment), ("base.toml", base)]);
    let _ = shown(&loaded);
    let refused = loaded.findings.iter().any(|it| it.severity == Severity::Error);
    assert_eq!(loaded.desired.is_none(), refused);
}

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("environments").join(name);
    fs::read_to_string(path).expect("it is shipped")
}

/// Cuts a text, turns over some of its bytes and puts pieces of it elsewhere.
fn damage(text: &str, flips: &[(usize, u8)], splices: &[(usize, usize, usize)]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for (from, length, to) in splices {
        let from = from % bytes.len();
        let piece = bytes[from..(from + length).min(bytes.len())].to_vec();
        let to = to % bytes.len();
        bytes.splice(to..to, piece);
    }
    for (at, byte) in flips {
        let at = at % bytes.len();
        bytes[at] = *byte;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An origin of a bucket, in the words of the spec.
fn origin() -> impl Strategy<Value = Value> {
    let rewritten = prop::sample::select(vec![
        json!({}),
        json!({ "subject_transforms": [] }),
        json!({ "subject_transforms": [{ "src": "$KV.A.x.>", "dest": "$KV.B.x.>" }] }),
        json!({ "domain": "hub" }),
        json!({ "external": { "api": "a.b", "deliver": "c" } }),
        json!({ "external": { "api": "$JS.hub.API", "deliver": "c" } }),
        json!({ "opt_start_seq": 7 }),
    ]);
    ("[AB]|KV|K_V", rewritten).prop_map(|(name, mut it)| {
        it["name"] = name.into();
        it
    })
}

/// Words of a bucket as a person may combine them, none of them a default.
fn words() -> impl Strategy<Value = BTreeMap<&'static str, Value>> {
    let simple = prop::sample::subsequence(
        vec![
            ("description", json!("it")),
            ("ttl", json!(3_600_000_000_000_u64)),
            ("max_bytes", json!(1_000)),
            ("storage", json!("memory")),
            ("num_replicas", json!(3)),
            ("placement", json!({ "tags": ["a"] })),
            ("compression", json!(true)),
            ("metadata", json!({ "team": "a" })),
        ],
        0..=8,
    );
    let kv = prop::sample::subsequence(
        vec![
            ("history", json!(5)),
            ("max_value_size", json!(1_000)),
            ("republish", json!({ "src": "a", "dest": "b" })),
        ],
        0..=3,
    );
    let copies = prop_oneof![
        Just(vec![]),
        Just(vec![("limit_marker_ttl", json!(2_000_000_000_u64))]),
        origin()
            .prop_filter("one word for it", |it| it["subject_transforms"] != json!([]))
            .prop_map(|it| vec![("mirror", it)]),
        origin().prop_map(|it| vec![("sources", json!([it]))]),
    ];
    (simple, kv, copies).prop_map(|(a, b, c)| a.into_iter().chain(b).chain(c).collect())
}

#[test]
fn the_shipped_environments_turn_every_built_in_rule_on_as_an_error() {
    let schema = jsplan::reference::schema::schema();
    let schema: serde_json::Value = serde_json::from_str(&schema).expect("it is JSON");
    let rules = schema["properties"]["policy"]["properties"].as_object().expect("rules").keys();
    let rules: Vec<_> = rules.filter(|it| *it != "rules").collect();
    assert!(rules.len() >= 6);
    let base: toml::Table = shipped("base.toml").parse().expect("it is TOML");
    for rule in rules {
        let said = &base["policy"][rule.as_str()];
        let level = said.get("level").unwrap_or(said);
        assert_eq!(level.as_str(), Some("error"), "{rule}");
        for name in ["dev.toml", "staging.toml", "prod.toml"] {
            let own: toml::Table = shipped(name).parse().expect("it is TOML");
            let own = own.get("policy").and_then(|it| it.get(rule));
            let own = own.and_then(|it| it.get("level").or(it.is_str().then_some(it)));
            assert!(own.is_none_or(|it| it.as_str() == Some("error")), "{name} {rule}");
        }
    }
}

/// What is found in an environment over a base.
fn found(dev: &str, base: &str) -> Vec<String> {
    let dev = format!("extends = 'base.toml'\n{dev}");
    let loaded = load_texts(&[("dev.toml", &dev), ("base.toml", &server(base))]);
    let line = |it: &Finding| format!("{}: {}", it.severity, it.message);
    loaded.findings.iter().map(line).collect()
}

#[test]
fn a_later_layer_is_stricter_or_less_strict_setting_by_setting() {
    let base = "[policy]\nreplicated = { level = 'warn', streams = ['A*'], min = 2 }\n\
                [streams.A1]\n[streams.B1]\n";
    let breaks = |severity: &str, min: u8| {
        format!(
            "{severity}: `stream.A1` breaks the rule `replicated`: `num_replicas` is 1, and at \
             least {min} are asked for"
        )
    };
    assert_eq!(found("", base), [breaks("warning", 2)]);
    assert_eq!(found("[policy]\nreplicated = 'error'", base), [breaks("error", 2)]);
    assert_eq!(found("[policy]\nreplicated = { min = 5 }", base), [breaks("warning", 5)]);
    assert_eq!(found("[policy]\nreplicated = { min = 1 }", base), [""; 0]);
    let off = "[policy]\nreplicated = { level = 'off', reason = 'there is one server' }";
    assert_eq!(found(off, base), [""; 0]);
}

#[test]
fn an_exception_with_its_reason_lets_one_resource_through() {
    let base = "[policy]\nbounded_retention = 'error'\nservice_prefixed_durables = 'error'\n\
                [streams.A]\n[streams.A.consumers.C]\nack_policy = 'explicit'\n[kv.K]\n";
    assert_eq!(found("", base).len(), 2);
    let dev = "[streams.A]\nexceptions = { bounded_retention = 'it is read at once' }\n\
               [streams.A.consumers.C.exceptions]\nservice_prefixed_durables = 'it is older'\n";
    assert_eq!(found(dev, base), [""; 0]);
}

#[test]
fn a_rule_of_ones_own_judges_what_the_server_would_make_of_it() {
    let rule = |kind: &str, rule: &str| {
        format!(
            "[policy.rules.mine]\nlevel = 'error'\napplies_to = '{kind}'\nmessage = 'it is not'\n\
             rule = '''{rule}'''\n[streams.A_V1]\nmax_bytes = '2GiB'\n\
             [streams.A_V1.consumers.C]\nack_policy = 'explicit'\nservice = 'web'\n[kv.K]\n"
        )
    };
    for (kind, holds) in [
        ("stream", "config.num_replicas == 1 && config.storage == 'file'"),
        ("stream", "config.max_bytes == quantity('2GiB') && config.max_age == 0"),
        ("stream", "config.subjects.all(it, it.startsWith('A')) && !has(config.description)"),
        ("stream", "name.matches('[A-Z]+_V[0-9]+') && environment == 'dev' && service == ''"),
        ("consumer", "config.ack_wait == duration('30s') && service == 'web'"),
        ("consumer", "name == 'web_C' && config.max_deliver == -1"),
        ("kv", "config.max_msgs_per_subject == 1 && config.discard == 'new'"),
        ("object", "false"),
    ] {
        assert_eq!(found("", &rule(kind, holds)), [""; 0], "{holds}");
        if kind != "object" {
            assert_eq!(found("", &rule(kind, &format!("!({holds})"))).len(), 1, "{holds}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn what_is_lowered_to_a_stream_is_lifted_from_it(
        words in words(),
        kind in prop::sample::select(Bucket::ALL.to_vec()),
        open in prop::sample::subsequence(vec!["allow_direct", "allow_msg_ttl"], 0..=2),
    ) {
        let takes = |it: &str| kind.rows().iter().any(|row| row.name == it);
        let words: Config = words.iter().filter(|(it, _)| takes(it))
            .map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let lowered = kind.lower("B", &words);
        let mut read_back = complete(STREAM, &lowered, Release(2, 15, 1));
        for field in open.into_iter().filter(|it| !words.has("limit_marker_ttl") || *it == "allow_direct") {
            read_back.set(field, (lowered.get(field) != Some(&json!(true))).into());
        }
        let lifted = lift(&read_back).expect("it is a bucket");
        prop_assert_eq!((lifted.kind, lifted.name.as_str()), (kind, "B"));
        prop_assert_eq!(lifted.words.into_value(), words.into_value());
        // And what is no bucket is none.
        for (field, other) in [("discard", json!("old")), ("max_msgs", json!(5)), ("sealed", json!(true))] {
            let mut other_stream = read_back.clone();
            other_stream.set(field, other);
            prop_assert!(lift(&other_stream).is_none(), "{}", field);
        }
    }

    #[test]
    fn no_text_breaks_the_reader(text in "\\PC*", base in any::<String>()) {
        survives(&text, &base);
    }

    #[test]
    fn no_toml_like_text_breaks_the_reader(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "[", "]", "[[", "]]", "{", "}", "\"", "'", "'''", "=", ".", ",", "\n", "#", " ",
                "streams", "consumers", "server", "url", "naming", "durable", "defaults", "stream",
                "subjects", "max_age", "\"7d\"", "-1", "1e9", "true", "2026-11-23", "\\", "é",
                "extends", "password", "sources", "name", "\"base.toml\"", "A", "[streams.A]\n",
            ]),
            0..60,
        )
    ) {
        survives(&parts.concat(), "[streams.A]\n");
    }

    #[test]
    fn no_expression_breaks_the_reader(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "(", ")", "[", "]", "{", "}", "?", ":", "!", "-", "+", "%", "/", "==", "<=", "&&",
                "||", ".", ",", " in ", "config", "config.max_bytes", "config.subjects", "name", "1",
                "0", "9223372036854775807", "1u", "1.5", "'a'", "b'a'", "r'\\'", "\\", "é", "true",
                "null", "has(config.max_age)", ".all(it, it != '')", ".map(it, it)", "size",
                ".matches('(a*)*b')", "duration('7d')", "quantity('x')", "int", "type", "dyn(",
            ]),
            0..30,
        ),
        times in 1..40_usize,
    ) {
        let expression = parts.concat().repeat(times);
        let quote = "'".repeat(3);
        survives(&server(&format!(
            "[policy.rules.it]\nlevel = 'error'\napplies_to = 'stream'\nmessage = 'it is'\n\
             rule = {quote}\n{expression}\n{quote}\n[streams.A]\nsubjects = ['a', 'b']\n"
        )), "");
    }

    #[test]
    fn no_damage_to_the_shipped_environments_breaks_the_reader(
        name in prop::sample::select(vec!["base.toml", "dev.toml", "staging.toml", "prod.toml"]),
        flips in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6),
        splices in prop::collection::vec((any::<usize>(), 0..200_usize, any::<usize>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let damaged = damage(&shipped(name), &flips, &splices);
        survives(&damaged, &shipped("base.toml"));
        survives(&shipped("dev.toml"), &damaged);
        let end = (0..=cut.index(damaged.len() + 1)).rev().find(|it| damaged.is_char_boundary(*it));
        survives(&damaged[..end.unwrap_or_default()], &damaged);
    }
}
