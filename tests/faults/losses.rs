//! One request of an apply is lost, or its reply, or the connection at that moment.

use std::sync::{Mutex, PoisonError};

use crate::{
    support::proxy::Then,
    work::{Loss, Work, each, lose},
};

/// Every request, and every reply, goes this way once.
fn whatever_goes(then: Then) {
    let requests = Work::requests();
    assert!(requests > 20, "{requests}");
    let wrong = Mutex::new(Vec::new());
    let cases = (1..=requests).flat_map(|it| [(it, Loss::Request), (it, Loss::Reply)]);
    each(cases, |(number, loss)| {
        let work = Work::new();
        lose(&work.proxy, number, loss, then);
        let output = work.apply();
        if output.code != 0 {
            let mut wrong = wrong.lock().unwrap_or_else(PoisonError::into_inner);
            wrong.push(format!("request {number}, {loss:?}:\n{output}"));
            return;
        }
        work.holds();
    });
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(wrong.is_empty(), "{} of {requests} × 2:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn whatever_request_or_reply_is_lost_the_apply_ends_as_planned() {
    whatever_goes(Then::Swallow);
}

#[test]
fn whenever_the_connection_is_cut_the_apply_ends_as_planned() {
    whatever_goes(Then::Cut);
}
