//! Rules of buckets, over the streams that their words were lowered to.

use serde_json::Value;

use super::{Check, Rule};
use crate::{
    address::Address,
    finding::{Code, Finding},
    schema::bucket::Bucket,
    spec::Declared,
};

/// The clients refuse what these refuse; the server would take it.
const RULES: &[Rule] = &[
    Rule::bad(
        "max_msgs_per_subject",
        |it| it.number("max_msgs_per_subject").is_some_and(|it| !(1..=64).contains(&it)),
        "`history` is not between 1 and 64",
        "write 1 to 64: clients take no longer history of a key",
    ),
    Rule::bad(
        "subject_delete_marker_ttl",
        |it| it.number("subject_delete_marker_ttl") == Some(0),
        "`limit_marker_ttl` is 0",
        "write \"1s\" or more, or leave it out: then there are no markers",
    ),
];

impl Check<'_> {
    pub(super) fn bucket(&mut self, kind: Bucket, address: &Address, declared: &Declared) {
        self.rules(RULES, address, declared);
        let bucket = address.as_bucket().map_or("", |it| it.1);
        let sources = declared.config.get("sources").and_then(Value::as_array);
        for source in sources.into_iter().flatten() {
            let name = source.get("name").and_then(Value::as_str).unwrap_or_default();
            let Some((_, origin)) = Bucket::of(name).filter(|it| it.0 == kind) else { continue };
            let rewritten = source.get("subject_transforms").is_some();
            let filtered = source.get("filter_subject").is_some() && !rewritten;
            if filtered && origin != bucket {
                let message = format!("the keys of `{origin}` would not become keys of `{bucket}`");
                let help = format!(
                    "write `subject_transforms = [{{ src = \"$KV.{origin}.a.>\", dest = \
                     \"$KV.{bucket}.a.>\" }}]` instead of `filter_subject`: its `src` filters too"
                );
                let finding = Finding::error(Code::Conflict, message).help(help);
                self.report(address, declared, "sources", finding);
            }
        }
    }
}
