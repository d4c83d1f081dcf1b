//! A simulated world around one state machine, made from a seed: virtual time, faults, a trace, and laws that
//! are checked after every step. One seed gives one trace.
//!
//! ```text
//! Simulation::new(state, world, seed) ─► offer(event) ─► run(limit) ─► quiet, or a BrokenLaw
//!                                            └─ faults: delay, fail, hang, duplicate, late
//! ```

mod world;

use alloc::{
    collections::{BTreeMap, VecDeque},
    string::String,
    vec::Vec,
};

pub use world::{BrokenLaw, Faults, World, check};

use crate::{Capacity, Machine, Mailbox, OpId, RecordOf, SplitMix64, Stepper};

struct RunningEffect<E> {
    op: OpId,
    effect: E,
    /// The time at which the effect ends, and whether it ends well; `None` if it hangs.
    ends: Option<(u64, bool)>,
}

/// One state machine in its simulated world.
pub struct Simulation<M: Machine, W> {
    /// The world. Tests may look at it and change it.
    pub world: W,
    /// The faults that effects have from now on. Tests may change them.
    pub faults: Faults,
    /// Virtual time, milliseconds.
    pub now_ms: u64,
    stepper: Stepper<M>,
    initial_state: M::State,
    rng: SplitMix64,
    mailbox: Mailbox<M::Event>,
    queue: VecDeque<(OpId, M::Effect)>,
    running: Option<RunningEffect<M::Effect>>,
    /// The events that come later, by the time at which they come and their number.
    delayed: BTreeMap<(u64, u64), M::Event>,
    delayed_count: u64,
    trace: Vec<RecordOf<M>>,
}

impl<M, W> Simulation<M, W>
where
    M: Machine,
    M::State: PartialEq,
    M::Event: PartialEq,
    M::Effect: PartialEq,
    W: World<M>,
{
    /// Returns a state machine at the start of its life, at time `now_ms`.
    pub fn new(state: impl Into<M::State>, world: W, seed: u64, now_ms: u64) -> Self {
        let state = state.into();
        Self {
            world,
            faults: Faults::default(),
            now_ms,
            stepper: Stepper::new(state.clone()),
            initial_state: state,
            rng: SplitMix64::new(seed),
            mailbox: Mailbox::new(Capacity::default()),
            queue: VecDeque::new(),
            running: None,
            delayed: BTreeMap::new(),
            delayed_count: 0,
            trace: Vec::new(),
        }
    }

    /// Returns the state machine's state.
    pub fn state(&self) -> &M::State {
        self.stepper.state()
    }

    /// Returns every record so far.
    pub fn trace(&self) -> &[RecordOf<M>] {
        &self.trace
    }

    /// Puts `event` into its lane.
    ///
    /// # Errors
    /// The event, when the lane is full.
    pub fn offer(&mut self, event: M::Event) -> Result<(), M::Event> {
        self.mailbox.offer(M::lane(&event), event)
    }

    /// Takes events in and lets time pass until nothing is left to happen, or until `limit` events were taken
    /// in. Returns true when nothing is left to happen.
    ///
    /// # Errors
    /// The first law that does not hold.
    pub fn run(&mut self, limit: u32) -> Result<bool, BrokenLaw> {
        for _ in 0..limit {
            if !self.step()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes one event in; if none is due, first lets time pass to the next one. Returns false when nothing
    /// is left to happen.
    ///
    /// # Errors
    /// The law that does not hold.
    pub fn step(&mut self) -> Result<bool, BrokenLaw> {
        if M::is_terminal(self.state()) {
            return Ok(false);
        }
        loop {
            self.begin_next();
            if let Some(event) = self.next_event() {
                if !self.stepper.is_stale(&event) {
                    self.take(event);
                    return self.check().map(|()| true);
                }
            } else if let Some(event) = self.stepper.due(self.now_ms) {
                self.take(event);
                if self.stepper.due(self.now_ms).is_some() {
                    return Err(
                        self.broken(String::from("after a wake-up, the next one must be later"))
                    );
                }
                return self.check().map(|()| true);
            } else if !self.pass_time() {
                return Ok(false);
            }
        }
    }

    /// Simulates a crash and restart of the host: the running effect and waiting events are lost, the state
    /// machine is folded from its trace, and its open operations are run again.
    ///
    /// # Errors
    /// The law that is broken when the folded state machine differs from the one before the crash.
    pub fn crash(&mut self) -> Result<(), BrokenLaw> {
        if let Some(running) = self.running.take() {
            self.world.abandon(running.op, &running.effect);
        }
        self.mailbox = Mailbox::new(Capacity::default());
        self.delayed.clear();
        self.stepper = self.refold()?;
        let open = self.stepper.open().iter();
        self.queue = open.map(|open| (open.op, open.effect.clone())).collect();
        Ok(())
    }

    /// Checks that folding the trace gives the same effects, state and open operations.
    ///
    /// # Errors
    /// The law and where it broke.
    pub fn refold(&self) -> Result<Stepper<M>, BrokenLaw> {
        let mut again = Stepper::new(self.initial_state.clone());
        again
            .fold(self.trace.iter().cloned())
            .map_err(|differs| BrokenLaw {
                seq: differs.seq,
                law: String::from("a replay must make the same effects"),
            })?;
        if again.state() != self.stepper.state() || again.open() != self.stepper.open() {
            let law = "a replay must end in the same state and open operations";
            return Err(self.broken(String::from(law)));
        }
        Ok(again)
    }

    fn check(&self) -> Result<(), BrokenLaw> {
        check(&self.stepper).map_err(|law| self.broken(law))
    }

    fn broken(&self, law: String) -> BrokenLaw {
        BrokenLaw {
            seq: self.stepper.seq(),
            law,
        }
    }

    fn begin_next(&mut self) {
        while self.running.is_none()
            && let Some((op, effect)) = self.queue.pop_front()
        {
            self.world.begin(op, &effect, &mut self.rng);
            let delay_ms = self.rng.below(self.faults.max_delay_ms.saturating_add(1));
            let succeeds = !self.rng.chance(self.faults.fail);
            let hangs = self.rng.chance(self.faults.hang);
            let ends = (!hangs).then_some((self.now_ms + delay_ms, succeeds));
            self.running = Some(RunningEffect { op, effect, ends });
        }
    }

    fn next_event(&mut self) -> Option<M::Event> {
        if let Some(RunningEffect {
            ends: Some((at_ms, succeeds)),
            ..
        }) = self.running
            && at_ms <= self.now_ms
            && let Some(running) = self.running.take()
        {
            let RunningEffect { op, effect, .. } = running;
            let outcome = self.world.end(op, &effect, succeeds, &mut self.rng);
            if let Some(event) = &outcome
                && self.rng.chance(self.faults.duplicate)
            {
                self.delay_event(event.clone());
            }
            self.begin_next();
            if outcome.is_some() {
                return outcome;
            }
        }
        while let Some(first) = self.delayed.first_entry()
            && first.key().0 <= self.now_ms
        {
            let event = first.remove();
            // A full lane loses a duplicate. That is the same as if it had never been sent.
            drop(self.mailbox.offer(M::lane(&event), event));
        }
        self.mailbox.pop()
    }

    fn delay_event(&mut self, event: M::Event) {
        let delay_ms = self.rng.below(self.faults.max_delay_ms.saturating_add(1));
        self.delayed_count += 1;
        self.delayed
            .insert((self.now_ms + delay_ms, self.delayed_count), event);
    }

    fn pass_time(&mut self) -> bool {
        let ends = self.running.as_ref().and_then(|running| running.ends);
        let next = [
            ends.map(|(at_ms, _)| at_ms),
            self.delayed.first_key_value().map(|((at_ms, _), _)| *at_ms),
            M::wake(self.state()).map(|(at_ms, _)| at_ms),
        ];
        let Some(at_ms) = next.into_iter().flatten().min() else {
            return false;
        };
        self.now_ms = self.now_ms.max(at_ms);
        true
    }

    fn take(&mut self, event: M::Event) {
        let completed = M::completes(&event);
        let record = self.stepper.step_unchecked(event, self.now_ms);
        // Another event ended the operation. Cancel its effect, so that it does not hold up the next one.
        if let Some(op) = completed {
            self.cancel(op);
        }
        for (op, effect) in &record.effects {
            if let Some(target) = M::cancels(effect) {
                self.cancel(target);
            } else if !M::is_reply(effect) {
                self.queue.push_back((*op, effect.clone()));
            }
        }
        self.trace.push(record);
    }

    fn cancel(&mut self, op: OpId) {
        self.queue.retain(|(queued, _)| *queued != op);
        if let Some(running) = self.running.take_if(|running| running.op == op) {
            if self.rng.chance(self.faults.late)
                && let Some(event) = self.world.end(op, &running.effect, true, &mut self.rng)
            {
                self.delay_event(event);
            }
            self.world.abandon(op, &running.effect);
        }
    }
}
