//! `hersh rm`.

use std::io::{BufRead, IsTerminal};

use hersh_wire::ProgramView;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::programs;
use crate::{
    args::{Output, RemoveOptions},
    client::Client,
    failure::Failure,
    output,
};

pub(crate) async fn remove(
    client: &Client,
    options: &RemoveOptions,
    format: Output,
) -> Result<(), Failure> {
    let id = &options.program;
    if !options.yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        let view: ProgramView = client.get(&["programs", id]).await?;
        if !programs::is_at_rest(&view) {
            agree(&view, std::io::stdin().lock())?;
        }
    }
    let request = client.request(Method::DELETE, &["programs", id]);
    let request = if options.detach {
        request
    } else {
        request.query(&[("wait", "1h")])
    };
    let answer = client.send(request).await?;
    let removed = answer.status() == StatusCode::NO_CONTENT;
    if format == Output::Json {
        return output::json(&json!({ "program_id": id, "removed": removed }));
    }
    let done = if removed { "removed" } else { "being removed" };
    output::line(&format!("{id} is {done}"))
}

/// Asks a person whether to remove a program that runs.
fn agree(view: &ProgramView, mut answers: impl BufRead) -> Result<(), Failure> {
    output::note(&format!(
        "{} is {}. Its source, logs and /state go with it, for good. Remove it? [y/N]",
        view.program_id, view.state
    ));
    let mut answer = String::new();
    let read = answers.read_line(&mut answer);
    match (read, answer.trim().to_ascii_lowercase().as_str()) {
        (Ok(_), "y" | "yes") => Ok(()),
        (Ok(_) | Err(_), _) => Err(Failure::Interrupted(format!(
            "{} stays as it is; --yes removes it without asking",
            view.program_id
        ))),
    }
}

#[cfg(test)]
mod tests {
    use hersh_wire::{Code, Problem};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::{args::Connection, commands::sample};

    /// Returns the address of a host that gives one answer.
    async fn answering(problem: Problem) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let body = serde_json::to_string(&problem).unwrap();
        let answer = format!(
            "HTTP/1.1 {} no\r\ncontent-length: {}\r\n\r\n{body}",
            problem.status,
            body.len()
        );
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn a_removal_that_failed_fails_with_its_cause() {
        let folder = tempfile::tempdir().unwrap();
        let token_file = folder.path().join("token");
        std::fs::write(&token_file, "none").unwrap();
        let options = RemoveOptions {
            program: "counter".into(),
            detach: false,
            yes: true,
        };
        for (code, exit_code) in [(Code::Conflict, 1), (Code::EngineUnavailable, 7)] {
            let connection = Connection {
                host: answering(Problem::new(code, "not removed: the cause")).await,
                token_file: Some(token_file.clone()),
                ca_file: None,
                insecure_http: false,
            };
            let client = Client::new(&connection).unwrap();
            let failure = remove(&client, &options, Output::Table).await.unwrap_err();
            assert_eq!(failure.to_string(), "not removed: the cause");
            assert_eq!(failure.exit_code(), exit_code);
        }
    }

    #[test]
    fn only_a_clear_yes_removes_what_runs() {
        let view = sample::program(&json!({ "program_id": "counter" }));
        for yes in ["y\n", "Y\n", "yes\n", " YES \n"] {
            assert!(agree(&view, yes.as_bytes()).is_ok(), "{yes:?}");
        }
        for no in ["", "\n", "n\n", "yeah\n", "counter\n"] {
            let failure = agree(&view, no.as_bytes()).unwrap_err();
            assert!(failure.to_string().contains("stays as it is"), "{no:?}");
        }
    }
}
