//! What a journal has to know of a step before its requests leave.

use super::{Action, Step, call::Does};
use crate::{
    config::Config,
    state::journal::{Aim, Intent, Leaves},
};

impl Step {
    /// What tells afterwards whether the requests of the step were carried out; `None` where it
    /// sends none. `number` is its place in the plan, from 1 on.
    #[must_use]
    pub(crate) fn intent(&self, number: usize) -> Option<Intent> {
        let sends = !self.calls.is_empty();
        let aim = match self.action {
            Action::Create => Aim::Make,
            Action::Update | Action::Bind | Action::Adopt | Action::Record => Aim::Change,
            Action::Replace => Aim::Remake,
            Action::Delete | Action::Forget => Aim::End,
        };
        sends.then(|| Intent {
            step: number,
            address: self.address.clone(),
            aim,
            created: self.premise.as_ref().map(|it| it.created.clone()),
            leaves: self.leaves(),
        })
    }

    /// The configuration that the last of the requests leave, and what the state holds beside it.
    fn leaves(&self) -> Option<Leaves> {
        let record = self.record.as_ref()?;
        let (mut config, mut whole) = (Config::default(), false);
        for call in self.calls.iter().filter(|it| it.address == self.address) {
            let body = Config::of(call.body.get("config").unwrap_or(&call.body));
            match call.does {
                Does::Write | Does::Resume => (config, whole) = (body, true),
                Does::Set => config = body.over(&config),
                Does::Delete => {}
            }
        }
        Some(Leaves {
            config,
            whole,
            origin: record.origin,
            prevent_destroy: record.prevent_destroy,
            spec_sha256: record.spec_sha256.clone(),
        })
    }
}
