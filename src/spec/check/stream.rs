//! Rules among the fields of a stream, and among streams that copy each other.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Check, MILLISECOND, Rule, differs, lacks, on, positive};
use crate::{
    address::{Address, consumers_of},
    finding::{Code, Finding},
    schema::{
        Release,
        stream::{copied, leads_back},
    },
    spec::Declared,
    subject,
};

pub(super) const RULES: &[Rule] = &[
    Rule::conflict(
        "subjects",
        |it| it.has("mirror") && !it.texts("subjects").is_empty(),
        "a mirror has no subjects of its own",
        "remove `subjects`, or copy with `sources` instead of `mirror`",
    ),
    Rule::conflict(
        "sources",
        |it| it.has("mirror"),
        "a mirror has no sources",
        "move the mirrored stream into `sources`, or keep `mirror` alone",
    ),
    Rule::conflict(
        "first_seq",
        |it| it.has("mirror"),
        "a mirror keeps the sequences of its origin",
        "remove `first_seq`",
    ),
    Rule::conflict(
        "subject_delete_marker_ttl",
        |it| it.has("mirror"),
        "a mirror sets no delete markers",
        "remove `subject_delete_marker_ttl`, and set it on the origin",
    ),
    Rule::conflict(
        "allow_msg_counter",
        |it| it.has("mirror") && on(it, "allow_msg_counter"),
        "a mirror counts nothing itself",
        "remove `allow_msg_counter`",
    ),
    Rule::conflict(
        "allow_atomic",
        |it| it.has("mirror") && on(it, "allow_atomic"),
        "nobody publishes to a mirror",
        "remove `allow_atomic`",
    ),
    Rule::conflict(
        "allow_batched",
        |it| it.has("mirror") && on(it, "allow_batched"),
        "nobody publishes to a mirror",
        "remove `allow_batched`",
    ),
    Rule::conflict(
        "allow_msg_schedules",
        |it| on(it, "allow_msg_schedules") && (it.has("mirror") || it.has("sources")),
        "a stream that copies others takes no schedules",
        "remove `allow_msg_schedules`",
    ),
    Rule::missing(
        "mirror_direct",
        |it| on(it, "mirror_direct") && lacks(it, "mirror"),
        "`mirror_direct` is for mirrors, and this stream is none",
        "remove it; `allow_direct` is for direct gets of a stream's own messages",
    )
    .when_made(),
    Rule::missing(
        "discard_new_per_subject",
        |it| {
            let refuses = !differs(it, "discard", "new") || on(it, "sealed");
            on(it, "discard_new_per_subject") && !refuses
        },
        "`discard_new_per_subject` needs `discard = \"new\"`",
        "set it, or remove `discard_new_per_subject`",
    ),
    Rule::missing(
        "discard_new_per_subject",
        |it| {
            let limit = it.get("max_msgs_per_subject");
            on(it, "discard_new_per_subject") && limit.is_none_or(|it| *it == -1)
        },
        "`discard_new_per_subject` needs a limit to refuse messages at",
        "set `max_msgs_per_subject`",
    ),
    Rule::conflict(
        "deny_purge",
        |it| on(it, "deny_purge") && on(it, "allow_rollup_hdrs"),
        "`deny_purge` forbids what `allow_rollup_hdrs` does",
        "keep one of them: a rollup purges what is before it",
    ),
    Rule::bad(
        "max_age",
        |it| it.number("max_age").is_some_and(|it| (1..100 * MILLISECOND).contains(&it)),
        "`max_age` is under 100ms",
        "write \"100ms\" or more; the server takes no less",
    ),
    Rule::bad(
        "duplicate_window",
        |it| it.number("duplicate_window").is_some_and(|it| (1..100 * MILLISECOND).contains(&it)),
        "`duplicate_window` is under 100ms",
        "write \"100ms\" or more; the server takes no less",
    ),
    Rule::conflict(
        "duplicate_window",
        |it| positive(it, "max_age") && it.number("duplicate_window") > it.number("max_age"),
        "`duplicate_window` is longer than `max_age`",
        "shorten it, or leave it out: the server then takes 2m, or `max_age` if that is less",
    ),
    Rule::bad(
        "num_replicas",
        |it| it.number("num_replicas").is_some_and(|it| !(1..=5).contains(&it)),
        "`num_replicas` is not between 1 and 5",
        "write 1, 3 or 5: an even number bears no more failures than the odd one below it",
    ),
    Rule::bad(
        "max_msg_size",
        |it| it.number("max_msg_size").is_some_and(|it| it > i64::from(i32::MAX)),
        "`max_msg_size` does not fit the server's 32 bits",
        "write less than \"2GiB\"; a message is limited by the server's `max_payload` anyway",
    ),
    Rule::bad(
        "subject_delete_marker_ttl",
        |it| {
            let ttl = it.number("subject_delete_marker_ttl");
            ttl.is_some_and(|it| (1..1000 * MILLISECOND).contains(&it))
        },
        "`subject_delete_marker_ttl` is under 1s",
        "write \"1s\" or more; the server takes no less",
    ),
    Rule::conflict(
        "allow_msg_counter",
        |it| {
            let limits = it.text("retention").is_none_or(|it| it == "limits");
            on(it, "allow_msg_counter") && !limits
        },
        "counters need the retention `limits`",
        "remove `retention`, or `allow_msg_counter`",
    ),
    Rule::conflict(
        "allow_msg_counter",
        |it| {
            let excluded = it.text("discard") == Some("new") || on(it, "allow_msg_ttl");
            on(it, "allow_msg_counter") && excluded
        },
        "counters exclude `discard = \"new\"` and messages that expire on their own",
        "remove `allow_msg_ttl` and `discard = \"new\"`, or `allow_msg_counter`",
    ),
    // Older ones take it, and refuse every later update of the stream.
    Rule::conflict(
        "allow_msg_counter",
        |it| on(it, "allow_msg_counter") && positive(it, "subject_delete_marker_ttl"),
        "counters exclude delete markers",
        "remove `subject_delete_marker_ttl`, or `allow_msg_counter`",
    ),
    Rule::conflict(
        "allow_msg_counter",
        |it| on(it, "allow_msg_counter") && on(it, "allow_msg_schedules"),
        "counters exclude schedules",
        "keep one of them",
    )
    .since(2, 12, 10)
    .but_not(Release(2, 14, 0), Release(2, 14, 2)),
    Rule::conflict(
        "allow_msg_schedules",
        |it| on(it, "allow_msg_schedules") && it.text("discard") == Some("new"),
        "schedules exclude `discard = \"new\"`",
        "keep one of them",
    )
    .since(2, 12, 10)
    .but_not(Release(2, 14, 0), Release(2, 14, 2)),
    Rule::conflict(
        "persist_mode",
        |it| {
            let copies = it.number("num_replicas").is_some_and(|it| it > 1);
            let memory = it.text("storage") == Some("memory");
            it.text("persist_mode") == Some("async") && (copies || memory || on(it, "allow_atomic"))
        },
        "`persist_mode = \"async\"` is for one replica on file, without atomic batches",
        "set `num_replicas = 1` and `storage = \"file\"` and remove `allow_atomic`, or remove `persist_mode`",
    ),
    Rule::bad(
        "placement",
        |it| it.get("placement").is_some_and(|it| it.get("preferred").is_some()),
        "`placement.preferred` is only for moving a leader, and no stream keeps it",
        "remove it; `nats stream cluster step-down` takes a preferred server",
    ),
];

/// Subjects of the server itself, and the part of each that a stream may store.
const RESERVED: &[(&str, &str)] = &[
    ("$JS.>", "$JS.EVENT.>"),
    ("$JSC.>", "$JSC.none"),
    ("$NRG.>", "$NRG.none"),
    ("$SYS.>", "$SYS.ACCOUNT.>"),
];

impl Check<'_> {
    pub(super) fn stream(&mut self, address: &Address, declared: &Declared) {
        self.rules(RULES, address, declared);
        self.reserved(address, declared);
        self.republish(address, declared);
        self.transforms(address, declared);
        self.sources(address, declared);
        let config = &declared.config;
        if config.text("retention") == Some("workqueue") {
            self.queue(address);
        }
        let consumers = consumers_of(&self.desired.resources, address.name()).count();
        let most = config.number("max_consumers").and_then(|it| usize::try_from(it).ok());
        if most.is_some_and(|most| most < consumers) {
            let message =
                format!("`max_consumers` is less than the {consumers} consumers declared");
            let finding = Finding::error(Code::Conflict, message);
            self.report(address, declared, "max_consumers", finding.help("raise it, or remove it"));
        }
    }

    fn reserved(&mut self, address: &Address, declared: &Declared) {
        let config = &declared.config;
        for text in config.texts("subjects") {
            let (message, help) = if text == ">" {
                let copies = config.number("num_replicas").is_some_and(|it| it > 1);
                if on(config, "no_ack") && !copies {
                    continue;
                }
                (
                    "`>` takes every subject, and the server wants `no_ack` and one replica for it"
                        .to_owned(),
                    "name the subjects, or set `no_ack = true` and `num_replicas = 1`",
                )
            } else {
                let taken = RESERVED.iter().find(|(reserved, free)| {
                    subject::overlap(text, reserved) && !subject::covers(free, text)
                });
                let Some((reserved, _)) = taken.filter(|_| !on(config, "no_ack")) else { continue };
                (
                    format!("`{text}` takes subjects of the server itself: `{reserved}`"),
                    "name the subjects that your clients publish",
                )
            };
            let place = self.item(declared, "subjects", text, super::Last::No);
            let finding = Finding::error(Code::BadSubject, message).at(place).about(address);
            self.findings.push(finding.help(help));
        }
    }

    /// What is published again must not come back into the stream.
    fn republish(&mut self, address: &Address, declared: &Declared) {
        let config = &declared.config;
        let dest = config.get("republish").and_then(|it| it.get("dest")).and_then(Value::as_str);
        let Some(dest) = dest else { return };
        let will = subject::mapped(dest);
        let Some(taken) =
            config.texts("subjects").into_iter().find(|it| subject::overlap(it, &will))
        else {
            return;
        };
        let message = format!("`republish.dest` is `{dest}`, which the stream stores as `{taken}`");
        let finding = Finding::error(Code::SubjectOverlap, message);
        let help = "publish again to subjects outside the stream, such as `republished.>`";
        self.report(address, declared, "republish", finding.help(help));
    }

    /// Every rewriting of subjects, wherever it stands.
    fn transforms(&mut self, address: &Address, declared: &Declared) {
        let config = &declared.config;
        let own = ["subject_transform", "republish"].into_iter();
        let own = own.filter_map(|it| Some((it, config.get(it)?)));
        let copied = copied(config).flat_map(|(field, source)| {
            let list = source.get("subject_transforms").and_then(Value::as_array);
            list.into_iter().flatten().map(move |it| (field, it))
        });
        let mut wrong = Vec::new();
        for (field, it) in own.chain(copied) {
            let text = |name: &str| it.get(name).and_then(Value::as_str);
            let (src, Some(dest)) = (text("src").unwrap_or(">"), text("dest")) else { continue };
            if let Err(why) = subject::transform(src, dest) {
                wrong.push((field, format!("`{src}` is not rewritten to `{dest}`"), why));
            }
        }
        for (field, message, why) in wrong {
            let finding = Finding::error(Code::BadSubject, message).help(why);
            self.report(address, declared, field, finding);
        }
    }

    /// Each source by itself, and beside the others of the stream.
    fn sources(&mut self, address: &Address, declared: &Declared) {
        let mut seen = BTreeSet::new();
        for (field, source) in copied(&declared.config) {
            let has = |name: &str| source.get(name).is_some();
            let name = source.get("name").and_then(Value::as_str).unwrap_or_default();
            if has("opt_start_seq") && has("opt_start_time") {
                // The server takes both and follows one.
                let message = format!("the copy of `{name}` starts at a sequence and at a time");
                let finding = Finding::warning(Code::Conflict, message);
                self.report(address, declared, field, finding.help("keep one of the two"));
            }
            let found = if has("filter_subject") && has("subject_transforms") {
                Some((
                    "takes `filter_subject` and `subject_transforms`",
                    "keep one: the `src` of a transform filters too",
                ))
            } else if has("consumer")
                && (has("opt_start_seq") || has("opt_start_time") || has("filter_subject"))
            {
                Some((
                    "reads through a consumer, and says itself what to read",
                    "let the consumer of the origin say it",
                ))
            } else {
                None
            };
            if let Some((what, help)) = found {
                let message = format!("the copy of `{name}` {what}");
                let finding = Finding::error(Code::Conflict, message).help(help);
                self.report(address, declared, field, finding);
            }
            if !seen.insert(identity(source)) {
                let message = format!("two sources copy the same of `{name}`");
                let finding = Finding::error(Code::Duplicate, message);
                let help = "remove one, or tell them apart by `filter_subject`";
                self.report(address, declared, field, finding.help(help));
            }
        }
    }

    /// Streams that copy each other in a circle would never end.
    pub(super) fn origins(&mut self) {
        let mut origins: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (address, declared) in &self.desired.resources {
            let here = copied(&declared.config).filter(|(_, it)| it.get("external").is_none());
            let names = here.filter_map(|(_, it)| it.get("name")?.as_str());
            if address.is_stream() {
                origins.insert(address.name(), names.collect());
            }
        }
        // What copies nothing that is left is in no circle; what remains leads into one.
        loop {
            let left: BTreeSet<_> = origins.keys().copied().collect();
            origins.retain(|_, from| from.iter().any(|it| left.contains(it)));
            if left.len() == origins.len() {
                break;
            }
        }
        for (name, from) in &origins {
            let address = Address::stream(name);
            let copied = |it: &str| origins.get(it).into_iter().flatten().copied();
            let (Some(declared), true) =
                (self.desired.resources.get(&address), leads_back(name, copied))
            else {
                continue;
            };
            let itself = from.contains(name);
            let (name, what) = address.as_bucket().map_or((*name, "stream"), |it| (it.1, "bucket"));
            let message = if itself {
                format!("`{name}` copies itself")
            } else {
                format!("`{name}` copies a {what} that copies `{name}`")
            };
            let field = if declared.config.has("mirror") { "mirror" } else { "sources" };
            let finding = Finding::error(Code::Conflict, message);
            let help = "break the circle: remove one of the copies";
            self.report(&address, declared, field, finding.help(help));
        }
    }
}

/// By what the server tells sources of one stream apart.
fn identity(source: &Value) -> String {
    let parts = ["/name", "/external/api", "/consumer", "/filter_subject", "/subject_transforms"];
    parts.iter().filter_map(|it| source.pointer(it)).map(|it| format!("{it}\n")).collect()
}
