//! A whole host over an engine in memory, in simulated time; only the programs' answers are played.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Duration,
};

use hersh_program::{Cause, ProgramId, State};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::*;
use crate::testkit::{FakeEngine, Setup, TestHost};

/// How long, in simulated time, anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// How every program answers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Well,
    /// As one with an older library does: it does not know the path of the heartbeat.
    Older,
    Badly,
    /// It takes connections and says nothing.
    Hangs,
}

/// What the programs were asked.
#[derive(Debug, Default)]
struct Asked {
    /// The targets of liveness probes, in order.
    probes: Vec<String>,
    /// Every program that was asked while it hung.
    hung: BTreeSet<String>,
    /// The most probes at once that hung: of all programs, and by the first letter of the program.
    most: BTreeMap<Option<char>, usize>,
    now: BTreeMap<Option<char>, usize>,
}

/// All programs of a host, behind one port.
#[derive(Clone)]
struct Programs {
    port: u16,
    manner: watch::Sender<Manner>,
    asked: watch::Sender<Arc<Mutex<Asked>>>,
}

impl Programs {
    async fn play() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let programs = Self {
            port: listener.local_addr().unwrap().port(),
            manner: watch::Sender::new(Manner::Well),
            asked: watch::Sender::default(),
        };
        let all = programs.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let all = all.clone();
                tokio::spawn(async move { all.answer(BufReader::new(stream)).await });
            }
        });
        programs
    }

    fn behave(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    fn look<T>(&self, look: impl FnOnce(&mut Asked) -> T) -> T {
        look(&mut self.asked.borrow().lock().unwrap())
    }

    fn note(&self, note: impl FnOnce(&mut Asked)) {
        self.asked
            .send_modify(|asked| note(&mut asked.lock().unwrap()));
    }

    /// Waits until what was asked is like this.
    async fn until(&self, holds: impl Fn(&Asked) -> bool) {
        let mut asked = self.asked.subscribe();
        let seen = asked.wait_for(|asked| holds(&asked.lock().unwrap()));
        let seen = tokio::time::timeout(PATIENCE, seen).await;
        drop(seen.expect("it is asked").unwrap());
    }

    async fn answer(self, mut stream: BufReader<TcpStream>) {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let target = head.split(' ').nth(1).unwrap().to_owned();
        let is_health = target == "/watcher/health";
        if head.contains("user-agent: hersh-liveness") {
            self.note(|asked| asked.probes.push(target));
        }
        let manner = *self.manner.borrow();
        let said = match manner {
            Manner::Well => "200 OK\r\ncontent-length: 2\r\n\r\nok",
            Manner::Older if is_health => "404 Not Found\r\ncontent-length: 0\r\n\r\n",
            Manner::Older => "200 OK\r\ncontent-length: 2\r\n\r\nok",
            Manner::Badly => {
                "503 Service Unavailable\r\ncontent-length: 20\r\n\r\n{\"engine\":\"stalled\"}"
            }
            Manner::Hangs => return self.hang(stream, &head).await,
        };
        let said = format!("HTTP/1.1 {said}");
        // Whoever asked may have given up.
        let _ = stream.write_all(said.as_bytes()).await;
    }

    /// Says nothing until the one who asked has gone.
    async fn hang(&self, mut stream: BufReader<TcpStream>, head: &str) {
        let name = head.split("host: ").nth(1).unwrap();
        let name = name.split("\r\n").next().unwrap().to_owned();
        let groups = [None, name.chars().next()];
        self.note(|asked| {
            asked.hung.insert(name);
            for group in groups {
                let now = asked.now.entry(group).or_default();
                *now += 1;
                let most = asked.most.entry(group).or_default();
                *most = (*most).max(*now);
            }
        });
        let _ = stream.read_to_end(&mut Vec::new()).await;
        self.note(|asked| {
            for group in groups {
                *asked.now.entry(group).or_default() -= 1;
            }
        });
    }
}

/// A host with programs that are played.
struct World {
    host: TestHost,
    engine: Arc<FakeEngine>,
    programs: Programs,
    _data: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let engine = Arc::new(FakeEngine::default());
        let setup = Setup::new(data.path(), &engine).unwrap();
        Self {
            host: TestHost::start(setup.simulated(7)).await.unwrap(),
            engine,
            programs: Programs::play().await,
            _data: data,
        }
    }

    async fn ask(&self, token: &str, method: &str, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let asked = self
            .host
            .ask_as(token, None, method, path, body.as_bytes())
            .await;
        let answer: Value = serde_json::from_slice(&asked.1).unwrap_or_default();
        assert!(asked.0 < 300, "{path}: {} {answer}", asked.0);
        answer
    }

    async fn get(&self, path: &str) -> Value {
        self.ask(self.host.token(), "GET", path, &Value::Null).await
    }

    /// A program that is up, with this test of whether it still works.
    async fn ready(&self, name: &str, liveness: Value) -> Arc<ProgramEntry> {
        self.ready_of(self.host.token(), name, liveness).await
    }

    async fn ready_of(&self, token: &str, name: &str, liveness: Value) -> Arc<ProgramEntry> {
        let mut program = json!({
            "name": name,
            "dockerfile": "FROM scratch\n",
            "src_files": {},
            "port": self.programs.port,
        });
        if !liveness.is_null() {
            program["liveness"] = liveness;
        }
        self.ask(token, "POST", "/programs", &program).await;
        let start = format!("/programs/{name}/start?wait=30s");
        let view = self.ask(token, "POST", &start, &Value::Null).await;
        assert_eq!(view["state"], "Ready", "{view}");
        let id = ProgramId::parse(name).unwrap();
        self.host.host.registry().get(&id).unwrap()
    }

    /// The kinds of liveness events of a program, in order.
    async fn events(&self, name: &str) -> Vec<String> {
        let events = self
            .get(&format!("/programs/{name}/events?limit=1000"))
            .await;
        let events = events["events"].as_array().unwrap().iter();
        let kinds = events.map(|it| it["event"]["event"].as_str().unwrap().to_owned());
        kinds.filter(|kind| kind.ends_with("alive")).collect()
    }
}

/// Waits until the program is like this.
async fn until(entry: &ProgramEntry, holds: impl Fn(&Program) -> bool) -> Program {
    let reached = entry.supervisor().until(holds);
    let reached = tokio::time::timeout(PATIENCE, reached).await;
    reached.unwrap_or_else(|_| panic!("it stays {:?}", entry.supervisor().state().state))
}

fn instance(program: &Program) -> Option<u64> {
    Some(program.ready_instance()?.number.0)
}

fn is_silent(program: &Program) -> bool {
    let ready = program.state.ready();
    ready.is_some_and(|ready| ready.not_alive.is_some())
}

fn failed_for_silence(program: &Program) -> bool {
    let failed = program.state.failed();
    failed.is_some_and(|failed| matches!(*failed.cause, Cause::NotAlive { .. }))
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_is_started_again() {
    let world = World::new().await;
    let entry = world.ready("p", Value::Null).await;
    let began = Instant::now();
    world.programs.behave(Manner::Hangs);
    let failed = until(&entry, failed_for_silence).await;
    let State::Error(failed) = failed.state else {
        unreachable!()
    };
    let said = failed.cause.to_string();
    assert!(said.contains("3 probes in a row"), "{said}");
    assert!(said.contains("no answer within 5 s"), "{said}");
    // One interval, three timeouts, two quarters, and the ticks between them.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(35), "{took:?}");
    world.programs.behave(Manner::Well);
    until(&entry, |program| instance(program) == Some(2)).await;
    assert_eq!(world.events("p").await, ["instance_not_alive"]);
    world.host.shut_down();
}

#[tokio::test(start_paused = true)]
async fn one_that_is_left_alone_is_told_of_once() {
    let world = World::new().await;
    let notify = json!({ "on_failure": "notify" });
    let entry = world.ready("p", notify).await;
    world.programs.behave(Manner::Badly);
    until(&entry, is_silent).await;
    let view = world.get("/programs/p").await;
    assert_eq!(view["state"], "Ready", "{view}");
    let said = view["not_alive"]["last_probe"].as_str().unwrap();
    let expected = "GET /watcher/health: status 503 Service Unavailable ({\"engine\":\"stalled\"})";
    assert!(said.contains(expected), "{said}");
    let metrics = world.host.ask("GET", "/metrics", b"").await.1;
    let metrics = String::from_utf8(metrics).unwrap();
    assert!(metrics.contains("hersh_program_not_alive{program=\"p\"} 1"));
    // It fails for much longer than it needs to.
    world.programs.until(|asked| asked.probes.len() > 8).await;
    world.programs.behave(Manner::Well);
    until(&entry, |program| !is_silent(program)).await;
    let told = world.events("p").await;
    assert_eq!(told, ["instance_not_alive", "instance_alive"]);
    assert_eq!(instance(&entry.supervisor().state()), Some(1));
    world.host.shut_down();
}

#[tokio::test(start_paused = true)]
async fn a_silence_is_told_of_by_the_next_host() {
    let mut world = World::new().await;
    let notify = json!({ "on_failure": "notify" });
    let entry = world.ready("p", notify).await;
    world.programs.behave(Manner::Badly);
    until(&entry, is_silent).await;
    world.host.shut_down();
    let data = world._data.path();
    let setup = Setup::new(data, &world.engine).unwrap().simulated(8);
    world.host = TestHost::start(setup).await.unwrap();
    let id = ProgramId::parse("p").unwrap();
    let entry = world.host.host.registry().get(&id).unwrap();
    let seen = world.programs.look(|asked| asked.probes.len());
    // Nothing new is to be told, though it fails.
    let more = move |asked: &Asked| asked.probes.len() > seen + 4;
    world.programs.until(more).await;
    world.programs.behave(Manner::Well);
    until(&entry, |program| !is_silent(program)).await;
    let told = world.events("p").await;
    assert_eq!(told, ["instance_not_alive", "instance_alive"]);
    world.host.shut_down();
}

#[tokio::test(start_paused = true)]
async fn an_older_library_is_asked_for_its_status() {
    let world = World::new().await;
    world.programs.behave(Manner::Older);
    let entry = world.ready("p", Value::Null).await;
    let none = world.ready("none", json!({ "kind": "none" })).await;
    world.programs.until(|asked| asked.probes.len() >= 10).await;
    let probes = world.programs.look(|asked| asked.probes.clone());
    for pair in probes.chunks_exact(2) {
        assert_eq!(pair, ["/watcher/health", "/watcher/status"]);
    }
    for entry in [&entry, &none] {
        assert_eq!(instance(&entry.supervisor().state()), Some(1));
    }
    world.host.shut_down();
}

#[tokio::test(start_paused = true)]
async fn one_that_is_paused_is_not_taken_for_dead() {
    let world = World::new().await;
    let paused = world.ready("paused", Value::Null).await;
    let other = world.ready("other", Value::Null).await;
    let pause = paused.pauses().begin();
    world.programs.behave(Manner::Hangs);
    until(&other, failed_for_silence).await;
    assert_eq!(instance(&paused.supervisor().state()), Some(1));
    drop(pause);
    until(&paused, failed_for_silence).await;
    world.host.shut_down();
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_a_pause_cut_off_does_not_count() {
    let world = World::new().await;
    let once = json!({ "failures": 1 });
    let entry = world.ready("p", once).await;
    world.programs.behave(Manner::Hangs);
    let hangs = |asked: &Asked| asked.now.get(&None).is_some_and(|now| *now > 0);
    world.programs.until(hangs).await;
    drop(entry.pauses().begin());
    let first = world.programs.look(|asked| asked.probes.len());
    world
        .programs
        .until(|asked| asked.probes.len() > first)
        .await;
    assert_eq!(world.events("p").await, [""; 0]);
    until(&entry, failed_for_silence).await;
    world.host.shut_down();
}

#[tokio::test(start_paused = true)]
async fn nothing_counts_while_the_engine_is_away() {
    let world = World::new().await;
    let entry = world.ready("p", Value::Null).await;
    // From here on the way to it is known.
    world.programs.until(|asked| !asked.probes.is_empty()).await;
    world.engine.set_down(true);
    world.programs.behave(Manner::Badly);
    world.programs.until(|asked| asked.probes.len() > 8).await;
    assert_eq!(world.events("p").await, [""; 0]);
    world.engine.set_down(false);
    until(&entry, failed_for_silence).await;
    world.host.shut_down();
}

#[tokio::test(start_paused = true)]
async fn a_host_that_stood_still_counts_anew() {
    let world = World::new().await;
    let notify = json!({ "on_failure": "notify" });
    let entry = world.ready("p", notify).await;
    world.programs.behave(Manner::Badly);
    world.programs.until(|asked| asked.probes.len() == 2).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    let silent = until(&entry, is_silent).await;
    // Two before that, and three after it.
    assert_eq!(world.programs.look(|asked| asked.probes.len()), 5);
    let said = silent.state.ready().unwrap().not_alive.clone().unwrap();
    assert!(said.last_probe.contains("3 probes"), "{said:?}");
    world.host.shut_down();
}

#[tokio::test(start_paused = true)]
async fn a_suspended_machine_is_no_fault_of_the_programs() {
    let world = World::new().await;
    let notify = json!({ "on_failure": "notify" });
    let entry = world.ready("p", notify).await;
    world.programs.behave(Manner::Badly);
    world.programs.until(|asked| asked.probes.len() == 2).await;
    world.host.set_clock(world.host.now_ms() + 3_600_000);
    until(&entry, is_silent).await;
    assert_eq!(world.programs.look(|asked| asked.probes.len()), 5);
    world.host.shut_down();
}

#[tokio::test(start_paused = true)]
async fn no_more_are_probed_at_once_than_may_be() {
    let world = World::new().await;
    let admin = world.host.token().to_owned();
    let slow = json!({ "kind": "http", "timeout": "10s" });
    let mut count = 0;
    for (owner, programs) in [("a", 40), ("b", 24), ("c", 24)] {
        let user = json!({ "user_id": format!("user-{owner}"), "role": "admin" });
        world.ask(&admin, "POST", "/users", &user).await;
        let wish = json!({ "user_id": format!("user-{owner}"), "scope": "operate" });
        let token = world.ask(&admin, "POST", "/tokens", &wish).await;
        let token = token["secret"].as_str().unwrap();
        for number in 0..programs {
            let name = format!("{owner}{number}");
            world.ready_of(token, &name, slow.clone()).await;
            count += 1;
        }
    }
    world.programs.behave(Manner::Hangs);
    world
        .programs
        .until(|asked| asked.hung.len() == count)
        .await;
    let most = world.programs.look(|asked| asked.most.clone());
    assert_eq!(most[&None], PROBES_AT_ONCE);
    assert_eq!(most[&Some('a')], PROBES_AT_ONCE_OF_ONE);
    world.host.shut_down();
}
