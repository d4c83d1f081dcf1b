//! Everything that goes wrong, drawn from the seed: slow, failing and hanging engines, lost answers,
//! journals that refuse, linger or die. Every fault is noted when it is made, so that the laws can
//! tell its consequences from a defect of the host.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hersh_host::testkit::{CommitPoint, Fate, Operation, OperationOutcome, Silence, WriteFate};
use hersh_machine::SplitMix64;
use hersh_program::{Cause, ContainerId, ProgramId};
use tokio::{sync::Notify, time::Instant};

/// The delay of an operation that hangs: longer than any deadline.
const HANGS: Duration = Duration::from_secs(24 * 3_600);
/// The delay of each operation while no faults are made.
const PLAIN_DELAY: Duration = Duration::from_millis(5);

/// How long a refused write can have consequences: twice the longest back-off of a program that
/// tries to store its record again, and the longest request.
const REFUSAL_AFTERMATH: Duration = Duration::from_secs(45);

/// A kind of fault that was made, as far as the laws care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    BuildFails,
    StartFails,
    Hangs,
    Unavailable,
    Exits,
    ExitsClean,
    OutOfMemory,
    EngineStops,
    Vanished,
}

/// A kind of fault that concerns every program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HostFault {
    EngineDown,
    DiskFull,
    ClockJumped,
    ImagesLost,
}

pub(crate) struct FaultPlan(Mutex<Inner>);

struct Inner {
    random: SplitMix64,
    is_off: bool,
    rates: Rates,
    commits: u64,
    dies_at: Option<(u64, CommitPoint)>,
    died: Arc<Notify>,
    refusals: u64,
    last_refusal: Option<Instant>,
    made: BTreeMap<ProgramId, BTreeSet<Fault>>,
    host_faults: BTreeSet<HostFault>,
    ended_from_outside: BTreeSet<ContainerId>,
    left_behind: BTreeSet<ContainerId>,
}

/// How often each kind of fault happens, percent, and the longest delay.
struct Rates {
    max_delay_ms: u64,
    fails: u8,
    unavailable: u8,
    hangs: u8,
    silent: u8,
    refuses: u8,
    lingers: u8,
}

impl Rates {
    fn draw(random: &mut SplitMix64) -> Self {
        let mut percent = |most: u64| u8::try_from(random.below(most + 1)).unwrap_or(0);
        Self {
            fails: percent(25),
            unavailable: percent(12),
            hangs: percent(4),
            refuses: percent(6),
            lingers: percent(30),
            silent: percent(40),
            max_delay_ms: 1 + 20 * u64::from(percent(100)),
        }
    }
}

impl FaultPlan {
    pub(crate) fn new(mut random: SplitMix64) -> Self {
        Self(Mutex::new(Inner {
            rates: Rates::draw(&mut random),
            random,
            is_off: true,
            commits: 0,
            dies_at: None,
            died: Arc::default(),
            refusals: 0,
            last_refusal: None,
            made: BTreeMap::new(),
            host_faults: BTreeSet::new(),
            ended_from_outside: BTreeSet::new(),
            left_behind: BTreeSet::new(),
        }))
    }

    /// Turns faults off (`true`) or on again.
    pub(crate) fn set_is_off(&self, is_off: bool) {
        self.lock().is_off = is_off;
    }

    pub(crate) fn is_off(&self) -> bool {
        self.lock().is_off
    }

    /// Begins the life of a new host process. The returned [`Notify`] fires when its journal dies.
    pub(crate) fn begin_life(&self) -> Arc<Notify> {
        let mut inner = self.lock();
        inner.commits = 0;
        inner.last_refusal = None;
        inner.dies_at = None;
        if inner.random.chance(60) {
            let point = match inner.random.chance(50) {
                true => CommitPoint::Before,
                false => CommitPoint::After,
            };
            inner.dies_at = Some((1 + inner.random.below(300), point));
        }
        inner.died = Arc::default();
        Arc::clone(&inner.died)
    }

    /// Draws how a request to the engine goes.
    pub(crate) fn draw_outcome(&self, operation: &Operation) -> OperationOutcome {
        let mut inner = self.lock();
        if inner.is_off {
            return OperationOutcome {
                before: PLAIN_DELAY,
                ..OperationOutcome::default()
            };
        }
        inner.draw_outcome(operation)
    }

    /// Draws what happens to a commit of the journal.
    pub(crate) fn draw_fate(&self, point: CommitPoint) -> WriteFate {
        let mut inner = self.lock();
        if inner.is_off {
            return WriteFate::Proceed;
        }
        inner.draw_fate(point)
    }

    /// Draws how long an instance does not answer its liveness probe.
    pub(crate) fn draw_silence(&self) -> Silence {
        self.lock().draw_silence()
    }

    /// How many writes the journal has refused.
    pub(crate) fn refusals(&self) -> u64 {
        self.lock().refusals
    }

    /// Returns whether a write was refused within the last [`REFUSAL_AFTERMATH`]. For that long, a
    /// program that could not store an event of its own may refuse the commands of users.
    pub(crate) fn refused_lately(&self) -> bool {
        let last = self.lock().last_refusal;
        last.is_some_and(|refused| refused.elapsed() <= REFUSAL_AFTERMATH)
    }

    pub(crate) fn note(&self, program: &ProgramId, fault: Fault) {
        self.lock().note(program, fault);
    }

    pub(crate) fn note_host_fault(&self, fault: HostFault) {
        self.lock().host_faults.insert(fault);
    }

    pub(crate) fn has_made_host_fault(&self, fault: HostFault) -> bool {
        self.lock().host_faults.contains(&fault)
    }

    /// Notes that this container was ended from outside.
    pub(crate) fn note_ended_from_outside(&self, container: &ContainerId) {
        self.lock().ended_from_outside.insert(container.clone());
    }

    pub(crate) fn was_ended_from_outside(&self, container: &ContainerId) -> bool {
        self.lock().ended_from_outside.contains(container)
    }

    /// Notes that an instance exists that no host knows of.
    pub(crate) fn note_left_behind(&self, container: &ContainerId) {
        self.lock().left_behind.insert(container.clone());
    }

    pub(crate) fn was_left_behind(&self, container: &ContainerId) -> bool {
        self.lock().left_behind.contains(container)
    }

    pub(crate) fn has_made(&self, program: &ProgramId, fault: Fault) -> bool {
        let inner = self.lock();
        inner
            .made
            .get(program)
            .is_some_and(|it| it.contains(&fault))
    }

    /// Whether a program can have failed like this, given what went wrong.
    pub(crate) fn explains(&self, program: &ProgramId, cause: &Cause) -> bool {
        let made = |fault| self.has_made(program, fault);
        let host_fault = |fault| self.has_made_host_fault(fault);
        let late = || made(Fault::Hangs) || host_fault(HostFault::ClockJumped);
        match cause {
            Cause::BuildFailed { message, .. } => {
                made(Fault::BuildFails)
                    || host_fault(HostFault::DiskFull)
                    || message.contains("cancelled")
                    || message.contains("no build could begin")
            }
            Cause::BuildTimedOut { .. }
            | Cause::NotReadyInTime { .. }
            | Cause::StopFailed { .. }
            | Cause::RemoveFailed { .. } => late(),
            Cause::ImageGone { .. } => host_fault(HostFault::ImagesLost),
            Cause::DiskFull { .. } => host_fault(HostFault::DiskFull),
            Cause::StartFailed { .. } => made(Fault::StartFails),
            Cause::Exited { .. } | Cause::EndedBeforeReady { .. } | Cause::Finished { .. } => {
                made(Fault::Exits) || made(Fault::ExitsClean)
            }
            Cause::StoppedFromOutside { .. } => made(Fault::EngineStops),
            Cause::OutOfMemory { .. } => made(Fault::OutOfMemory),
            Cause::Vanished => made(Fault::Vanished),
            Cause::RuntimeUnavailable { .. } => {
                made(Fault::Unavailable) || host_fault(HostFault::EngineDown)
            }
            Cause::FoldersFailed { .. }
            | Cause::ContractViolated { .. }
            | Cause::NotRunnable { .. }
            | Cause::OutOfProcesses { .. }
            | Cause::StateQuotaExceeded
            | Cause::StateTooLarge { .. }
            | Cause::DiskFilled
            | Cause::NotAlive { .. }
            | Cause::RegistryUnavailable { .. }
            | Cause::HostRestarted
            | Cause::Internal { .. } => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn draw_outcome(&mut self, operation: &Operation) -> OperationOutcome {
        let (program, fails) = match operation {
            // These never fail: a host that gets no answer to them does not come up.
            Operation::Check | Operation::List => return OperationOutcome::default(),
            Operation::Build(program, _) => (program, Some(Fault::BuildFails)),
            Operation::Start(instance, ..) => (&instance.program, Some(Fault::StartFails)),
            Operation::Observe(instance) => (&instance.program, None),
            Operation::Stop(program, _)
            | Operation::Image(program, _)
            | Operation::Forget(program) => (program, None),
        };
        let mut outcome = OperationOutcome {
            before: self.delay(),
            after: self.delay(),
            finishes_when_abandoned: self.random.chance(50),
            fate: Fate::Done,
            silence: None,
        };
        if let Operation::Start(..) = operation
            && self.random.chance(self.rates.silent)
        {
            outcome.silence = Some(self.draw_silence());
        }
        let fails = fails.filter(|_| self.random.chance(self.rates.fails));
        if let Some(fault) = fails {
            self.note(program, fault);
            outcome.fate = Fate::Failed("it was to fail".into());
        } else if self.random.chance(self.rates.unavailable) {
            self.note(program, Fault::Unavailable);
            outcome.fate = match self.random.chance(50) {
                true => Fate::Unavailable,
                false => Fate::AnswerLost,
            };
        }
        if self.random.chance(self.rates.hangs) {
            self.note(program, Fault::Hangs);
            outcome.before = HANGS;
        }
        outcome
    }

    fn draw_fate(&mut self, point: CommitPoint) -> WriteFate {
        if point == CommitPoint::Before {
            self.commits += 1;
        }
        if self.dies_at == Some((self.commits, point)) {
            self.died.notify_one();
            return WriteFate::Die;
        }
        if point == CommitPoint::Before && self.random.chance(self.rates.refuses) {
            self.refusals += 1;
            self.last_refusal = Some(Instant::now());
            return WriteFate::Refuse;
        }
        match self.random.chance(self.rates.lingers) {
            true => WriteFate::Linger(Duration::from_millis(self.random.below(100))),
            false => WriteFate::Proceed,
        }
    }

    fn draw_silence(&mut self) -> Silence {
        match self.random.chance(50) {
            true => Silence::ForGood,
            false => Silence::Probes(u32::try_from(1 + self.random.below(6)).unwrap_or(1)),
        }
    }

    fn delay(&mut self) -> Duration {
        Duration::from_millis(self.random.below(self.rates.max_delay_ms))
    }

    fn note(&mut self, program: &ProgramId, fault: Fault) {
        self.made.entry(program.clone()).or_default().insert(fault);
    }
}
