//! `kill -9` of a host at random instants, under load and while it starts.
//!
//! ```text
//! start ─► settled, engine and states agree ─► load ─► kill ─► journal against acknowledged ─► ...
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hersh_host::testkit::{FakeEngine, OperationOutcome, serve_engine};
use hersh_journal::Journal;
use hersh_machine::SplitMix64;
use hersh_program::{ContainerId, ProgramId, ProgramRecord, State};
use serde_json::Value;

use crate::{child::Host, client::Client, model::Model};

const ROUNDS: u64 = 200;
const PROGRAMS: u64 = 20;
const SEED: u64 = 20_261_124;
/// The longest load before a kill, and the longest start that is let go on.
const LOAD_MS: u64 = 120;
const START_MS: u64 = 120;
/// The longest that the engine takes, before and after it does something.
const ENGINE_DELAY_US: u64 = 3_000;
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_random_instants_lose_repeat_and_interrupt_nothing() {
    println!("seed {SEED}");
    let mut world = World::new();
    let mut random = SplitMix64::new(SEED);
    let mut ready = 0;
    for round in 1..=ROUNDS {
        let context = format!("round {round}, seed {SEED}");
        let mut host = Host::start(&world.data(), &world.socket());
        if round > 1 && random.chance(25) {
            let instant = host.began + Duration::from_millis(random.below(START_MS));
            tokio::time::sleep_until(instant.into()).await; // tidy: allow(sleep) when it is killed
        } else {
            let address = host.address().await;
            let client = world.client(address);
            ready += world.agrees(&client, &context).await;
            let loading = world.load(client);
            let load = Duration::from_millis(random.below(LOAD_MS));
            tokio::time::sleep(load).await; // tidy: allow(sleep) when it is killed
            host.kill().await;
            world.models = loading.await.unwrap();
            world.compare(&context);
            continue;
        }
        host.kill().await;
        world.compare(&context);
    }
    let total: u64 = world.models.iter().map(|model| model.total).sum();
    let found = world.models.iter().map(|model| model.found);
    let [done, not_done] = found.fold([0, 0], |sum, found| [sum[0] + found[0], sum[1] + found[1]]);
    println!(
        "{ROUNDS} kills, {total} commands acknowledged; under way at a kill and found done {done}, not done {not_done}; {ready} programs Ready across a kill, none interrupted"
    );
    assert!(total > ROUNDS * 10 && ready > ROUNDS, "{total}, {ready}");
    assert!(done > 0 && not_done > 0, "both sides of a commit were met");
}

struct World {
    folder: tempfile::TempDir,
    engine: Arc<FakeEngine>,
    models: Vec<Model>,
    /// Programs that were Ready in the journal at the last kill, and how often each had started.
    ready: BTreeMap<ProgramId, (ContainerId, u64)>,
}

impl World {
    fn new() -> Self {
        let delays = Mutex::new(SplitMix64::new(SEED));
        let engine = Arc::new(FakeEngine::scripted(move |_| {
            let mut random = delays.lock().unwrap();
            let mut delay = || Duration::from_micros(random.below(ENGINE_DELAY_US));
            OperationOutcome {
                before: delay(),
                after: delay(),
                ..OperationOutcome::default()
            }
        }));
        let name = |n| Model::new(format!("p{n}"), SEED + n);
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
            engine,
            models: (0..PROGRAMS).map(name).collect(),
            ready: BTreeMap::new(),
        };
        let listener = tokio::net::UnixListener::bind(world.socket()).unwrap();
        tokio::spawn(serve_engine(Arc::clone(&world.engine), listener));
        world
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("engine.sock")
    }

    fn client(&self, address: std::net::SocketAddr) -> Client {
        let token = std::fs::read_to_string(self.data().join("admin-token")).unwrap();
        Client {
            address,
            token: token.trim().to_owned(),
        }
    }

    /// Every user gives commands until the host answers no more.
    fn load(&mut self, client: Client) -> tokio::task::JoinHandle<Vec<Model>> {
        let users = std::mem::take(&mut self.models)
            .into_iter()
            .map(|mut model| {
                let client = client.clone();
                tokio::spawn(async move {
                    model.give_commands(&client).await;
                    model
                })
            });
        let users: Vec<_> = users.collect();
        tokio::spawn(async move {
            let mut models = Vec::new();
            for user in users {
                models.push(user.await.unwrap());
            }
            models
        })
    }

    /// Waits until every program has settled, then holds states, engine and folders against each
    /// other, and against what was Ready before. How many were.
    async fn agrees(&mut self, client: &Client, context: &str) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        let programs = loop {
            let (status, list) = client.ask("GET", "/programs", &Value::Null).await.unwrap();
            assert_eq!(status, 200, "{list}");
            let programs = list["programs"].as_array().unwrap().clone();
            let is_settled = |program: &Value| match program["state"].as_str().unwrap() {
                "Building" | "Starting" | "Stopping" => false,
                "Error" => panic!("{context}: {program}"),
                _settled => program["rollout"].is_null(),
            };
            if programs.iter().all(is_settled) {
                break programs;
            }
            assert!(Instant::now() < deadline, "{context}: {list}");
            tokio::task::yield_now().await;
        };
        let containers: BTreeMap<String, String> = programs
            .iter()
            .filter(|program| program["state"] == "Ready")
            .map(|program| (text(&program["program_id"]), text(&program["container_id"])))
            .collect();
        let running: BTreeMap<String, String> = self
            .engine
            .running()
            .iter()
            .map(|(program, container)| (program.to_string(), container.to_string()))
            .collect();
        assert_eq!(
            running, containers,
            "{context}: an orphan, or one is missing"
        );
        for (program, (container, starts)) in &self.ready {
            let now = running.get(program.as_str()).map(String::as_str);
            assert_eq!(now, Some(container.as_str()), "{context}: {program}");
            assert_eq!(self.engine.starts(program), *starts, "{context}: {program}");
        }
        let known = programs.iter().map(|program| text(&program["program_id"]));
        let known: BTreeSet<String> = known.collect();
        assert_eq!(names(&self.data().join("programs")), known, "{context}");
        assert!(names(&self.data().join("staging")).is_empty(), "{context}");
        self.ready.len() as u64
    }

    /// Holds the dead host's journal against what its users know. It is read from a copy, so that
    /// the next host finds what the kill left.
    fn compare(&mut self, context: &str) {
        let copy = tempfile::tempdir().unwrap();
        for name in ["journal.db", "journal.db-wal"] {
            let from = self.data().join(name);
            if from.exists() {
                std::fs::copy(from, copy.path().join(name)).unwrap();
            }
        }
        let journal = Journal::open(&copy.path().join("journal.db")).unwrap();
        let mut stored: BTreeMap<ProgramId, Vec<ProgramRecord>> = BTreeMap::new();
        self.ready.clear();
        for program in journal.load().unwrap() {
            let id = program.stepper.state().id.clone();
            // The next revision takes the place of an instance beside which it is built.
            if let State::Ready(ready) = &program.stepper.state().state
                && ready.rollout.is_none()
            {
                let starts = self.engine.starts(&id);
                self.ready
                    .insert(id.clone(), (ready.container.clone(), starts));
            }
            let records = journal.records(program.row, 0, usize::MAX).unwrap();
            let twice = stored.insert(id, records);
            assert!(twice.is_none(), "{context}: one name, two programs");
        }
        for model in &mut self.models {
            let id = ProgramId::parse(&model.name).unwrap();
            model.compare(stored.remove(&id).as_deref(), context);
        }
        assert!(stored.is_empty(), "{context}: nobody created {stored:?}");
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}
