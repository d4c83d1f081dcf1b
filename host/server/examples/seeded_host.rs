//! A host over an engine in memory, with users and with programs in every state, for those who ask
//! it whatever they like: `scripts/fuzz-api`.
//!
//! `seeded_host FOLDER` says `listening on ADDRESS` and serves until it is killed. The tokens of an
//! admin and of a member are in `FOLDER/admin-token` and `FOLDER/member-token`.

use std::{error::Error, path::Path, sync::Arc, time::Duration};

use hersh_host::testkit::{FakeEngine, Fate, Operation, OperationOutcome, Setup, TestHost};
use hersh_program::ProgramId;
use serde_json::{Value, json};
use tokio::net::TcpListener;

type Outcome<T> = Result<T, Box<dyn Error>>;

const USERS: [&str; 2] = ["admin", "member"];
/// Each user has one program in each of these states, named `{user}-{state}`.
const STATES: [&str; 5] = ["created", "starting", "ready", "stopped", "error"];
/// How often a state is looked for, and how long between.
const LOOKS: usize = 1_000;
const BETWEEN_LOOKS: Duration = Duration::from_millis(30);
/// Longer than anybody asks: what starts goes on starting.
const FOREVER: Duration = Duration::from_secs(86_400);

#[tokio::main]
async fn main() -> Outcome<()> {
    let folder = std::env::args().nth(1).ok_or("name a folder")?;
    let folder = Path::new(&folder);
    let engine = Arc::new(FakeEngine::scripted(outcome));
    // Nothing else on this machine is asked: programs are reached by sockets that are not there.
    let setup = Setup::new(folder, &engine)?.reached_by_socket();
    let host = TestHost::start(setup).await?;
    let user = json!({ "user_id": "member" });
    ask(&host, host.token(), "POST", "/users", &user).await?;
    let token = json!({ "user_id": "member", "scope": "operate" });
    let made = ask(&host, host.token(), "POST", "/tokens", &token).await?;
    let member = made["secret"].as_str().ok_or("no token")?;
    std::fs::write(folder.join("member-token"), member)?;
    for (user, token) in USERS.into_iter().zip([host.token(), member]) {
        for state in STATES {
            seed(&host, token, &format!("{user}-{state}"), state).await?;
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    host.serve(listener, std::future::pending()).await?;
    Ok(())
}

/// How the engine does what concerns a program of that name.
fn outcome(operation: &Operation) -> OperationOutcome {
    let about = |state| {
        let program = operation.changes().map(ProgramId::as_str);
        program.is_some_and(|name| name.ends_with(state))
    };
    let mut outcome = OperationOutcome::default();
    match operation {
        Operation::Start(..) if about("-starting") => outcome.before = FOREVER,
        Operation::Start(..) if about("-error") => outcome.fate = Fate::Failed("it broke".into()),
        Operation::Check
        | Operation::Build(..)
        | Operation::Start(..)
        | Operation::Stop(..)
        | Operation::Observe(_)
        | Operation::List
        | Operation::Image(..)
        | Operation::Forget(_) => {}
    }
    outcome
}

async fn seed(host: &TestHost, token: &str, name: &str, state: &str) -> Outcome<()> {
    let program = json!({
        "name": name,
        "dockerfile": "FROM scratch\n",
        "restart": "never",
        "readiness": { "kind": "none" },
        "timeouts": { "start": "1h" },
    });
    ask(host, token, "POST", "/programs", &program).await?;
    let steps: &[&str] = match state {
        "starting" => &["start"],
        "ready" | "error" => &["start?wait=30s"],
        "stopped" => &["start?wait=30s", "stop?wait=30s"],
        _created => &[],
    };
    for step in steps {
        let path = format!("/programs/{name}/{step}");
        ask(host, token, "POST", &path, &Value::Null).await?;
    }
    let path = format!("/programs/{name}");
    for _ in 0..LOOKS {
        let shown = ask(host, token, "GET", &path, &Value::Null).await?;
        let reached = shown["state"].as_str().unwrap_or_default();
        if reached.eq_ignore_ascii_case(state) {
            return Ok(());
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Err(format!("{name} did not come to be {state}").into())
}

async fn ask(
    host: &TestHost,
    token: &str,
    method: &str,
    path: &str,
    body: &Value,
) -> Outcome<Value> {
    let body = if body.is_null() {
        Vec::new()
    } else {
        serde_json::to_vec(body)?
    };
    let (status, answer) = host.ask_as(token, None, method, path, &body).await;
    let text = String::from_utf8_lossy(&answer);
    if status >= 400 {
        return Err(format!("{method} {path}: {status} {text}").into());
    }
    Ok(serde_json::from_str(&text).unwrap_or_default())
}
