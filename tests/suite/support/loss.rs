//! A change that costs something, from the plan that says so to what is left, and what such changes
//! begin with.

use std::{collections::BTreeSet, iter::once};

use jsplan::io::server::Server;
use serde_json::{Value, json};

use super::{
    client::{acknowledge, ask, messages, publish, pull, streams},
    project::{Project, wait_for},
    server::server,
};

/// One change of what is there.
pub(crate) struct Loss<'a> {
    /// The spec before, and the spec after.
    pub(crate) before: &'a str,
    pub(crate) after: &'a str,
    /// What happens between the two.
    pub(crate) fill: &'a dyn Fn(&Server),
    /// What the plan shows of it.
    pub(crate) says: &'a [&'a str],
    /// What it takes to do it.
    pub(crate) allow: &'a [&'a str],
}

impl Loss<'_> {
    /// Plans it, is refused it and does it; gives what there is then.
    #[track_caller]
    pub(crate) fn happens(&self) -> (Server, Project) {
        self.happens_on(server())
    }

    #[track_caller]
    pub(crate) fn happens_on(&self, server: Server) -> (Server, Project) {
        let project = Project::new(&server, self.before);
        project.apply();
        (self.fill)(&server);
        project.write_spec(self.after);
        let plan = project.run(&["plan"]).ended(1);
        let plan = self.says.iter().fold(plan, |plan, it| plan.says(it));
        self.allow.iter().fold(plan, |plan, it| plan.says(&format!("--allow {it}")));
        let before = everything(&server);
        for few in self.too_few() {
            project.allowing(&["apply", "--auto-approve"], &few).ended(1);
            assert_eq!(everything(&server), before, "nothing happens without consent");
        }
        project.apply_allowing(self.allow);
        (server, project)
    }

    /// Does it, and expects so many messages of stream `L` to be left.
    #[track_caller]
    pub(crate) fn leaves(&self, left: u64) -> (Server, Project) {
        let (server, project) = self.happens();
        wait_for("it takes effect", || messages(&server, "L") <= left);
        assert_eq!(messages(&server, "L"), left);
        (server, project)
    }

    /// No consent, and all but each of them.
    fn too_few(&self) -> BTreeSet<Vec<&str>> {
        let but = |it: &&str| self.allow.iter().copied().filter(|other| other != it).collect();
        once(Vec::new()).chain(self.allow.iter().map(but)).collect()
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
    streams(server).iter().map(of).collect()
}

/// A stream `L`; its window for duplicates is as short as any `max_age` of these tests.
pub(crate) const LIMITS: &str = "[streams.L]\nsubjects = [\"L.>\"]\nduplicate_window = \"100ms\"\n";

/// Ten messages on each of ten subjects of `L`.
pub(crate) fn hundred(server: &Server) {
    hundred_on(server, "L");
}

/// Ten messages on each of ten subjects.
pub(crate) fn hundred_on(server: &Server, prefix: &str) {
    (0..10).for_each(|it| publish(server, &format!("{prefix}.{it}"), 10));
}

/// A project in which `L` is live and holds a hundred messages.
pub(crate) fn filled(server: &Server) -> Project {
    let project = Project::new(server, LIMITS);
    project.apply();
    hundred(server);
    project
}

/// The same, and a spec by which 90 of them are too many.
pub(crate) fn limited(server: &Server) -> Project {
    let project = filled(server);
    project.write_spec(&format!("{LIMITS}max_msgs = 10"));
    project
}

/// `L` with consumers: name and filter.
pub(crate) fn read_by(retention: &str, readers: &[(&str, &str)]) -> String {
    let mut spec = format!("{LIMITS}retention = \"{retention}\"\n");
    for (name, filter) in readers {
        spec += &format!("[streams.L.consumers.{name}]\nack_policy = \"explicit\"\n");
        spec += &format!("filter_subject = \"{filter}\"\nprevent_destroy = false\n");
    }
    spec
}

/// Has a consumer of `L` take so many messages and acknowledge them.
pub(crate) fn take(server: &Server, name: &str, number: usize) {
    acknowledge(server, &pull(server, "L", name, number));
}
