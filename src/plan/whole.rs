//! What a plan is as a whole: its id, whether it can be carried out, and what is left without the
//! part that is blocked.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Action, Plan, Risk, Step, counts::Counts};
use crate::{
    address::Address,
    config::sha256,
    finding::{Code, Severity},
    forecast::Amount,
    live::Server,
    schema::{Harm, Release},
};

impl Step {
    /// Whether the live resource is destroyed, if only to be made again.
    #[must_use]
    pub fn destroys(&self) -> bool {
        matches!(self.action, Action::Delete | Action::Replace)
    }

    /// Whether it sends what the spec says.
    pub(super) fn sends_fields(&self) -> bool {
        matches!(self.action, Action::Create | Action::Update | Action::Replace)
    }
}

impl Plan {
    /// Whether anything would be done, on the server or in the state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether anything would be sent to the server.
    #[must_use]
    pub fn sends(&self) -> bool {
        self.steps.iter().any(|it| !it.calls.is_empty())
    }

    /// Whether a finding stops an apply.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.findings.iter().any(|it| it.severity == Severity::Error)
    }

    /// Whether it is about a part of what there is to do.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.targeted || !self.left_out.is_empty()
    }

    /// Whether everything that stops an apply is about single steps, so that the others can be
    /// carried out without them.
    #[must_use]
    pub fn stops_in_part(&self) -> bool {
        let blocked: BTreeSet<&Address> =
            self.steps.iter().filter(|it| it.blocked).map(|it| &it.address).collect();
        let mut errors = self.findings.iter().filter(|it| it.severity == Severity::Error);
        !blocked.is_empty()
            && errors.all(|it| it.about.as_ref().is_some_and(|it| blocked.contains(it)))
    }

    /// The plan without what is blocked and what needs that. A resource is left out whole: of two
    /// steps one alone might give up what the other was to take.
    #[must_use]
    pub fn without_blocked(mut self) -> Self {
        let blocked = self.steps.iter().filter(|it| it.blocked);
        let mut out: BTreeSet<Address> = blocked.map(|it| it.address.clone()).collect();
        loop {
            let leaves = |it: &Step| it.makes_room && out.contains(&it.address);
            let full = self.steps.iter().any(leaves);
            let needs = |it: &&Step| {
                let room = full && it.action != Action::Delete;
                !out.contains(&it.address) && (room || !it.needs.is_disjoint(&out))
            };
            let more: Vec<Address> =
                self.steps.iter().filter(needs).map(|it| it.address.clone()).collect();
            if more.is_empty() {
                break;
            }
            out.extend(more);
        }
        let (left_out, steps) = self.steps.into_iter().partition(|it| out.contains(&it.address));
        (self.left_out, self.steps) = (left_out, steps);
        self
    }

    /// What would have to be consented to for nothing to be blocked, as it is typed; `None` where
    /// consent alone does not do it.
    #[must_use]
    pub fn missing_consent(&self) -> Option<Vec<String>> {
        let mut errors = self.findings.iter().filter(|it| it.severity == Severity::Error);
        if !errors.all(|it| it.code == Code::DataLoss) {
            return None;
        }
        let missing = |step: &Step| {
            let harm = step.risks.iter().filter(|it| it.harm.needs_consent());
            let address = step.address.clone();
            harm.map(move |it| format!("{}={address}", it.harm)).collect::<Vec<_>>()
        };
        let mut all: Vec<String> = self.steps.iter().flat_map(missing).collect();
        all.dedup();
        (!all.is_empty()).then_some(all)
    }

    /// Whether it deletes messages.
    #[must_use]
    pub fn deletes(&self) -> bool {
        let deletes = |it: &Risk| it.harm == Harm::DataLoss && it.tally.messages != Amount::Nothing;
        self.steps.iter().flat_map(|it| &it.risks).any(deletes)
    }

    /// What identifies the plan: a digest over its target, everything it would send or record, and
    /// the harm that was consented to. The same inputs give the same id; how many messages there
    /// are is no part of it, and neither is the serial of the state.
    #[must_use]
    pub fn id(&self) -> String {
        // What is left out by an apply was still part of what was reviewed.
        let all = self.steps.iter().chain(&self.left_out);
        let mut steps: Vec<String> = all.map(identity).collect();
        steps.sort_unstable();
        let Server { cluster, domain, account, .. } = &self.server;
        let target = json!([account, cluster, domain]);
        sha256(json!([self.environment, self.mode, target, self.lineage, steps]).to_string())
    }

    /// How many resources are added, changed, destroyed, adopted and forgotten.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.steps.iter().for_each(|it| counts.add(it));
        counts
    }

    /// The release the plan was made for.
    #[must_use]
    pub fn release(&self) -> Release {
        self.server.release
    }
}

fn identity(step: &Step) -> String {
    let premise = step.premise.as_ref().map(|it| (&it.created, &it.fingerprint));
    let allowed: BTreeSet<_> =
        step.risks.iter().filter(|it| it.allowed).map(|it| it.harm.to_string()).collect();
    let Step { wave, address, action, calls, record, blocked, .. } = step;
    json!([wave, address, action, calls, premise, record, allowed, blocked]).to_string()
}
