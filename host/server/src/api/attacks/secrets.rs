//! Secrets that come to the host, everywhere a client could put them: none comes out again, not in
//! an answer, not in the log at its finest, not before the program.

use std::{
    io::Write,
    path::Path,
    sync::{Arc, Mutex},
};

use hersh_program::ProgramId;
use tracing_subscriber::fmt::MakeWriter;

use super::{
    speech::{Answer, PATIENCE},
    world::{World, decent},
};
use crate::{api::document, auth::Token};

/// All that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    /// Everything that this process logs from now on, as JSON.
    fn of_everything() -> Self {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(log.clone());
        tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
        log
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Method and path of every operation, with the program of this world in it.
fn operations() -> Vec<(String, String)> {
    let document = document::value();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let path = path.replace("{id}", "p").replace("{build}", "latest");
            let path = path.replace("{user}", "nobody").replace("{path}", "x");
            found.push((method.to_ascii_uppercase(), path));
        }
    }
    // Last, so that there is a program for the others.
    found.sort_by_key(|operation| *operation == ("DELETE".to_owned(), "/programs/p".to_owned()));
    found
}

async fn ask(world: &World, method: &str, target: &str, headers: &str, body: &str) -> Answer {
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut client = world.connect().await;
    client.send(&request).await;
    let answer = match method {
        "HEAD" => client.head().await,
        _ => client.answer().await,
    };
    answer.unwrap_or_else(|| panic!("no answer to {method} {target}"))
}

/// What is below `folder`, but for files of these names.
fn files(folder: &Path, but: &[&str]) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(files(&path, but));
        } else if path.is_file() && !but.contains(&name.as_str()) {
            found.push((name, std::fs::read(&path).unwrap()));
        }
    }
    found
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes
        .windows(secret.len())
        .any(|part| part == secret.as_bytes())
}

#[tokio::test]
async fn no_secret_comes_out_wherever_it_was_put_in() {
    let log = Log::of_everything();
    let world = World::new(decent).await;
    let canary = Token::generate().unwrap().reveal().to_owned();
    let variable = Token::generate().unwrap().reveal().to_owned();
    let mut told = String::new();

    // As the value of a variable: one that is taken, and one that is refused.
    for end in ["", "\\u0000"] {
        let body = format!(
            r#"{{"dockerfile": "FROM scratch\n", "env": {{"SECRET": "{variable}{end}"}}, "readiness": {{"kind": "none"}}}}"#
        );
        let answer = ask(&world, "PUT", "/programs/p/source", "AUTH\r\n", &body).await;
        assert_eq!(answer.status, if end.is_empty() { 200 } else { 400 });
        told += &answer.body;
    }
    world.start_again().await;

    let escaped = canary.replacen('h', "%68", 1);
    let header = format!(
        "X-Api-Key: {canary}\r\nCookie: token={canary}\r\nReferer: /{canary}?{escaped}\r\n\
         X-Request-Id: {escaped}\r\nIdempotency-Key: {escaped}\r\nUser-Agent: {escaped}\r\n"
    );
    let mut asked = 0;
    for (method, path) in operations() {
        let named = path.replace("{token}", &canary);
        let plain = path.replace("{token}", "none");
        for (target, headers) in [
            (format!("{plain}?token={canary}"), "AUTH\r\n".to_owned()),
            (format!("{plain}?token={canary}"), String::new()),
            (named, "AUTH\r\n".to_owned()),
            (format!("{plain}/{canary}"), "AUTH\r\n".to_owned()),
            (format!("{plain}?{escaped}=1"), "AUTH\r\n".to_owned()),
            (format!("{plain}/{escaped}"), "AUTH\r\n".to_owned()),
            (plain.clone(), format!("Authorization: Bearer {canary}\r\n")),
            (plain, format!("AUTH\r\n{header}")),
        ] {
            let answer = ask(&world, &method, &target, &headers, "{}").await;
            told += &format!("{method} {path}: {}{}\n", answer.head, answer.body);
            asked += 1;
        }
    }
    for path in ["/programs/p/events?limit=1000", "/audit?limit=1000"] {
        told += &ask(&world, "GET", path, "AUTH\r\n", "").await.body;
    }
    program_removed(&world).await;
    world.shut_down();

    assert!(asked > 200, "only {asked} requests");
    let (log, seen) = (log.text(), world.seen.all().join("\n"));
    assert!(
        log.contains("created") && log.contains("\"target\""),
        "{log}"
    );
    assert!(seen.contains("GET /watcher/x HTTP/1.1"), "{seen}");
    // Written with one escape, or as it stands: the rest of both is the same.
    let canary = canary[1..].to_owned();
    for secret in [&canary, &variable, &world.token] {
        for (place, text) in [("answers", &told), ("log", &log), ("program", &seen)] {
            let line = text.lines().find(|line| line.contains(secret.as_str()));
            assert_eq!(line, None, "in the {place}");
        }
    }
    nothing_is_kept(&world, &canary, &variable);
}

/// Waits until the removal that was asked for last is over, and the program's files are gone with it.
async fn program_removed(world: &World) {
    let program = ProgramId::parse("p").unwrap();
    let gone = async {
        while world.host.registry().get(&program).is_some() {
            tokio::task::yield_now().await;
        }
    };
    let gone = tokio::time::timeout(PATIENCE, gone).await;
    gone.expect("the program is removed");
}

/// The journal keeps environments and the first token has a file; of tokens nothing else is kept.
fn nothing_is_kept(world: &World, canary: &str, variable: &str) {
    for (name, bytes) in files(&world.data(), &["admin-token"]) {
        assert!(
            !holds(&bytes, canary) && !holds(&bytes, &world.token),
            "{name}"
        );
        assert!(
            name.starts_with("journal.db") || !holds(&bytes, variable),
            "{name}"
        );
    }
}
