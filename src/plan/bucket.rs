//! What a step means to the clients of a bucket, beyond what it means to its stream.

use super::{Action, Cause, Change, Step};
use crate::{
    diff::Delta,
    finding::{Code, Finding},
    schema::bucket::Bucket,
    spec::Declared,
};

/// What clients would not expect of the bucket, before the step or after it.
pub(super) fn remarks(step: &Step, wanted: Option<&Declared>) -> impl Iterator<Item = Finding> {
    broken(step, wanted).into_iter().chain(out_of_reach(step))
}

/// What clients miss of a bucket whose stream was made into something else.
fn broken(step: &Step, wanted: Option<&Declared>) -> Option<Finding> {
    let kind = wanted?.bucket?;
    if !matches!(step.action, Action::Update | Action::Replace) {
        return None;
    }
    let others = step.changes.iter().filter(|it| it.cause != Cause::Edit || step.adopts);
    let broken = others.filter_map(|it| Some((&it.delta, kind.without(it.delta.field.name)?)));
    let (fields, without): (Vec<_>, Vec<_>) = broken
        .map(|(Delta { field, before, .. }, without)| {
            let is = if before.is_null() { "unset".to_owned() } else { field.show(before) };
            (format!("`{}` is {is}", field.name), without)
        })
        .unzip();
    let address = &step.address;
    let message = format!("`{address}` is not what its clients count on: {}", fields.join(", "));
    let help = format!("apply to put it back: as it is, {}", without.join("; "));
    (!fields.is_empty()).then(|| Finding::warning(Code::NotABucket, message).help(help))
}

/// What a mirror copied keeps its subjects, which are keys of the origin: once the bucket stands for
/// itself, its clients look for keys of its own (2.12 to 2.15).
fn out_of_reach(step: &Step) -> Option<Finding> {
    let (_, bucket) = step.address.as_bucket()?;
    let promoted = |it: &&Change| it.delta.field.name == "mirror" && it.delta.after.is_null();
    let before = &step.changes.iter().find(promoted)?.delta.before;
    let (_, origin) = Bucket::of(before.get("name")?.as_str()?)?;
    let stays = step.action == Action::Update && before.get("subject_transforms").is_none();
    let message = format!(
        "what `{}` copied stays under the keys of `{origin}`, out of its reach",
        step.address
    );
    let help = "copy with `sources` into a new bucket: they rename the keys";
    let found = Finding::warning(Code::NotABucket, message).help(help);
    (stays && origin != bucket).then_some(found)
}
