//! What no rollback brings back of a step: said before it is done, since afterwards it is too late.

use super::{Action, Plan, Step};
use crate::{
    forecast::Amount,
    position,
    schema::{Field, Harm, Verdict, bucket::speak},
};

/// Something that stays as the step leaves it, whatever is rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// A field whose new value no update takes back.
    Field(&'static str),
    /// The messages that an update deletes.
    Messages,
    /// The messages of a stream that goes.
    Contents,
    /// A stream that was replaced: to go back replaces it again, with what it holds by then.
    Replacement,
    /// Where a consumer stood.
    Position,
    /// What a resource was before jsplan took it over and changed it.
    Strange,
}

/// What no rollback brings back of a step; nothing where going back undoes it wholly.
#[must_use]
pub fn lasting(plan: &Plan, step: &Step) -> Vec<Lasting> {
    match step.action {
        Action::Update => update(plan, step),
        Action::Delete | Action::Replace if step.address.is_stream() => stream(step),
        Action::Delete | Action::Replace => consumer(plan, step),
        Action::Create | Action::Bind | Action::Adopt | Action::Record | Action::Forget => {
            Vec::new()
        }
    }
}

/// How many steps no rollback undoes wholly.
#[must_use]
pub fn count(plan: &Plan) -> usize {
    plan.steps.iter().filter(|it| !lasting(plan, it).is_empty()).count()
}

impl Lasting {
    /// The same for people, after the word `undo`; of a bucket in its own words.
    #[must_use]
    pub fn words(self, stream: &str) -> String {
        match self {
            Self::Field(name) => {
                let why = format!("not possible: `{name}` cannot be taken back by an update");
                speak(stream, &why).into_owned()
            }
            Self::Messages => "deleted messages do not come back".to_owned(),
            Self::Contents => "it would come back empty".to_owned(),
            Self::Replacement => {
                "only by replacing it again, with what it holds by then".to_owned()
            }
            Self::Position => "it would come back without its position".to_owned(),
            Self::Strange => "not to what it was: no state has recorded that".to_owned(),
        }
    }
}

fn update(plan: &Plan, step: &Step) -> Vec<Lasting> {
    let release = plan.release();
    let stays = |field: &'static Field, before, after| {
        matches!(field.verdict(release, after, before), Verdict::Refused(_))
    };
    let fields = step.changes.iter().map(|it| &it.delta);
    let mut found: Vec<_> = fields
        .filter(|it| stays(it.field, &it.before, &it.after))
        .map(|it| Lasting::Field(it.field.name))
        .collect();
    let deletes = step
        .risks
        .iter()
        .any(|it| it.harm == Harm::DataLoss && it.tally.messages != Amount::Nothing);
    found.extend(deletes.then_some(Lasting::Messages));
    found.extend(step.adopts.then_some(Lasting::Strange));
    found
}

fn stream(step: &Step) -> Vec<Lasting> {
    if step.action == Action::Replace {
        return vec![Lasting::Replacement];
    }
    (step.stored > 0).then_some(Lasting::Contents).into_iter().collect()
}

/// A consumer of a stream that goes loses nothing of its own: there is nothing left to stand in.
fn consumer(plan: &Plan, step: &Step) -> Vec<Lasting> {
    let name = step.address.stream_name();
    let goes = |it: &Step| it.address.is_stream() && it.destroys() && it.address.name() == name;
    let kept = step.resumes() || position::is_holder(&step.address);
    let lost = step.stored > 0 && !kept && !plan.steps.iter().any(goes);
    lost.then_some(Lasting::Position).into_iter().collect()
}
