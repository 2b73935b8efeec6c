//! What a plan is as a whole: its id, whether it can be carried out, and what is left without the
//! part that is blocked.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    Action, Plan, Step,
    risk::{self, Risk},
    total::Fate,
};
use crate::{
    address::Address,
    config::sha256,
    finding::{Code, Severity},
    live::Server,
    schema::{Harm, Release},
    spec::Move,
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

    /// What `--allow` takes for some of its costs: of each class, what reaches furthest.
    pub(super) fn consents(&self, which: impl Fn(&Risk) -> bool) -> Vec<String> {
        let of = |harm: Harm| {
            let risks = self.risks.iter().filter(|it| it.harm == harm && harm.needs_consent());
            let consents = risks.filter(|it| which(it)).map(|it| it.consent(&self.address));
            consents.max_by_key(String::len)
        };
        Harm::ALL.into_iter().filter_map(of).collect()
    }
}

impl Plan {
    /// Whether anything would be done, on the server or in the state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && !self.moves.iter().any(Move::goes_on)
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

    /// What would have to be consented to for nothing to be blocked, as it is typed, with what
    /// was consented to already; `None` where consent alone does not do it.
    #[must_use]
    pub fn missing_consent(&self) -> Option<Vec<String>> {
        let mut errors = self.findings.iter().filter(|it| it.severity == Severity::Error);
        let consent = |code: Code| Harm::ALL.into_iter().any(|it| risk::code(it) == Some(code));
        if !errors.all(|it| consent(it.code)) {
            return None;
        }
        let all: Vec<String> = self
            .steps
            .iter()
            .flat_map(|it| it.consents(|risk| risk.allowed || risk.is_stopped()))
            .collect();
        (!all.is_empty()).then_some(all)
    }

    /// Whether it deletes messages, at once or later.
    #[must_use]
    pub fn deletes(&self) -> bool {
        [Fate::Deleted, Fate::DeletedLater].into_iter().any(|it| self.total(it).actions > 0)
    }

    /// What identifies the plan: a digest over its target, everything it would send or record, and
    /// the harm that was consented to, up to how many messages where that is counted. The same
    /// inputs give the same id; what messages there are besides is no part of it, and neither is the
    /// serial of the state.
    #[must_use]
    pub fn id(&self) -> String {
        // What is left out by an apply was still part of what was reviewed.
        let all = self.steps.iter().chain(&self.left_out);
        let mut steps: Vec<String> = all.map(identity).collect();
        steps.sort_unstable();
        let Server { cluster, domain, account, .. } = &self.server;
        let target = json!([account, cluster, domain]);
        let moves = self.moves.iter().filter(|it| it.goes_on());
        let moves = moves.map(|it| json!([it.version, it.meaning, it.next]).to_string());
        steps.extend(moves);
        sha256(json!([self.environment, self.mode, target, self.lineage, steps]).to_string())
    }

    /// The release the plan was made for.
    #[must_use]
    pub fn release(&self) -> Release {
        self.server.release
    }
}

fn identity(step: &Step) -> String {
    let premise = step.premise.as_ref().map(|it| (&it.created, &it.fingerprint));
    let allowed: BTreeSet<_> = step
        .risks
        .iter()
        .filter(|it| it.allowed)
        .map(|it| (it.harm.to_string(), it.most))
        .collect();
    let Step { wave, address, action, calls, record, blocked, .. } = step;
    json!([wave, address, action, calls, premise, record, allowed, blocked]).to_string()
}
