//! Steps whose end nobody saw, and steps that somebody says are done.

use super::run::Run;
use crate::{
    cli::Failure,
    io::{clock, who},
    migration::{Does, Migration, Step, progress, stage::Stage},
    state::ledger::{End, Entry},
};

impl Run<'_> {
    /// Decides a step that was cut short by what is live: it is done, or was not begun. Of one that is
    /// half done nothing is decided.
    pub(super) async fn decide_open(&mut self, migration: &Migration) -> Result<(), Failure> {
        let ledger = self.state.migrations.get(&migration.version);
        let open = ledger.and_then(|it| it.steps.last().filter(|it| !it.is_done()).cloned());
        let Some(entry) = open else { return Ok(()) };
        let Some(step) = migration.steps.iter().find(|it| it.id == entry.id) else { return Ok(()) };
        if !step.does.changes() {
            self.ledger_mut(migration).steps.retain(|it| it.id != entry.id);
            return Ok(());
        }
        if self.is_at(migration, &self.behind_step(migration, step)).await? {
            let mine = |it: &&mut Entry| it.id == entry.id;
            let mine = self.ledger_mut(migration).steps.iter_mut().find(mine);
            mine.into_iter().for_each(|it| it.end = End::Done);
        } else if self.is_at(migration, &self.stage(migration)).await? {
            self.ledger_mut(migration).steps.retain(|it| it.id != entry.id);
        }
        Ok(())
    }

    fn behind_step(&self, migration: &Migration, step: &Step) -> Stage {
        let facts = &self.ledger(migration).facts;
        self.stage(migration).after(&step.does, migration, facts)
    }

    /// Whether what is live is what a stage says.
    async fn is_at(&self, migration: &Migration, stage: &Stage) -> Result<bool, Failure> {
        let desired = self.towards(migration, stage);
        let plan = self.planned(migration, &desired, &[]).await?;
        Ok(plan.steps.iter().all(|it| it.calls.is_empty()))
    }

    /// Notes a step as done that somebody says is done. What changes the server has to be so.
    pub(super) async fn repair(
        &mut self,
        migration: &Migration,
        id: &str,
        reason: &str,
        operation: &str,
    ) -> Result<(), Failure> {
        let ledger = self.state.migrations.get(&migration.version);
        let Some(next) = progress::left(migration, ledger).next().cloned() else {
            return Err(Failure::new(format!("every step of {} is done", migration.title())));
        };
        if next.id != id {
            let message = format!("step `{id}` is not the one that is next");
            return Err(Failure::new(message).help(format!("that is `{}`", next.id)));
        }
        self.ledger_mut(migration);
        if next.does.changes()
            && !self.is_at(migration, &self.behind_step(migration, &next)).await?
        {
            let message = format!("what is live is not what step `{id}` leads to");
            return Err(Failure::new(message).help(self.way_on(migration)));
        }
        if next.does == Does::Bind {
            self.mark_bound(migration).await.map_err(|it| it.failure(&self.way_on(migration)))?;
        }
        let (reason, now, by) = (reason.to_owned(), clock::now(), who::user_at_host());
        self.note(operation, |run| {
            let entries = &mut run.ledger_mut(migration).steps;
            entries.retain(|it| it.id != id);
            entries.push(Entry {
                id: id.to_owned(),
                meaning: next.meaning.clone(),
                end: End::Repaired(reason),
                begun: now.clone(),
                ended: Some(now),
                by,
            });
        })
        .await
    }
}
