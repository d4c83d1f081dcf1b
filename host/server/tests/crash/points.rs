//! The host dies before and after every commit of one program's whole life, in simulated time.
//!
//! ```text
//! for every commit n, before and after it:
//!     life ─ dies at n ─► the next host: state, journal and engine agree ─► the rest of the life
//! ```

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hersh_host::testkit::{CommitPoint, FakeEngine, Setup, TestHost, WriteFate};
use hersh_journal::Journal;
use hersh_program::{ContainerId, ProgramId, State};
use serde_json::Value;
use tokio::sync::Notify;

use crate::{client::program, model::Deed};

/// Runs whole if nothing dies; more commits than this would mean that it does not end.
const COMMITS_MAX: usize = 200;
const SEED: u64 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create,
    Give(Deed),
}

const LIFE: [Step; 9] = [
    Step::Create,
    Step::Give(Deed::Start),
    Step::Give(Deed::Start),
    Step::Give(Deed::Stop),
    Step::Give(Deed::Start),
    Step::Give(Deed::Restart),
    Step::Give(Deed::Replace),
    Step::Give(Deed::Restart),
    Step::Give(Deed::Delete),
];

#[test]
fn a_host_that_dies_at_any_commit_loses_nothing() {
    let undisturbed = World::new();
    let commits = undisturbed.live(usize::MAX, CommitPoint::Before);
    assert_eq!(undisturbed.acknowledged(), LIFE.len());
    let starts = undisturbed.engine.starts(&id());
    let mut ready = 0;
    for point in [CommitPoint::Before, CommitPoint::After] {
        for commit in 1..=commits {
            let context = format!("dead {point:?} commit {commit} of {commits}, seed {SEED}");
            let world = World::new();
            assert_eq!(world.live(commit, point), commit, "{context}");
            ready += usize::from(world.recover(&context));
            world.live(usize::MAX, point);
            world.is_over(&context);
            // The one start under way may have been made again, no other.
            let made = world.engine.starts(&id());
            assert!(made == starts || made == starts + 1, "{made}: {context}");
        }
    }
    println!("{commits} commits, dead before and after each; {ready} times the program was Ready");
    assert!(commits > 20 && ready > 8, "{commits}, {ready}");
}

struct World {
    folder: tempfile::TempDir,
    engine: Arc<FakeEngine>,
    acknowledged: AtomicUsize,
}

impl World {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            engine: Arc::default(),
            acknowledged: AtomicUsize::new(0),
        }
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Lives on from the last step that was acknowledged, until commit number `dies` at most. All
    /// that the host was about to do is dropped then. How many commits there were.
    fn live(&self, dies: usize, at: CommitPoint) -> usize {
        let commits = Arc::new(AtomicUsize::new(0));
        let death = Arc::new(Notify::new());
        let (counting, dying) = (Arc::clone(&commits), Arc::clone(&death));
        let probe = move |point| {
            let commit = match point {
                CommitPoint::Before => counting.fetch_add(1, Ordering::Relaxed) + 1,
                CommitPoint::After => counting.load(Ordering::Relaxed),
            };
            assert!(commit < COMMITS_MAX, "the life ends");
            if commit == dies && point == at {
                dying.notify_one();
                return WriteFate::Die;
            }
            WriteFate::Proceed
        };
        let setup = setup(self.folder.path(), &self.engine).with_journal_probe(probe);
        in_simulated_time(async {
            let living = async {
                let host = TestHost::start(setup).await.unwrap();
                self.go_on(&host).await;
                host.shut_down();
            };
            tokio::select! {
                () = living => {}
                () = death.notified() => {}
            }
        });
        commits.load(Ordering::Relaxed)
    }

    async fn go_on(&self, host: &TestHost) {
        for step in &LIFE[self.acknowledged()..] {
            step.take(host).await;
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What the next host makes of it. True if the program was Ready before and after.
    fn recover(&self, context: &str) -> bool {
        let before = self.ready();
        let starts = self.engine.starts(&id());
        let done = in_simulated_time(async {
            let host = TestHost::start(setup(self.folder.path(), &self.engine));
            let host = host.await.unwrap();
            let program = host.settled(&id()).await;
            let deeds = match &program {
                Some(program) if program.state == State::Removed => None,
                Some(_) => Some(deeds(&host).await),
                None => None,
            };
            let running = self.engine.running();
            let expected = program
                .as_ref()
                .and_then(|program| program.state.container());
            assert_eq!(running.get(&id()), expected, "{context}: {program:?}");
            assert_eq!(running.len(), usize::from(expected.is_some()), "{context}");
            host.shut_down();
            deeds
        });
        if let Some(container) = &before {
            assert_eq!(
                self.engine.running().get(&id()),
                Some(container),
                "{context}"
            );
            assert_eq!(self.engine.starts(&id()), starts, "{context}");
        }
        self.compare(done.as_deref(), context);
        before.is_some()
    }

    /// The container of the program, if the journal has it Ready and no next revision takes its place.
    fn ready(&self) -> Option<ContainerId> {
        let journal = Journal::open(&self.folder.path().join("journal.db")).unwrap();
        let stored = journal.load().unwrap().pop()?;
        let ready = stored.stepper.state().state.ready()?;
        ready.rollout.is_none().then(|| ready.container.clone())
    }

    /// Each acknowledged step is in the journal once; the one under way may be, and counts as
    /// done from here on.
    fn compare(&self, done: Option<&[Deed]>, context: &str) {
        let acknowledged = self.acknowledged();
        let taken = match done {
            Some(done) => {
                let expected: Vec<Step> = done.iter().copied().map(Step::Give).collect();
                assert!(LIFE[1..].starts_with(&expected), "{done:?}: {context}");
                1 + done.len()
            }
            None if acknowledged == 0 => 0,
            None => LIFE.len(),
        };
        let under_way = taken == acknowledged + 1;
        assert!(taken == acknowledged || under_way, "{done:?}: {context}");
        self.acknowledged.store(taken, Ordering::Relaxed);
    }

    fn is_over(&self, context: &str) {
        assert_eq!(self.acknowledged(), LIFE.len(), "{context}");
        assert!(self.engine.running().is_empty(), "{context}");
        let folder = self.folder.path().join("programs");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0, "{context}");
        let journal = Journal::open(&self.folder.path().join("journal.db")).unwrap();
        assert!(journal.load().unwrap().is_empty(), "{context}");
    }
}

impl Step {
    /// Takes the step and waits until the program has settled.
    async fn take(self, host: &TestHost) {
        let (method, path, body) = match self {
            Self::Create => ("POST", "", program(id().as_str(), 0)),
            Self::Give(Deed::Start) => ("POST", "/a/start?wait=1m", Value::Null),
            Self::Give(Deed::Stop) => ("POST", "/a/stop?wait=1m", Value::Null),
            Self::Give(Deed::Restart) => ("POST", "/a/restart?wait=1m", Value::Null),
            Self::Give(Deed::Replace) => {
                let mut body = program(id().as_str(), 1);
                body.as_object_mut().unwrap().remove("name");
                ("PUT", "/a/source", body)
            }
            Self::Give(Deed::Delete) => ("DELETE", "/a?wait=1m", Value::Null),
        };
        let (status, answer) = host
            .ask(
                method,
                &format!("/programs{path}"),
                body.to_string().as_bytes(),
            )
            .await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(matches!(status, 200 | 201 | 204), "{self:?}: {answer}");
    }
}

/// The commands in the program's journal, as the API shows it.
async fn deeds(host: &TestHost) -> Vec<Deed> {
    let (status, events) = host.ask("GET", "/programs/a/events?limit=1000", b"").await;
    assert_eq!(status, 200);
    let page: Value = serde_json::from_slice(&events).unwrap();
    let events = page["events"].as_array().unwrap();
    let event = |view: &Value| serde_json::from_value(view["event"].clone()).unwrap();
    events
        .iter()
        .filter_map(|view| Deed::of(&event(view)))
        .collect()
}

fn id() -> ProgramId {
    ProgramId::parse("a").unwrap()
}

fn setup(data: &Path, engine: &Arc<FakeEngine>) -> Setup {
    Setup::new(data, engine).unwrap().simulated(SEED)
}

/// Runs one host's life; when this returns nothing of it goes on.
fn in_simulated_time<T>(life: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(life)
}
