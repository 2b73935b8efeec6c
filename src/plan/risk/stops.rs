//! What must not happen, whatever it costs: what the server would refuse, and what is protected.

use serde_json::Value;

use super::{Around, consumer::filters};
use crate::{
    address::{Address, consumers_of},
    config::Config,
    diff::{self, Delta},
    finding::{Code, Finding},
    live::{Live, Observed},
    plan::{Action, Change, Mode, Step},
    position,
    schema::{Release, Verdict},
    spec::{Declared, Move, check},
    state::Recorded,
    subject,
    units::count,
};

/// What the server would refuse, or take and not carry out.
pub(super) fn refused(step: &Step, wanted: &Declared, live: &Live) -> Vec<Finding> {
    let found = too_new(step, wanted, live.server.release).into_iter();
    // What is made, perhaps anew, takes over nothing that is live.
    let is = live.resources.get(&step.address).filter(|_| step.action == Action::Update);
    let is = is.map(|it| diff::meaning(step.address.rows(), &it.config(), &live.at));
    let gated = check::refused_by(live.server.release, &step.address, wanted, is.as_ref());
    let mut found: Vec<Finding> = found.chain(gated).collect();
    found.extend(sealing(step, wanted, live));
    found
}

/// What sealing excludes, before and after.
fn sealing(step: &Step, wanted: &Declared, live: &Live) -> Option<Finding> {
    let is_on = |config: &Config, name: &str| config.get(name) == Some(&Value::Bool(true));
    if step.action != Action::Update {
        let place = wanted.places.get("sealed").copied();
        let finding = Finding::error(Code::BadValue, "no stream is created sealed").at(place);
        let help = "leave `sealed` out until the stream exists and holds its messages";
        return is_on(&wanted.config, "sealed").then(|| finding.help(help));
    }
    let is = live.resources.get(&step.address).map(Observed::config)?;
    // What sealing made of these, the server finds wrong when it looks again (2.11 to 2.15).
    let stuck = |it: &Config| {
        is_on(it, "allow_msg_schedules")
            || is_on(it, "allow_msg_counter")
            || it.number("subject_delete_marker_ttl") > Some(0)
    };
    let message = "a sealed stream with schedules, counters or delete markers takes no update";
    let help = "put the spec back to what the stream is, or name what differs under `ignore`";
    let stuck = is_on(&is, "sealed") && (stuck(&is) || stuck(&wanted.config));
    stuck.then(|| Finding::error(Code::Conflict, message).help(help))
}

/// Fields and values that the server's release does not know.
fn too_new(step: &Step, wanted: &Declared, release: Release) -> Vec<Finding> {
    let mut found = Vec::new();
    for Change { delta, .. } in &step.changes {
        let name = delta.field.name;
        let since = delta.field.first_release(&delta.after);
        // What is written and is so anyway needs no server that knows it.
        let says = delta.field.read(&Config::default()).as_ref() != Some(&delta.after);
        if since > release && wanted.config.has(name) && says {
            let what = if delta.field.since > release { "" } else { " with this value" };
            let message =
                format!("`{name}`{what} needs nats-server {since}, and this is {release}");
            let remedy = format!("leave it out for this environment, or upgrade to {since}");
            let place = wanted.places.get(name).copied();
            // What a bucket has beside its words follows from one of them.
            if wanted.bucket.is_none_or(|it| it.word(name).is_some()) {
                found.push(Finding::error(Code::TooNew, message).at(place).help(remedy));
            }
        }
    }
    found
}

impl Around<'_> {
    /// In a work queue a message belongs to one consumer, whoever made it: refused with 10100, also
    /// where it is only updated (all releases).
    pub(super) fn taken(&self, step: &Step, wanted: &Declared) -> Option<Finding> {
        let name = step.address.stream_name();
        if step.address.is_stream() || self.gone.contains(name) || !self.keeps_by(name, "workqueue")
        {
            return None;
        }
        let own = filters(|it| wanted.config.get(it).cloned().unwrap_or_default());
        let meets = |it: &String| own.iter().any(|own| subject::overlap(own, it));
        // Those that change are judged with the spec, and those that go are gone by then.
        let others = consumers_of(&self.live.resources, name)
            .filter(|it| *it.0 != step.address && !self.moving.contains(it.0));
        let mut others = others.filter(|(_, is)| {
            let live = is.config();
            filters(|it| live.get(it).cloned().unwrap_or_default()).iter().any(meets)
        });
        let (other, _) = others.next()?;
        let message = format!(
            "`{}` takes messages of `{other}`, and a work queue gives each to one consumer",
            step.address
        );
        let help = if self.desired.resources.contains_key(other) {
            format!("apply `{other}` too, which gives them up: add `--target {other}`")
        } else {
            format!("narrow its filters, or see that `{other}` is deleted first")
        };
        Some(Finding::error(Code::SubjectOverlap, message).help(help))
    }

    /// What a rollback cannot undo need not keep it from the rest.
    pub(super) fn goes_on_without(&self, refused: Finding) -> Finding {
        let help = "this cannot be undone; to go back with the others, name them with `--target`";
        if matches!(self.ask.mode, Mode::Rollback(_)) { refused.help(help) } else { refused }
    }

    /// What is protected stays, whoever wants it gone.
    pub(super) fn protection(
        &self,
        step: &Step,
        wanted: Option<&Declared>,
        is: &Observed,
    ) -> Vec<Finding> {
        let address = &step.address;
        let was = self.recorded.resources.get(address);
        // What the spec says holds at once; what it no longer says must be recorded first. What an
        // earlier state said does not weaken what holds now.
        let (wanted, remedy) = match (self.ask.mode, wanted) {
            (Mode::Rollback(_), _) => {
                (None, "set `prevent_destroy = false` in the spec, apply that, then go back")
            }
            (_, Some(_)) => (wanted, "set `prevent_destroy = false` in the spec"),
            (_, None) => (
                None,
                "put it back into the spec with `prevent_destroy = false`, apply that, then \
                 remove it",
            ),
        };
        let found = prevented(step, (wanted, was), is, remedy);
        let mut found: Vec<_> = found.into_iter().collect();
        if was.is_some_and(|was| crate::drift::recreated(address, was, is)) {
            let message =
                format!("`{address}` is not the one jsplan made: it was created {}", is.created);
            found.push(Finding::error(Code::Recreated, message).help(format!(
                "`jsplan state rm {address}` lets go of it; nothing on the server changes"
            )));
        }
        if let Some(stranger) = self.stranger(address) {
            let message =
                format!("destroying `{address}` would destroy `{stranger}`, which is not managed");
            found.push(Finding::error(Code::Protected, message).help("remove or adopt it first"));
        }
        found
    }

    /// A live consumer of a stream that is neither recorded nor about to be adopted.
    fn stranger(&self, stream: &Address) -> Option<&Address> {
        let Address::Stream(name) = stream else { return None };
        let adopted = |it: &Address| {
            self.ask.mode != Mode::Destroy && self.desired.resources.contains_key(it)
        };
        let mut consumers = consumers_of(&self.live.resources, name);
        let theirs = |(it, is): &(&Address, &Observed)| {
            !self.recorded.resources.contains_key(it)
                && !adopted(it)
                && !position::is_holder(it)
                && !is.is_ephemeral()
        };
        consumers.find(theirs).map(|(it, _)| it)
    }
}

/// What keeps a resource: the spec or else the state says so, or it holds messages.
fn prevented(
    step: &Step,
    (wanted, was): (Option<&Declared>, Option<&Recorded>),
    is: &Observed,
    remedy: &str,
) -> Option<Finding> {
    let address = &step.address;
    let said =
        wanted.map_or_else(|| was.and_then(|it| it.prevent_destroy), |it| it.prevent_destroy);
    let messages = is.messages();
    let (message, help) = match said {
        Some(true) => (
            format!("`{address}` would be destroyed, and has `prevent_destroy = true`"),
            remedy.to_owned(),
        ),
        None if messages > 0 && step.action == Action::Delete => (
            format!("`{address}` would be destroyed with its {}", count(messages, "message")),
            format!("what holds messages is protected; {remedy}"),
        ),
        None if step.adopts && messages == 0 => (
            format!("`{address}` would be replaced, and jsplan did not make it"),
            refusal(step).map_or_else(
                || remedy.to_owned(),
                |(Change { delta, .. }, _)| {
                    let delta = delta.spoken(address);
                    let (name, value) = (delta.field.name, delta.field.show(&delta.before));
                    format!("{remedy}, or set `{name}` to `{value}` to take it over as it is")
                },
            ),
        ),
        Some(false) | None => return None,
    };
    Some(Finding::error(Code::Protected, message).help(help))
}

/// A replacement is refused where messages would go with it.
pub(super) fn replacement(step: &Step, is: &Observed, moves: &[Move]) -> Option<Finding> {
    let (change, why) = refusal(step)?;
    let address = &step.address;
    let Delta { field, before, .. } = change.delta.spoken(address);
    let name = field.name;
    let back = if before.is_null() {
        format!("remove `{name}` again")
    } else {
        format!("set `{name}` back to `{}`", field.show(&before))
    };
    let messages = count(Some(is.messages()).filter(|it| *it > 0)?, "message");
    let message = format!(
        "`{name}` cannot be changed ({why}), and replacing `{address}` would delete its {messages}"
    );
    let moves = moves.iter().find(|it| it.from.as_deref() == Some(address.name()));
    let way = match moves {
        Some(it) => format!("migration {} {} moves its messages", it.version, it.name),
        None => format!(
            "declare another stream for it and move its messages there: `jsplan migrate new NAME \
             --strategy same-subjects-mirror --from {} --to STREAM`",
            address.name()
        ),
    };
    Some(Finding::error(Code::Replacement, message).help(format!("{back}; or {way}")))
}

/// The first change that no update makes, and why.
fn refusal(step: &Step) -> Option<(&Change, &'static str)> {
    step.changes.iter().find_map(|it| match it.verdict {
        Verdict::Refused(why) => Some((it, why)),
        Verdict::InPlace | Verdict::OneWay => None,
    })
}
