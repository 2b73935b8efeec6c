//! How the steps of a migration stand to each other.
//!
//! Two questions: can each step do its work where it stands, and is it proved that no message stays
//! behind before something is given up on their account?

use crate::{
    finding::{Code, Finding},
    migration::{Does, Migration, Retire, Step, Strategy},
};

/// Everything that is wrong with the order of steps. Where it is not clear which step is meant,
/// only that is said.
pub(super) fn judge(migration: &Migration) -> Vec<Finding> {
    let order = Order::new(migration);
    let unclear = order.unclear();
    if !unclear.is_empty() {
        return unclear;
    }
    let mut findings = order.waited();
    if migration.strategy.is_some_and(copies) {
        findings.extend(order.bound());
        findings.extend(order.parked());
        findings.extend(order.reversed());
        findings.extend(order.placed());
        findings.extend(order.whole());
    }
    findings.extend(order.retired());
    findings
}

/// The steps, and where the ones stand that there is one of.
struct Order<'a> {
    migration: &'a Migration,
    steps: &'a [Step],
    maker: Option<usize>,
    park: Option<usize>,
    bind: Option<usize>,
    retire: Option<usize>,
}

fn copies(strategy: Strategy) -> bool {
    match strategy {
        Strategy::NewSubjects | Strategy::SameSubjectsSource | Strategy::SameSubjectsMirror => true,
        Strategy::Parallel => false,
    }
}

fn makes(does: &Does) -> bool {
    matches!(does, Does::Create | Does::Source { .. } | Does::Copy { .. } | Does::Mirror)
}

fn waits(does: &Does) -> bool {
    matches!(does, Does::Wait { .. })
}

fn verifies(does: &Does) -> bool {
    matches!(does, Does::Verify)
}

fn soaks(does: &Does) -> bool {
    matches!(does, Does::Soak { .. })
}

/// What nothing can do before there is a `to`.
fn uses_to(does: &Does) -> bool {
    match does {
        Does::Wait { .. } | Does::Verify | Does::Park => true,
        Does::Bind | Does::Consumers { .. } | Does::Reverse => true,
        Does::Create | Does::Source { .. } | Does::Copy { .. } | Does::Mirror => false,
        Does::Gate { .. } | Does::Soak { .. } | Does::Retire(_) => false,
        Does::Assert { .. } | Does::Note { .. } => false,
    }
}

/// Whether a step does a certain thing.
type Is = fn(&Does) -> bool;

impl<'a> Order<'a> {
    fn new(migration: &'a Migration) -> Self {
        let steps = migration.steps.as_slice();
        let first = |is: Is| steps.iter().position(|it| is(&it.does));
        Self {
            migration,
            steps,
            maker: first(makes),
            park: first(|it| matches!(it, Does::Park)),
            bind: first(|it| matches!(it, Does::Bind)),
            retire: first(|it| matches!(it, Does::Retire(_))),
        }
    }

    /// The word by which a mirror or a copy gets its subjects.
    fn binds(&self) -> &'static str {
        match self.migration.strategy {
            Some(Strategy::SameSubjectsMirror) => "promote",
            Some(Strategy::NewSubjects | Strategy::SameSubjectsSource | Strategy::Parallel)
            | None => "bind",
        }
    }

    /// A step as it is written, for messages.
    fn word(&self, at: usize) -> &'static str {
        let does = &self.steps[at].does;
        if matches!(does, Does::Bind) { self.binds() } else { does.word() }
    }

    fn error(&self, at: usize, code: Code, message: String, help: impl Into<String>) -> Finding {
        Finding::error(code, message).at(self.steps[at].place).help(help)
    }

    /// Whether one of the steps after one and before another does something.
    fn between(&self, after: Option<usize>, before: usize, is: Is) -> Option<usize> {
        let from = after.map_or(0, |it| it + 1);
        (from..before).find(|it| is(&self.steps[*it].does))
    }

    /// Whether between two steps it is waited and then proved that `to` holds everything.
    fn proves(&self, after: Option<usize>, before: usize) -> bool {
        let waited = self.between(after, before, waits);
        waited.is_some_and(|it| self.between(Some(it), before, verifies).is_some())
    }

    /// Where it cannot be told which step is meant: none makes `to`, or two do the same.
    fn unclear(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let once: [(Is, &str); 5] = [
            (makes, "`to` is made once: keep the first"),
            (|it| matches!(it, Does::Park), "keep the one after which nothing is published"),
            (|it| matches!(it, Does::Bind), "keep the one behind the last `verify`"),
            (|it| matches!(it, Does::Reverse), "keep the first"),
            (|it| matches!(it, Does::Retire(_)), "keep the last: `from` ends once"),
        ];
        for (is, help) in once {
            let all = (0..self.steps.len()).filter(|it| is(&self.steps[*it].does));
            let all: Vec<_> = all.collect();
            let Some((first, again)) = all.split_first() else { continue };
            for again in again {
                let (word, earlier) = (self.word(*again), &self.steps[*first].id);
                let message = format!("`{word}` does again what the step `{earlier}` did");
                findings.push(self.error(*again, Code::Migration, message, help));
            }
        }
        let Some(strategy) = self.migration.strategy else { return findings };
        let Some(maker) = self.maker else {
            let word = match strategy {
                Strategy::NewSubjects | Strategy::SameSubjectsSource => "source",
                Strategy::SameSubjectsMirror => "mirror",
                Strategy::Parallel => "create",
            };
            let place = self.migration.places.get("strategy").copied();
            let finding = Finding::error(Code::Migration, "no step makes `to`");
            let help = format!("begin with a step that does: `do = \"{word}\"`");
            findings.push(finding.at(place.unwrap_or(self.migration.place)).help(help));
            return findings;
        };
        for at in (0..maker).filter(|it| uses_to(&self.steps[*it].does)) {
            let (word, id) = (self.word(at), &self.steps[maker].id);
            let message = format!("`{word}` stands before the step that makes `to`");
            findings.push(self.error(
                at,
                Code::Migration,
                message,
                format!("move it behind `{id}`"),
            ));
        }
        findings
    }

    /// A proof is about what has arrived.
    fn waited(&self) -> Vec<Finding> {
        let unwaited = |at: &usize| {
            let since = self.park.filter(|park| park < at).or(self.maker);
            verifies(&self.steps[*at].does) && self.between(since, *at, waits).is_none()
        };
        let finding = |at| {
            let message = "`verify` has no `wait` before it: what is on its way is not there yet";
            let help = "add a step before it: `do = \"wait\"`";
            self.error(at, Code::Unproven, message.to_owned(), help)
        };
        (0..self.steps.len()).filter(unwaited).map(finding).collect()
    }

    /// `to` gets its subjects, once it is proved that it holds what was published before.
    fn bound(&self) -> Option<Finding> {
        let word = self.binds();
        let Some(bind) = self.bind else {
            let place = self.migration.places.get("strategy").copied();
            let message = format!("`to` never gets its subjects: there is no `{word}`");
            let help = format!("add a step behind the last `verify`: `do = \"{word}\"`");
            let finding = Finding::error(Code::Migration, message).help(help);
            return Some(finding.at(place.unwrap_or(self.migration.place)));
        };
        let park = self.park.filter(|it| *it < bind);
        let takes = self.migration.strategy.is_some_and(Strategy::takes_subjects);
        if park.is_none() && takes {
            let message = format!("`from` still has the subjects when `{word}` gives them to `to`");
            let help = "add `park`, `wait` and `verify` right before it";
            return Some(self.error(bind, Code::Migration, message, help));
        }
        if park.is_none() && self.migration.copies() {
            let message =
                "what is published to `from` behind the last `verify` would not be in `to`";
            let help = "add `park`, `wait` and `verify` right before `bind`";
            return Some(self.error(bind, Code::Unproven, message.to_owned(), help));
        }
        if self.proves(park.or(self.maker), bind) {
            return None;
        }
        // Where a `verify` lacks its `wait`, that is said of it already.
        if self.between(park.or(self.maker), bind, verifies).is_some() {
            return None;
        }
        let (message, help) = match park {
            Some(_) => (
                format!(
                    "nothing proves between `park` and `{word}` that the last messages came over"
                ),
                "add `wait` and `verify` between the two",
            ),
            None => (
                format!("`{word}` stands before it is proved that `to` holds what `from` holds"),
                "add `wait` and `verify` before it",
            ),
        };
        Some(self.error(bind, Code::Unproven, message, help))
    }

    /// While publishers are refused, nothing is done but what has to be.
    fn parked(&self) -> Vec<Finding> {
        let Some(park) = self.park else { return Vec::new() };
        let Some(bind) = self.bind else { return Vec::new() };
        let word = self.binds();
        if park > bind {
            // Said of `bind` where it needs one before.
            let takes = self.migration.strategy.is_some_and(Strategy::takes_subjects);
            let early = !takes && self.between(Some(bind), park, soaks).is_none();
            let message = "`park` refuses the publishers of `from` before they had time to move";
            let help = "add `soak` between `bind` and `park`, such as `idle = \"72h\"`";
            let finding = || self.error(park, Code::Migration, message.to_owned(), help);
            return early.then(finding).into_iter().collect();
        }
        if self.migration.strategy == Some(Strategy::NewSubjects) && !self.migration.copies() {
            let message = "`park` refuses the publishers of `from` before they have where to go";
            let help = "move it behind `bind` and a `soak`: until then `to` follows `from`";
            return vec![self.error(park, Code::Migration, message.to_owned(), help)];
        }
        let mut findings = Vec::new();
        if !self.proves(self.maker, park) && self.between(self.maker, park, verifies).is_none() {
            let message = "the whole stream would be verified while publishers are refused";
            let help =
                "add `wait` and `verify` before `park`: behind it only the rest is left to do";
            findings.push(self.error(park, Code::Migration, message.to_owned(), help));
        }
        let idle = |it: &usize| !waits(&self.steps[*it].does) && !verifies(&self.steps[*it].does);
        for at in (park + 1..bind).filter(idle) {
            let does = self.word(at);
            let message = format!(
                "`{does}` stands between `park` and `{word}`, while publishers are refused"
            );
            let help = "move it: only `wait` and `verify` may stand there";
            findings.push(self.error(at, Code::Migration, message, help));
        }
        findings
    }

    /// `from` follows `to` only where both have the same messages, and `to` has the subjects.
    fn reversed(&self) -> Option<Finding> {
        let at = self.steps.iter().position(|it| matches!(it.does, Does::Reverse))?;
        let word = self.binds();
        let (message, help) = if self.migration.copies() {
            (
                "what the program made of messages would come back to `from`".to_owned(),
                "remove `reverse`: behind a program there is no way back".to_owned(),
            )
        } else if self.bind.is_some_and(|it| at < it) {
            (
                format!("`reverse` stands before `{word}`: both would copy each other"),
                format!("move it behind `{word}`"),
            )
        } else {
            return None;
        };
        Some(self.error(at, Code::Migration, message, help))
    }

    /// Consumers are placed on what is proved.
    fn placed(&self) -> Vec<Finding> {
        let early = |at: &usize| {
            matches!(self.steps[*at].does, Does::Consumers { .. })
                && self.between(self.maker, *at, verifies).is_none()
        };
        let finding = |at| {
            let message = "`consumers` stands before it is proved what their positions are in `to`";
            let help = "move it behind the last `verify` before `bind`, or behind `bind`";
            self.error(at, Code::Unproven, message.to_owned(), help)
        };
        (0..self.steps.len()).filter(early).map(finding).collect()
    }

    /// Before `from` ends with new subjects, nothing comes to it any more and all of it came over.
    fn whole(&self) -> Option<Finding> {
        let (retire, bind) = (self.retire?, self.bind?);
        if retire < bind {
            let message = "`retire` ends `from` before `to` has its subjects".to_owned();
            return Some(self.error(retire, Code::Migration, message, "move it to the end"));
        }
        let late = self.migration.strategy == Some(Strategy::NewSubjects);
        if !late || matches!(self.steps[retire].does, Does::Retire(Retire::Keep)) {
            return None;
        }
        let park = self.park.filter(|it| *it < retire);
        let proved = park.is_some_and(|it| {
            self.proves(Some(it), retire) || self.between(Some(it), retire, verifies).is_some()
        });
        // A `park` before `bind` lets nothing in behind it, and `bind` has asked for its proof.
        let message =
            "what is published to `from` at the last moment would not be in `to`".to_owned();
        let help = match park {
            Some(_) => "add `wait` and `verify` between `park` and `retire`",
            None => "add `park`, `wait` and `verify` before it",
        };
        (!proved).then(|| self.error(retire, Code::Unproven, message, help))
    }

    /// `from` ends last, and only when nobody uses it.
    fn retired(&self) -> Vec<Finding> {
        let Some(retire) = self.retire else { return Vec::new() };
        let mut findings = Vec::new();
        let ends = if matches!(self.steps[retire].does, Does::Retire(Retire::Delete)) {
            "deletes"
        } else {
            "seals"
        };
        let keeps = matches!(self.steps[retire].does, Does::Retire(Retire::Keep));
        let since = self.bind.or(self.maker).filter(|it| *it < retire);
        if !keeps && self.between(since, retire, soaks).is_none() {
            let message =
                format!("`retire` {ends} `from`, and nobody has seen that it is used no more");
            let behind =
                since.map_or(String::new(), |it| format!(" and behind `{}`", self.word(it)));
            let help = format!("add `soak` before it{behind}, such as `idle = \"72h\"`");
            findings.push(self.error(retire, Code::Migration, message, help));
        }
        let works =
            |it: &usize| !matches!(self.steps[*it].does, Does::Assert { .. } | Does::Note { .. });
        for at in (retire + 1..self.steps.len()).filter(works) {
            let message = format!("`{}` stands behind `retire`, with which it ends", self.word(at));
            let help = "move it before `retire`: only `assert` and `note` may follow";
            findings.push(self.error(at, Code::Migration, message, help));
        }
        findings
    }
}
