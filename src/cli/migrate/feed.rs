//! Messages that jsplan copies itself: through a program on the way there, and those that publishers
//! sent to `to` on the way back.

use std::{pin::pin, time::Duration};

use futures_util::future::{Either, select};

use super::{
    run::Run,
    work::{Broken, Verdict, pair, since_bound},
};
use crate::{
    cli::Failure,
    io::{
        clock,
        migrate::{
            self, Progress,
            feed::{self, Fed, Way},
            program::{Made, Program},
            verify::{Given, Taken, verify_made},
        },
    },
    migration::{
        Does, Mapping, Migration,
        proof::{self, Copying, Pair},
        stage::fed,
    },
    render,
    state::ledger::Proof,
};

/// How soon is copied again what came meanwhile: well within what a proof waits for a message.
const AGAIN: Duration = Duration::from_millis(100);

impl Run<'_> {
    /// Copies what `from` holds and `to` lacks through the program of the migration.
    pub(super) async fn feed(&mut self, migration: &Migration) -> Result<Verdict, Broken> {
        let feeding = async |tell: &mut dyn FnMut(Progress)| self.copied(migration, tell).await;
        let done = self.watched(feeding).await?;
        Ok(Verdict::Done(Some(render::migration::fed(done.copied, done.rejected))))
    }

    /// The same while publishers are kept out.
    pub(super) async fn feed_within(
        &mut self,
        migration: &Migration,
        within: Duration,
    ) -> Result<(), Broken> {
        let mut tell = |_| {};
        let late = || Failure::new("the last messages took the program too long");
        clock::within(within, self.copied(migration, &mut tell)).await.ok_or_else(late)??;
        Ok(())
    }

    async fn copied(
        &self,
        migration: &Migration,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<Fed, Broken> {
        let (Some(pair), Some((exec, dead_letters))) = (pair(migration), program(migration)) else {
            return Ok(Fed::default());
        };
        let mut program = Program::start(exec, pair.from, &self.project.dir)?;
        let mut make = async |taken: Vec<Taken>| program.make(&taken).await;
        let way = Way::Alone { prefix: fed(pair.to, ""), dead_letters };
        Ok(feed::feed(&self.session, &pair, &way, &mut make, tell).await?)
    }

    /// Proves that `to` holds what the program makes of every message of `from`.
    pub(super) async fn prove_fed(
        &self,
        migration: &Migration,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<Proof, Broken> {
        let since = self.ledger(migration).facts.proof.clone().unwrap_or_default();
        let (Some(pair), Some((exec, _))) = (pair(migration), program(migration)) else {
            return Ok(since);
        };
        let mut program = Program::start(exec, pair.from, &self.project.dir)?;
        let make = async |taken: Vec<Taken>| {
            let made = program.make(&taken).await?;
            Ok(made.into_iter().map(Given::from).collect())
        };
        Ok(verify_made(&self.session, &pair, &since, tell, make).await?)
    }

    /// The same while publishers are at work: what they send meanwhile nobody copies but we.
    pub(super) async fn prove_while_fed(
        &self,
        migration: &Migration,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<Proof, Broken> {
        let feeding = async {
            loop {
                if let Err(broken) = self.copied(migration, &mut |_| {}).await {
                    return broken;
                }
                clock::pause(AGAIN).await;
            }
        };
        // What is cut short is sent again by the next one, and stored once.
        match select(pin!(self.prove_fed(migration, tell)), pin!(feeding)).await {
            Either::Left((proof, _)) => proof,
            Either::Right((broken, _)) => Err(broken),
        }
    }

    /// Notes where `from` stands before anything is published to it again: whoever goes on looks for
    /// what was sent behind that.
    pub(super) async fn mark_return(&mut self, migration: &Migration) -> Result<(), Failure> {
        let facts = self.ledger(migration).facts.clone();
        if let (None, Some(from)) = (facts.returned, &migration.from) {
            let last = migrate::last(&self.session, from).await?;
            self.facts(migration).returned = Some(since_bound(facts.bound, Some(last)));
        }
        Ok(())
    }

    /// Publishes to `from` what publishers sent to `to`, and proves that it is there.
    pub(super) async fn copy_back(&mut self, migration: &Migration) -> Result<Verdict, Broken> {
        let Some(forth) = pair(migration) else { return Ok(Verdict::done()) };
        let since = self.ledger(migration).facts.returned.clone().unwrap_or_default();
        let mapping: Option<Vec<_>> = forth.mapping.iter().map(Mapping::inverse).collect();
        let mapping = mapping.ok_or_else(|| {
            Failure::new("what became of subjects on the way cannot be turned back")
        })?;
        let back =
            Pair { from: forth.to, to: forth.from, copying: Copying::Program, mapping: &mapping };
        let working =
            async |tell: &mut dyn FnMut(Progress)| self.returned(&forth, &back, &since, tell).await;
        let (fed, proof) = self.watched(working).await?;
        self.facts(migration).returned = Some(proof);
        Ok(Verdict::Done(Some(render::migration::returned(fed.copied))))
    }

    async fn returned(
        &self,
        forth: &Pair<'_>,
        back: &Pair<'_>,
        since: &Proof,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<(Fed, Proof), Broken> {
        let own = |it: &Taken| !it.headers.iter().any(|(name, value)| is_copy(forth, name, value));
        let made = |it: Taken| {
            if !own(&it) {
                return Made::Left;
            }
            let Taken { subject, headers, payload, .. } = it;
            Made::Message { subject, headers, payload }
        };
        let mut make = async |taken: Vec<Taken>| Ok(taken.into_iter().map(made).collect());
        let way = Way::Among { since: since.copy };
        let fed = feed::feed(&self.session, back, &way, &mut make, tell).await?;
        let given = async |taken: Vec<Taken>| {
            Ok(taken.into_iter().map(|it| Given::from(made(it))).collect())
        };
        let proof = verify_made(&self.session, back, since, tell, given).await?;
        Ok((fed, proof))
    }
}

/// Whether a header says that a message of `to` is a copy of one of `from`.
fn is_copy(pair: &Pair<'_>, name: &str, value: &str) -> bool {
    name.eq_ignore_ascii_case(proof::SOURCED)
        && proof::origin(pair.copying, pair.from, 0, Some(value)).is_some()
}

fn program(migration: &Migration) -> Option<(&[String], &str)> {
    migration.steps.iter().find_map(|it| {
        let Does::Copy { exec, dead_letters, .. } = &it.does else { return None };
        Some((exec.as_slice(), dead_letters.as_str()))
    })
}
