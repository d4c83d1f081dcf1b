//! Talking to a program's watcher through the host's proxy.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{args::Output, client::Client, failure::Failure, output};

pub(crate) async fn send(
    client: &Client,
    program: &str,
    message: &str,
    format: Output,
) -> Result<(), Failure> {
    let request = client
        .request(Method::POST, &["programs", program, "watcher", "message"])
        .json(&json!({ "content": message }));
    let answer: Value = client.read(request).await?;
    if format == Output::Json {
        return output::json(&answer);
    }
    output::line(answer["status"].as_str().unwrap_or("message sent"))
}

pub(crate) async fn vars(client: &Client, program: &str, format: Output) -> Result<(), Failure> {
    let variables: Value = client
        .get(&["programs", program, "watcher", "varState"])
        .await?;
    let context: Value = client
        .get(&["programs", program, "watcher", "context"])
        .await?;
    if format == Output::Json {
        return output::json(
            &json!({ "variables": variables["variables"], "context": context["context"] }),
        );
    }
    let mut rows = Vec::new();
    for (kind, values) in [
        ("variable", &variables["variables"]),
        ("context", &context["context"]),
    ] {
        for (name, value) in values.as_object().into_iter().flatten() {
            rows.push(vec![kind.to_string(), name.clone(), value.to_string()]);
        }
    }
    output::table(&["KIND", "NAME", "VALUE"], &rows)
}
