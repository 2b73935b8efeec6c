//! A saved plan: whose it is, what became of it, and what moved since it was made.

use super::{
    ADDED, ASIDE, CHANGED, DANGER, NAME, PROTECTED,
    change::value,
    cost::codes,
    escape, head, labelled, plan,
    text::{address, columns, joined},
};
use crate::{
    live::Server,
    plan::{
        Mode, Plan,
        file::Saved,
        stale::{How, Moved, Refusal, Row},
    },
    units::{count_of, elapsed, show_about},
};

/// As its reviewer reads it: which one it is, what became of it, and all of it.
pub(super) fn whole(saved: &Saved, standing: Option<&Result<(), Refusal>>) -> String {
    let standing = match standing {
        Some(Err(why)) => {
            format!("{} {}.\n", DANGER.style("Cannot be applied:"), escape(&why.to_string()))
        }
        Some(Ok(())) => {
            let serial = saved.plan.serial;
            format!("{} the state is still at serial {serial}.\n", ADDED.style("Not applied yet:"))
        }
        None => String::new(),
    };
    format!("{}{standing}\n{}", made(saved), plan(&saved.plan, &saved.sources))
}

/// As it is about to be applied, after it was checked.
pub(super) fn checked(saved: &Saved, server: &Server, at: &str) -> String {
    let Saved { plan, .. } = saved;
    let label = plan.protected.then_some(PROTECTED);
    let age = match elapsed(&plan.at, at) {
        Some(age) if age >= 0 => format!("{} ago", show_about(age)),
        Some(_) | None => "in the future".to_owned(),
    };
    let mut addresses: Vec<_> = plan.steps.iter().map(|it| &it.address).collect();
    addresses.sort();
    addresses.dedup();
    let resources = count_of(addresses.len(), "resource");
    let line = format!(
        "Planned {age}. Checked: state serial {}, spec, {resources} as before.",
        plan.serial
    );
    let body = super::body(plan, &saved.sources);
    let head = head(&labelled(&plan.environment, label), server);
    format!("{head}{}{}\n\n{body}", made(saved), ASIDE.style(line))
}

/// What is left out of an apply, and why.
pub(super) fn left_out(plan: &Plan) -> String {
    let mut rows = Vec::new();
    for step in &plan.left_out {
        let why = match step.blocked {
            true => format!("{} by {}", DANGER.style("blocked"), codes(plan, step).join(", ")),
            false => {
                let out = |it: &&crate::address::Address| {
                    plan.left_out.iter().any(|other| other.address == **it)
                };
                match step.needs.iter().find(out) {
                    Some(needed) => format!("needs {}", address(needed)),
                    None => "goes together with what is left out".to_owned(),
                }
            }
        };
        rows.push(vec![address(&step.address), why]);
    }
    rows.dedup();
    let actions = count_of(plan.left_out.len(), "action");
    format!("\n{}\n{}", NAME.style(format!("Left out: {actions}.")), joined(&columns("  ", &rows)))
}

/// Every resource that moved since a plan was made, field by field in three columns.
pub(super) fn moved(moved: &[Moved]) -> String {
    let mut text = String::new();
    for one in moved {
        let name = NAME.style(address(&one.address));
        let what = match &one.how {
            How::Changed => "was changed on the server".to_owned(),
            How::Anew(at) => format!("was deleted, and made again at {}", escape(at)),
            How::Gone => "is gone from the server".to_owned(),
            How::Appeared => "is on the server now, and was not".to_owned(),
            How::Unread(why) => format!("could not be read: {}", escape(why)),
            How::Edited => "was edited in the spec".to_owned(),
        };
        text += &format!("\n{} {name} {what}\n", CHANGED.style("~"));
        if one.fields.is_empty() {
            continue;
        }
        let heads: &[&str] = match one.how {
            How::Edited => &["", "the plan sets", "the spec says"],
            How::Changed | How::Anew(_) | How::Gone | How::Appeared | How::Unread(_) => {
                &["", "planned from", "live now", "the plan sets"]
            }
        };
        let heads = heads.iter().map(|it| ASIDE.style(it).to_string()).collect();
        let rows = one.fields.iter().map(|it| cells(it, &one.how));
        let table: Vec<Vec<String>> = std::iter::once(heads).chain(rows).collect();
        text += &joined(&columns("    ", &table));
    }
    text + "\n"
}

fn cells(row: &Row, how: &How) -> Vec<String> {
    let show = |it: &serde_json::Value| match row.field {
        Some(field) => value(field, it),
        None => escape(&it.to_string()).into_owned(),
    };
    let mut cells = vec![escape(&row.name).into_owned(), show(&row.from), show(&row.now)];
    if *how != How::Edited {
        cells.push(row.set.as_ref().map_or_else(|| "-".to_owned(), show));
    }
    cells
}

fn made(saved: &Saved) -> String {
    let Saved { plan, by, signed_by, sources: _ } = saved;
    let id = &plan.id()[..12];
    let (at, by) = (escape(&plan.at), escape(by));
    let mut lines = vec![
        ASIDE
            .style(format!("plan {id} · made {at} by {by} from state serial {}", plan.serial))
            .to_string(),
    ];
    lines.extend(signed_by.iter().map(|it| ASIDE.style(format!("signed by {it}")).to_string()));
    let mut remark = |flag: &str, what: &str| lines.push(format!("Made with `{flag}`: {what}."));
    if plan.targeted {
        remark("--target", "it is a part of what there is to do");
    }
    match plan.mode {
        Mode::Normal => {}
        Mode::Destroy => remark("--destroy", "it destroys what the state owns"),
        Mode::RefreshOnly => remark("--refresh-only", "it changes the state alone"),
        Mode::Rollback(serial) => {
            remark(&format!("rollback --to {serial}"), "it goes back to what that state recorded");
        }
    }
    joined(&lines)
}
