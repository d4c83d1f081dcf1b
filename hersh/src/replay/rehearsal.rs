//! Runs a managed function on inputs that are given: no engine, no sources, no waiting. Replay
//! takes the inputs from a journal, [`crate::testing`] from a test.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use rustc_hash::FxHashMap;
use tokio::time::timeout;

use crate::base::clock::Clock;
use crate::base::panics::panic_text;
use crate::base::sync::locked;
use crate::error::RunReturn;
use crate::inbox::Inbox;
use crate::journal::{Part, RecordedOutcome, RecordedRun};
use crate::run::{ContextParts, Sources};
use crate::shared::{Logbook, Shared};
use crate::store::{FolderContents, Ledger, LedgerOutline, Store};
use crate::{Context, Error, HookError};

/// A managed function and all that it builds on.
pub(crate) struct Rehearsal<F> {
    managed: F,
    pub(crate) cx: Context,
    run_timeout: Duration,
}

/// Which runs of a rehearsal are committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// Those that succeed and succeeded when they were recorded.
    AsRecorded,
    /// Those that succeed, unless they were cut short when they were recorded.
    AsNow,
}

/// What a run did.
pub(crate) struct RehearsedRun {
    /// The run, with its results of this rehearsal in place of the recorded ones.
    pub(crate) run: RecordedRun,
    /// The hook that could not be set up, if the run failed for that reason.
    pub(crate) hook: Option<HookError>,
}

impl<F, E> Rehearsal<F>
where
    F: AsyncFnMut(&mut Context) -> Result<(), E>,
    E: Into<Error>,
{
    /// Returns a rehearsal that begins as `part` does.
    pub(crate) fn new(
        managed: F,
        part: Part,
        env: Arc<BTreeMap<String, String>>,
        run_timeout: Duration,
    ) -> Self {
        let clock = Clock::paused(part.at_ns / 1_000_000);
        let (inbox, log) = (Inbox::new(1), Logbook::new(None));
        let kept = FolderContents {
            values: part.context.into_iter().collect(),
            ..FolderContents::nothing(0)
        };
        let shared = Shared::keeping(part.watcher, clock, inbox, log, (None, kept));
        let shared = Arc::new(shared);
        let store = Store::new(shared.committed.clone());
        let saved = part.variables.into_iter();
        let saved: FxHashMap<_, _> = saved.map(|it| (Arc::from(it.name()), it)).collect();
        let cx = Context::new(ContextParts {
            shared,
            store,
            env,
            seed: part.seed,
            // The value does not matter, because no source runs.
            call_timeout: Duration::MAX,
            sources: Sources::Scripted { saved },
            desk: None,
            records: true,
        });
        Self {
            managed,
            cx,
            run_timeout,
        }
    }

    /// Makes one run with the inputs of `recorded`. Its changes are committed if it succeeded.
    ///
    /// # Errors
    /// When an update is no value of its variable.
    pub(crate) async fn run(
        &mut self,
        recorded: &RecordedRun,
        keeps: Keeps,
    ) -> Result<RehearsedRun, String> {
        self.cx.begin_recorded(recorded)?;
        let (managed, cx) = (&mut self.managed, &mut self.cx);
        let work = async move { RunReturn::of(managed(cx).await) };
        let work = AssertUnwindSafe(work).catch_unwind();
        let mut hook = None;
        let outcome = match timeout(self.run_timeout, work).await {
            Err(_) => RecordedOutcome::TimedOut,
            Ok(returned) => {
                let panicked = |panic: Box<_>| RunReturn::panicked(panic_text(&*panic));
                let returned = returned.unwrap_or_else(panicked);
                let outcome = RecordedOutcome::of(&returned);
                if let RunReturn::Failed { hook: found, .. } = returned {
                    hook = found;
                }
                outcome
            }
        };
        let succeeds = outcome.keeps_changes();
        if !succeeds {
            self.cx.discard();
        }
        let run = self.cx.record(recorded.kind, outcome);
        let mut run = run.unwrap_or_else(|| recorded.clone());
        run.updates.clone_from(&recorded.updates);
        let counts = match keeps {
            // A recorded run whose changes could not be saved left no trace either.
            Keeps::AsRecorded => recorded.outcome.keeps_changes(),
            Keeps::AsNow => !recorded.outcome.is_cut_short(),
        };
        if succeeds && counts {
            self.commit(recorded);
        } else {
            self.cx.discard();
        }
        Ok(RehearsedRun { run, hook })
    }

    /// Goes on with the open effects that a part of a journal began with.
    pub(crate) fn begin_with(&mut self, effects: LedgerOutline) {
        *locked(&self.cx.shared.ledger) = Ledger::outlined(effects);
    }

    fn commit(&mut self, recorded: &RecordedRun) {
        let mut ledger = locked(&self.cx.shared.ledger);
        if let Some(settled) = &recorded.acts.settled
            && ledger.get(settled.id.number).is_none()
        {
            ledger.forget(&settled.effect());
        }
        for change in self.cx.asks.staged() {
            ledger.apply(change.clone());
        }
        drop(ledger);
        self.cx.committed();
    }
}
