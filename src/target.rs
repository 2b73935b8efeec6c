//! Whether a server is the one that is meant: by the spec, by the state, by a saved plan.
//!
//! A user may be denied the question which account it is in. What is not known is no match, but it
//! is not called another account either.

use crate::{
    finding::{Code, Finding},
    live::Server,
    spec::Desired,
    state::{State, Target},
};

/// What of a server tells whose it is.
#[must_use]
pub fn of(server: &Server) -> Target {
    let Server { account, cluster, domain, .. } = server.clone();
    Target { account, cluster, domain }
}

/// What a saved plan was made against that this server is not.
#[must_use]
pub fn moved(planned: &Server, server: &Server) -> Option<String> {
    let rows = [
        (ACCOUNT, &planned.account, &server.account),
        ("cluster", &planned.cluster, &server.cluster),
        ("domain", &planned.domain, &server.domain),
    ];
    rows.into_iter().find_map(|(what, planned, found)| {
        let differs = planned != found && !is_unsaid(what, planned);
        let planned = planned.as_deref().unwrap_or("none");
        differs
            .then(|| format!("the plan was made against {what} `{planned}`, {}", is(what, found)))
    })
}

/// Refuses a server that is not the one the spec expects, or the state was applied to.
#[must_use]
pub fn check(desired: &Desired, recorded: &State, server: &Server) -> Vec<Finding> {
    let expect = &desired.environment.expect;
    let target = recorded.target.as_ref().filter(|_| !recorded.resources.is_empty());
    let rows = [
        (ACCOUNT, &expect.account, target.map(|it| &it.account), &server.account),
        ("cluster", &expect.cluster, target.map(|it| &it.cluster), &server.cluster),
        ("domain", &expect.domain, target.map(|it| &it.domain), &server.domain),
    ];
    let mut findings = Vec::new();
    for (what, expected, applied, found) in rows {
        let remedy = |otherwise| if is_unsaid(what, found) { UNSAID } else { otherwise };
        if let Some(expected) = expected.as_ref().filter(|it| Some(*it) != found.as_ref()) {
            let message = format!("the spec expects {what} `{expected}`, {}", is(what, found));
            findings.push(Finding::error(Code::WrongTarget, message).help(remedy(
                "check `--env`, the server's url and the credentials; or correct `[server.expect]`",
            )));
            continue;
        }
        let Some(applied) = applied.filter(|it| *it != found && !is_unsaid(what, it)) else {
            continue;
        };
        let applied = applied.as_deref().unwrap_or("none");
        let message = format!("the state was applied to {what} `{applied}`, {}", is(what, found));
        findings.push(Finding::error(Code::WrongTarget, message).help(remedy(
            "check `--env` and the server's url; a new server needs a state of its own",
        )));
    }
    findings
}

const ACCOUNT: &str = "account";

const UNSAID: &str = "let the user publish to `$SYS.REQ.USER.INFO`, which says whose it is";

/// A server without a cluster or a domain says so; every server has accounts.
fn is_unsaid(what: &str, found: &Option<String>) -> bool {
    what == ACCOUNT && found.is_none()
}

fn is(what: &str, found: &Option<String>) -> String {
    match found {
        Some(found) => format!("and this is `{found}`"),
        None if is_unsaid(what, found) => "and this server does not say which this is".to_owned(),
        None => "and this is `none`".to_owned(),
    }
}
