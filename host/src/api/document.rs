//! The API's own description, and what the gate knows from it.

use std::sync::OnceLock;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde_json::{Value, json};
use utoipa::openapi::{
    ComponentsBuilder, Info, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder,
    security::{Http, HttpAuthScheme, SecurityScheme},
};

use super::{routes, rules::Rules};

struct Described {
    document: Bytes,
    rules: Rules,
}

/// Made once, when the first request comes.
static DESCRIBED: OnceLock<Described> = OnceLock::new();

/// What each route asks of its caller.
pub(super) fn rules() -> &'static Rules {
    &described().rules
}

/// The document, as a value: for tests.
#[cfg(test)]
pub(super) fn value() -> Value {
    serde_json::from_slice(&described().document).unwrap()
}

fn described() -> &'static Described {
    DESCRIBED.get_or_init(|| {
        // It is made of strings and numbers, which can always be written.
        let raw = serde_json::to_value(routes().into_openapi()).unwrap_or_default();
        let rules = Rules::of(&raw);
        let document = finish(raw).to_string().into();
        Described { document, rules }
    })
}

/// What the routes' document begins with.
pub(super) fn head() -> OpenApi {
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = ComponentsBuilder::new()
        .security_scheme("bearer", bearer)
        .build();
    OpenApiBuilder::new()
        .info(info())
        .components(Some(components))
        .build()
}

fn info() -> Info {
    InfoBuilder::new()
        .title("Hersh host")
        .version("1")
        .license(Some(LicenseBuilder::new().name("MIT").build()))
        .description(Some(
            "Programs in gVisor sandboxes: take in, build, start, watch, remove. \
             A token's scope is read, operate or admin; operations marked 'host' are for admins.",
        ))
        .build()
}

/// Wildcards as the document's readers know them, and what any operation may answer.
fn finish(mut document: Value) -> Value {
    let problem = json!({
        "description": "What went wrong, with a stable code",
        "content": { "application/problem+json": {
            "schema": { "$ref": "#/components/schemas/Problem" }
        } }
    });
    let paths = document["paths"].as_object_mut().map(std::mem::take);
    let mut finished = serde_json::Map::new();
    for (path, mut item) in paths.into_iter().flatten() {
        for operation in item.as_object_mut().into_iter().flatten() {
            if let Some(responses) = operation.1["responses"].as_object_mut() {
                responses.insert("default".into(), problem.clone());
            }
        }
        finished.insert(path.replace("{*", "{"), item);
    }
    document["paths"] = Value::Object(finished);
    document
}

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "host",
    security(()),
    responses((status = 200, description = "An OpenAPI 3.1 document", body = Object)),
)]
pub(super) async fn openapi() -> Response {
    let body = described().document.clone();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
