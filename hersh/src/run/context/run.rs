//! What the runner does with a context around each run.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hersh_machine::SplitMix64;
use rustc_hash::FxHashMap;

use super::asks::Asks;
use super::cache::Cache;
use super::timers::DueTimers;
use super::{Context, Sources, Triggered};
use crate::base::clock::{epoch_ms, epoch_ns};
use crate::base::sync::locked;
use crate::effects::Desk;
use crate::engine::{CarriedSignal, RunKind};
use crate::inbox::{Intake, Message, NextMessage};
use crate::journal::{RecordedActs, RecordedOutcome, RecordedRun, RunCapture, SavedVariable};
use crate::shared::{Item, Shared, Signal, SignalKind};
use crate::store::{Commit, Store};
use crate::timers::{Index, KEY_PREFIX};

/// The parts that a context is made from.
pub(crate) struct ContextParts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) store: Store,
    pub(crate) env: Arc<BTreeMap<String, String>>,
    /// The seed of the random numbers of all runs.
    pub(crate) seed: u64,
    /// The longest time that a poll may take.
    pub(crate) call_timeout: Duration,
    pub(crate) sources: Sources,
    /// Who acts on what runs ask for; nobody when no source runs.
    pub(crate) desk: Option<Rc<Desk>>,
    /// Whether runs are recorded.
    pub(crate) records: bool,
}

impl Context {
    /// Returns a context for a watcher that has not run.
    pub(crate) fn new(origin: ContextParts) -> Self {
        let now = origin.shared.clock.wall();
        Self {
            shared: origin.shared,
            timers: index(&origin.store),
            due: DueTimers::new(),
            store: origin.store,
            asks: Asks::new(origin.desk),
            watches: FxHashMap::default(),
            taken: origin.records.then(RunCapture::default),
            env: origin.env,
            sources: origin.sources,
            call_timeout: origin.call_timeout,
            memos: Cache::default(),
            seed: origin.seed,
            random: SplitMix64::new(origin.seed),
            draws: 0,
            intake: Intake::default(),
            triggered: Triggered::default(),
            run: 0,
            now,
            in_cleanup: false,
            again: false,
            reply: None,
            counts: false,
        }
    }

    /// Takes in what the next run begins with.
    pub(crate) fn begin_run(&mut self, kind: RunKind, carries: CarriedSignal, now: SystemTime) {
        let next = match (kind, carries) {
            (_, CarriedSignal::Nothing | CarriedSignal::Settlement) => NextMessage::Nothing,
            (RunKind::Recover, CarriedSignal::Message) => NextMessage::Same,
            (RunKind::Init | RunKind::Signal, CarriedSignal::Message) => NextMessage::Oldest,
        };
        self.shared.inbox.begin_run(next, &mut self.intake);
        let taken = match carries {
            CarriedSignal::Settlement => {
                let ledger = locked(&self.shared.ledger);
                let next = ledger.next_settled(|name| self.asks.names.contains_key(name));
                next.map(|(number, effect)| (effect.id(number), effect.clone()))
            }
            CarriedSignal::Nothing | CarriedSignal::Message => None,
        };
        self.asks.begin(taken);
        self.set_run(self.run + 1, kind, now);
        self.consume(kind, epoch_ms(now));
        let changed = std::mem::take(&mut self.intake.changed);
        for var in &changed {
            let Some(update) = var.take_in(self.run) else {
                continue;
            };
            if let Some(taken) = &mut self.taken {
                taken.update(var, &update);
            }
            self.triggered.variables.push(var.name.clone());
            self.shared.feed.publish(|| Item::Value(var.clone()));
        }
        self.intake.changed = changed;
        self.intake.changed.clear();
    }

    /// Takes in what a recorded run began with.
    ///
    /// # Errors
    /// A text that says which update cannot be read as a value of its variable.
    pub(crate) fn begin_recorded(&mut self, recorded: &RecordedRun) -> Result<(), String> {
        self.intake.message = recorded.message.as_deref().map(|content| Message {
            number: recorded.run,
            content: content.into(),
            at_ms: recorded.now_ns / 1_000_000,
            kept: None,
        });
        let settled = recorded.acts.settled.as_ref();
        self.asks.begin(settled.map(|it| (it.id, it.effect())));
        self.set_run(recorded.run, recorded.kind, recorded.now());
        for update in &recorded.updates {
            let name = Arc::<str>::from(update.name.as_str());
            match (self.watches.get(&name), &mut self.sources) {
                (Some(watch), _) => update.apply(&watch.var, recorded.run)?,
                (None, Sources::Scripted { saved }) => {
                    let variable = saved.entry(name.clone()).or_default();
                    variable.update(update, recorded.run);
                }
                (None, Sources::Live) => {}
            }
            self.triggered.variables.push(name);
        }
        Ok(())
    }

    /// Returns what the journal says of the run that has ended; `None` without a journal.
    pub(crate) fn record(
        &mut self,
        kind: RunKind,
        outcome: RecordedOutcome,
    ) -> Option<RecordedRun> {
        let taken = self.taken.as_mut()?;
        let message = self.intake.message.as_ref();
        Some(RecordedRun {
            run: self.run,
            kind,
            now_ns: epoch_ns(self.now),
            message: message.map(|message| message.content.clone()),
            updates: std::mem::take(&mut taken.updates),
            draws: self.draws,
            outcome,
            context: self.store.changes(),
            logs: std::mem::take(&mut taken.logs),
            logs_left_out: taken.logs_left_out,
            acts: RecordedActs {
                again: self.again,
                reply: self.reply.clone(),
                timers: self.due.keys().cloned().collect(),
                ..self.asks.record()
            },
        })
    }

    /// Returns the registered variables with their values, for a part of the journal that begins
    /// here.
    pub(crate) fn variables(&self) -> Vec<SavedVariable> {
        let vars = self.watches.values().map(|watch| &watch.var);
        vars.map(|var| SavedVariable::of(var)).collect()
    }

    /// Returns whether an update taken in by `run` belongs to this run; none belongs to the
    /// cleanup.
    pub(crate) fn took_in(&self, run: u64) -> bool {
        run == self.run && !self.in_cleanup
    }

    /// Returns what a commit of this run would change.
    pub(crate) fn changes(&self) -> Commit {
        Commit {
            values: self.store.changes(),
            effects: self.asks.staged().to_vec(),
            mail: self.mail().into_iter().collect(),
        }
    }

    /// Takes what the run changed as committed.
    pub(crate) fn committed(&mut self) {
        self.store.commit();
        self.asks.committed();
        self.timers.commit();
    }

    /// Forgets what the run changed.
    pub(crate) fn discard(&mut self) {
        self.again = false;
        self.reply = None;
        self.counts = false;
        self.store.discard();
        self.asks.discard();
        self.timers.discard();
    }

    /// Returns whether the run asked for another run.
    pub(crate) fn wants_again(&self) -> bool {
        self.again
    }

    /// Prepares for the cleanup function.
    pub(crate) fn begin_cleanup(&mut self) {
        self.now = self.shared.clock.wall();
        self.intake.message = None;
        self.asks.begin(None);
        self.due.clear();
        self.triggered = Triggered::default();
        self.in_cleanup = true;
        self.reseed(u64::MAX);
    }

    fn set_run(&mut self, run: u64, kind: RunKind, now: SystemTime) {
        self.run = run;
        self.now = now;
        self.again = false;
        self.reply = None;
        self.counts = true;
        self.reseed(run);
        self.triggered.init = kind == RunKind::Init;
        self.triggered.recovery = kind == RunKind::Recover;
        self.triggered.message = self.intake.message.is_some();
        let taken = self.asks.taken();
        self.triggered.effect = taken.map(|(_, effect)| effect.effect.clone());
        self.triggered.variables.clear();
        self.begin_timers();
        self.triggered.timers.clear();
        self.triggered.timers.extend(self.due.keys().cloned());
        if let Some(taken) = &mut self.taken {
            taken.clear();
        }
    }

    /// Gives this run random numbers of its own. So a run that is replayed alone, or that draws
    /// more numbers than before, shifts the numbers of no other run.
    fn reseed(&mut self, run: u64) {
        self.random = SplitMix64::new(SplitMix64::new(self.seed ^ run).next_u64());
        self.draws = 0;
    }

    /// Shows the signals that this run takes in.
    fn consume(&self, kind: RunKind, now_ms: u64) {
        let lifecycle = match kind {
            RunKind::Init => Some("start"),
            RunKind::Recover => Some("retry"),
            RunKind::Signal => None,
        };
        let signal = |kind, content: &Arc<str>, at_ms| Signal {
            kind,
            content: content.clone(),
            at_ms,
        };
        if let Some(text) = lifecycle {
            let signal = signal(SignalKind::Watcher, &text.into(), now_ms);
            self.shared.consumed(signal);
        }
        if let Some(message) = &self.intake.message {
            let signal = signal(SignalKind::User, &message.content, message.at_ms);
            self.shared.consumed(signal);
        }
        if let Some((id, effect)) = self.asks.taken() {
            let text = format!("{} {id}", effect.effect);
            let signal = signal(SignalKind::Effect, &text.into(), now_ms);
            self.shared.consumed(signal);
        }
        for name in self.due.keys() {
            self.shared
                .consumed(signal(SignalKind::Timer, name, now_ms));
        }
        for var in &self.intake.changed {
            self.shared
                .consumed(signal(SignalKind::Var, &var.name, now_ms));
        }
    }
}

/// Returns the timers that the context holds. One that cannot be read is left alone: it was written by a later
/// release, or by hand.
fn index(store: &Store) -> Index {
    let timers = store.committed_values();
    let timers = timers.iter().filter_map(|(key, json)| {
        let name = key.strip_prefix(KEY_PREFIX)?;
        let entry = serde_json::from_str(json).ok()?;
        Some((Arc::from(name), entry))
    });
    Index::new(timers)
}
