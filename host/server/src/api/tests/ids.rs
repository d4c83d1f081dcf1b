//! What tells programs and builds apart for as long as anything of them is left.

use hersh_storage::StoredBuild;

use super::*;

fn incarnation(host: &Fixture, name: &str) -> String {
    let id = ProgramId::parse(name).unwrap();
    let incarnation = host.host.registry().incarnation(&id);
    incarnation.expect("it is there").to_string()
}

#[tokio::test]
async fn a_name_given_again_is_another_making() {
    let mut host = Fixture::new().await;
    host.json("/programs", &program("a")).await;
    let first = incarnation(&host, "a");
    host.restart().await;
    assert_eq!(incarnation(&host, "a"), first, "the same program");
    let (status, _) = host.ask(Method::DELETE, "/programs/a?wait=30s").await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    host.json("/programs", &program("a")).await;
    assert_ne!(incarnation(&host, "a"), first);
}

/// Older hosts named a tree by the first twelve digits only.
#[tokio::test]
async fn builds_of_older_hosts_are_run_and_named_anew_when_sent() {
    let mut host = Fixture::new().await;
    host.json("/programs", &program("a")).await;
    let id = ProgramId::parse("a").unwrap();
    let builds = |host: &Fixture| host.host.storage().builds(&id).unwrap();
    let [StoredBuild { id: new, .. }] = &builds(&host)[..] else {
        panic!("there is one");
    };
    assert_eq!(new.as_str().len(), "build-".len() + 64);
    let old = hersh_program::BuildId::parse(&new.as_str()[.."build-".len() + 12]).unwrap();
    let storage = host.host.storage();
    let [from, to] = [new, &old].map(|build| storage.source_path(&id, build));
    std::fs::rename(from, to).unwrap();
    let journal = rusqlite::Connection::open(host.data().join("journal.db")).unwrap();
    let changed = "UPDATE programs SET initial = replace(initial, ?1, ?2)";
    journal
        .execute(changed, (new.as_str(), old.as_str()))
        .unwrap();
    drop(journal);
    host.restart().await;

    let (_, ready) = host.ask(Method::POST, "/programs/a/start?wait=30s").await;
    assert_eq!(ready["state"], "Ready", "{ready}");
    assert_eq!(ready["run_build_id"], old.as_str());
    host.restart().await;
    let (_, after) = host.ask(Method::GET, "/programs/a").await;
    assert_eq!(
        (&after["state"], &after["build_id"]),
        (&json!("Ready"), &json!(old.as_str()))
    );

    let body = program("a");
    let sent = host.request(Method::PUT, "/programs/a/source");
    let sent = sent.header("content-type", "application/json");
    let sent = sent.body(Body::from(body.to_string())).unwrap();
    let (status, again) = host.send(sent).await;
    assert_eq!(status, StatusCode::OK, "{again}");
    assert_eq!(again["build_id"], new.as_str());
    let (_, ready) = host.ask(Method::POST, "/programs/a/restart?wait=30s").await;
    assert_eq!(ready["run_build_id"], again["build_id"], "{ready}");
}
