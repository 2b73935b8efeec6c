//! The steps of a plan as blocks a person reads before saying yes.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    ADDED, ASIDE, CHANGED, DANGER, NAME, REMOVED,
    change::{Part, block, hidden},
    cost::{self, endangers},
    escape,
    text::{WIDTH, address, beside, joined, width},
};
use crate::{
    address::Address,
    config::Config,
    diff::Delta,
    finding::Sources,
    plan::{Action, Cause, Change, Mode, Plan, Step, risk::Risk, undo},
    position,
    schema::{Verdict, bucket},
    spec::write::basic,
    units::{count_of, show_count},
};

/// The legend, what is about to happen, and every step in order.
pub(super) fn steps(plan: &Plan, sources: &Sources) -> String {
    if plan.steps.is_empty() {
        return String::new();
    }
    let mut lines = legend(plan);
    lines.push(opening(plan));
    for group in groups(plan) {
        lines.push(String::new());
        lines.extend(group_lines(plan, &group, sources));
    }
    joined(&lines)
}

/// One line about what is live and belongs to nobody.
pub(super) fn unmanaged(addresses: &[Address]) -> String {
    if addresses.is_empty() {
        return String::new();
    }
    let verb = if addresses.len() == 1 { "is" } else { "are" };
    let number = count_of(addresses.len(), "live resource");
    let mut line = format!("{number} {verb} not managed by jsplan: ");
    for (at, one) in addresses.iter().enumerate() {
        let separator = if at == 0 { "" } else { ", " };
        let name = address(one);
        if at > 0 && width(&line) + name.len() + 16 > WIDTH {
            let more = addresses.len() - at;
            write!(line, " and {} more", show_count(more as u64)).unwrap_or_default();
            break;
        }
        write!(line, "{separator}{name}").unwrap_or_default();
    }
    format!("{}\n", ASIDE.style(line))
}

fn opening(plan: &Plan) -> String {
    let of = if plan.targeted { ", of the targets only" } else { "" };
    match plan.mode {
        Mode::RefreshOnly => {
            "jsplan will change its state as follows, and nothing on the server:".to_owned()
        }
        Mode::Normal => format!("jsplan will perform the following actions{of}:"),
        Mode::Destroy => "jsplan will perform the following actions:".to_owned(),
        Mode::Rollback(serial) => {
            format!("jsplan will go back to state serial {serial} by these actions{of}:")
        }
    }
}

/// The symbols that this plan uses, each with what it means.
fn legend(plan: &Plan) -> Vec<String> {
    let acts = |action| plan.steps.iter().any(|it| it.action == action);
    let known = [
        (acts(Action::Create), ADDED.style("  +").to_string(), "create"),
        (
            acts(Action::Update) || acts(Action::Bind),
            CHANGED.style("  ~").to_string(),
            "update in-place",
        ),
        (acts(Action::Replace), replacing(), "destroy and then create replacement"),
        (acts(Action::Delete), REMOVED.style("  -").to_string(), "destroy"),
        (acts(Action::Forget), "  .".to_owned(), "forget: leave the state only"),
        (
            plan.steps.iter().any(|it| endangers(plan, it)),
            DANGER.style("!  ").to_string(),
            "loses messages, or cannot be undone",
        ),
        (
            plan.steps.iter().any(|it| it.blocked),
            DANGER.style("?  ").to_string(),
            "blocked by an error",
        ),
    ];
    let used: Vec<_> = known.into_iter().filter(|(used, ..)| *used).collect();
    if used.is_empty() {
        return Vec::new();
    }
    let mut lines = vec!["Resource actions are indicated with the following symbols:".to_owned()];
    lines.extend(used.into_iter().map(|(_, symbol, meaning)| format!("{symbol} {meaning}")));
    lines.push(String::new());
    lines
}

fn replacing() -> String {
    format!("{}/{}", REMOVED.style("-"), ADDED.style("+"))
}

/// Steps that differ only in their address, in the order of the first of each.
///
/// What costs something or is blocked stands alone, so that nobody overlooks it.
fn groups(plan: &Plan) -> Vec<Vec<&Step>> {
    let mut groups: Vec<Vec<&Step>> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for step in &plan.steps {
        if !step.risks.iter().all(Risk::is_latent) || step.blocked {
            groups.push(vec![step]);
            continue;
        }
        let at = *known.entry(likeness(plan, step)).or_insert(groups.len());
        match groups.get_mut(at) {
            Some(group) => group.push(step),
            None => groups.push(vec![step]),
        }
    }
    groups
}

/// What two steps of one group have in common.
fn likeness(plan: &Plan, step: &Step) -> String {
    let latent = step.risks.is_empty();
    let (wave, kind, fate) = (step.wave, step.address.kind(), fate(plan, step));
    let mut all = format!("{wave} {kind} {latent} {fate} {:?}", undo::lasting(plan, step));
    for Change { delta, cause, verdict } in &step.changes {
        let (name, before, after) = (delta.field.name, &delta.before, &delta.after);
        write!(all, "\n{name} {before} {after} {cause:?} {verdict:?}").unwrap_or_default();
    }
    all
}

fn group_lines(plan: &Plan, group: &[&Step], sources: &Sources) -> Vec<String> {
    let Some(step) = group.first() else { return Vec::new() };
    let mut lines = header(group, &fate(plan, step));
    let unwanted = step.action == Action::Delete && !position::is_holder(&step.address);
    let lacks = match plan.mode {
        Mode::Normal => Some("configuration".to_owned()),
        Mode::Rollback(serial) => Some(format!("state serial {serial}")),
        Mode::Destroy | Mode::RefreshOnly => None,
    };
    if let Some(lacks) = lacks.filter(|_| unwanted) {
        let why = match group {
            [one] => format!("(because {} is not in {lacks})", address(&one.address)),
            _ => format!("(because they are not in {lacks})"),
        };
        lines.push(format!("  # {why}"));
    }
    // A record has no lines that anybody could look up.
    let written = group.len() == 1 && !matches!(plan.mode, Mode::Rollback(_));
    let place = if written { step.place } else { None };
    let place = place.map(|it| escape(&sources.spot(it)).into_owned()).unwrap_or_default();
    let open = if step.changes.is_empty() { "" } else { " {" };
    let name = if group.len() == 1 { labels(&step.address) } else { String::new() };
    let block_line = format!("{}{}{name}{open}", gutter(plan, step), step.address.kind());
    lines.push(beside(&block_line, &place));
    if !step.changes.is_empty() {
        lines.extend(body(plan, step));
    }
    lines.extend(cost::lines(plan, step));
    lines
}

/// `# stream.ORDERS will be created`; of several, their names in braces, over as many lines as
/// it takes, since a name that is left out is one that nobody agreed to.
fn header(group: &[&Step], fate: &str) -> Vec<String> {
    let alike = match group.len() {
        0 | 1 => String::new(),
        more => format!(" ({} alike)", show_count(more as u64)),
    };
    let names = names(group).into_iter().map(|it| NAME.style(it).to_string());
    let mut lines = vec!["  #".to_owned()];
    for words in names.chain([format!("{fate}{alike}")]) {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(&words) <= WIDTH || width(line) == 3 => {
                write!(line, " {words}").unwrap_or_default();
            }
            _ => lines.push(format!("  #   {words}")),
        }
    }
    lines
}

/// The address, or the addresses as `consumer.ORDERS.{a, b}`, cut where a line may break.
fn names(group: &[&Step]) -> Vec<String> {
    let Some(first) = group.first() else { return Vec::new() };
    if group.len() == 1 {
        return vec![address(&first.address)];
    }
    let stream = first.address.stream_name();
    let shared = match &first.address {
        Address::Stream(_) => String::new(),
        Address::Consumer { .. } => {
            let one = group.iter().all(|it| it.address.stream_name() == stream);
            if one { format!("{}.", escape(stream)) } else { String::new() }
        }
    };
    let prefix = format!("{}.{shared}", first.address.kind());
    let last = group.len() - 1;
    let name = |(at, step): (usize, &&Step)| {
        let full = address(&step.address);
        let own = full.strip_prefix(&prefix).unwrap_or(&full);
        match at {
            0 => format!("{prefix}{{{own},"),
            _ if at == last => format!("{own}}}"),
            _ => format!("{own},"),
        }
    };
    group.iter().enumerate().map(name).collect()
}

/// What happens to a resource, in the words that follow its address.
fn fate(plan: &Plan, step: &Step) -> String {
    let stream = step.address.is_stream();
    match step.action {
        Action::Create if step.falls => {
            "goes with its stream, and will be created again".to_owned()
        }
        Action::Create if helped(step) => {
            "is gone since an apply was cut short; will be created where it stood".to_owned()
        }
        Action::Create if step.cause == Cause::Drift => {
            let anew = if stream { "empty" } else { "without its position" };
            format!("was deleted outside of jsplan; will be created again, {anew}")
        }
        Action::Create if matches!(plan.mode, Mode::Rollback(_)) => {
            let anew = if stream { "empty: its messages are gone" } else { "without its position" };
            format!("will be created again, {anew}")
        }
        Action::Create => "will be created".to_owned(),
        Action::Update if step.adopts => "will be adopted, and updated in-place".to_owned(),
        Action::Update => "will be updated in-place".to_owned(),
        Action::Replace if step.resumes() => {
            format!("must be {}, and keeps its position", DANGER.style("replaced"))
        }
        Action::Replace => format!("must be {}", DANGER.style("replaced")),
        Action::Delete if position::is_holder(&step.address) => {
            "held a position for an apply that was cut short, and goes".to_owned()
        }
        Action::Delete => format!("will be {}", DANGER.style("destroyed")),
        Action::Adopt => {
            "will be adopted as it is: it enters the state, the server is left alone".to_owned()
        }
        Action::Record if step.changes.is_empty() => {
            "will be recorded as it is; the server is left alone".to_owned()
        }
        Action::Record => "will be taken over into the state as it is live".to_owned(),
        Action::Forget if step.premise.is_some() => {
            "will be let go of, as before it was adopted; the server is left alone".to_owned()
        }
        Action::Forget => {
            "will be removed from the jsplan state: it is gone from the server".to_owned()
        }
        Action::Bind if is_updated(plan, step) => {
            "will take its new subjects, now that they are free".to_owned()
        }
        Action::Bind => "will take its subjects, now that its consumers are there".to_owned(),
    }
}

/// Whether its position was held by another consumer, which is no longer needed.
fn helped(step: &Step) -> bool {
    step.calls.iter().any(|it| position::is_holder(&it.address))
}

/// Whether another step changes the resource in place.
fn is_updated(plan: &Plan, step: &Step) -> bool {
    plan.steps.iter().any(|it| it.action == Action::Update && it.address == step.address)
}

/// Four columns: `!` for what it may cost, `?` for blocked, and the symbol of the action.
fn gutter(plan: &Plan, step: &Step) -> String {
    let symbol = match step.action {
        Action::Create => ADDED.style("+").to_string(),
        Action::Update | Action::Bind => CHANGED.style("~").to_string(),
        Action::Replace => replacing(),
        Action::Delete => REMOVED.style("-").to_string(),
        Action::Forget => ".".to_owned(),
        Action::Adopt | Action::Record => " ".to_owned(),
    };
    let mut flags = String::new();
    if endangers(plan, step) {
        flags.push('!');
    }
    if step.blocked {
        flags.push('?');
    }
    let room = 3_usize.saturating_sub(width(&symbol) + flags.len());
    let flags = if flags.is_empty() { flags } else { DANGER.style(flags).to_string() };
    format!("{flags}{:room$}{symbol} ", "")
}

fn labels(address: &Address) -> String {
    match (address, address.as_bucket()) {
        (_, Some((_, bucket))) => format!(" {}", basic(bucket)),
        (Address::Stream(name), None) => format!(" {}", basic(name)),
        (Address::Consumer { stream, name }, None) => {
            format!(" {} {}", basic(stream), basic(name))
        }
    }
}

fn body(plan: &Plan, step: &Step) -> Vec<String> {
    let whole = matches!(step.action, Action::Create | Action::Delete);
    let (shown, usual): (Vec<_>, Vec<_>) =
        step.changes.iter().partition(|it| !whole || tells(step, it));
    let part = |it: &Change| Part {
        delta: it.delta.spoken(&step.address),
        remark: remark(plan, step, it),
    };
    let mut lines = block(6, &shown.into_iter().map(part).collect::<Vec<_>>());
    let rest = match (whole, usual.len()) {
        (false, _) => count_of(step.same, "unchanged attribute"),
        (true, 0) => format!("{} at server defaults", count_of(step.same, "attribute")),
        (true, usual) => format!(
            "{} of every bucket, {} at server defaults",
            count_of(usual, "attribute"),
            step.same
        ),
    };
    if step.same > 0 {
        lines.push(hidden(8, &rest));
    }
    lines.push("    }".to_owned());
    lines
}

/// Whether a field of something made or destroyed tells it from others of its kind: of a bucket
/// its words do, and what its stream should not be.
fn tells(step: &Step, change: &Change) -> bool {
    let Some((kind, bucket)) = step.address.as_bucket() else { return true };
    let Delta { field, before, after } = &change.delta;
    let usual = kind.lower(bucket, &Config::default());
    let value = if after.is_null() { before } else { after };
    let open = bucket::left_open(&usual).contains(&field.name);
    kind.word(field.name).is_some() || !(open || field.read(&usual).as_ref() == Some(value))
}

/// What stands beside a field: who made the change necessary, and whether it can be made.
fn remark(plan: &Plan, step: &Step, change: &Change) -> String {
    if plan.mode == Mode::RefreshOnly || !matches!(step.action, Action::Update | Action::Replace) {
        return String::new();
    }
    let cause = match change.cause {
        Cause::Edit => None,
        Cause::Drift => Some("reverts drift"),
        Cause::Both => Some("edit and drift"),
    };
    let verdict = match change.verdict {
        Verdict::InPlace => None,
        Verdict::OneWay => Some("one-way"),
        Verdict::Refused(_) => Some("forces replacement"),
    };
    let words: Vec<_> = verdict.into_iter().chain(cause).collect();
    if words.is_empty() { String::new() } else { format!("# {}", words.join(", ")) }
}
