//! Listing, showing and steering programs.

use hersh_wire::{ByteSize, Code, ProgramList, ProgramView, ReceiptView, Resources};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    args::{CommandOptions, Output},
    client::Client,
    failure::Failure,
    output,
};

pub(crate) async fn list(client: &Client, format: Output) -> Result<(), Failure> {
    let programs = all(client).await?;
    match format {
        Output::Json => output::json(&json!({ "programs": programs })),
        Output::Table => {
            let rows: Vec<Vec<String>> = programs.iter().map(row).collect();
            output::table(&["PROGRAM", "STATE", "SINCE", "BUILD", "NOTE"], &rows)
        }
    }
}

/// Every program, page by page.
async fn all(client: &Client) -> Result<Vec<ProgramView>, Failure> {
    let mut programs = Vec::new();
    let mut query = vec![("limit", "1000".to_owned())];
    loop {
        let request = client.request(Method::GET, &["programs"]).query(&query);
        let page: ProgramList = client.read(request).await?;
        programs.extend(page.programs);
        match page.next_cursor {
            Some(cursor) => {
                query.truncate(1);
                query.push(("cursor", cursor));
            }
            None => return Ok(programs),
        }
    }
}

/// A cause in a list is cut here; `inspect` shows it whole.
const NOTE_CHARS_MAX: usize = 80;

fn row(view: &ProgramView) -> Vec<String> {
    let note = view
        .cause
        .as_ref()
        .map_or_else(String::new, |cause| cause.message.clone());
    let mut note = output::cut(note.lines().next().unwrap_or(""), NOTE_CHARS_MAX);
    if note.is_empty() && view.attempts > 0 {
        note = format!("automatic start {} since it last ran well", view.attempts);
    }
    vec![
        view.program_id.clone(),
        view.state.clone(),
        output::age(view.changed_at_ms),
        view.build_id.clone(),
        note,
    ]
}

/// Prints one program as a row.
pub(crate) fn show(view: &ProgramView, format: Output) -> Result<(), Failure> {
    match format {
        Output::Json => output::json(view),
        Output::Table => output::table(
            &["PROGRAM", "STATE", "SINCE", "BUILD", "NOTE"],
            &[row(view)],
        ),
    }
}

pub(crate) async fn inspect(client: &Client, program: &str, format: Output) -> Result<(), Failure> {
    let view: ProgramView = client.get(&["programs", program]).await?;
    let receipt: Option<ReceiptView> = match client.get(&["programs", program, "receipt"]).await {
        Ok(receipt) => Some(receipt),
        Err(Failure::Refused(problem)) if problem.code == Code::NotFound => None,
        Err(failure) => return Err(failure),
    };
    if format == Output::Json {
        return output::json(&json!({ "program": view, "receipt": receipt }));
    }
    let mut rows = vec![
        ("program", view.program_id.clone()),
        (
            "state",
            format!("{} for {}", view.state, output::age(view.changed_at_ms)),
        ),
        ("build", view.build_id.clone()),
        ("watcher", view.proxy_url.clone()),
        ("limits", limits(&view.manifest.resources)),
    ];
    rows.extend(view.image_id.iter().map(|image| ("image", image.clone())));
    rows.extend(
        view.container_id
            .iter()
            .map(|container| ("container", container.clone())),
    );
    rows.extend(
        view.cause
            .iter()
            .map(|cause| ("cause", cause.message.clone())),
    );
    if let Some(retry) = &view.retry {
        rows.push((
            "retry",
            format!(
                "start {} in {}",
                view.attempts + 1,
                output::until(retry.due_at_ms)
            ),
        ));
    }
    if let Some(receipt) = &receipt {
        rows.extend(receipt_rows(&view, receipt));
    }
    for (key, value) in rows {
        output::line(&format!("{key:<10} {value}"))?;
    }
    for line in view.cause.iter().flat_map(|cause| &cause.logs) {
        output::line(&format!("  | {line}"))?;
    }
    Ok(())
}

fn receipt_rows(view: &ProgramView, receipt: &ReceiptView) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if view.container_id.is_none() {
        let note = "of the last start; nothing runs now".to_string();
        rows.push(("receipt", note));
    }
    rows.push(("runtime", receipt.runtime.clone()));
    rows.push(("kernel", receipt.kernel.clone()));
    for contract in &receipt.contracts {
        let verified = contract.verified.join(", ");
        rows.push(("contract", format!("{}: {verified}", contract.name)));
    }
    rows
}

fn limits(resources: &Resources) -> String {
    let size = |size: Option<ByteSize>| size.map_or_else(String::new, String::from);
    format!(
        "{} memory, {} cores, {} processes, {} /state, {} /tmp",
        size(resources.memory),
        resources.cpus.unwrap_or_default(),
        resources.pids.unwrap_or_default(),
        size(resources.state),
        size(resources.tmp),
    )
}

pub(crate) async fn command(
    client: &Client,
    verb: &str,
    options: &CommandOptions,
    format: Output,
) -> Result<(), Failure> {
    let request = client.request(Method::POST, &["programs", &options.program, verb]);
    let request = if options.detach {
        request
    } else {
        request.query(&[("wait", "1h")])
    };
    let view: ProgramView = client.read(request).await?;
    match failed(&view) {
        Some(failure) if !options.detach => Err(failure),
        _ => show(&view, format),
    }
}

/// The failure of a program that settled in `Error`.
pub(crate) fn failed(view: &ProgramView) -> Option<Failure> {
    let cause = view.cause.as_ref().filter(|_| view.state == "Error")?;
    let logs: String = cause
        .logs
        .iter()
        .map(|line| format!("\n  | {line}"))
        .collect();
    let retry = if view.retry.is_some() {
        "; it will be tried again by its restart policy"
    } else {
        ""
    };
    let failure = match cause.code.as_str() {
        "runtime_unavailable" => Failure::Unavailable,
        _ => Failure::Failed,
    };
    Some(failure(format!(
        "{} failed: {}{retry}{logs}",
        view.program_id, cause.message
    )))
}

pub(crate) async fn remove(client: &Client, options: &CommandOptions) -> Result<(), Failure> {
    let request = client.request(Method::DELETE, &["programs", &options.program]);
    let request = if options.detach {
        request
    } else {
        request.query(&[("wait", "1h")])
    };
    let answer = client.send(request).await?;
    let done = if answer.status() == StatusCode::NO_CONTENT {
        "removed"
    } else {
        "being removed"
    };
    output::line(&format!("{} is {done}", options.program))
}

#[cfg(test)]
mod tests {
    use hersh_wire::Problem;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::args::Connection;

    /// A host that gives one answer.
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
        let options = CommandOptions {
            program: "counter".into(),
            detach: false,
        };
        for (code, exit_code) in [(Code::Conflict, 1), (Code::EngineUnavailable, 7)] {
            let connection = Connection {
                host: answering(Problem::new(code, "not removed: the cause")).await,
                token_file: token_file.clone(),
                ca_file: None,
                insecure_http: false,
            };
            let client = Client::new(&connection).unwrap();
            let failure = remove(&client, &options).await.unwrap_err();
            assert_eq!(failure.to_string(), "not removed: the cause");
            assert_eq!(failure.exit_code(), exit_code);
        }
    }
}
