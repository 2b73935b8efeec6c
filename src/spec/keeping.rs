//! `[state]`: where it is kept what was last applied.

use serde_json::Value;

use super::{
    Keeping, Kept,
    connection::{self, Server},
    value::{Fields, Key, Reader, Toml, quoted},
};
use crate::{
    finding::{Code, Finding, Place},
    schema::{Choice, Kind, bucket::is_bucket_name},
};

/// `[state]` as one file has it, or as several have laid over each other.
#[derive(Debug, Default)]
pub(super) struct State {
    fields: Fields,
    server: Server,
}

pub(crate) const STATE: &[Key] = &[
    (
        "backend",
        Kind::OneOf(&[Choice::new("file"), Choice::new("kv")]),
        "`file`: one file in `state/`. `kv`: a key-value bucket, which those who apply share.",
    ),
    ("bucket", Kind::Text, "The bucket of `kv`; `jsplan_state` where it is left out."),
    (
        "replicas",
        Kind::Number,
        "Copies of the bucket when it is made; left out, 3 in a cluster that has as many servers.",
    ),
];

/// The bucket that is used where none is named.
const BUCKET: &str = "jsplan_state";

/// What else stands under `[state]`.
pub(crate) const SERVER: &str = "server";
pub(crate) const SERVER_DOC: &str =
    "The server of `kv`, with the keys of `[server]`; left out, the environment's own.";

/// Reads `[state]` of one file.
pub(super) fn read(reader: &mut Reader<'_>, given: &Toml<'_>) -> State {
    let mut fields = reader.section("state", STATE, &[SERVER], given);
    judge(reader, &mut fields);
    let inner = reader.table_of("state", given).and_then(|it| it.get(SERVER));
    let server = inner.map(|it| connection::read_of_state(reader, it)).unwrap_or_default();
    State { fields, server }
}

/// Lays a later file's `[state]` over an earlier one's.
pub(super) fn lay(below: &mut State, above: State) {
    below.fields.extend(above.fields);
    connection::lay(&mut below.server, above.server);
}

/// Where the state is kept, and what is missing.
pub(super) fn keeping(state: &State, spec: Place, findings: &mut Vec<Finding>) -> Keeping {
    let State { fields, server } = state;
    let text = |name: &str| fields.get(name).and_then(|it| it.value.as_str());
    let backend = fields.get("backend");
    if text("backend") != Some("kv") {
        // Where a layer says `file`, the rest is what its base says of `kv`.
        let places = ["bucket", "replicas"].map(|it| fields.get(it).map(|it| it.place));
        let place = places.into_iter().flatten().chain(server.place).next();
        if let Some(place) = place.filter(|_| backend.is_none()) {
            let message = "`[state]` says more of a bucket, and not that it is one";
            let help = "add `backend = \"kv\"`, or remove what is only about a bucket";
            findings.push(Finding::error(Code::Missing, message).at(place).help(help));
        }
        return Keeping::File;
    }
    let own = server.place.map(|_| connection::connection_of_state(server, spec, findings));
    Keeping::Kv(Kept {
        bucket: text("bucket").unwrap_or(BUCKET).to_owned(),
        replicas: fields.get("replicas").and_then(|it| it.value.as_u64()),
        server: own.map(Box::new),
    })
}

/// What is wrong with single values; such a value becomes `Null`.
fn judge(reader: &mut Reader<'_>, fields: &mut Fields) {
    for (name, written) in fields {
        let (code, message, help) = match &written.value {
            Value::String(bucket) if *name == "bucket" && !is_bucket_name(bucket) => (
                Code::BadName,
                format!("{} is no name for a bucket", quoted(bucket)),
                "use letters, digits, `_` and `-`",
            ),
            Value::Number(replicas)
                if *name == "replicas" && !(1..=5).contains(&replicas.as_u64().unwrap_or(0)) =>
            {
                (
                    Code::BadValue,
                    format!("`replicas` is {replicas}, and the server takes 1 to 5"),
                    "write 1, 3 or 5; or leave it out",
                )
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => continue,
        };
        reader.findings.push(Finding::error(code, message).at(written.place).help(help));
        written.value = Value::Null;
    }
}
