//! The journal of an apply: what it was about to do and what came of it, a line each.
//!
//! Each line carries its own digest. What a crash cut off at the end is left aside, and so is
//! everything behind a line that was damaged. Where the lines are kept is no concern of theirs.

use serde::{Deserialize, Serialize};

use super::{LastApply, Origin, Recorded, State, VERSION};
use crate::{
    address::Address,
    config::{Config, sha256},
};

/// One thing that a journal says, after its first line, which is [`State::journal`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// How many steps the plan has.
    Steps(usize),
    /// The requests of a step are about to leave.
    Intent(Intent),
    /// A step is done, and was read back.
    Done(Done),
    /// A step, by its number, left everything as it was.
    NotDone(usize),
    /// No step is in flight any more, and none will be begun.
    End,
}

/// A step whose requests are about to leave: enough to tell afterwards whether they did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Intent {
    /// Its number in the plan, from 1 on.
    pub step: usize,
    /// The resource.
    pub address: Address,
    /// What the requests come to.
    pub aim: Aim,
    /// When the resource was created that the step was decided from; `None` where there was none.
    pub created: Option<String>,
    /// What it leaves; `None` where the state lets go of the resource.
    pub leaves: Option<Leaves>,
}

/// What the requests of a step come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aim {
    /// A resource where there was none.
    Make,
    /// Another configuration of the same resource.
    Change,
    /// Another resource of the same name.
    Remake,
    /// The end of a resource.
    End,
}

/// What a step leaves: the configuration that is sent, and what the state holds beside it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Leaves {
    /// The fields that are sent.
    pub config: Config,
    /// Whether those are all fields there will be; else the others stay as they are.
    pub whole: bool,
    /// See [`Recorded`].
    pub origin: Origin,
    /// See [`Recorded`].
    pub prevent_destroy: Option<bool>,
    /// See [`Recorded`].
    pub spec_sha256: String,
}

/// One finished step: what the state holds of a resource now.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {
    /// Its number in the plan, from 1 on.
    pub step: usize,
    /// The resource.
    pub address: Address,
    /// What was read back; `None` where the state lets go of it.
    pub recorded: Option<Recorded>,
}

/// What the journal says of an apply that did not get to its end, or is still under way.
#[derive(Debug, Clone)]
pub struct CutShort {
    /// Whose it was; `None` where the first line cannot be read.
    pub apply: Option<LastApply>,
    /// How many steps it had; 0 where it did not come to the first.
    pub steps: usize,
    /// How many were done.
    pub done: usize,
    /// Those that were begun, and of which nobody knows what became.
    pub undecided: Vec<Intent>,
    /// Whether something is left behind a line that cannot be read.
    pub is_damaged: bool,
}

impl Line {
    /// The text of the line, with its digest and its end.
    #[must_use]
    pub fn text(&self) -> String {
        sealed(self)
    }
}

/// A line that carries its own digest, so that a torn one is noticed.
fn sealed(content: &impl Serialize) -> String {
    // Through a `Value`, so that a raw value cannot bring a line break of its own.
    let value = serde_json::to_value(content).expect("a line is always a JSON value").to_string();
    format!("{} {value}\n", &sha256(&value)[..DIGEST])
}

/// What a whole line carries; `None` for a torn one.
fn content(line: &str) -> Option<&str> {
    let (digest, content) = line.strip_suffix('\n')?.split_once(' ')?;
    (sha256(content)[..DIGEST] == *digest).then_some(content)
}

/// How much of a digest tells a torn line from a whole one.
const DIGEST: usize = 16;

impl State {
    /// The first line of the journal of an apply: the state it will become, without resources.
    #[must_use]
    pub fn journal(&self) -> String {
        sealed(&Self {
            version: self.version,
            jsplan_version: self.jsplan_version.clone(),
            serial: self.serial,
            lineage: self.lineage.clone(),
            environment: self.environment.clone(),
            target: self.target.clone(),
            last_apply: self.last_apply.clone(),
            resources: Default::default(),
            migrations: self.migrations.clone(),
            cut_short: None,
        })
    }

    /// Takes over what a journal says was done since this state was saved, and remembers what it
    /// leaves open. A journal of another state is left aside.
    #[must_use]
    pub fn replayed(mut self, journal: &str) -> Self {
        let mut lines = journal.split_inclusive('\n');
        let first = lines.next().and_then(content);
        let Some(head) = first.and_then(|it| serde_json::from_str::<Self>(it).ok()) else {
            self.cut_short = Some(CutShort { is_damaged: true, ..CutShort::of(None) });
            return self;
        };
        if !head.follows(&self) {
            return self;
        }
        let mut heard = Vec::new();
        let mut cut = CutShort::of(head.last_apply.clone());
        while let Some(line) = lines.next() {
            match content(line).and_then(|it| serde_json::from_str::<Line>(it).ok()) {
                Some(line) => heard.push(line),
                None => {
                    cut.is_damaged = lines.next().is_some();
                    break;
                }
            }
        }
        if heard.is_empty() {
            // As far as it can be read, it did not come to its first step.
            self.cut_short = Some(cut).filter(|it| it.is_damaged);
            return self;
        }
        self = Self { resources: self.resources, ..head };
        heard.into_iter().for_each(|it| self.hear(it, &mut cut));
        self.cut_short = Some(cut);
        self
    }

    fn hear(&mut self, line: Line, cut: &mut CutShort) {
        match line {
            Line::Steps(steps) => cut.steps = steps,
            Line::Intent(intent) => cut.undecided.push(intent),
            Line::Done(done) => {
                cut.done += 1;
                cut.undecided.retain(|it| it.step != done.step);
                self.take(done);
            }
            Line::NotDone(step) => cut.undecided.retain(|it| it.step != step),
            Line::End => {}
        }
    }

    /// Takes over one finished step.
    pub fn take(&mut self, Done { step: _, address, recorded }: Done) {
        if let Some(steps) = self.last_apply.as_mut().and_then(|it| it.steps.as_mut()) {
            steps.done += 1;
        }
        match recorded {
            Some(recorded) => drop(self.resources.insert(address, recorded)),
            None => drop(self.resources.remove(&address)),
        }
    }

    fn follows(&self, before: &Self) -> bool {
        let same = before.lineage.is_empty() || before.lineage == self.lineage;
        let ours = self.environment == before.environment && self.version <= VERSION;
        same && ours && self.serial == before.serial + 1
    }
}

impl CutShort {
    fn of(apply: Option<LastApply>) -> Self {
        Self { apply, steps: 0, done: 0, undecided: Vec::new(), is_damaged: false }
    }
}
