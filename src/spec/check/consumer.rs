//! Rules among the fields of a consumer, and between it and its stream.

use serde_json::Value;

use super::{Check, MILLISECOND, Rule, differs, lacks, on, positive};
use crate::{
    address::Address,
    config::Config,
    finding::{Code, Finding},
    schema::consumer::CONSUMER,
    spec::Declared,
    subject, units,
};

const PUSH: &str = "add `deliver_subject` to push, or remove it: this consumer is pulled";
const PULL: &str = "remove it: this consumer is pushed, since it has a `deliver_subject`";

/// Fields that only a push consumer heeds, and those that only a pull consumer does.
const PUSHED: &[&str] = &["deliver_group", "rate_limit_bps", "idle_heartbeat", "flow_control"];
const PULLED: &[&str] = &["max_waiting", "max_batch", "max_expires", "max_bytes"];

/// Those of them that the server takes all the same, and does nothing with (2.10 to 2.15).
const INERT: &[&str] = &["deliver_group", "max_batch", "max_expires", "max_bytes"];

const SECOND: i64 = 1_000_000_000;

/// Fields that a stream's `consumer_limits` bound.
const LIMITED: &[&str] = &["inactive_threshold", "max_ack_pending"];

pub(super) const RULES: &[Rule] = &[
    Rule::missing(
        "flow_control",
        |it| {
            let flows = on(it, "flow_control") && it.has("deliver_subject");
            flows && it.get("idle_heartbeat").is_none_or(|it| *it == 0)
        },
        "`flow_control` needs `idle_heartbeat`",
        "add `idle_heartbeat = \"5s\"`: a stalled client is found by it",
    ),
    Rule::bad(
        "idle_heartbeat",
        |it| it.number("idle_heartbeat").is_some_and(|it| (1..100 * MILLISECOND).contains(&it)),
        "`idle_heartbeat` is under 100ms",
        "write \"100ms\" or more; the server takes no less",
    ),
    Rule::conflict(
        "idle_heartbeat",
        |it| {
            let other = it.number("idle_heartbeat").is_some_and(|it| ![0, SECOND].contains(&it));
            other && it.text("ack_policy") == Some("flow_control")
        },
        "`ack_policy = \"flow_control\"` makes `idle_heartbeat` 1s",
        "remove `idle_heartbeat`",
    ),
    Rule::conflict(
        "priority_policy",
        |it| it.has("deliver_subject") && differs(it, "priority_policy", "none"),
        "priorities are for pull consumers",
        PULL,
    )
    .since(2, 11, 7),
    Rule::bad(
        "max_expires",
        |it| {
            // A push consumer has no use for it, and the server takes any.
            let pulled = lacks(it, "deliver_subject");
            pulled && it.number("max_expires").is_some_and(|it| (1..MILLISECOND).contains(&it))
        },
        "`max_expires` is under 1ms",
        "write \"1ms\" or more; the server takes no less",
    ),
    Rule::bad(
        "deliver_subject",
        |it| {
            it.text("deliver_subject")
                .is_some_and(|it| it.split('.').any(|it| ["*", ">"].contains(&it)))
        },
        "`deliver_subject` has a wildcard, and a message goes to one subject",
        "write a subject without `*` and `>`; consumers that share it name a `deliver_group`",
    ),
    Rule::conflict(
        "filter_subjects",
        |it| it.has("filter_subject") && !it.texts("filter_subjects").is_empty(),
        "`filter_subjects` stands beside `filter_subject`",
        "put all of them into `filter_subjects`",
    ),
    Rule::missing(
        "deliver_policy",
        |it| it.text("deliver_policy") == Some("by_start_sequence") && lacks(it, "opt_start_seq"),
        "`by_start_sequence` needs the sequence to start at",
        "add `opt_start_seq`",
    ),
    Rule::missing(
        "deliver_policy",
        |it| it.text("deliver_policy") == Some("by_start_time") && lacks(it, "opt_start_time"),
        "`by_start_time` needs the time to start at",
        "add `opt_start_time = \"2026-11-23T17:00:00Z\"`",
    ),
    Rule::missing(
        "deliver_policy",
        |it| {
            let filtered =
                it.get("filter_subject").is_some() || it.get("filter_subjects").is_some();
            it.text("deliver_policy") == Some("last_per_subject") && !filtered
        },
        "`last_per_subject` needs a filter",
        "add `filter_subject`; \">\" takes every subject",
    ),
    Rule::conflict(
        "opt_start_seq",
        |it| positive(it, "opt_start_seq") && differs(it, "deliver_policy", "by_start_sequence"),
        "`opt_start_seq` needs `deliver_policy = \"by_start_sequence\"`",
        "set it, or remove `opt_start_seq`",
    ),
    Rule::conflict(
        "opt_start_time",
        |it| differs(it, "deliver_policy", "by_start_time"),
        "`opt_start_time` needs `deliver_policy = \"by_start_time\"`",
        "set it, or remove `opt_start_time`",
    ),
    Rule::bad(
        "opt_start_seq",
        |it| {
            it.number("opt_start_seq") == Some(0)
                && it.text("deliver_policy") == Some("by_start_sequence")
        },
        "`opt_start_seq` is 0, and sequences begin with 1",
        "write 1 or more",
    ),
    Rule::bad(
        "num_replicas",
        |it| it.number("num_replicas").is_some_and(|it| it > 5),
        "`num_replicas` is over 5",
        "leave it out, or write 0: the consumer then follows its stream",
    ),
    Rule::conflict(
        "max_ack_pending",
        |it| {
            let none = it.get("ack_policy").is_none_or(|it| it == "none");
            positive(it, "max_ack_pending") && it.has("deliver_subject") && none
        },
        "`max_ack_pending` counts acknowledgements, and this push consumer has none",
        "set `ack_policy = \"explicit\"`, or remove `max_ack_pending`",
    ),
    Rule::conflict(
        "ack_policy",
        |it| {
            let flows = it.text("ack_policy") == Some("flow_control");
            flows && (positive(it, "ack_wait") || it.has("backoff") || positive(it, "max_deliver"))
        },
        "`ack_policy = \"flow_control\"` delivers nothing again",
        "remove `ack_wait`, `backoff` and `max_deliver`",
    ),
    Rule::missing(
        "ack_policy",
        |it| it.text("ack_policy") == Some("flow_control") && lacks(it, "deliver_subject"),
        "`ack_policy = \"flow_control\"` is for push consumers",
        "add `deliver_subject`, or write \"explicit\"",
    ),
    Rule::missing(
        "priority_policy",
        |it| {
            let prior = it.text("priority_policy").is_some_and(|it| it != "none");
            prior && it.get("priority_groups").is_none_or(|it| *it == Value::Array(Vec::new()))
        },
        "`priority_policy` needs a group",
        "add `priority_groups = [\"NAME\"]`",
    ),
    Rule::missing(
        "priority_groups",
        |it| {
            !it.texts("priority_groups").is_empty()
                && it.get("priority_policy").is_none_or(|it| it == "none")
        },
        "`priority_groups` needs a `priority_policy`",
        "add `priority_policy = \"overflow\"`, or remove the groups",
    )
    .since(2, 12, 0),
    Rule::missing(
        "priority_timeout",
        |it| {
            positive(it, "priority_timeout")
                && it.get("priority_policy").is_none_or(|it| it == "none")
        },
        "`priority_timeout` needs a `priority_policy`",
        "add `priority_policy = \"pinned_client\"`, or remove the timeout",
    )
    .since(2, 12, 0),
    Rule::new(
        "filter_subjects",
        Code::SubjectOverlap,
        filters_meet,
        "two of the filters meet, though neither covers the other",
        "narrow one of them: servers from 2.12.5 on take them as they are",
    )
    .until(2, 12, 5),
    Rule::bad(
        "priority_groups",
        |it| {
            let fits = |it: u8| it.is_ascii_alphanumeric() || b"/_=-".contains(&it);
            let right = |it: &str| (1..=16).contains(&it.len()) && it.bytes().all(fits);
            // Without a policy the groups are wrong as such, or inert (2.11).
            let heeded = it.get("priority_policy").is_some_and(|it| it != "none");
            heeded && !it.texts("priority_groups").into_iter().all(right)
        },
        "a group of `priority_groups` has a name that the server refuses",
        "use letters, digits, `/`, `_`, `=` and `-`, at most 16 of them",
    ),
    Rule::bad(
        "sample_freq",
        |it| {
            let text = it.text("sample_freq").unwrap_or_default();
            !text.is_empty() && text.strip_suffix('%').unwrap_or(text).parse::<u32>().is_err()
        },
        "`sample_freq` is no percentage",
        "write \"100%\" or \"100\"; \"0\" switches sampling off",
    ),
];

impl Check<'_> {
    pub(super) fn consumer(&mut self, address: &Address, declared: &Declared) {
        self.rules(RULES, address, declared);
        self.delivery(address, declared);
        self.acknowledges(address, declared);
        self.backoff(address, declared);
        self.shared(address, declared);
        let stream = Address::stream(address.stream_name());
        let Some(stream) = self.desired.resources.get(&stream) else { return };
        self.filters(address, declared, stream);
        self.limits(address, declared, stream);
        self.inherited_limits(address, declared, stream);
        self.copies(address, declared, stream);
        if stream.config.text("retention") == Some("workqueue") {
            self.queued(address, declared);
        }
    }

    /// Fields of the other way to deliver.
    fn delivery(&mut self, address: &Address, declared: &Declared) {
        let config = &declared.config;
        let (fields, way, code, help) = match config.get("deliver_subject") {
            None => (PUSHED, "push", Code::Missing, PUSH),
            Some(Value::Null) => return,
            Some(_) => (PULLED, "pull", Code::Conflict, PULL),
        };
        let asks = |it: &str| positive(config, it) || on(config, it) || config.text(it).is_some();
        for name in fields.iter().filter(|it| asks(it)) {
            let message = format!("`{name}` is for {way} consumers");
            let finding = if INERT.contains(name) {
                Finding::warning(code, format!("{message}, and has no effect here"))
            } else {
                Finding::error(code, message)
            };
            self.report(address, declared, name, finding.help(help));
        }
    }

    fn acknowledges(&mut self, address: &Address, declared: &Declared) {
        if lacks(&declared.config, "ack_policy") {
            let message = format!(
                "`{}` says nothing about acknowledgements, and the server then takes none",
                address.name()
            );
            let help = "add `ack_policy = \"explicit\"`, or \"none\" if a lost message is no loss";
            let finding = Finding::warning(Code::Missing, message).help(help);
            self.report(address, declared, "ack_policy", finding);
        }
    }

    fn backoff(&mut self, address: &Address, declared: &Declared) {
        let config = &declared.config;
        let Some(waits) = config.get("backoff").and_then(Value::as_array) else { return };
        let most = config.number("max_deliver").filter(|it| *it > 0);
        let most = most.and_then(|it| usize::try_from(it).ok());
        if let Some(most) = most.filter(|it| *it < waits.len()) {
            let message =
                format!("`backoff` has {} waits, and `max_deliver` is {most}", waits.len());
            let help =
                format!("raise `max_deliver` to {} or more, or shorten `backoff`", waits.len());
            let finding = Finding::error(Code::Conflict, message).help(help);
            self.report(address, declared, "backoff", finding);
        }
        let first = waits.first().and_then(Value::as_i64);
        if let (Some(first), Some(wait)) = (first, config.number("ack_wait"))
            && first != wait
        {
            // The server takes the first wait and says nothing, and reads back another `ack_wait`.
            let message = format!(
                "`ack_wait` is {}, and the first of `backoff`, {}, would replace it",
                units::show_duration(wait),
                units::show_duration(first)
            );
            let help = "remove `ack_wait`: with a `backoff` its first wait is the `ack_wait`";
            let finding = Finding::error(Code::Conflict, message).help(help);
            self.report(address, declared, "ack_wait", finding);
        }
    }

    /// A queue group gets control messages as it gets others: each goes to one member, any one. The
    /// server takes it all the same (2.15.1), and ADR-15 calls it a mistake.
    fn shared(&mut self, address: &Address, declared: &Declared) {
        let config = &declared.config;
        if !config.has("deliver_group") || !config.has("deliver_subject") {
            return;
        }
        let controls = [
            ("flow_control", on(config, "flow_control")),
            ("idle_heartbeat", positive(config, "idle_heartbeat")),
        ];
        for (name, _) in controls.into_iter().filter(|it| it.1) {
            let message =
                format!("`{name}` reaches only one member of the `deliver_group` at a time");
            let help = format!("remove `{name}`, or let one client read alone");
            let finding = Finding::warning(Code::Conflict, message).help(help);
            self.report(address, declared, name, finding);
        }
    }

    /// What is over the stream's `consumer_limits`.
    fn limits(&mut self, address: &Address, declared: &Declared, stream: &Declared) {
        for field in CONSUMER.iter().filter(|it| LIMITED.contains(&it.name)) {
            let name = field.name;
            let Some(limit) = limit(stream, name) else { continue };
            if declared.config.number(name).is_some_and(|it| it > limit) {
                let (shown, spot) = (field.show(&limit.into()), self.spot_of_limits(stream));
                let message = format!("`{name}` is over the stream's limit of {shown}: see {spot}");
                let help = "lower it, or raise the stream's `consumer_limits`";
                let finding = Finding::error(Code::Conflict, message).help(help);
                self.report(address, declared, name, finding);
            }
        }
    }

    /// What the stream's `consumer_limits` make of a field that is left out.
    fn inherited_limits(&mut self, address: &Address, declared: &Declared, stream: &Declared) {
        let config = &declared.config;
        if limit(stream, "inactive_threshold").is_some() && lacks(config, "inactive_threshold") {
            let message = format!(
                "`{}` would be deleted when idle: the stream's `consumer_limits` say so at {}",
                address.name(),
                self.spot_of_limits(stream)
            );
            let help = "add `inactive_threshold` to say so here, or remove it from the limits";
            let finding = Finding::warning(Code::Conflict, message).help(help);
            self.report(address, declared, "inactive_threshold", finding);
        }
        for name in LIMITED.iter().filter(|it| config.number(it) == Some(0)) {
            if limit(stream, name).is_none() {
                continue;
            }
            let message = format!(
                "`{name}` is 0, and the server makes that the stream's limit: see {}",
                self.spot_of_limits(stream)
            );
            let help = "write what is meant, or leave it out to follow the stream";
            let finding = Finding::error(Code::Conflict, message).help(help);
            self.report(address, declared, name, finding);
        }
        let unacknowledged = config.get("ack_policy").is_none_or(|it| it == "none");
        let pushed_unacknowledged = config.has("deliver_subject") && unacknowledged;
        if limit(stream, "max_ack_pending").is_some() && pushed_unacknowledged {
            let message = format!(
                "the stream limits `max_ack_pending` ({}), which a push consumer without \
                 acknowledgements cannot have",
                self.spot_of_limits(stream)
            );
            let help = "set `ack_policy = \"explicit\"`, or pull";
            let finding = Finding::error(Code::Conflict, message).help(help);
            self.report(address, declared, "ack_policy", finding);
        }
    }

    fn spot_of_limits(&self, stream: &Declared) -> String {
        let place = stream.places.get("consumer_limits").copied().unwrap_or(stream.place);
        self.sources.spot(place)
    }

    /// Its own replicas beside those of the stream.
    fn copies(&mut self, address: &Address, declared: &Declared, stream: &Declared) {
        let Some(own) = declared.config.number("num_replicas").filter(|it| (1..=5).contains(it))
        else {
            return;
        };
        if stream.config.get("num_replicas") == Some(&Value::Null) {
            return;
        }
        let streams = stream.config.number("num_replicas").unwrap_or(1);
        let shares = stream.config.text("retention").is_some_and(|it| it != "limits");
        let message = if own > streams {
            format!("`num_replicas` is {own}, and its stream has {streams}")
        } else if shares && own != streams {
            format!("`num_replicas` is {own}, and on such a stream it is {streams} or 0")
        } else {
            return;
        };
        let help = "leave it out: the consumer then follows its stream";
        let finding = Finding::error(Code::Conflict, message).help(help);
        self.report(address, declared, "num_replicas", finding);
    }

    /// A consumer of a work queue. That no two take the same message is judged by stream.
    fn queued(&mut self, address: &Address, declared: &Declared) {
        let config = &declared.config;
        let acknowledges = |it: &Config| {
            let policy = it.get("ack_policy").and_then(Value::as_str);
            it.get("ack_policy") == Some(&Value::Null)
                || policy.is_some_and(|it| ["explicit", "flow_control"].contains(&it))
        };
        if !acknowledges(config) {
            let message = "a consumer of a work queue acknowledges explicitly";
            let finding = Finding::error(Code::Conflict, message)
                .help("set `ack_policy = \"explicit\"`: an acknowledged message leaves the queue");
            self.report(address, declared, "ack_policy", finding);
        }
        if config.text("deliver_policy").is_some_and(|it| it != "all") {
            let finding = Finding::error(
                Code::Conflict,
                "a consumer of a work queue takes all of its messages",
            )
            .help("remove `deliver_policy`");
            self.report(address, declared, "deliver_policy", finding);
        }
    }
}

/// Whether two filters share messages and each takes some that the other does not.
fn filters_meet(config: &Config) -> bool {
    let filters = config.texts("filter_subjects");
    let meet = |(at, a): (usize, &&str)| {
        let others = filters.iter().take(at);
        others
            .clone()
            .any(|b| subject::overlap(a, b) && !subject::covers(a, b) && !subject::covers(b, a))
    };
    filters.iter().enumerate().any(meet)
}

/// What a stream lets its consumers have at most.
fn limit(stream: &Declared, name: &str) -> Option<i64> {
    let limits = stream.config.get("consumer_limits")?;
    limits.get(name)?.as_i64().filter(|it| *it > 0)
}
