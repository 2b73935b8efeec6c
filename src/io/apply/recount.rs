//! What a step costs, counted once more right before its first request, and held against what it
//! did.

use super::Error;
use crate::{
    address::Address,
    forecast::{Amount, Question},
    io::nats::Session,
    live::Observed,
    plan::{Action, Step, risk::Risk, risk::When},
    schema::Harm,
    state::Recorded,
    units::{count, show_count},
};

/// What a stream held right before an update that may delete some of it.
pub(super) struct Held {
    messages: u64,
    /// How many of them may go.
    most: u64,
}

/// Asks every question of a step again: it is refused where an answer has grown beyond what was
/// planned and allowed, or is no longer known.
pub(super) async fn before(session: &Session, step: &Step) -> Result<Option<Held>, Error> {
    for risk in &step.risks {
        let (Some(question), Some(most)) = (&risk.question, risk.most) else { continue };
        let now = counted(session, &question.clone().at_last()).await;
        if now.most().is_none_or(|it| it > most) {
            return Err(Error::Grown { why: risk.why.clone(), most, now: said(&now) });
        }
    }
    let Some(most) = deleted(step) else { return Ok(None) };
    let is = session.read(&step.address).await?.filter(keeps_by_limits);
    Ok(is.map(|it| Held { messages: it.messages(), most }))
}

/// Who may not read messages still knows how many there are, and no more than all can go: so the
/// plan has counted, too.
async fn counted(session: &Session, question: &Question) -> Amount {
    let now = session.tally(question).await.messages;
    let (Amount::Unknown(_), Some(stream)) = (&now, question.stream()) else { return now };
    let stored = session.tally(&Question::Stored { stream: stream.to_owned() }).await.messages;
    stored.most().map_or(now, Amount::AtMost)
}

/// What a step did beyond its plan, if anything.
pub(super) async fn after(
    session: &Session,
    step: &Step,
    held: Option<Held>,
    recorded: Option<&Recorded>,
) -> Option<String> {
    let created = recorded.map(|it| &it.created);
    let premise = step.premise.as_ref().filter(|_| step.action == Action::Update);
    if let (Some(now), Some(before)) = (created, premise.map(|it| &it.created))
        && now != before
    {
        return Some(format!("it is not the one that was planned for: it was created {now}"));
    }
    let Held { messages, most } = held?;
    // What is published meanwhile hides what is missing, and never the other way round.
    let now = session.read(&step.address).await.ok()??.messages();
    let gone = messages.saturating_sub(now);
    let (deleted, planned) = (count(gone, "message"), show_count(most));
    (gone > most).then(|| format!("deleted {deleted}, planned {planned}"))
}

/// How many messages the update of a stream may delete, where its plan says so to the message.
///
/// What gets too old does so by itself as well, so that there nothing can be held against anybody;
/// and where interest decides, consumers delete what they acknowledge.
fn deleted(step: &Step) -> Option<u64> {
    let is_update = step.action == Action::Update && matches!(step.address, Address::Stream(_));
    let deletes = |it: &&Risk| it.harm == Harm::DataLoss && it.when == When::AtOnce;
    let risks: Vec<_> = step.risks.iter().filter(deletes).filter(|_| is_update).collect();
    let ages = |it: &Risk| match &it.question {
        Some(Question::Beyond { limits, .. }) => limits.max_age.is_some(),
        Some(_) | None => false,
    };
    if risks.is_empty() || risks.iter().any(|it| ages(it)) {
        return None;
    }
    risks.iter().map(|it| it.most).sum()
}

fn keeps_by_limits(is: &Observed) -> bool {
    is.config().text("retention") == Some("limits")
}

fn said(amount: &Amount) -> String {
    match amount {
        Amount::Nothing => "none".to_owned(),
        Amount::Exactly(number) => show_count(*number),
        Amount::AtMost(number) => format!("up to {}", show_count(*number)),
        Amount::Unknown(why) => format!("unknown ({why})"),
    }
}
