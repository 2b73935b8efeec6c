//! The level of the JetStream API that a request asks for, beside the server's own judgement.

use jsplan::{
    config::Config,
    schema::{Release, Writer, api_level, stream::STREAM},
};
use serde_json::{Value, json};

use crate::{
    generate::{examples, filled},
    servers::{Answer, Oracle, each},
};

/// `err_code` of a request whose level is beyond the server's.
const TOO_LOW: u32 = 10185;

#[test]
fn the_level_of_a_stream_is_what_the_server_says_it_needs() {
    let found = each(async |oracle| {
        let (mut judged, mut wrong) = (0, Vec::new());
        for field in STREAM.iter().filter(|it| it.writer == Writer::Spec) {
            // What it does not know it drops, up to 2.11, or refuses.
            let known = |it: &Value| field.first_release(it) <= oracle.release;
            for example in examples(field.name, field).into_iter().filter(known) {
                let mut sent = json!({ "name": "T" });
                sent[field.name] = filled(&example, "T", "ORIGIN");
                let Some(needed) = needed(oracle, &sent).await else { continue };
                judged += 1;
                let level = api_level(STREAM, &Config::of(&sent));
                // The server leaves this out of its sum, and one before 2.14 lacks the word.
                let unlabelled = sent.to_string().contains(r#""consumer":"#);
                if level != needed && !unlabelled {
                    wrong.push(format!("{sent} asks for {level}, and needs {needed}"));
                }
            }
        }
        (judged, wrong)
    });
    for (release, (judged, wrong)) in &found {
        // From 2.11 on a stream is labelled with the level it needs.
        assert!(wrong.is_empty(), "{release}: {wrong:#?}");
        assert!(*judged > 50 || *release < Release(2, 11, 0), "{release}: {judged}");
    }
}

#[test]
fn a_server_refuses_what_needs_a_higher_level_than_its_own() {
    let found = each(async |oracle| {
        let plain = json!({ "name": "T" });
        let own = oracle.session.server().await.expect("it says its level").api_level;
        let same = oracle.send("STREAM.CREATE.T", &plain, own).await;
        let higher = oracle.send("STREAM.CREATE.U", &json!({ "name": "U" }), own + 1).await;
        (own, same, higher)
    });
    for (release, (own, same, higher)) in found {
        assert!(matches!(same, Answer::Taken(_)), "{release} takes its own level {own}: {same:?}");
        let refused = matches!(higher, Answer::Refused(TOO_LOW, _));
        assert_eq!(refused, release >= Release(2, 12, 0), "{release}, above {own}: {higher:?}");
    }
}

/// What the server labels such a stream with; nothing where it does not take or label it.
async fn needed(oracle: &Oracle, config: &Value) -> Option<u32> {
    let Answer::Taken(read) = oracle.send("STREAM.CREATE.T", config, 0).await else { return None };
    oracle.done("STREAM.DELETE.T").await;
    read["metadata"]["_nats.req.level"].as_str()?.parse().ok()
}
