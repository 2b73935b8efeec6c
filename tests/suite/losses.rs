//! What loses messages, skips them, delivers them again or cannot be taken back: the plan says so
//! with the number, without consent nothing happens, and with it what was said does.

use std::fs;

use jsplan::{
    forecast::{Amount, Limits, Question},
    io::{fault::VARIABLE, nats::connect, run, server::Server},
    schema::Release,
    spec::Connection,
};
use serde_json::{Value, json};

use crate::support::{
    client::{
        self, acknowledge, ask, consumer, done, messages, publish, publish_mortal, pull, stream,
    },
    project::{Output, Project, wait_for},
    server::{server, server_since, server_with},
};

/// One change of what is there.
struct Loss<'a> {
    /// The spec before, and the spec after.
    before: &'a str,
    after: &'a str,
    /// What happens between the two.
    fill: &'a dyn Fn(&Server),
    /// What the plan shows of it.
    says: &'a [&'a str],
    /// What it takes to do it.
    allow: &'a [&'a str],
}

impl Loss<'_> {
    /// Plans it, is refused it and does it; gives what there is then.
    #[track_caller]
    fn happens(&self) -> (Server, Project) {
        self.happens_on(server())
    }

    #[track_caller]
    fn happens_on(&self, server: Server) -> (Server, Project) {
        let project = Project::new(&server, self.before);
        project.apply();
        (self.fill)(&server);
        project.write_spec(self.after);
        let plan = project.run(&["plan"]).ended(1);
        let plan = self.says.iter().fold(plan, |plan, it| plan.says(it));
        self.allow.iter().fold(plan, |plan, it| plan.says(&format!("--allow {it}")));
        let before = everything(&server);
        project.run(&["apply", "--auto-approve"]).ended(1);
        assert_eq!(everything(&server), before, "nothing happens without consent");
        let allow = self.allow.iter().flat_map(|it| ["--allow", it]);
        let words: Vec<_> = ["apply", "--auto-approve"].into_iter().chain(allow).collect();
        project.run(&words).ended(0);
        (server, project)
    }

    /// Does it, and expects so many messages of stream `L` to be left.
    #[track_caller]
    fn leaves(&self, left: u64) -> (Server, Project) {
        let (server, project) = self.happens();
        wait_for("it takes effect", || messages(&server, "L") <= left);
        assert_eq!(messages(&server, "L"), left);
        (server, project)
    }
}

/// Every stream and consumer, without what changes by itself.
fn everything(server: &Server) -> Vec<Value> {
    let of = |stream: &String| {
        let info = ask(server, &format!("STREAM.INFO.{stream}"), &Value::Null);
        let list = ask(server, &format!("CONSUMER.LIST.{stream}"), &Value::Null);
        let place = |it: &Value| {
            let sequences = json!([it["delivered"]["stream_seq"], it["ack_floor"]["stream_seq"]]);
            json!([it["config"], sequences, it["num_pending"], it["num_ack_pending"]])
        };
        let consumers: Vec<_> =
            list["consumers"].as_array().into_iter().flatten().map(place).collect();
        json!([info["config"], info["state"]["messages"], info["created"], consumers])
    };
    client::streams(server).iter().map(of).collect()
}

/// Ten messages on each of ten subjects of `L`.
fn hundred(server: &Server) {
    (0..10).for_each(|it| publish(server, &format!("L.{it}"), 10));
}

const LIMITS: &str = "[streams.L]\nsubjects = [\"L.>\"]\nduplicate_window = \"100ms\"\n";

/// A stream and a change of it, a hundred messages between the two.
#[track_caller]
fn lowered(before: &str, after: &str, says: &[&str], left: u64) {
    let (before, after) = (format!("{LIMITS}{before}"), format!("{LIMITS}{after}"));
    let allow = &["data-loss=stream.L"];
    let loss = Loss { before: &before, after: &after, fill: &hundred, says, allow };
    let (_server, project) = loss.leaves(left);
    project.plans_empty();
}

#[test]
fn limits_that_are_lowered_delete_what_is_beyond_them() {
    lowered("", "max_msgs = 10", &["deletes the 90 oldest of 100 messages"], 10);
    // A record of a file takes 30 bytes beside subject and payload.
    lowered("", "max_bytes = 1000", &["deletes the 77 oldest of 100 messages"], 23);
    lowered("", "max_msgs_per_subject = 1", &["deletes 90 of 100 messages"], 10);
    let each = "discard = \"new\"\nmax_msgs_per_subject = 10\ndiscard_new_per_subject = true";
    let fewer = "discard = \"new\"\nmax_msgs_per_subject = 3\ndiscard_new_per_subject = true";
    lowered(each, fewer, &["deletes 70 of 100 messages"], 30);
    // What is denied to clients is not denied to limits.
    let denied = "deny_delete = true\ndeny_purge = true";
    let limited = "deny_delete = true\ndeny_purge = true\nmax_msgs = 10";
    lowered(denied, limited, &["deletes the 90 oldest of 100 messages"], 10);
}

#[test]
fn an_age_deletes_what_is_older_now_and_the_rest_as_it_gets_there() {
    let after = &format!("{LIMITS}max_age = \"100ms\"");
    let fill = |server: &Server| {
        hundred(server);
        wait_for("they get old", || {
            let info = ask(server, "STREAM.INFO.L", &Value::Null);
            let at = |it: &Value| it.as_str().and_then(|it| it.parse::<jiff::Timestamp>().ok());
            let last = at(&info["state"]["last_ts"]).expect("a time");
            at(&info["ts"]).expect("a time").duration_since(last).as_millis() > 200
        });
    };
    let says = &["deletes all 100 messages", "Data: 100 messages would be deleted by 1 action."];
    let allow = &["data-loss=stream.L"];
    Loss { before: LIMITS, after, fill: &fill, says, allow }.leaves(0);
    let after = &format!("{LIMITS}max_age = \"1h\"");
    let says = &["deletes all 100 messages within 1h"];
    Loss { before: LIMITS, after, fill: &hundred, says, allow }.leaves(100);
}

#[test]
fn a_limit_that_refuses_deletes_nothing_until_it_gives_way() {
    let server = server();
    let project = Project::new(&server, LIMITS);
    project.apply();
    hundred(&server);
    project.write_spec(&format!("{LIMITS}max_msgs = 10\ndiscard = \"new\""));
    project.run(&["plan"]).ended(0).says("new messages are refused").says("no message would be");
    project.apply();
    assert_eq!(messages(&server, "L"), 100, "the safer way loses nothing");
    project.write_spec(&format!("{LIMITS}max_msgs = 10"));
    project.run(&["plan"]).ended(1).says("deletes the 90 oldest of 100 messages");
    project.run(&["apply", "--auto-approve"]).ended(1);
    assert_eq!(messages(&server, "L"), 100);
    project.run(&["apply", "--auto-approve", "--allow", "data-loss=stream.L"]).ended(0);
    assert_eq!(messages(&server, "L"), 10);
}

/// A stream with consumers: name, filter and so many messages that it takes and acknowledges.
fn read_by(retention: &str, readers: &[(&str, &str)]) -> String {
    let mut spec = format!("{LIMITS}retention = \"{retention}\"\n");
    for (name, filter) in readers {
        spec += &format!("[streams.L.consumers.{name}]\nack_policy = \"explicit\"\n");
        spec += &format!("filter_subject = \"{filter}\"\nprevent_destroy = false\n");
    }
    spec
}

fn take(server: &Server, name: &str, number: usize) {
    acknowledge(server, &pull(server, "L", name, number));
}

#[test]
fn interest_deletes_what_no_consumer_waits_for() {
    let nobody = &format!("{LIMITS}retention = \"interest\"");
    let says = &["deletes all 100 messages", "is acknowledged and not stored"];
    let allow = &["data-loss=stream.L", "delivery=stream.L"];
    let loss = Loss { before: LIMITS, after: nobody, fill: &hundred, says, allow };
    let (server, _project) = loss.happens_on(server_since(Release(2, 15, 0)));
    assert_eq!(messages(&server, "L"), 0);
    let (before, after) = (&read_by("limits", &[("R", ">")]), &read_by("interest", &[("R", ">")]));
    let fill = |server: &Server| {
        hundred(server);
        take(server, "R", 40);
    };
    let (says, allow) = (&["deletes 40 of 100 messages"], &["data-loss=stream.L"]);
    Loss { before, after, fill: &fill, says, allow }.leaves(60);
    // What nobody matches is neither deleted nor delivered.
    let (before, after) =
        (&read_by("limits", &[("R", "L.1")]), &read_by("interest", &[("R", "L.1")]));
    let (says, allow) = (&["90"], &["delivery=stream.L"]);
    Loss { before, after, fill: &hundred, says, allow }.leaves(100);
}

#[test]
fn a_consumer_of_interest_takes_its_messages_along() {
    let both = &[("R", ">"), ("S", ">")];
    let none = &read_by("interest", &[]);
    let before = &read_by("interest", &both[..1]);
    let (says, allow) = (&["100 messages"], &["data-loss=consumer.L.R"]);
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
    let (says, allow) = (&["90"], &["delivery=consumer.L.R"]);
    Loss { before, after, fill: &hundred, says, allow }.leaves(100);
    let after = &read_by("workqueue", &[]);
    let says = &["delivers 10 of 100 messages again", "forgets its position"];
    let allow = &["redelivery=consumer.L.R", "destroy=consumer.L.R"];
    Loss { before, after, fill: &fill, says, allow }.leaves(100);
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
        Loss { before, after, fill: &fill, says: &["messages behind its position"], allow }
            .happens();
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
    let (says, allow) = (&["30 messages"], &["delivery=consumer.L.R"]);
    let (server, _project) = Loss { before: all, after: new, fill: &fill, says, allow }.happens();
    assert_eq!(consumer(&server, "L", "R")["num_pending"], 0);
    let fill = |server: &Server| {
        hundred(server);
        take(server, "R", 40);
    };
    let allow = &["redelivery=consumer.L.R"];
    let (server, _project) =
        Loss { before: new, after: all, fill: &fill, says: &["40"], allow }.happens();
    assert_eq!(consumer(&server, "L", "R")["num_pending"], 100);
}

#[test]
fn a_durable_that_may_lapse_takes_its_position_along() {
    let before = &read_by("limits", &[("R", "L.>")]);
    let after = &format!("{before}inactive_threshold = \"1h\"\n");
    let fill = |server: &Server| {
        hundred(server);
        take(server, "R", 40);
    };
    let (says, allow) =
        (&["skips 60 of 100 messages after 1h of disuse"], &["delivery=consumer.L.R"]);
    Loss { before, after, fill: &fill, says, allow }.leaves(100);
}

#[test]
fn what_cannot_be_taken_back_takes_consent() {
    let allow = &["one-way=stream.L"];
    for field in ["sealed", "deny_delete", "deny_purge"] {
        let after = &format!("{LIMITS}{field} = true");
        let loss = Loss { before: LIMITS, after, fill: &hundred, says: &["not possible"], allow };
        let (server, _project) = loss.leaves(100);
        assert_eq!(stream(&server, "L")[field], true);
    }
}

/// A stream `O`, and `L` that copies it.
fn copied(how: &str) -> String {
    format!(
        "[streams.O]\nsubjects = [\"O.>\"]\nprevent_destroy = false\nallow_msg_ttl = true\n[streams.L]\n{how}\n"
    )
}

#[test]
fn a_mirror_that_becomes_a_stream_leaves_its_origin_for_good() {
    let before = &copied("mirror = { name = \"O\" }");
    let after = &copied("subjects = [\"L.>\"]");
    let fill = |server: &Server| {
        (0..10).for_each(|it| publish(server, &format!("O.{it}"), 10));
        wait_for("it copies", || messages(server, "L") == 100);
    };
    let (says, allow) = (&["not possible"], &["one-way=stream.L"]);
    Loss { before, after, fill: &fill, says, allow }.leaves(100);
}

#[test]
fn a_source_that_changes_is_copied_again() {
    let source =
        |it: &str| copied(&format!("sources = [{{ name = \"O\", filter_subject = \"{it}\" }}]"));
    let fill = |server: &Server| {
        (0..10).for_each(|it| publish(server, &format!("O.{it}"), 10));
        wait_for("it copies", || messages(server, "L") == 100);
    };
    let (before, after) = (&source("O.>"), &source("O.*"));
    let (says, allow) = (&["100 messages"], &["redelivery=stream.L"]);
    let (server, _project) = Loss { before, after, fill: &fill, says, allow }.happens();
    wait_for("it copies again", || messages(&server, "L") == 200);
}

#[test]
fn lives_that_begin_to_count_end_at_once_where_they_are_over() {
    let before = &copied("sources = [{ name = \"O\" }]");
    let after = &copied("sources = [{ name = \"O\" }]\nallow_msg_ttl = true");
    let fill = |server: &Server| {
        publish_mortal(server, "O.1", 10, "1s");
        publish(server, "O.2", 5);
        wait_for("they end in the origin", || messages(server, "O") == 5);
        wait_for("it copies", || messages(server, "L") == 15);
    };
    let (says, allow) = (&["10"], &["data-loss=stream.L", "one-way=stream.L"]);
    Loss { before, after, fill: &fill, says, allow }.leaves(5);
}

#[test]
fn what_has_grown_since_it_was_planned_is_refused() {
    let server = server();
    let project = Project::new(&server, LIMITS);
    project.apply();
    hundred(&server);
    project.write_spec(&format!("{LIMITS}max_msgs = 10"));
    project.run(&["plan", "--out", "p", "--allow", "data-loss=stream.L"]).ended(0);
    publish(&server, "L.1", 10);
    let refused = project.run(&["apply", "p"]).ended(1);
    refused.says("90 messages were planned and allowed, and now it is 100");
    assert_eq!(messages(&server, "L"), 110);
    assert_eq!(stream(&server, "L")["max_msgs"], -1);
    // A consent may leave room for what comes.
    project.run(&["plan", "--out", "p", "--allow", "data-loss=stream.L:300"]).ended(0);
    publish(&server, "L.1", 10);
    project.run(&["apply", "p"]).ended(0);
    assert_eq!(messages(&server, "L"), 10);
}

#[test]
fn what_goes_beyond_what_was_said_is_an_incident_with_its_number() {
    let server = server();
    let project = Project::new(&server, LIMITS);
    project.apply();
    hundred(&server);
    project.write_spec(&format!("{LIMITS}max_msgs = 10"));
    let held = project.path("held");
    let order = format!("pause=before-read-back:1:{}", held.display());
    let apply = ["apply", "--auto-approve", "--allow", "data-loss=stream.L"];
    let apply = project.start_with(&[(VARIABLE, &order)], &apply);
    wait_for("the answer is there", || held.exists());
    done(&server, "STREAM.PURGE.L", &json!({ "keep": 3 }));
    fs::remove_file(held).expect("it waits for that");
    let incident = Output::ending(apply).ended(1);
    incident.says("deleted 97 messages, planned 90").says("beyond plan").says("State saved");
    project.plans_empty();
}

/// May look at streams and consumers, and at no message.
const PLANNER: &str = r#"accounts { APP { jetstream: enabled, users: [
    { user: admin, password: p },
    { user: planner, password: p, permissions: { subscribe: ["_INBOX.>"], publish: [
        "$SYS.REQ.USER.INFO", "$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST",
        "$JS.API.STREAM.INFO.*",
        "$JS.API.CONSUMER.NAMES.*", "$JS.API.CONSUMER.LIST.*", "$JS.API.CONSUMER.INFO.*.*" ] } }
] } }
no_auth_user: admin
jetstream {}"#;

#[test]
fn who_may_not_read_counts_by_what_streams_say_and_names_what_is_denied() {
    let server = server_with(PLANNER);
    let project = Project::new(&server, LIMITS);
    project.apply();
    hundred(&server);
    let url = server.url().replace("//", "//planner:p@");
    let plan = |change: &str, consent: &str| {
        project.write_spec(&format!("{LIMITS}{change}"));
        project.run_elsewhere(&["plan", "--allow", &format!("data-loss=stream.L{consent}")], &url)
    };
    plan("max_msgs = 10", "").ended(0).says("deletes the 90 oldest of 100 messages");
    plan("max_msgs_per_subject = 1", "").ended(0).says("deletes 90 of 100 messages");
    // Of what it cannot count it knows that no more than all can go.
    for change in ["max_bytes = 1000", "max_msgs = 50\nmax_msgs_per_subject = 1"] {
        plan(change, "").ended(0).says("deletes at most ");
    }
    run(async {
        let connection = Connection { urls: vec![url], ..Connection::default() };
        let session = connect(&connection, "planner").await.expect("a connection");
        let limits = Limits { max_bytes: Some(1000), ..Limits::default() };
        let tally = session.tally(&Question::Beyond { stream: "L".to_owned(), limits }).await;
        let why = "needs read: may not publish to `$JS.API.STREAM.MSG.GET.L`";
        assert_eq!(tally.messages, Amount::Unknown(why.to_owned()));
    });
}

#[test]
fn counting_leaves_nothing_behind() {
    let server = server();
    let project = Project::new(&server, LIMITS);
    project.apply();
    hundred(&server);
    project.write_spec(&format!("{LIMITS}max_bytes = 1000"));
    project.run(&["plan"]).ended(1).says("deletes the 77 oldest");
    assert_eq!(ask(&server, "STREAM.INFO.L", &Value::Null)["state"]["consumer_count"], 0);
}
