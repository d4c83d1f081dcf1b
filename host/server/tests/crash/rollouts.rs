//! `kill -9` of a host at random instants while revisions take the place of others: some don't build, some don't
//! start, and each second program is deployed with overlap.
//!
//! ```text
//! start ─► a good revision of each is up, alone ─► deploys ─► kill ─► ...
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hersh_host::testkit::{FakeEngine, Fate, Operation, OperationOutcome, serve_engine};
use hersh_machine::SplitMix64;
use hersh_program::ProgramId;
use serde_json::{Value, json};

use crate::{child::Host, client::Client};

const ROUNDS: u64 = 200;
const PROGRAMS: u64 = 8;
const SEED: u64 = 20_261_130;
/// The longest load before a kill, and the longest start that is let go on.
const LOAD_MS: u64 = 150;
const START_MS: u64 = 120;
const ENGINE_DELAY_US: u64 = 3_000;
const PATIENCE: Duration = Duration::from_secs(60);
/// What a revision asks for that starts, and what one asks for that does not.
const GOOD_MIB: u64 = 64;
const BAD_MIB: u64 = 65;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_during_rollouts_leave_a_good_revision_up() {
    println!("seed {SEED}");
    let mut world = World::new();
    let mut random = SplitMix64::new(SEED);
    world.settle_first_revisions().await;
    let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
    for round in 1..=ROUNDS {
        let mut host = Host::start(&world.data(), &world.socket());
        if random.chance(25) {
            let instant = host.began + Duration::from_millis(random.below(START_MS));
            tokio::time::sleep_until(instant.into()).await; // tidy: allow(sleep) when it is killed
        } else {
            let client = world.client(host.address().await);
            for outcome in world.agrees(&client, &format!("round {round}")).await {
                *outcomes.entry(outcome).or_default() += 1;
            }
            let deploys = world.deploy_on(&client);
            let load = Duration::from_millis(random.below(LOAD_MS));
            tokio::time::sleep(load).await; // tidy: allow(sleep) when it is killed
            host.kill().await;
            world.deploys += deploys.await.unwrap();
            continue;
        }
        host.kill().await;
    }
    println!(
        "{ROUNDS} kills, {} deploys, last rollouts: {outcomes:?}",
        world.deploys
    );
    for outcome in ["failed", "rolled_back", "superseded"] {
        assert!(
            outcomes.contains_key(outcome),
            "{outcome} was never met: {outcomes:?}"
        );
    }
}

struct World {
    folder: tempfile::TempDir,
    engine: Arc<FakeEngine>,
    /// Where every instance is ready that runs.
    port: u16,
    deploys: u64,
}

impl World {
    fn new() -> Self {
        let random = Mutex::new(SplitMix64::new(SEED));
        let engine =
            FakeEngine::scripted(move |operation| plan(&mut random.lock().unwrap(), operation));
        let instances = TcpListener::bind("127.0.0.1:0").unwrap();
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
            engine: Arc::new(engine),
            port: instances.local_addr().unwrap().port(),
            deploys: 0,
        };
        // Taken off the queue, which would be full after some hundred probes.
        std::thread::spawn(move || instances.incoming().for_each(drop));
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

    fn revision(&self, number: u64, version: u64, memory_mib: u64) -> Value {
        let deploy = match overlaps(number) {
            true => json!({ "strategy": "overlap", "drain": "1s" }),
            false => json!({ "strategy": "replace" }),
        };
        json!({
            "dockerfile": "FROM scratch\n",
            "src_files": { "version": version.to_string() },
            "resources": { "memory": format!("{memory_mib}MiB") },
            "readiness": { "kind": "tcp", "port": self.port },
            "deploy": deploy,
        })
    }

    /// Has the first revision of each program run until it has settled.
    async fn settle_first_revisions(&self) {
        let mut host = Host::start(&self.data(), &self.socket());
        let client = self.client(host.address().await);
        for number in 0..PROGRAMS {
            let mut body = self.revision(number, 0, GOOD_MIB);
            body["name"] = json!(name(number));
            let (status, answer) = client.ask("POST", "/programs", &body).await.unwrap();
            assert_eq!(status, 201, "{answer}");
            // A build may fail here as later, so it is tried until it does not.
            let path = format!("/programs/{}/start?wait=30s", name(number));
            while client.ask("POST", &path, &Value::Null).await.unwrap().1["state"] != "Ready" {}
        }
        for number in 0..PROGRAMS {
            while !has_good(&client, number).await {
                tokio::task::yield_now().await;
            }
        }
        host.kill().await;
    }

    /// Deploys revision after revision of every program until the host answers no more. Returns how many.
    fn deploy_on(&self, client: &Client) -> tokio::task::JoinHandle<u64> {
        let before = self.deploys;
        let mut users = Vec::new();
        for number in 0..PROGRAMS {
            let client = client.clone();
            let mut random = SplitMix64::new(SEED ^ before ^ number);
            let bodies: Vec<Value> = (0..20)
                .map(|_| {
                    let memory = if random.chance(30) { BAD_MIB } else { GOOD_MIB };
                    self.revision(number, random.below(1 << 40), memory)
                })
                .collect();
            users.push(tokio::spawn(async move {
                let mut deploys = 0;
                for body in bodies {
                    if deploy(&client, number, &body).await.is_none() {
                        break;
                    }
                    deploys += 1;
                }
                deploys
            }));
        }
        tokio::spawn(async move {
            let mut deploys = 0;
            for user in users {
                deploys += user.await.unwrap();
            }
            deploys
        })
    }

    /// Waits until every rollout has ended and each program runs alone. Returns how its last rollout ended.
    async fn agrees(&self, client: &Client, context: &str) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let programs = loop {
            let (status, list) = client.ask("GET", "/programs", &Value::Null).await.unwrap();
            assert_eq!(status, 200, "{list}");
            let programs = list["programs"].as_array().unwrap().clone();
            if programs.len() as u64 == PROGRAMS && programs.iter().all(is_up) {
                break programs;
            }
            assert!(Instant::now() < deadline, "{context}, seed {SEED}: {list}");
            tokio::task::yield_now().await;
        };
        let shown = programs.iter().map(|program| {
            let id = program["program_id"].as_str().unwrap().to_owned();
            (id, program["instance"].as_u64().unwrap())
        });
        let shown: BTreeSet<(String, u64)> = shown.collect();
        let instances = self.engine.instances().into_iter();
        let running: BTreeSet<(String, u64)> = instances
            .map(|instance| (instance.program.to_string(), instance.number.0))
            .collect();
        assert_eq!(running, shown, "{context}: an orphan, or one is missing");
        for number in 0..PROGRAMS {
            let most = self
                .engine
                .most_at_once(&ProgramId::parse(&name(number)).unwrap());
            let allowed = 1 + usize::from(overlaps(number));
            assert!(
                most <= allowed,
                "{context}: {most} instances of {} at once",
                name(number)
            );
            assert!(
                has_good(client, number).await,
                "{context}: no good revision is kept"
            );
        }
        let outcome = |program: &Value| {
            program["last_rollout"]["outcome"]
                .as_str()
                .map(str::to_owned)
        };
        programs.iter().filter_map(outcome).collect()
    }
}

/// What the engine does: builds fail by chance, starts by what the revision asks for.
fn plan(random: &mut SplitMix64, operation: &Operation) -> OperationOutcome {
    let fails = match operation {
        Operation::Build(..) => random.chance(20),
        Operation::Start(_, _, memory_bytes, _) => *memory_bytes == BAD_MIB << 20,
        Operation::Check
        | Operation::Stop(..)
        | Operation::Observe(_)
        | Operation::List
        | Operation::Image(..)
        | Operation::Forget(_) => false,
    };
    let mut delay = || Duration::from_micros(random.below(ENGINE_DELAY_US));
    OperationOutcome {
        before: delay(),
        after: delay(),
        fate: match fails {
            true => Fate::Failed("it is no good".to_owned()),
            false => Fate::Done,
        },
        ..OperationOutcome::default()
    }
}

fn name(number: u64) -> String {
    format!("r{number}")
}

fn overlaps(number: u64) -> bool {
    number % 2 == 1
}

async fn deploy(client: &Client, number: u64, body: &Value) -> Option<()> {
    let path = format!("/programs/{}", name(number));
    for (method, path, body) in [
        ("PUT", format!("{path}/source"), body),
        ("POST", format!("{path}/restart"), &Value::Null),
    ] {
        let (status, answer) = client.ask(method, &path, body).await?;
        assert!(
            [200, 202, 503].contains(&status),
            "{path}: {status} {answer}"
        );
    }
    Some(())
}

/// Returns whether a program is up and nothing of it comes or goes.
fn is_up(program: &Value) -> bool {
    let rollout = &program["rollout"];
    let is_over = rollout.is_null() || rollout["step"] == "settling";
    program["state"] == "Ready" && is_over && program["leaving_instance"].is_null()
}

async fn has_good(client: &Client, number: u64) -> bool {
    let path = format!("/programs/{}/revisions", name(number));
    let (status, list) = client.ask("GET", &path, &Value::Null).await.unwrap();
    assert_eq!(status, 200, "{list}");
    let revisions = list["revisions"].as_array().unwrap();
    revisions.iter().any(|revision| revision["good"] == true)
}
