//! `/state` is copied while nobody writes to it, and nothing stays paused.

use futures_util::FutureExt;
use hersh_base::permits::Share;
use hersh_program::{Program, ProgramId, UserId};

use super::*;
use crate::{
    host::CopyError,
    testkit::{Operation, OperationOutcome},
};

const COPY: &str = "/programs/p/state/copy";

fn id() -> ProgramId {
    ProgramId::parse("p").unwrap()
}

async fn created(fixture: &Fixture) {
    let (status, body) = fixture.json("/programs", &program("p")).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
}

/// The paths in the copy.
async fn copied(fixture: &Fixture) -> Vec<String> {
    let request = fixture.request(Method::POST, COPY).body(Body::empty());
    let answer = fixture.answer(request.unwrap()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "application/x-tar");
    let length: usize = answer.headers()["content-length"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let bytes = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    assert_eq!(bytes.len(), length);
    let mut archive = tar::Archive::new(&bytes[..]);
    let paths = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string());
    paths.collect()
}

fn write(fixture: &Fixture, name: &str) {
    let state = fixture.host.storage().paths(&id()).state;
    std::fs::create_dir_all(&state).unwrap();
    std::fs::write(state.join(name), "rows").unwrap();
}

#[tokio::test]
async fn running_program_is_paused_while_copied_and_goes_on() {
    let fixture = Fixture::new().await;
    fixture.ready("p").await;
    write(&fixture, "data.db");
    assert_eq!(copied(&fixture).await, ["data.db"]);
    assert_eq!(fixture.runtime.pauses(), 1);
    assert!(fixture.runtime.paused_now().is_empty());
    let noted = fixture.host.storage().read_paused(&id()).unwrap();
    assert_eq!(noted, None);
    let (_, rows) = fixture.ask(Method::GET, "/audit").await;
    let newest = &rows["changes"][0];
    assert_eq!(newest["action"], "POST /programs/{id}/state/copy");
    assert_eq!(newest["target"], COPY);
}

#[tokio::test]
async fn a_program_at_rest_is_copied_without_a_pause() {
    let fixture = Fixture::new().await;
    created(&fixture).await;
    write(&fixture, "data.db");
    assert_eq!(copied(&fixture).await, ["data.db"]);
    assert_eq!(fixture.runtime.pauses(), 0);
}

#[tokio::test]
async fn a_copy_that_fails_leaves_the_program_awake() {
    let fixture = Fixture::new().await;
    fixture.ready("p").await;
    let state = fixture.host.storage().paths(&id()).state;
    std::fs::create_dir_all(&state).unwrap();
    let hole = std::fs::File::create(state.join("hole")).unwrap();
    hole.set_len(1 << 40).unwrap();
    let (status, problem) = fixture.ask(Method::POST, COPY).await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::CONFLICT, &json!("conflict")),
        "{problem}"
    );
    assert_eq!(fixture.runtime.pauses(), 1);
    assert!(fixture.runtime.paused_now().is_empty());
}

#[tokio::test]
async fn a_program_on_its_way_is_refused_and_told_when() {
    let engine = FakeEngine::scripted(|operation| OperationOutcome {
        before: if matches!(operation, Operation::Build(..)) {
            Duration::from_secs(600)
        } else {
            Duration::ZERO
        },
        ..OperationOutcome::default()
    });
    let fixture = Fixture::over(engine).await;
    created(&fixture).await;
    let (status, _) = fixture.ask(Method::POST, "/programs/p/start").await;
    assert!(status.is_success());
    let (status, problem) = fixture.ask(Method::POST, COPY).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    assert_eq!(problem["state"], "Building");
}

#[tokio::test]
async fn a_program_that_a_dead_host_paused_is_unpaused_by_the_next() {
    let mut fixture = Fixture::new().await;
    fixture.ready("p").await;
    let entry = fixture.host.registry().get(&id()).unwrap();
    let ready = entry.supervisor().with_state(Program::ready_instance);
    let instance = ready.unwrap();
    let storage = fixture.host.storage();
    storage.note_paused(&instance).unwrap();
    fixture.restart().await;
    let (host, program) = (fixture.host.clone(), id());
    let unpaused = async move {
        while host.storage().read_paused(&program).unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), unpaused)
        .await
        .unwrap();
    assert_eq!(fixture.runtime.unpaused(), [instance]);
}

#[tokio::test]
async fn a_host_that_ends_leaves_nothing_paused() {
    let fixture = Fixture::new().await;
    fixture.ready("p").await;
    fixture.runtime.refuse_unpausing(1);
    let request = fixture.request(Method::POST, COPY).body(Body::empty());
    let ending = async {
        while fixture.runtime.pauses() == 0 {
            tokio::task::yield_now().await;
        }
        fixture.host.end_pauses().await;
        assert!(fixture.runtime.paused_now().is_empty());
    };
    let (copied, ()) = tokio::join!(fixture.answer(request.unwrap()), ending);
    assert_eq!(copied.status(), StatusCode::OK);
    let (status, problem) = fixture.ask(Method::POST, COPY).await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (503, &json!("shutting_down"))
    );
    assert_eq!(fixture.runtime.pauses(), 1);
}

#[tokio::test]
async fn what_is_not_yours_is_not_copied() {
    let fixture = Fixture::new().await;
    fixture.ready("p").await;
    fixture.user("ann").await;
    let (theirs, _) = fixture.token("ann", "operate").await;
    let (status, _) = fixture.ask_as(&theirs, Method::POST, COPY).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (look, _) = fixture.token("admin", "read").await;
    let (status, _) = fixture.ask_as(&look, Method::POST, COPY).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(fixture.runtime.pauses(), 0);
}

#[tokio::test]
async fn a_file_of_state_is_replaced_only_while_nothing_runs() {
    let fixture = Fixture::new().await;
    fixture.ready("p").await;
    write(&fixture, "context.json");
    let path = "/programs/p/state/file?path=context.json";
    let put = async |path: &str| {
        let request = fixture.request(Method::PUT, path).body(Body::from("{}"));
        fixture.send(request.unwrap()).await
    };
    let (status, problem) = put(path).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    assert_eq!(problem["state"], "Ready");
    let (status, _) = fixture.ask(Method::POST, "/programs/p/stop?wait=30s").await;
    assert!(status.is_success());
    assert_eq!(put(path).await.0, StatusCode::NO_CONTENT);
    let state = fixture.host.storage().paths(&id()).state;
    assert_eq!(std::fs::read(state.join("context.json")).unwrap(), b"{}");
    let (status, problem) = put("/programs/p/state/file?path=../receipt.json").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
}

#[tokio::test]
async fn work_on_state_keeps_its_permit_though_its_client_hangs_up() {
    let fixture = Fixture::new().await;
    created(&fixture).await;
    write(&fixture, "data.db");
    let entry = fixture.host.registry().get(&id()).unwrap();
    let admin = UserId::parse("admin").unwrap();
    let permits = fixture.host.permits();
    let permit = permits.downloads.take(&admin, Share::Any).unwrap();
    let mut copying = Box::pin(fixture.host.copy_state(Arc::clone(&entry), permit));
    assert!((&mut copying).now_or_never().is_none());
    drop(copying);
    assert_eq!(permits.downloads.taken(), 1);
    while permits.downloads.taken() > 0 {
        tokio::task::yield_now().await;
    }
    let permit = permits.uploads.take(&admin, Share::Any).unwrap();
    let putting = fixture
        .host
        .put_state_file(entry, "new".into(), vec![1], permit);
    let mut putting = Box::pin(putting);
    assert!((&mut putting).now_or_never().is_none());
    drop(putting);
    assert_eq!(permits.uploads.taken(), 1);
    while permits.uploads.taken() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(
        fixture
            .host
            .storage()
            .paths(&id())
            .state
            .join("new")
            .exists()
    );
}

#[tokio::test]
async fn a_file_that_state_has_no_room_for_is_refused() {
    let fixture = Fixture::new().await;
    let mut body = program("p");
    body["resources"] = json!({ "state": "1MiB" });
    let (status, body) = fixture.json("/programs", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    write(&fixture, "context.json");
    let put = async |bytes: usize| {
        let path = "/programs/p/state/file?path=context.json";
        let request = fixture.request(Method::PUT, path);
        let request = request.body(Body::from(vec![b'x'; bytes]));
        fixture.send(request.unwrap()).await
    };
    let (status, problem) = put(1 << 20).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    let said = problem.to_string();
    assert!(
        said.contains("1MiB") && said.contains("resources.state"),
        "{said}"
    );
    let file = fixture
        .host
        .storage()
        .paths(&id())
        .state
        .join("context.json");
    assert_eq!(std::fs::read(&file).unwrap(), b"rows");
    assert_eq!(put(1 << 19).await.0, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn no_copy_begins_while_a_program_is_unpaused() {
    let fixture = Fixture::new().await;
    fixture.ready("p").await;
    let entry = fixture.host.registry().get(&id()).unwrap();
    let ready = entry.supervisor().with_state(Program::ready_instance);
    let instance = ready.unwrap();
    let storage = fixture.host.storage();
    storage.note_paused(&instance).unwrap();
    // The next try comes once nothing else can go on, so the copy is asked for before that.
    tokio::time::pause();
    fixture.runtime.refuse_unpausing(1);
    recover::unpause(&fixture.host, &entry, instance);
    let permit = fixture
        .host
        .permits()
        .downloads
        .take(entry.owner(), Share::Any)
        .unwrap();
    let copied = fixture.host.copy_state(Arc::clone(&entry), permit).await;
    assert!(matches!(copied, Err(CopyError::BeingCopied)), "{copied:?}");
    drop(entry.copying().lock().await);
    assert_eq!(storage.read_paused(&id()).unwrap(), None);
    assert_eq!(fixture.runtime.pauses(), 0);
}
