//! The OpenAPI document tells the truth: every path answers, and as its schema says.

use serde_json::{Value, json};

use crate::client::{Answer, builder, call, connect, get, up};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Checks an answer against what the document says of this status.
fn check(document: &Value, operation: &Value, answer: &Answer) {
    let said = &operation["responses"][answer.status.to_string()];
    let content = said["content"].as_object().expect(&answer.body);
    let (kind, content) = content.iter().next().unwrap();
    assert!(
        answer.head.contains(&format!("content-type: {kind}")),
        "{}",
        answer.head
    );
    let value = match kind.as_str() {
        "application/json" => answer.json(),
        _ => answer.body.clone().into(),
    };
    let mut schema = content["schema"].clone();
    schema["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&value)
        .map(|it| it.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?}: {value}");
    // A schema that allows anything would prove nothing.
    if kind == "application/json" && said["description"] != "An OpenAPI 3.1 document" {
        assert!(!validator.is_valid(&json!({ "unheard": "of" })), "{schema}");
    }
}

#[tokio::test]
async fn every_path_answers_as_the_document_says() {
    let folder = tempfile::tempdir().unwrap();
    let (watcher, address) = up(builder().journal_dir(folder.path())).await;
    watcher.send("5").unwrap();
    while watcher.value::<i64>("total").unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    let answer = get(address, "/watcher/openapi.json").await;
    assert_eq!(answer.status, 200);
    let document = answer.json();
    assert_eq!(document["info"]["title"], "WatcherAPI");
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 20, "{:?}", paths.keys());
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_ascii_uppercase();
            assert!(operation["summary"].is_string(), "{path}");
            if path == "/watcher/stop" {
                continue;
            }
            let is_of_a_message = path.contains("{number}");
            let path = &path.replace("{number}", "7");
            let answer = match path.as_str() {
                "/watcher/message" => call(address, "POST", path, "{\"content\": \"1\"}").await,
                "/watcher/events" => first_bytes(address).await,
                _ => call(address, &method, path, "").await,
            };
            let expected = if is_of_a_message { 404 } else { 200 };
            assert_eq!(answer.status, expected, "{method} {path}");
            check(&document, operation, &answer);
            if operation["responses"]["400"].is_object() {
                let refused = call(address, &method, &format!("{path}?x"), "").await;
                assert_eq!(refused.status, 400, "{method} {path}");
                check(&document, operation, &refused);
            }
        }
    }
    let stop = &paths["/watcher/stop"]["post"];
    check(
        &document,
        stop,
        &call(address, "POST", "/watcher/stop?x", "").await,
    );
    let long = "x".repeat(65 * 1024);
    check(
        &document,
        stop,
        &call(address, "POST", "/watcher/stop", &long).await,
    );
    check(
        &document,
        stop,
        &call(address, "POST", "/watcher/stop", "").await,
    );
    watcher.wait().await;
}

/// The head and the first bytes of an answer that never ends.
async fn first_bytes(address: std::net::SocketAddr) -> Answer {
    let mut stream = connect(address).await;
    let request = b"GET /watcher/events HTTP/1.0\r\nhost: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut text = String::new();
    while !text.contains("\n\n") {
        text.push(char::from(stream.read_u8().await.unwrap()));
    }
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Answer {
        status: 200,
        head: head.to_ascii_lowercase(),
        body: body.into(),
    }
}
