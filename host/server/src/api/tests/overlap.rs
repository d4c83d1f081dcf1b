//! Deploys with overlap: the next revision is started beside the one that runs.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, Ordering},
};

use hersh_program::Instances;
use tokio::net::{TcpListener, TcpSocket};

use super::*;
use crate::testkit::{Operation, OperationOutcome};

/// A port that is taken and at which nobody listens yet.
fn reserved() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    socket
}

fn port_of(socket: &TcpSocket) -> u16 {
    socket.local_addr().unwrap().port()
}

/// What makes an instance ready that is probed at this port.
fn listen(socket: TcpSocket) -> TcpListener {
    socket.listen(128).unwrap()
}

/// A revision that is ready once somebody listens at `port`.
fn overlapping(port: u16, memory: &str) -> Value {
    let mut body = program("a");
    body["src_files"] = json!({ "a.txt": port.to_string() });
    body["port"] = json!(port);
    body["readiness"] = json!({ "kind": "tcp" });
    body["resources"] = json!({ "memory": memory });
    body["deploy"] = json!({ "strategy": "overlap", "drain": "5s" });
    body
}

async fn view(host: &Fixture) -> Value {
    host.ask(Method::GET, "/programs/a").await.1
}

async fn until(host: &Fixture, holds: impl Fn(&Value) -> bool) -> Value {
    loop {
        let view = view(host).await;
        if holds(&view) {
            return view;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_new_instance_is_there_before_the_old_one_goes() {
    let host = Fixture::new().await;
    host.runtime.reach_at(Some(Ipv4Addr::LOCALHOST.into()));
    let first = reserved();
    host.json("/programs", &overlapping(port_of(&first), "64MiB"))
        .await;
    let _first = listen(first);
    let (_, up) = host.ask(Method::POST, "/programs/a/start?wait=30s").await;
    assert_eq!(up["state"], "Ready", "{up}");
    let second = reserved();
    host.put_as(
        &host.token,
        "/programs/a/source",
        &overlapping(port_of(&second), "64MiB"),
    )
    .await;
    host.ask(Method::POST, "/programs/a/restart").await;
    let beside = until(&host, |it| it["rollout"]["step"] == "starting_beside").await;
    assert_eq!(
        (&beside["state"], &beside["revision"]),
        (&json!("Ready"), &json!(1))
    );
    while host.engine.instances().len() < 2 {
        tokio::task::yield_now().await;
    }
    let _second = listen(second);
    let switched = until(&host, |it| it["revision"] == 2).await;
    assert_eq!(switched["state"], "Ready", "{switched}");
    let alone = until(&host, |it| it["leaving_instance"].is_null()).await;
    assert_eq!(alone["instance"], 2, "{alone}");
    assert_eq!(host.engine.instances().len(), 1);
}

#[tokio::test]
async fn a_host_that_comes_back_keeps_what_runs_and_starts_anew() {
    let mut host = Fixture::new().await;
    host.runtime.reach_at(Some(Ipv4Addr::LOCALHOST.into()));
    let first = reserved();
    host.json("/programs", &overlapping(port_of(&first), "64MiB"))
        .await;
    let _first = listen(first);
    let (_, up) = host.ask(Method::POST, "/programs/a/start?wait=30s").await;
    let second = reserved();
    host.put_as(
        &host.token,
        "/programs/a/source",
        &overlapping(port_of(&second), "64MiB"),
    )
    .await;
    host.ask(Method::POST, "/programs/a/restart").await;
    while host.engine.instances().len() < 2 {
        tokio::task::yield_now().await;
    }
    host.restart().await;
    host.runtime.reach_at(Some(Ipv4Addr::LOCALHOST.into()));
    let back = view(&host).await;
    assert_eq!(back["container_id"], up["container_id"], "{back}");
    let _second = listen(second);
    let switched = until(&host, |it| it["revision"] == 2).await;
    // The start that the host's end cut was instance 2.
    assert_eq!(switched["instance"], 3, "{switched}");
    until(&host, |it| it["leaving_instance"].is_null()).await;
    assert_eq!(host.engine.instances().len(), 1);
}

#[tokio::test]
async fn two_instances_count_twice_toward_the_quota() {
    let host = Fixture::new().await;
    host.runtime.reach_at(Some(Ipv4Addr::LOCALHOST.into()));
    host.user("ann").await;
    let (token, _) = host.token("ann", "operate").await;
    let quota = json!({ "quota": { "memory": "100MiB" } });
    host.patch("/users/ann", &quota).await;
    let (first, second) = (reserved(), reserved());
    let body = overlapping(port_of(&first), "64MiB");
    let second_port = port_of(&second);
    let _listening = (listen(first), listen(second));
    host.json_as(&token, "/programs", &body).await;
    let start = "/programs/a/start?wait=30s";
    assert_eq!(
        host.ask_as(&token, Method::POST, start).await.0,
        StatusCode::OK
    );
    let deploy = async |memory: &str| {
        let body = overlapping(second_port, memory);
        host.put_as(&token, "/programs/a/source", &body).await;
        let path = "/programs/a/restart?wait=30s";
        host.ask_as(&token, Method::POST, path).await
    };
    let (status, problem) = deploy("64MiB").await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("128MiB"), "{detail}");
    assert_eq!(view(&host).await["revision"], 1);
    // What takes no second instance needs no second room.
    let restart = "/programs/a/rollback?revision=1&wait=30s";
    assert_eq!(
        host.ask_as(&token, Method::POST, restart).await.0,
        StatusCode::OK
    );
    let restart = "/programs/a/restart?wait=30s";
    assert_eq!(
        host.ask_as(&token, Method::POST, restart).await.0,
        StatusCode::OK
    );
    let (status, view) = deploy("32MiB").await;
    assert_eq!(
        (status, &view["revision"]),
        (StatusCode::OK, &json!(3)),
        "{view}"
    );
}

/// An engine on which the first stop of an instance alone, which has its grace, never comes to an end.
fn slow_to_stop() -> FakeEngine {
    let was_asked = AtomicBool::new(false);
    FakeEngine::scripted(move |operation| match operation {
        Operation::Stop(_, Instances::One(_)) if !was_asked.swap(true, Ordering::Relaxed) => {
            OperationOutcome {
                before: Duration::from_secs(3_600),
                ..OperationOutcome::default()
            }
        }
        Operation::Stop(..)
        | Operation::Check
        | Operation::Build(..)
        | Operation::Start(..)
        | Operation::Observe(_)
        | Operation::List
        | Operation::Image(..)
        | Operation::Forget(_) => OperationOutcome::default(),
    })
}

#[tokio::test]
async fn a_leaving_instance_that_fills_its_state_is_killed() {
    let host = Fixture::over(slow_to_stop()).await;
    host.runtime.reach_at(Some(Ipv4Addr::LOCALHOST.into()));
    let (first, second) = (reserved(), reserved());
    let mut body = overlapping(port_of(&first), "64MiB");
    body["deploy"] = json!({ "strategy": "replace" });
    body["resources"] = json!({ "state": "1MiB" });
    host.json("/programs", &body).await;
    let body = overlapping(port_of(&second), "64MiB");
    let _listening = (listen(first), listen(second));
    host.ask(Method::POST, "/programs/a/start?wait=30s").await;
    host.put_as(&host.token, "/programs/a/source", &body).await;
    host.ask(Method::POST, "/programs/a/restart").await;
    let switched = until(&host, |it| it["leaving_instance"] == 1).await;
    assert_eq!(switched["revision"], 2, "{switched}");
    crate::workers::measure_all_states(&host.host).await;
    assert_eq!(host.engine.instances().len(), 2, "its requests may end");
    let state = host.data().join("programs/a/state");
    std::fs::write(state.join("more"), vec![1; 2 << 20]).unwrap();
    crate::workers::measure_all_states(&host.host).await;
    assert_eq!(host.engine.instances().len(), 1);
    let (_, up) = host.ask(Method::GET, "/programs/a").await;
    assert_eq!(
        (&up["state"], &up["instance"]),
        (&json!("Ready"), &json!(2))
    );
}
