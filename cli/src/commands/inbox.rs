//! The messages of a program's watcher: sent, waited for, and those that were set aside.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    args::Output,
    client::{Answer, Client},
    failure::Failure,
    message_args::{InboxOptions, SendOptions},
    output,
};

/// Most characters of a message, or of a reason, in a table.
const SHOWN_CHARS: usize = 60;

/// What `GET /watcher/inbox` answers.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Inbox {
    waiting: u64,
    set_aside: u64,
    durable: bool,
    messages: Vec<SetAside>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct SetAside {
    number: u64,
    content: String,
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    received_at: String,
}

pub(crate) async fn send(
    client: &Client,
    options: SendOptions,
    format: Output,
) -> Result<(), Failure> {
    let program = &options.program;
    let message = [&[options.message], options.more.as_slice()].concat();
    let mut request = client
        .request(Method::POST, &["programs", program, "watcher", "message"])
        .json(&json!({ "content": message.join(" ") }));
    if options.wait {
        request = request.query(&[("wait", "run")]);
    }
    if let Some(key) = &options.key {
        request = request.header("Idempotency-Key", key);
    }
    let answer = client.ask_program(request).await?;
    if answer.is_missing() {
        return Err(Failure::Failed(format!(
            "{program} takes no messages: 'hersh send' needs its POST /watcher/message, which answered {}",
            answer.status
        )));
    }
    check(program, "did not take the message", &answer)?;
    // A program that does not use the library may answer anything.
    let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match format {
        Output::Json => output::json(&told),
        Output::Table => output::line(&sentence(&told)),
    }
}

pub(crate) async fn inbox(
    client: &Client,
    options: &InboxOptions,
    format: Output,
) -> Result<(), Failure> {
    let program = &options.program;
    match (options.again, options.drop) {
        (Some(number), _) => change(client, program, (number, "again"), format).await,
        (None, Some(number)) => change(client, program, (number, "drop"), format).await,
        (None, None) => show(client, program, format).await,
    }
}

async fn show(client: &Client, program: &str, format: Output) -> Result<(), Failure> {
    let request = client.request(Method::GET, &["programs", program, "watcher", "inbox"]);
    let answer = client.ask_program(request).await?;
    if answer.is_missing() {
        return Err(Failure::Failed(format!(
            "{program} shows no inbox: 'hersh inbox' needs its GET /watcher/inbox, which answered {}",
            answer.status
        )));
    }
    check(program, "does not show its inbox", &answer)?;
    let inbox: Inbox = serde_json::from_slice(&answer.body).map_err(|error| {
        Failure::Failed(format!("the inbox of {program} can't be read: {error}"))
    })?;
    if format == Output::Json {
        return output::json(&inbox);
    }
    let rows: Vec<Vec<String>> = inbox.messages.iter().map(row).collect();
    output::table(&["NUMBER", "RECEIVED", "MESSAGE", "REASON"], &rows)?;
    let place = if inbox.durable {
        "on disk"
    } else {
        "in memory"
    };
    output::note(&format!(
        "{} wait {place}, {} are set aside",
        inbox.waiting, inbox.set_aside
    ));
    if inbox.set_aside > 0 {
        output::note(&format!(
            "next: hersh inbox {program} --again NUMBER, or --drop NUMBER"
        ));
    }
    Ok(())
}

async fn change(
    client: &Client,
    program: &str,
    (number, change): (u64, &str),
    format: Output,
) -> Result<(), Failure> {
    let text = number.to_string();
    let segments = ["programs", program, "watcher", "inbox", &text, change];
    let answer = client
        .ask_program(client.request(Method::POST, &segments))
        .await?;
    check(program, "did not do it", &answer)?;
    let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match format {
        Output::Json => output::json(&told),
        Output::Table => {
            let status = told["status"].as_str().unwrap_or("done");
            output::line(&format!("message {number}: {status}"))
        }
    }
}

/// Fails unless the program did what it was asked for.
fn check(program: &str, failed: &str, answer: &Answer) -> Result<(), Failure> {
    if answer.status.is_success() {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "{program} {failed}: it answered {}: {}",
        answer.status,
        answer.text()
    )))
}

/// Says what became of a message. A program that does not use the library may say less.
fn sentence(told: &Value) -> String {
    let status = told["status"].as_str().unwrap_or("message sent");
    if status == "done" {
        return match told.get("reply").filter(|reply| !reply.is_null()) {
            None => "its run is committed".to_owned(),
            Some(reply) => reply.to_string(),
        };
    }
    let mut words = vec![status.to_owned()];
    match told["durable"].as_bool() {
        Some(true) => words.push("it is on disk".to_owned()),
        Some(false) => {
            words.push("it is in memory alone, and lost when the program ends".to_owned());
        }
        None => {}
    }
    if told["repeated"] == true {
        words.push("it came before under this key".to_owned());
    }
    words.join("; ")
}

fn row(message: &SetAside) -> Vec<String> {
    vec![
        message.number.to_string(),
        message.received_at.clone(),
        output::cut(&message.content, SHOWN_CHARS),
        output::cut(&message.reason, SHOWN_CHARS),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_says_what_is_known() {
        for (told, said) in [
            (json!({"status": "message sent"}), "message sent"),
            (
                json!({"status": "message sent", "durable": true, "repeated": false}),
                "message sent; it is on disk",
            ),
            (
                json!({"status": "message sent", "durable": true, "repeated": true}),
                "message sent; it is on disk; it came before under this key",
            ),
            (
                json!({"status": "waiting", "durable": false}),
                "waiting; it is in memory alone, and lost when the program ends",
            ),
            (
                json!({"status": "done", "reply": {"total": 5}}),
                "{\"total\":5}",
            ),
            (json!({"status": "done"}), "its run is committed"),
        ] {
            assert_eq!(sentence(&told), said);
        }
    }
}
