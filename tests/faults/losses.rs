//! One request of an apply is lost, or its reply, or the connection at that moment, or the server.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    support::{
        interrupt,
        project::{Output, wait_for},
        proxy::Then,
    },
    work::{Loss, Work, at, each},
};

/// Something happens at every request, and at every reply, once; the apply ends as if nothing had.
fn at_each(step: usize, happens: impl Fn(&Work, usize, Loss) -> Output + Sync) {
    let requests = Work::requests();
    assert!(requests > 20, "{requests}");
    let wrong = Mutex::new(Vec::new());
    let numbers = (1..=requests).step_by(step);
    let cases: Vec<_> = numbers.flat_map(|it| [(it, Loss::Request), (it, Loss::Reply)]).collect();
    let count = cases.len();
    each(cases, |(number, loss)| {
        let work = Work::new();
        let output = happens(&work, number, loss);
        if output.code == 0 {
            work.destroyed_once();
            return work.holds();
        }
        let mut wrong = wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.push(format!("{loss:?} {number}:\n{output}"));
    });
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn whatever_request_or_reply_is_lost_the_apply_ends_as_planned() {
    at_each(1, |work, number, loss| {
        at(&work.proxy, number, loss, || Then::Swallow);
        work.apply()
    });
}

#[test]
fn whenever_the_connection_is_cut_the_apply_ends_as_planned() {
    at_each(1, |work, number, loss| {
        at(&work.proxy, number, loss, || Then::Cut);
        work.apply()
    });
}

#[test]
fn whenever_the_server_is_killed_and_comes_back_the_apply_ends_as_planned() {
    at_each(1, |work, number, loss| {
        work.remembers();
        let (kill, restart) = (work.kill(), work.restart());
        at(&work.proxy, number, loss, move || {
            kill();
            restart();
            Then::Cut
        });
        work.apply()
    });
}

#[test]
fn whenever_nothing_passes_for_a_while_the_apply_ends_as_planned() {
    // Longer than one answer is waited for, and than a silent connection is kept.
    const OUTAGE: Duration = Duration::from_secs(8);
    at_each(4, |work, number, loss| {
        at(&work.proxy, number, loss, || Then::Hold);
        let apply = work.start();
        wait_for("nothing passes", || work.proxy.is_held());
        let begun = Instant::now();
        wait_for("the outage is over", || begun.elapsed() > OUTAGE);
        work.proxy.go_on();
        Output::ending(apply)
    });
}

/// What the network or the server does for longer than anybody waits for it.
#[derive(Debug, Clone, Copy)]
enum Outage {
    Silence,
    Death,
}

#[test]
fn what_lasts_longer_than_the_patience_ends_the_apply_in_time_and_the_next_one_finishes_it() {
    let mut cases = Vec::new();
    for outage in [Outage::Silence, Outage::Death] {
        for request in ["STREAM.CREATE", "STREAM.UPDATE", "CONSUMER.DELETE"] {
            cases.extend([(outage, request, Loss::Request), (outage, request, Loss::Reply)]);
        }
    }
    each(cases, |(outage, request, loss)| {
        let work = Work::new();
        work.remembers();
        let kill = work.kill();
        let act = move || match outage {
            Outage::Silence => Then::Hold,
            Outage::Death => {
                kill();
                Then::Cut
            }
        };
        match loss {
            Loss::Request => work.proxy.before(request, 1, act),
            Loss::Reply => work.proxy.after(request, 1, act),
        }
        let begun = Instant::now();
        let output = work.apply().ended(1).says("is not known").says("[10s elapsed]");
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(50), "{took:?}: {output}");
        match outage {
            Outage::Silence => work.proxy.go_on(),
            Outage::Death => work.restart()(),
        }
        work.apply().ended(0);
        work.holds();
        assert_eq!(work.proxy.reached("STREAM.DELETE.GONE"), 1);
    });
}

#[test]
fn ctrl_c_ends_the_wait_for_an_answer_and_says_what_is_not_known() {
    let work = Work::new();
    work.proxy.before("STREAM.UPDATE", 1, || Then::Hold);
    let apply = work.start();
    wait_for("nothing passes", || work.proxy.is_held());
    let begun = Instant::now();
    interrupt(&apply);
    let output = Output::ending(apply).ended(1).says("Interrupt received.");
    let output =
        output.says("whether `STREAM.UPDATE.KEPT` was carried out is not known: interrupted");
    output.says("The journal is kept: 1 action undecided, which the next command looks at.");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    println!("{} ms from Ctrl-C to the end", took.as_millis());
    work.proxy.go_on();
    let listed = work.project.run_as_the_spec_says(&["state", "list"]).ended(0);
    listed.says("1 step undecided");
    work.apply().ended(0);
    work.holds();
}
