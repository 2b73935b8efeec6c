//! The book of a walk: what is in the journal, in the state, and in the outcome.

use super::{
    super::{
        fault::{self, Point},
        nats::Session,
        store::{self, Journal},
    },
    Error, Walked,
};
use crate::{
    event::{Event, Outcome},
    io::clock,
    plan::Step,
    reconcile::became,
    render::progress,
    state::{
        Recorded, State,
        journal::{Done, Intent, Line},
    },
};

/// A walk under way.
pub(super) struct Walk<'a> {
    state: &'a mut State,
    journal: &'a Journal,
    tell: &'a mut dyn FnMut(Event),
    outcome: Outcome,
    /// What goes into the journal with the next intents: one sync for all of it.
    lines: String,
    /// Whether a step is done that is not in the journal yet.
    has_done: bool,
    /// Steps that failed, and that may have been carried out all the same.
    undecided: Vec<Intent>,
    failure: Option<store::Error>,
}

/// How a step ended.
pub(super) struct Ended<'a> {
    /// Its number in the plan, from 1 on.
    pub(super) number: usize,
    pub(super) step: &'a Step,
    /// What the state holds now.
    pub(super) result: Result<Option<Recorded>, Error>,
    /// Whether the server may have done something.
    pub(super) touched: bool,
    /// What it did beyond its plan.
    pub(super) beyond: Option<String>,
    pub(super) took_ms: u64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        steps: &[Step],
        state: &'a mut State,
        journal: &'a Journal,
        tell: &'a mut dyn FnMut(Event),
    ) -> Self {
        Self {
            state,
            journal,
            tell,
            outcome: Outcome::default(),
            lines: Line::Steps(steps.len()).text(),
            has_done: false,
            undecided: Vec::new(),
            failure: None,
        }
    }

    /// Whether another step may begin.
    pub(super) fn goes_on(&self) -> bool {
        self.outcome.goes_on() && self.failure.is_none()
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.outcome.interrupted
    }

    /// Says what happens.
    pub(super) fn tell(&mut self, event: Event) {
        (self.tell)(event);
    }

    pub(super) fn interrupt(&mut self) {
        self.outcome.interrupted = true;
        (self.tell)(Event::Interrupted);
    }

    /// Puts the intents of the next steps into the journal, and what ended before them. Gives those
    /// whose requests may leave: none where the journal does not take them.
    pub(super) async fn begin<'s>(
        &mut self,
        next: Vec<(usize, &'s Step)>,
    ) -> Vec<(usize, &'s Step)> {
        if next.is_empty() && !self.has_done {
            return next;
        }
        fault::at(Point::BeforeIntent);
        self.lines.extend(
            next.iter()
                .filter_map(|(number, it)| it.intent(*number))
                .map(|it| Line::Intent(it).text()),
        );
        self.write().await;
        fault::at(Point::AfterIntent);
        if self.failure.is_some() {
            self.leave(next.into_iter().map(|it| it.1));
            return Vec::new();
        }
        for (_, step) in &next {
            let (address, action) = (step.address.clone(), step.action);
            (self.tell)(Event::Started { address, action });
        }
        next
    }

    /// Takes note of how a step ended.
    pub(super) fn end(&mut self, ended: Ended<'_>) {
        let Ended { number, step, result, touched, beyond, took_ms } = ended;
        let (address, action) = (step.address.clone(), step.action);
        if touched {
            self.outcome.touched.insert(address.clone());
        }
        match result {
            Ok(recorded) => {
                self.outcome.done.push(address.clone());
                self.outcome.counts.add(step);
                self.outcome.beyond.extend(beyond.as_ref().map(|_| address.clone()));
                let note = beyond.or_else(|| progress::note(step));
                (self.tell)(Event::Finished { address: address.clone(), action, took_ms, note });
                self.is_done(Done { step: number, address, recorded });
            }
            Err(error) => {
                let error = error.to_string();
                self.outcome.failed.push(address.clone());
                (self.tell)(Event::Failed { address, action, error });
                match step.intent(number).filter(|_| touched) {
                    Some(intent) => self.undecided.push(intent),
                    None => self.lines += &Line::NotDone(number).text(),
                }
            }
        }
    }

    /// These will not be begun.
    pub(super) fn leave<'s>(&mut self, steps: impl Iterator<Item = &'s Step>) {
        self.outcome.not_started.extend(steps.map(|it| it.address.clone()));
    }

    /// Looks what became of failed steps that may have been carried out, and ends the journal. Where
    /// one look gets no answer, nobody waits for others: the next command looks again.
    pub(super) async fn finish(mut self, session: &Session) -> Walked {
        for intent in std::mem::take(&mut self.undecided) {
            let found = if self.undecided.is_empty() {
                session.glance(&intent.address).await.ok()
            } else {
                None
            };
            let Some(is) = found else {
                self.undecided.push(intent);
                continue;
            };
            let became = became(&intent, is.as_ref(), session.release(), &clock::now());
            match became.recorded() {
                Some(recorded) => {
                    self.is_done(Done { step: intent.step, address: intent.address, recorded })
                }
                None => self.lines += &Line::NotDone(intent.step).text(),
            }
        }
        fault::at(Point::BeforeEnd);
        if self.undecided.is_empty() {
            self.lines += &Line::End.text();
        }
        self.write().await;
        fault::at(Point::AfterEnd);
        let Self { outcome, undecided, failure, .. } = self;
        Walked { outcome, undecided: undecided.len(), failure }
    }

    fn is_done(&mut self, done: Done) {
        let line = Line::Done(done);
        self.lines += &line.text();
        self.has_done = true;
        if let Line::Done(done) = line {
            self.state.take(done);
        }
    }

    /// A journal that failed once may end in half a line, behind which nothing would be read.
    async fn write(&mut self) {
        if self.failure.is_some() {
            return;
        }
        if self.has_done {
            fault::at(Point::BeforeDone);
        }
        self.failure = self.journal.append(&std::mem::take(&mut self.lines)).await.err();
        if std::mem::take(&mut self.has_done) {
            fault::at(Point::AfterDone);
        }
    }
}
