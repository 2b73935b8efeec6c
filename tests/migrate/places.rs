//! Consumers keep their place on the way there: the first delivery is the first message that was not
//! acknowledged in order, and nothing is skipped behind it.

use crate::{
    shelf::{self, Stored},
    support::client::{acknowledge, consumer, pull},
    way::{Gates, NEW, OLD, Way, Went, World},
};

/// Acknowledged in order, delivered, and acknowledged out of order.
const FLOOR: usize = 60;
const DELIVERED: usize = 100;
const APART: std::ops::Range<usize> = 80..90;

/// How many are looked at in the new stream.
const SEEN: usize = 200;

fn same(it: &Stored) -> (usize, u64) {
    (it.publisher, it.number)
}

#[track_caller]
fn keeps_its_place(way: Way) {
    let world = World::single(way, Gates::Last);
    let traffic = world.traffic();
    let (before, _) = traffic.during(600, || {
        traffic.takes(400);
        let read = pull(&world.servers()[0], OLD, "READER", DELIVERED);
        let done = read[..FLOOR].iter().chain(&read[APART]);
        acknowledge(&world.servers()[0], done);
        let info = consumer(&world.servers()[0], OLD, "READER");
        assert_eq!(info["ack_floor"]["stream_seq"], FLOOR, "{info}");
        let before = shelf::read(&world.urls, OLD);
        world.goes_before("settled", &mut Went::default());
        if !way.takes_subjects() {
            traffic.move_one_by_one();
        }
        before
    });
    let after = shelf::read(&world.urls, NEW);
    let first = before.iter().find(|it| it.sequence == FLOOR as u64 + 1).map(same);
    let place = after.iter().position(|it| Some(same(it)) == first);
    let place = place.expect("it is in the new stream");
    let expected: Vec<_> = after[place..].iter().take(SEEN).map(|it| it.sequence).collect();
    let read = pull(&world.servers()[0], NEW, "READER", expected.len());
    let sequences: Vec<_> = read.iter().map(|it| it.sequence).collect();
    assert_eq!(sequences, expected, "{}", way.name());
    let info = consumer(&world.servers()[0], NEW, "READER");
    let ahead = after.len() - place - expected.len();
    assert!(info["num_pending"].as_u64() >= Some(ahead as u64), "{ahead}: {info}");
}

#[test]
fn a_consumer_goes_on_where_it_stood_whatever_the_strategy() {
    for way in [Way::Source, Way::Mirror, Way::NewSubjects, Way::Program] {
        keeps_its_place(way);
    }
}
