//! What another state owns: it is neither changed nor taken before somebody says so.

use super::{Action, Risk, Step};
use crate::{forecast::Amount, live::Observed, mark::Mark, schema::Harm, state::State};

/// The harm to another state that has its mark on a live resource.
pub(super) fn taken_over(step: &Step, is: &Observed, recorded: &State) -> Option<Risk> {
    match step.action {
        Action::Update | Action::Replace | Action::Delete | Action::Adopt => {}
        Action::Create | Action::Bind | Action::Record | Action::Forget => return None,
    }
    let mark = Mark::on(&is.config()).filter(|it| it.lineage != recorded.lineage)?;
    let Mark { environment, lineage } = mark;
    let lineage: String = lineage.chars().take(8).collect();
    let why = if recorded.lineage.is_empty() && environment == recorded.environment {
        format!(
            "it is of an earlier state of this environment (lineage {lineage}), which `jsplan state \
             rebuild` recovers"
        )
    } else if step.adopts {
        format!("another state owns it, that of environment `{environment}` (lineage {lineage})")
    } else {
        format!(
            "another state owns it too, that of environment `{environment}` (lineage {lineage}): \
             one of the two should let go of it with `jsplan state rm`"
        )
    };
    Some(Risk::of(Harm::Takeover, Amount::Nothing, why))
}
