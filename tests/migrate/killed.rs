//! Migrations while servers are killed: nothing that was acknowledged is lost, and nothing is there twice.

use crate::{
    runs::{Condition, run},
    way::{Gates, NEW, OLD, Way, World},
};

#[test]
fn a_server_that_is_killed_at_random_moments_costs_nothing() {
    for way in Way::ALL {
        run(&World::single(way, Gates::Both), Condition::Kills, 2_000).holds();
    }
}

#[test]
fn a_leader_of_the_old_stream_that_is_killed_costs_nothing() {
    for way in [Way::NewSubjects, Way::Source, Way::Mirror] {
        run(&World::cluster(way, Gates::Both), Condition::LeaderOf(OLD), 2_000).holds();
    }
}

#[test]
fn a_leader_of_the_new_stream_that_is_killed_costs_nothing() {
    for way in [Way::Source, Way::Program] {
        run(&World::cluster(way, Gates::Both), Condition::LeaderOf(NEW), 2_000).holds();
    }
}
