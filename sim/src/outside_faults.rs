//! The faults that reach a running host from outside: containers that end, an engine that is down or loses its
//! images, a disk that is full, a clock that jumps.

use std::{sync::Arc, time::Duration};

use hersh_host::testkit::{EndedInstance, TestHost};
use hersh_machine::SplitMix64;
use hersh_program::{ContainerId, ExitReason, ProgramId};

use crate::{
    fault_plan::{Fault, HostFault},
    laws,
    shared::Shared,
};

/// The longest time between two faults, milliseconds.
const PAUSE_MS: u64 = 6_000;
/// The longest that an end of a container goes untold, and is told again, milliseconds.
const TELL_MS: u64 = 10_000;
/// The longest that an engine is down and a disk is full, milliseconds.
const OUTAGE_MS: u64 = 40_000;
/// The farthest that a clock jumps, milliseconds: much farther than a retry or a deadline may lie.
const JUMP_MS: u64 = 5 * 24 * 3_600_000;

pub(crate) struct OutsideFaults {
    pub(crate) shared: Arc<Shared>,
    pub(crate) host: Arc<TestHost>,
    pub(crate) random: SplitMix64,
}

impl OutsideFaults {
    /// Makes faults until the host dies or a law is broken.
    pub(crate) async fn run(mut self) {
        loop {
            let pause = Duration::from_millis(self.random.below(PAUSE_MS));
            tokio::time::sleep(pause).await;
            match self.random.below(27) {
                20.. => self.silence_one(),
                0..12 => self.end_one(),
                12..15 => self.engine_down(),
                15..17 => self.disk_full(),
                17 => self.clock_jumps(),
                18 => self.images_lost(),
                _rest => {}
            }
            if let Err(law) = laws::at_any_time(&self.shared, &self.host) {
                return self.shared.broke(law);
            }
        }
    }

    fn end_one(&mut self) {
        let running: Vec<ProgramId> = self.shared.engine.running().into_keys().collect();
        let at = self.random.below(running.len() as u64);
        let Some(id) = usize::try_from(at).ok().and_then(|at| running.get(at)) else {
            return;
        };
        let (fault, reason) = match self.random.below(5) {
            0 => (Fault::ExitsClean, ExitReason::Code(0)),
            1 => (Fault::Exits, ExitReason::Code(1)),
            2 => (Fault::Exits, ExitReason::Code(137)),
            3 => (Fault::OutOfMemory, ExitReason::OutOfMemory),
            _last => (Fault::Vanished, ExitReason::Vanished),
        };
        let engine = &self.shared.engine;
        let ended = match fault {
            Fault::Vanished => engine.take_away(id),
            Fault::Exits
            | Fault::ExitsClean
            | Fault::OutOfMemory
            | Fault::EngineStops
            | Fault::BuildFails
            | Fault::StartFails
            | Fault::Hangs
            | Fault::Unavailable => engine.end_unseen(id, reason),
        };
        let Some(ended) = ended else {
            return;
        };
        self.note(&ended, fault);
        self.tell(ended);
    }

    /// One instance stops to answer its liveness probe, often the newest: its revision may not have settled.
    fn silence_one(&mut self) {
        let mut running: Vec<ContainerId> = self.shared.engine.running().into_values().collect();
        running.sort_unstable();
        let at = match self.random.chance(50) {
            true => running.len().saturating_sub(1) as u64,
            false => self.random.below(running.len() as u64),
        };
        let Some(container) = usize::try_from(at).ok().and_then(|at| running.get(at)) else {
            return;
        };
        let silence = self.shared.fault_plan.draw_silence();
        let line = format!("{container} is silent: {silence:?}");
        self.shared.trace.say(&line);
        self.shared.engine.silence(container, silence);
    }

    fn note(&self, ended: &EndedInstance, fault: Fault) {
        self.shared.fault_plan.note(&ended.instance.program, fault);
        self.shared
            .fault_plan
            .note_ended_from_outside(&ended.container);
        self.shared.trace.say(&format!("it ends: {ended:?}"));
    }

    /// Tells of an end, late, and perhaps once more.
    fn tell(&mut self, ended: EndedInstance) {
        let first = Duration::from_millis(self.random.below(TELL_MS));
        let again = self.random.chance(40);
        let again = again.then(|| Duration::from_millis(self.random.below(TELL_MS)));
        let engine = Arc::clone(&self.shared.engine);
        tokio::spawn(async move {
            tokio::time::sleep(first).await;
            engine.tell(ended.clone()).await;
            if let Some(again) = again {
                tokio::time::sleep(again).await;
                engine.tell(ended).await;
            }
        });
    }

    fn engine_down(&mut self) {
        self.shared.trace.say("the engine is down");
        self.shared
            .fault_plan
            .note_host_fault(HostFault::EngineDown);
        self.shared.engine.set_down(true);
        let stopped = match self.random.chance(40) {
            true => self.engine_stops_all(),
            false => Vec::new(),
        };
        let shared = Arc::clone(&self.shared);
        let outage = Duration::from_millis(self.random.below(OUTAGE_MS));
        tokio::spawn(async move {
            tokio::time::sleep(outage).await;
            shared.trace.say("the engine is up");
            shared.engine.set_down(false);
            for ended in stopped {
                shared.engine.tell(ended).await;
            }
        });
    }

    /// It goes down in good order: what runs is told to end and does so well.
    fn engine_stops_all(&self) -> Vec<EndedInstance> {
        let running = self.shared.engine.running().into_keys();
        let stopped = running.filter_map(|id| {
            let reason = ExitReason::StoppedFromOutside { code: 0 };
            let ended = self.shared.engine.end_unseen(&id, reason)?;
            self.note(&ended, Fault::EngineStops);
            Some(ended)
        });
        stopped.collect()
    }

    fn disk_full(&mut self) {
        self.shared.trace.say("the disk is full");
        self.shared.fault_plan.note_host_fault(HostFault::DiskFull);
        self.host.set_disk_full(true);
        let (shared, host) = (Arc::clone(&self.shared), Arc::clone(&self.host));
        let outage = Duration::from_millis(self.random.below(OUTAGE_MS));
        tokio::spawn(async move {
            tokio::time::sleep(outage).await;
            shared.trace.say("the disk has room");
            host.set_disk_full(false);
        });
    }

    fn images_lost(&self) {
        self.shared.trace.say("all images are lost");
        self.shared
            .fault_plan
            .note_host_fault(HostFault::ImagesLost);
        self.shared.engine.lose_images();
    }

    fn clock_jumps(&mut self) {
        self.shared
            .fault_plan
            .note_host_fault(HostFault::ClockJumped);
        let (now_ms, by_ms) = (self.host.now_ms(), self.random.below(JUMP_MS));
        let now_ms = match self.random.chance(50) {
            true => now_ms + by_ms,
            false => now_ms.saturating_sub(by_ms),
        };
        self.shared
            .trace
            .say(&format!("the clock jumps to {now_ms}"));
        self.host.set_clock(now_ms);
        // A key counts for a day; by this clock more may have passed.
        for person in self.shared.people().values_mut() {
            person.keyed.clear();
        }
    }
}
