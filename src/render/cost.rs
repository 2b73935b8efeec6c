//! What a step costs in messages, what stops it, and what would let it through.

use owo_colors::Style;

use super::{
    ASIDE, DANGER, escape,
    text::{WIDTH, address, width},
};
use crate::{
    address::Address,
    finding::Severity,
    forecast::{Amount, How, Question, Tally},
    plan::{
        Plan, Step,
        risk::{Risk, When},
        undo::{self, Lasting},
    },
    schema::Harm,
    units::{about_bytes, count, count_of, show_count, show_instant},
};

/// Under its label, so many columns in.
const INDENT: usize = 11;

/// Consumers that are named before the rest is counted.
const NAMED: usize = 5;

/// What a step costs, and what stops it.
pub(super) fn lines(plan: &Plan, step: &Step) -> Vec<String> {
    let risks = step.risks.iter().filter(|it| !it.is_latent());
    let mut lines: Vec<_> = risks.flat_map(|it| cost(plan, step, it)).collect();
    if lines.is_empty() && !step.risks.is_empty() {
        lines.push(labelled(Style::new(), "data", "none lost"));
    }
    lines.extend(stays(plan, step));
    if step.blocked {
        lines.extend(guard(plan, step));
    }
    lines
}

/// Whether a step loses messages or cannot be undone.
pub(super) fn endangers(plan: &Plan, step: &Step) -> bool {
    let grave = |it: &&Risk| match it.harm {
        Harm::DataLoss | Harm::Delivery | Harm::OneWay | Harm::Destroy => true,
        Harm::Redelivery | Harm::Availability | Harm::Takeover => false,
    };
    let loses = step.risks.iter().filter(|it| !it.is_latent()).any(|it| grave(&it));
    loses || !undo::lasting(plan, step).is_empty()
}

/// What no rollback brings back, but for fields that are said to be one-way already.
fn stays(plan: &Plan, step: &Step) -> impl Iterator<Item = String> {
    let said = |field: &str| {
        let one_way = |it: &&Risk| it.harm == Harm::OneWay;
        step.risks.iter().filter(one_way).any(|it| it.field.as_deref() == Some(field))
    };
    let new = move |it: &Lasting| !matches!(it, Lasting::Field(field) if said(field));
    let name = step.address.name();
    let words = move |it: Lasting| labelled(DANGER, "undo", &it.words(name));
    undo::lasting(plan, step).into_iter().filter(new).map(words)
}

/// The codes of the errors about a step that is blocked.
pub(super) fn codes(plan: &Plan, step: &Step) -> Vec<String> {
    let about = |it: &&crate::finding::Finding| {
        it.severity == Severity::Error && it.about.as_ref() == Some(&step.address)
    };
    let mut codes: Vec<String> = Vec::new();
    for finding in plan.findings.iter().filter(about) {
        let code = finding.code.to_string();
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    if codes.is_empty() { vec!["conflict".to_owned()] } else { codes }
}

fn guard(plan: &Plan, step: &Step) -> Vec<String> {
    let codes = codes(plan, step);
    let mut consents: Vec<String> = Vec::new();
    for risk in step.risks.iter().filter(|it| it.is_stopped()) {
        let consent = format!("--allow {}", escape(&risk.consent(&step.address)));
        if !consents.contains(&consent) {
            consents.push(consent);
        }
    }
    let blocked = labelled(DANGER, "guard", &format!("blocked by {}", codes.join(", ")));
    // Where something else stops it too, no consent lets it through.
    let lets = codes.iter().all(|it| consents.iter().any(|consent| consent.contains(it.as_str())));
    if consents.is_empty() || !lets {
        return vec![blocked];
    }
    wrapped(blocked, &format!("; to allow: {}", consents.join(" ")))
}

fn cost(plan: &Plan, step: &Step, risk: &Risk) -> Vec<String> {
    let style = if endangers(plan, step) { DANGER } else { Style::new() };
    let (label, what) = match (risk.harm, &risk.tally.messages) {
        (Harm::OneWay, _) => ("undo", "not possible".to_owned()),
        (Harm::Availability, _) => ("risk", String::new()),
        (Harm::Takeover, _) => ("owner", String::new()),
        (_, Amount::Nothing) => ("data", String::new()),
        _ => ("data", happens(step, risk)),
    };
    let why = escape(&risk.why);
    // Of what is destroyed it is plain why.
    let why = if risk.harm == Harm::Destroy && !what.is_empty() { "" } else { &*why };
    let why = format!("{why}{}", found(risk.tally.how));
    let joint = if what.is_empty() || why.is_empty() || why.starts_with(' ') { "" } else { ": " };
    let mut lines = wrapped(labelled(style, label, &what), &format!("{joint}{why}"));
    for (consumer, number) in risk.needed_by.iter().take(NAMED) {
        let number = match number {
            Amount::Exactly(number) => show_count(*number),
            Amount::AtMost(number) => format!("up to {}", show_count(*number)),
            Amount::Nothing | Amount::Unknown(_) => "some".to_owned(),
        };
        lines.push(below(&format!("{} has not done with {number} of them", address(consumer))));
    }
    let more = risk.needed_by.len().saturating_sub(NAMED);
    if more > 0 {
        let verb = if more == 1 { "has" } else { "have" };
        lines.push(below(&format!("nor {verb} {}", count_of(more, "more consumer"))));
    }
    if let Some(safer) = risk.safer.as_deref().filter(|_| !risk.allowed) {
        lines.push(below(&format!("safer: {}", escape(safer))));
    }
    if risk.allowed && risk.harm.needs_consent() {
        let consent = format!("(allowed with --allow {})", escape(&risk.consent(&step.address)));
        lines.push(below(&ASIDE.style(consent).to_string()));
    }
    lines
}

/// `deletes the 90 oldest of 100 messages (18.2 MiB, up to 2026-11-20 04:11 UTC)`.
fn happens(step: &Step, risk: &Risk) -> String {
    let amount = amount(step, risk);
    let what = match (risk.harm, &step.address) {
        (Harm::Destroy, Address::Stream(_)) => format!("deletes {amount}, with their stream"),
        (Harm::Destroy, Address::Consumer { .. }) => {
            format!("forgets its position, and {amount} it had not done with")
        }
        (Harm::Delivery, _) if matches!(risk.question, Some(Question::Matching { .. })) => amount,
        (Harm::Delivery, _) => format!("skips {amount}"),
        (Harm::Redelivery, Address::Stream(_)) => format!("copies {amount} again"),
        (Harm::Redelivery, Address::Consumer { .. }) => format!("delivers {amount} again"),
        (Harm::DataLoss, _) if risk.field.as_deref() == Some("mirror") => {
            format!("leaves {amount} behind")
        }
        (Harm::DataLoss | Harm::OneWay | Harm::Availability | Harm::Takeover, _) => {
            format!("deletes {amount}")
        }
    };
    let when = match risk.when {
        When::AtOnce => String::new(),
        When::Within(_) | When::Idle(_) => risk.when.words(),
    };
    format!("{what}{}{when}", details(&risk.tally))
}

/// How it was found, where that is not plain.
fn found(how: How) -> &'static str {
    match how {
        How::Info => "",
        How::Subjects => " (counted by subject)",
        How::ByTime => " (counted by time)",
        How::Walk => " (counted one by one)",
    }
}

/// Bytes and time, in brackets.
fn details(tally: &Tally) -> String {
    let instant = |it: &Option<String>| it.as_deref().and_then(show_instant);
    let mut details: Vec<String> = tally.bytes.map(about_bytes).into_iter().collect();
    match (instant(&tally.oldest), instant(&tally.newest)) {
        (_, Some(newest)) if tally.upto.is_some() => details.push(format!("up to {newest}")),
        (Some(oldest), Some(newest)) if oldest == newest => details.push(format!("of {newest}")),
        (Some(oldest), Some(newest)) => details.push(format!("{oldest} to {newest}")),
        (Some(oldest), None) => details.push(format!("from {oldest} on")),
        (None, Some(newest)) => details.push(format!("up to {newest}")),
        (None, None) => {}
    }
    if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) }
}

/// `200 of 1,200 messages`, `at most 1,200 messages`.
fn amount(step: &Step, risk: &Risk) -> String {
    let oldest = if risk.tally.upto.is_some() { " oldest" } else { "" };
    let own = risk.concerns(step.address.stream_name());
    let of_all = |number: u64| match own && number < step.stored {
        true => format!("{}{oldest} of {}", show_count(number), count(step.stored, "message")),
        false => count(number, "message"),
    };
    match &risk.tally.messages {
        Amount::Nothing => "no messages".to_owned(),
        Amount::Exactly(number) if own && *number > 1 && *number == step.stored => {
            format!("all {}", count(*number, "message"))
        }
        Amount::Exactly(number) if oldest.is_empty() => of_all(*number),
        Amount::Exactly(number) => format!("the {}", of_all(*number)),
        Amount::AtMost(number) => format!("at most {}", of_all(*number)),
        Amount::Unknown(why) => format!("an unknown number of messages ({})", escape(why)),
    }
}

fn labelled(style: Style, label: &str, text: &str) -> String {
    let room = INDENT - 4 - label.len();
    format!("    {}{:room$}{text}", style.style(label), "")
}

fn below(text: &str) -> String {
    format!("{:INDENT$}{text}", "")
}

/// A line and how it goes on, on the next line where it does not fit.
fn wrapped(line: String, rest: &str) -> Vec<String> {
    if width(&line) + width(rest) <= WIDTH {
        return vec![line + rest];
    }
    let rest = rest.trim_start_matches([':', ';', ' ']);
    vec![line, below(rest)]
}
