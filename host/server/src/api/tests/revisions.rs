//! The life of a deploy over a program that runs, and the way back to an earlier revision.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};

use super::*;
use crate::testkit::{FakeEngine, Fate, Operation, OperationOutcome, Setup, TestHost};

/// What the engine does next.
#[derive(Default)]
struct Moods {
    fails_builds: AtomicBool,
    hangs_builds: AtomicBool,
    fails_next_start: AtomicBool,
}

impl Moods {
    fn set(mood: &AtomicBool, is_on: bool) {
        mood.store(is_on, Ordering::Relaxed);
    }

    fn plan(&self, operation: &Operation) -> OperationOutcome {
        let is = |mood: &AtomicBool| mood.load(Ordering::Relaxed);
        let (hangs, fails) = match operation {
            Operation::Build(..) => (is(&self.hangs_builds), is(&self.fails_builds)),
            Operation::Start(..) => (false, self.fails_next_start.swap(false, Ordering::Relaxed)),
            Operation::Check
            | Operation::Stop(..)
            | Operation::Observe(_)
            | Operation::List
            | Operation::Image(..)
            | Operation::Forget(_) => (false, false),
        };
        OperationOutcome {
            before: Duration::from_secs(if hangs { 600 } else { 0 }),
            fate: match fails {
                true => Fate::Failed("it is no good".to_owned()),
                false => Fate::Done,
            },
            ..OperationOutcome::default()
        }
    }
}

/// A host in simulated time, whose engine follows its moods.
struct World {
    host: TestHost,
    engine: Arc<FakeEngine>,
    moods: Arc<Moods>,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let moods = Arc::<Moods>::default();
        let script = Arc::clone(&moods);
        let engine = FakeEngine::scripted(move |operation| script.plan(operation));
        let engine = Arc::new(engine);
        Self {
            host: start(folder.path(), &engine).await,
            engine,
            moods,
            _folder: folder,
        }
    }

    /// A host with program `a`, whose first revision runs and has settled.
    async fn settled() -> Self {
        let world = Self::new().await;
        world.ask("POST", "/programs?message=first", 1).await;
        world.get_up("start").await;
        world.settle().await;
        world
    }

    /// Asks, with the source of a revision as the body; the answer.
    async fn ask(&self, method: &str, path: &str, number: u64) -> Value {
        let (status, answer) = self.answer(method, path, &source(number)).await;
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    async fn answer(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = match body.is_null() {
            true => String::new(),
            false => body.to_string(),
        };
        let (status, answer) = self.host.ask(method, path, body.as_bytes()).await;
        (status, serde_json::from_slice(&answer).unwrap_or_default())
    }

    async fn view(&self) -> Value {
        self.answer("GET", "/programs/a", &Value::Null).await.1
    }

    /// Gives a command and waits until the program has settled.
    async fn get_up(&self, command: &str) -> Value {
        let mark = if command.contains('?') { '&' } else { '?' };
        let path = format!("/programs/a/{command}{mark}wait=30m");
        let (status, view) = self.answer("POST", &path, &Value::Null).await;
        assert_eq!(status, 200, "{path}: {view}");
        view
    }

    /// Stores a revision and begins to start it.
    async fn deploy(&self, number: u64) -> Value {
        let stored = self.ask("PUT", "/programs/a/source", number).await;
        assert_eq!(stored["revision"], number, "{stored}");
        let (_, view) = self
            .answer("POST", "/programs/a/restart", &Value::Null)
            .await;
        view
    }

    /// Waits, in simulated time, until what runs has settled.
    async fn settle(&self) {
        tokio::time::advance(Duration::from_secs(11)).await;
    }

    /// Waits, in simulated time, until a revision gave way to the one before.
    async fn until_rolled_back(&self) {
        while self.view().await["last_rollout"]["outcome"] != "rolled_back" {
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }

    async fn revisions(&self) -> Vec<Value> {
        let path = "/programs/a/revisions";
        let (_, mut list) = self.answer("GET", path, &Value::Null).await;
        serde_json::from_value(list["revisions"].take()).unwrap()
    }
}

async fn start(data: &Path, engine: &Arc<FakeEngine>) -> TestHost {
    let setup = Setup::new(data, engine).unwrap().reached_by_socket();
    TestHost::start(setup.simulated(7)).await.unwrap()
}

fn source(number: u64) -> Value {
    let mut source = program("a");
    source["src_files"] = json!({ "a.txt": number.to_string() });
    source
}

#[tokio::test(start_paused = true)]
async fn a_build_that_fails_never_touches_what_runs() {
    let world = World::settled().await;
    let before = world.view().await;
    assert_eq!(before["revision"], 1, "{before}");
    Moods::set(&world.moods.hangs_builds, true);
    Moods::set(&world.moods.fails_builds, true);
    let building = world.deploy(2).await;
    assert_eq!(building["state"], "Ready", "{building}");
    let rollout = json!({ "revision": 2, "step": "building", "fallback": 1 });
    assert_eq!(building["rollout"], rollout, "{building}");
    assert_eq!(building["revision"], 1, "{building}");
    assert_eq!(building["wanted_revision"], 2, "{building}");

    let path = "/programs/a?wait=30m";
    let (_, view) = world.answer("GET", path, &Value::Null).await;
    assert_eq!(view["container_id"], before["container_id"], "{view}");
    assert_eq!(view["rollout"], Value::Null, "{view}");
    let end = &view["last_rollout"];
    assert_eq!(
        (&end["revision"], &end["outcome"]),
        (&json!(2), &json!("failed"))
    );
    assert_eq!(end["cause"]["code"], "build_failed", "{end}");
    assert_eq!(view["wanted_revision"], 1, "{view}");
    assert_eq!(world.engine.starts(&ProgramId::parse("a").unwrap()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_brings_the_old_one_back() {
    let world = World::settled().await;
    Moods::set(&world.moods.fails_next_start, true);
    world.deploy(2).await;
    let (_, view) = world
        .answer("GET", "/programs/a?wait=30m", &Value::Null)
        .await;
    assert_eq!(
        (&view["state"], &view["revision"]),
        (&json!("Ready"), &json!(1))
    );
    let end = &view["last_rollout"];
    assert_eq!((&end["revision"], &end["to"]), (&json!(2), &json!(1)));
    assert_eq!(end["cause"]["code"], "start_failed", "{end}");
}

#[tokio::test(start_paused = true)]
async fn an_end_before_it_settled_brings_the_old_one_back() {
    let world = World::settled().await;
    world.deploy(2).await;
    let up = world.answer("GET", "/programs/a?wait=30m", &Value::Null);
    let up = up.await.1;
    assert_eq!(up["rollout"]["step"], "settling", "{up}");
    assert_eq!(
        (&up["revision"], &up["rollout"]["fallback"]),
        (&json!(2), &json!(1))
    );
    assert!(world.engine.end(&ProgramId::parse("a").unwrap(), 3).await);
    world.until_rolled_back().await;
    let (_, view) = world
        .answer("GET", "/programs/a?wait=30m", &Value::Null)
        .await;
    assert_eq!(view["revision"], 1, "{view}");
    assert_eq!(view["last_rollout"]["cause"]["code"], "exited", "{view}");
}

#[tokio::test(start_paused = true)]
async fn a_revision_settles_by_the_time_and_without_an_event() {
    let world = World::settled().await;
    let good = |list: &[Value]| -> Vec<bool> {
        let good = list.iter().map(|it| it["good"] == true);
        good.collect()
    };
    assert_eq!(good(&world.revisions().await), [true]);
    world.deploy(2).await;
    world
        .answer("GET", "/programs/a?wait=30m", &Value::Null)
        .await;
    assert_eq!(good(&world.revisions().await), [false, true]);
    world.settle().await;
    let view = world.view().await;
    assert_eq!(view["rollout"], Value::Null, "{view}");
    assert_eq!(view["last_rollout"]["outcome"], "settled", "{view}");
    assert_eq!(good(&world.revisions().await), [true, true]);
}

#[tokio::test(start_paused = true)]
async fn a_newer_deploy_takes_the_place_of_an_older_one() {
    let world = World::settled().await;
    Moods::set(&world.moods.hangs_builds, true);
    world.deploy(2).await;
    let newer = world.deploy(3).await;
    let end = &newer["last_rollout"];
    assert_eq!(
        (&end["revision"], &end["outcome"]),
        (&json!(2), &json!("superseded"))
    );
    assert_eq!(end["by"], 3, "{newer}");
    assert_eq!(newer["rollout"]["revision"], 3, "{newer}");
    let (_, view) = world
        .answer("GET", "/programs/a?wait=30m", &Value::Null)
        .await;
    assert_eq!(
        (&view["state"], &view["revision"]),
        (&json!("Ready"), &json!(3))
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_deployed_is_listed_newest_first() {
    let world = World::settled().await;
    let path = "/programs/a/source?message=%20faster%20";
    world.ask("PUT", path, 2).await;
    let list = world.revisions().await;
    let [second, first] = list.as_slice() else {
        panic!("{list:?}");
    };
    assert_eq!(first["message"], "first");
    assert_eq!(second["message"], "faster");
    for (revision, number, is_current) in [(first, 1, true), (second, 2, false)] {
        assert_eq!(revision["revision"], number);
        assert_eq!(revision["current"], is_current);
        assert_eq!(revision["wanted"], !is_current);
        assert_eq!(revision["by"], "admin");
        assert_eq!(revision["image_id"].is_string(), is_current);
        assert_eq!(revision["manifest"]["env"]["SECRET"], "(hidden)");
    }
    // The same again is no revision.
    let again = world.ask("PUT", "/programs/a/source", 2).await;
    assert_eq!(again["revision"], 2, "{again}");
    assert_eq!(world.revisions().await.len(), 2);
    let (_, audit) = world.answer("GET", "/audit", &Value::Null).await;
    assert!(!audit.to_string().contains("canary-value"), "{audit}");
}

#[tokio::test(start_paused = true)]
async fn somebody_goes_back_with_and_without_a_number() {
    let world = World::settled().await;
    for number in [2, 3] {
        world.deploy(number).await;
        world
            .answer("GET", "/programs/a?wait=30m", &Value::Null)
            .await;
        world.settle().await;
    }
    let back = world.get_up("rollback").await;
    assert_eq!(
        (&back["state"], &back["revision"]),
        (&json!("Ready"), &json!(2))
    );
    assert_eq!(back["wanted_revision"], 2, "{back}");
    world.settle().await;
    let back = world.get_up("rollback?revision=1").await;
    assert_eq!(
        (&back["state"], &back["revision"]),
        (&json!("Ready"), &json!(1))
    );
    let (_, audit) = world.answer("GET", "/audit", &Value::Null).await;
    let told = audit.to_string();
    assert!(told.contains("it was Ready, revision 2 → 1"), "{told}");
    // A deploy comes after the newest one, wherever the program stands.
    assert_eq!(world.deploy(4).await["rollout"]["revision"], 4);
}

#[tokio::test(start_paused = true)]
async fn what_runs_is_kept_by_going_back_to_it() {
    let world = World::settled().await;
    let before = world.view().await;
    Moods::set(&world.moods.hangs_builds, true);
    world.deploy(2).await;
    let kept = world.get_up("rollback").await;
    assert_eq!(kept["container_id"], before["container_id"], "{kept}");
    assert_eq!(
        (&kept["revision"], &kept["wanted_revision"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(kept["last_rollout"]["by"], 1, "{kept}");
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_is_not_there_is_named() {
    let world = World::settled().await;
    for (path, status, code, said) in [
        (
            "POST /programs/a/rollback",
            409,
            "conflict",
            "hersh revisions a",
        ),
        (
            "POST /programs/a/rollback?revision=7",
            404,
            "not_found",
            "revision 7",
        ),
        (
            "POST /programs/a/rollback?revision=0",
            404,
            "not_found",
            "revision 0",
        ),
        (
            "POST /programs/a/rollback?revision=x",
            400,
            "bad_request",
            "revision",
        ),
        ("POST /programs/a/rollback?to=1", 400, "bad_request", "to"),
        (
            "GET /programs/a/source?revision=7",
            404,
            "not_found",
            "revision 7",
        ),
        ("GET /programs/b/revisions", 404, "not_found", "b"),
    ] {
        let (method, target) = path.split_once(' ').unwrap();
        let (found, problem) = world.answer(method, target, &Value::Null).await;
        assert_eq!(
            (found, &problem["code"]),
            (status, &json!(code)),
            "{path}: {problem}"
        );
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(said), "{path}: {detail}");
    }
}

#[tokio::test]
async fn nobody_goes_back_while_it_is_being_removed() {
    let engine = FakeEngine::scripted(|operation| OperationOutcome {
        before: match matches!(operation, Operation::Stop(..)) {
            true => Duration::from_secs(3_600),
            false => Duration::ZERO,
        },
        ..OperationOutcome::default()
    });
    let host = Fixture::over(engine).await;
    host.ready("a").await;
    host.ask(Method::DELETE, "/programs/a").await;
    let paths = ["/programs/a/rollback", "/programs/a/rollback?revision=1"];
    for path in paths {
        let (status, problem) = host.ask(Method::POST, path).await;
        assert_eq!(status, StatusCode::CONFLICT, "{problem}");
        assert_eq!(problem["state"], "Stopping", "{problem}");
    }
}

#[tokio::test]
async fn a_message_is_kept_or_refused_and_never_cut() {
    let host = Fixture::new().await;
    let longest = "%C3%BC".repeat(500);
    let (status, made) = host
        .json(&format!("/programs?message={longest}"), &program("a"))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert_eq!(made["revision"], 1, "{made}");
    for (message, said) in [
        ("a".repeat(501).as_str(), "501 characters"),
        ("a%0Ab", "control character"),
        ("%1B%5B31m", "control character"),
    ] {
        for path in ["/programs", "/programs/a/source"] {
            let is_new = path == "/programs";
            let path = format!("{path}?message={message}");
            let (status, problem) = match is_new {
                true => host.json(&path, &program("b")).await,
                false => host.put_as(&host.token, &path, &program("a")).await,
            };
            assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(said), "{detail}");
        }
    }
    let (_, list) = host.ask(Method::GET, "/programs/a/revisions").await;
    let kept = list["revisions"][0]["message"].as_str().unwrap();
    assert_eq!(kept.chars().count(), 500);
}

#[tokio::test]
async fn the_source_of_each_revision_comes_back() {
    let host = Fixture::new().await;
    host.json("/programs", &source(1)).await;
    host.put_as(&host.token, "/programs/a/source", &source(2))
        .await;
    let text_of = async |query: &str| {
        let path = format!("/programs/a/source{query}");
        let request = host.request(Method::GET, &path).body(Body::empty());
        let answer = host.answer(request.unwrap()).await;
        let tar = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        let mut archive = tar::Archive::new(tar.as_ref());
        let mut found = String::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            if entry.path().unwrap().ends_with("a.txt") {
                std::io::Read::read_to_string(&mut entry, &mut found).unwrap();
            }
        }
        found
    };
    assert_eq!(text_of("?revision=1").await, "1");
    assert_eq!(text_of("?revision=2").await, "2");
    assert_eq!(text_of("").await, "2");
}

#[tokio::test]
async fn a_roll_back_needs_room_for_that_revision() {
    let host = Fixture::new().await;
    host.user("ann").await;
    let (token, _) = host.token("ann", "operate").await;
    let asks = |memory: &str| {
        let mut body = program("a");
        body["resources"] = json!({ "memory": memory });
        body
    };
    host.json_as(&token, "/programs", &asks("128MiB")).await;
    host.put_as(&token, "/programs/a/source", &asks("64MiB"))
        .await;
    let quota = json!({ "quota": { "memory": "64MiB" } });
    host.patch("/users/ann", &quota).await;
    let back = async |revision: u64| {
        let path = format!("/programs/a/rollback?revision={revision}&wait=30s");
        host.ask_as(&token, Method::POST, &path).await
    };
    let (status, problem) = back(1).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{problem}");
    assert_eq!(problem["code"], "quota_exceeded", "{problem}");
    let (status, view) = back(2).await;
    assert_eq!((status, &view["revision"]), (StatusCode::OK, &json!(2)));
}

#[tokio::test(start_paused = true)]
async fn a_build_alone_starts_nothing_and_waits_for_a_command() {
    let world = World::settled().await;
    let id = ProgramId::parse("a").unwrap();
    world.ask("PUT", "/programs/a/source", 2).await;
    Moods::set(&world.moods.hangs_builds, true);
    let (status, begun) = world
        .answer("POST", "/programs/a/build", &Value::Null)
        .await;
    let rollout = json!({ "revision": 2, "step": "building_only", "fallback": 1 });
    assert_eq!((status, &begun["rollout"]), (202, &rollout), "{begun}");
    let (status, _) = world
        .answer("POST", "/programs/a/build", &Value::Null)
        .await;
    assert_eq!(status, 200, "it is being built");
    let (_, view) = world
        .answer("GET", "/programs/a?wait=30m", &Value::Null)
        .await;
    assert_eq!(view["last_rollout"]["outcome"], "built", "{view}");
    assert_eq!(
        (&view["revision"], &view["wanted_revision"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(world.engine.starts(&id), 1);
    Moods::set(&world.moods.hangs_builds, false);
    let view = world.get_up("restart").await;
    assert_eq!(view["revision"], 2, "{view}");
    world.get_up("stop").await;
    world.ask("PUT", "/programs/a/source", 3).await;
    let view = world.get_up("build").await;
    assert_eq!(view["state"], "Stopped", "{view}");
    assert_eq!(view["last_rollout"]["outcome"], "built", "{view}");
}
