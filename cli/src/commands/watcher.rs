//! Talks to a program's watcher through the host's proxy. A program that does not use the `hersh` library may
//! have all of the watcher's API, a part of it, or nothing.

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::{
    args::Output,
    client::{Answer, Client},
    failure::Failure,
    output,
};

pub(crate) async fn vars(client: &Client, program: &str, format: Output) -> Result<(), Failure> {
    let variables = part(client, program, "varState", "variables").await?;
    let context = part(client, program, "context", "context").await?;
    if let (Err(no_variables), Err(no_context)) = (&variables, &context) {
        return Err(Failure::Failed(format!(
            "{program} shows neither variables nor context: 'hersh vars' needs its GET /watcher/varState ({no_variables}) or GET /watcher/context ({no_context})"
        )));
    }
    for (endpoint, part) in [("varState", &variables), ("context", &context)] {
        if let Err(why) = part {
            output::note(&format!("{program} has no GET /watcher/{endpoint}: {why}"));
        }
    }
    let (variables, context) = (variables.ok(), context.ok());
    if format == Output::Json {
        return output::json(&json!({ "variables": variables, "context": context }));
    }
    let mut rows = Vec::new();
    for (kind, values) in [("variable", variables), ("context", context)] {
        for (name, value) in values.into_iter().flatten() {
            rows.push(vec![kind.to_owned(), name, value.to_string()]);
        }
    }
    output::table(&["KIND", "NAME", "VALUE"], &rows)
}

/// Returns the object under `key` in the answer of one of the program's endpoints, or the reason why there is
/// none.
async fn part(
    client: &Client,
    program: &str,
    endpoint: &str,
    key: &str,
) -> Result<Result<Map<String, Value>, String>, Failure> {
    let segments = ["programs", program, "watcher", endpoint];
    let answer = client.ask_program(client.request(Method::GET, &segments));
    Ok(object(&answer.await?, key))
}

fn object(answer: &Answer, key: &str) -> Result<Map<String, Value>, String> {
    if !answer.status.is_success() {
        return Err(format!("it answered {}", answer.status));
    }
    let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match told.get(key) {
        Some(Value::Object(values)) => Ok(values.clone()),
        Some(_) | None => Err(format!("it answered no JSON with an object \"{key}\"")),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    fn answer(status: StatusCode, body: &str) -> Answer {
        Answer {
            status,
            body: body.into(),
        }
    }

    #[test]
    fn an_endpoint_that_is_not_the_watchers_says_why() {
        let there = answer(StatusCode::OK, r#"{"context":{"a":1}}"#);
        assert_eq!(object(&there, "context").unwrap()["a"], 1);
        for (status, body, why) in [
            (StatusCode::NOT_FOUND, "nothing", "404"),
            (StatusCode::OK, "<html>", "no JSON"),
            (StatusCode::OK, r#"{"context":[1]}"#, "no JSON"),
            (StatusCode::OK, "[]", "no JSON"),
        ] {
            let said = object(&answer(status, body), "context").unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
