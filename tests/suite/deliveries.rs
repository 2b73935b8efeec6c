//! What a change of a consumer deletes, skips or delivers again: the plan says so with the number,
//! without consent nothing happens, and with it what was said does.

use jsplan::io::server::Server;

use crate::support::{
    client::{Delivery, acknowledge, consumer, messages, publish, pull},
    loss::{LIMITS, Loss, hundred, read_by, take},
    project::wait_for,
};

fn sequences(of: &[Delivery]) -> Vec<u64> {
    of.iter().map(|it| it.sequence).collect()
}

#[test]
fn a_consumer_of_interest_takes_its_messages_along() {
    let both = &[("R", ">"), ("S", ">")];
    let none = &read_by("interest", &[]);
    let before = &read_by("interest", &both[..1]);
    let (says, allow) = (&["deletes all 100 messages"], &["data-loss=consumer.L.R"]);
    let loss = Loss { before, after: none, fill: &hundred, says, allow };
    loss.leaves(0);
    let fill = |server: &Server| {
        (0..3).for_each(|_| hundred(server));
        take(server, "R", 40);
        take(server, "S", 120);
    };
    let (before, after) = (&read_by("interest", both), &read_by("interest", &both[1..]));
    let loss = Loss { before, after, fill: &fill, says: &["deletes 80 of 260 messages"], allow };
    loss.leaves(180);
    let (before, after) =
        (&read_by("interest", &[("R", "L.>")]), &read_by("interest", &[("R", "L.1")]));
    let loss = Loss { before, after, fill: &hundred, says: &["deletes 90 of 100"], allow };
    loss.leaves(10);
}

#[test]
fn a_work_queue_forgets_nothing_and_delivers_again() {
    let before = &read_by("workqueue", &[("R", "L.>")]);
    let fill = |server: &Server| {
        hundred(server);
        pull(server, "L", "R", 10);
    };
    let after = &read_by("workqueue", &[("R", "L.1")]);
    let (says, allow) = (&["90 of 100 messages"], &["delivery=consumer.L.R"]);
    Loss { before, after, fill: &hundred, says, allow }.leaves(100);
    let after = &read_by("workqueue", &[]);
    let says = &["delivers 10 of 100 messages again", "forgets its position"];
    let allow = &["redelivery=consumer.L.R", "destroy=consumer.L.R"];
    let (server, project) = Loss { before, after, fill: &fill, says, allow }.leaves(100);
    project.write_spec(before);
    project.apply();
    let again = pull(&server, "L", "R", 10);
    assert_eq!(sequences(&again), (1..=10).collect::<Vec<_>>(), "to whoever comes next");
}

#[test]
fn a_filter_that_moves_skips_what_is_behind_the_position() {
    let fill = |server: &Server| {
        for _ in 0..30 {
            publish(server, "L.1", 1);
            publish(server, "L.2", 1);
        }
        take(server, "R", 29);
    };
    let (before, after) =
        (&read_by("limits", &[("R", "L.1")]), &read_by("limits", &[("R", "L.2")]));
    // It may have looked as far as the next one on `L.1`, which no server tells.
    let (says, allow) = (&["skips at most 29 of 60 messages"], &["delivery=consumer.L.R"]);
    let (server, _project) = Loss { before, after, fill: &fill, says, allow }.happens();
    assert_eq!(pull(&server, "L", "R", 100).len(), 2, "28 of those on `L.2` are skipped");
    // A filter that widens does not go back either.
    let fill = |server: &Server| {
        hundred(server);
        take(server, "R", 5);
    };
    let (before, after) =
        (&read_by("limits", &[("R", "L.5")]), &read_by("limits", &[("R", "L.>")]));
    let (server, _project) =
        Loss { before, after, fill: &fill, says: &["skips 50 of 100 messages"], allow }.happens();
    assert_eq!(consumer(&server, "L", "R")["num_pending"], 45);
}

#[test]
fn a_consumer_that_begins_elsewhere_skips_or_delivers_again() {
    let spec = |start: &str| {
        format!(
            "{LIMITS}[streams.L.consumers.R]\nack_policy = \"explicit\"\n\
             deliver_policy = \"{start}\"\nprevent_destroy = false\n"
        )
    };
    let fill = |server: &Server| {
        hundred(server);
        take(server, "R", 70);
    };
    let (all, new) = (&spec("all"), &spec("new"));
    let (says, allow) = (&["skips 30 of 100 messages"], &["delivery=consumer.L.R"]);
    let (server, _project) = Loss { before: all, after: new, fill: &fill, says, allow }.happens();
    assert_eq!(consumer(&server, "L", "R")["num_pending"], 0);
    let fill = |server: &Server| {
        hundred(server);
        take(server, "R", 40);
    };
    let allow = &["redelivery=consumer.L.R"];
    let (server, _project) = Loss {
        before: new,
        after: all,
        fill: &fill,
        says: &["delivers 40 of 100 messages again"],
        allow,
    }
    .happens();
    assert_eq!(consumer(&server, "L", "R")["num_pending"], 100);
}

#[test]
fn a_durable_that_may_lapse_takes_its_position_along() {
    let fill = |server: &Server| {
        hundred(server);
        take(server, "R", 40);
    };
    let before = &read_by("limits", &[("R", "L.>")]);
    let after = &format!("{before}inactive_threshold = \"5s\"\n");
    let says = &["skips 60 of 100 messages after 5s of disuse"];
    let allow = &["delivery=consumer.L.R"];
    let (server, _project) = Loss { before, after, fill: &fill, says, allow }.leaves(100);
    wait_for("it lapses", || consumer(&server, "L", "R")["error"]["err_code"] == 10014);
    assert_eq!(messages(&server, "L"), 100);
    // Where interest keeps, what it had not done with goes too.
    let before = &read_by("interest", &[("R", "L.>")]);
    let after = &format!("{before}inactive_threshold = \"5s\"\n");
    let (says, allow) =
        (&["deletes all 60 messages", "after 5s of disuse"], &["data-loss=consumer.L.R"]);
    Loss { before, after, fill: &fill, says, allow }.leaves(0);
}

#[test]
fn a_consumer_that_is_made_again_where_it_stood_delivers_again_what_was_not_acknowledged() {
    let fill = |server: &Server| {
        hundred(server);
        let taken = pull(server, "L", "R", 40);
        acknowledge(server, &taken[..30]);
    };
    let before = &read_by("limits", &[("R", "L.>")]);
    let after = &format!("{before}max_waiting = 5\n");
    let says = &["must be replaced, and keeps its position", "delivers 10 of 100 messages again"];
    let allow = &["redelivery=consumer.L.R"];
    let (server, project) = Loss { before, after, fill: &fill, says, allow }.leaves(100);
    let rest = pull(&server, "L", "R", 100);
    assert_eq!(sequences(&rest), (31..=100).collect::<Vec<_>>());
    project.plans_empty();
}
