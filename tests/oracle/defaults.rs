//! What a server fills in.

use jsplan::schema::stream::STREAM;
use serde_json::json;

use crate::{
    readback::surprises,
    servers::{Answer, each},
};

#[test]
fn the_smallest_streams_read_back_as_the_rows_say() {
    let found = each(async |oracle| {
        let mut found = Vec::new();
        for config in [
            json!({ "name": "PLAIN" }),
            json!({ "name": "MIRROR", "mirror": { "name": "PLAIN" } }),
            json!({ "name": "SOURCES", "sources": [{ "name": "PLAIN" }] }),
            json!({ "name": "SHORT", "max_age": 1_000_000_000 }),
        ] {
            let name = config["name"].as_str().expect("a name");
            match oracle.send(&format!("STREAM.CREATE.{name}"), &config, 0).await {
                Answer::Taken(live) => {
                    let all = surprises(STREAM, &config, &live, oracle.release);
                    found.extend(all.into_iter().map(|it| format!("{name}: {it}")));
                }
                Answer::Refused(_, why) => found.push(format!("{name}: {why}")),
            }
        }
        found
    });
    let wrong: Vec<_> = found.iter().filter(|it| !it.1.is_empty()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
