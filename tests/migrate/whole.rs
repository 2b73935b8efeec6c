//! Migrations while publishers are at work, and nothing else happens.

use std::time::{Duration, Instant};

use crate::{
    outcome::Outcome,
    runs::{Condition, run},
    way::{Gates, Way, Went, World},
};

#[track_caller]
fn holds(world: World) {
    run(&world, Condition::Calm, 2_000).holds();
    world.project.plans_empty();
}

#[test]
fn with_new_subjects_nothing_is_lost_doubled_or_reordered() {
    holds(World::single(Way::NewSubjects, Gates::Both));
}

#[test]
fn with_the_same_subjects_by_source_nothing_is_lost_doubled_or_reordered() {
    holds(World::single(Way::Source, Gates::Both));
}

#[test]
fn with_the_same_subjects_by_mirror_nothing_is_lost_doubled_or_reordered() {
    holds(World::single(Way::Mirror, Gates::Both));
}

#[test]
fn with_streams_in_parallel_nothing_is_lost_doubled_or_reordered() {
    holds(World::single(Way::Parallel, Gates::Both));
}

#[test]
fn through_a_program_nothing_is_lost_doubled_or_reordered() {
    let world = World::single(Way::Program, Gates::Both);
    run(&world, Condition::Calm, 2_000).holds();
    let shapes: Vec<_> = world.stored().iter().map(|it| it.shape).collect();
    let made = shapes.iter().take_while(|it| **it == 2).count();
    assert!(made > 0 && made < shapes.len(), "{made} of {}", shapes.len());
    assert!(shapes[made..].iter().all(|it| *it == 1), "what is published behind it is as it was");
}

#[test]
fn in_a_cluster_nothing_is_lost_doubled_or_reordered() {
    for way in Way::ALL {
        holds(World::cluster(way, Gates::Both));
    }
}

#[test]
fn what_the_new_stream_took_long_since_does_not_hide_what_it_copied() {
    let world = World::single(Way::NewSubjects, Gates::Both);
    let traffic = world.traffic();
    let (went, logs) = traffic.during(4_000, || {
        traffic.takes(300);
        let mut went = Went::default();
        world.goes_before("settled", &mut went);
        traffic.move_one_by_one();
        // More than are looked through for one that was copied.
        traffic.takes(2_500);
        let begun = Instant::now();
        world.goes_to_its_end(&mut went);
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(30), "{took:?}:\n{}", went.said);
        went
    });
    Outcome::of(&world, &went, &logs).holds();
}
