//! The document that describes the API, and the rules that the pipeline reads from it.

use std::sync::OnceLock;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use hersh_wire::Problem;
use serde_json::{Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ComponentsBuilder, Info, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

use super::{routes, rules::Rules};

struct RouteDocument {
    document: Bytes,
    rules: Rules,
}

/// The document and the rules, made once, when the first request comes.
static DESCRIBED: OnceLock<RouteDocument> = OnceLock::new();

/// Returns the rules: what each route asks of its caller.
pub(super) fn rules() -> &'static Rules {
    &described().rules
}

/// Returns the document as a JSON value, for tests.
#[cfg(test)]
pub(super) fn value() -> Value {
    serde_json::from_slice(&described().document).unwrap()
}

fn described() -> &'static RouteDocument {
    DESCRIBED.get_or_init(|| {
        // The document is made of strings and numbers, which can always be written as JSON.
        let raw = serde_json::to_value(routes().into_openapi()).unwrap_or_default();
        let rules = Rules::of(&raw);
        let document = finish(raw).to_string().into();
        RouteDocument { document, rules }
    })
}

/// Returns the document to which the routes are added.
pub(super) fn head() -> OpenApi {
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    // No route names the schema of problems, since any route may answer with a problem.
    let mut problem = vec![(Problem::name().into(), Problem::schema())];
    Problem::schemas(&mut problem);
    let components = ComponentsBuilder::new()
        .schemas_from_iter(problem)
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

/// Completes the document: writes wildcards as the document's readers know them, and adds to every
/// operation the problem that it may answer with and the form of its parameters.
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
            let parameters = operation.1.get_mut("parameters");
            for parameter in parameters
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                describe(parameter);
            }
        }
        finished.insert(path.replace("{*", "{"), item);
    }
    document["paths"] = Value::Object(finished);
    document
}

/// The patterns of parameters that have one, by the parameter's name.
const FORMS: [(&str, &str); 6] = [
    ("id", LABEL),
    ("user", LABEL),
    ("owner", LABEL),
    ("build", "^(latest|build-[0-9a-f]{12})$"),
    ("message", r"^[^\x00-\x1f\x7f-\x9f]*$"),
    ("wait", r"^[0-9]+(\.[0-9]{1,9})? ?(d|h|m|s|ms)$"),
];
const LABEL: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";

fn describe(parameter: &mut Value) {
    let form = FORMS.iter().find(|(name, _)| parameter["name"] == *name);
    let Some(schema) = parameter["schema"].as_object_mut() else {
        return;
    };
    // A parameter that may be left out is there or not: no client can send null for it.
    if let Some(Value::Array(kinds)) = schema.get("type")
        && let Some(kind) = kinds.iter().find(|kind| **kind != "null").cloned()
    {
        schema.insert("type".into(), kind);
    }
    if let Some((_, form)) = form {
        schema.insert("pattern".into(), (*form).into());
    }
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
