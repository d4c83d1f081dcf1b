//! The rules of the routes: what each route asks of its caller. They are read from the same document
//! that clients read.
//!
//! ```text
//! #[utoipa::path(..., security(("bearer" = ["operate"])))] ─► document ─► Rules ─► pipeline
//! ```
//! `read`, `operate` and `admin` are scopes. `host` beside a scope says that the route is about the host,
//! so it is for admins only. `security(())` says that anybody may ask. Nobody may ask for a route that
//! says nothing: the pipeline refuses every request for it, and a test names it.

use std::collections::BTreeMap;

use axum::http::Method;
use serde_json::Value;

use crate::auth::{RouteOwner, Rule, Scope};

/// The callers that may ask for a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody, without a token too.
    Public,
    /// Callers with a token that fits the rule.
    Token(Rule),
}

/// The rules of all routes, by path and method.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules(BTreeMap<String, BTreeMap<String, Access>>);

impl Rules {
    /// Reads the rules from an OpenAPI document.
    pub(super) fn of(document: &Value) -> Self {
        let mut rules = Self::default();
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                if let Some(access) = access(operation) {
                    let methods = rules.0.entry(path.clone()).or_default();
                    methods.insert(method.to_ascii_uppercase(), access);
                }
            }
        }
        rules
    }

    /// Returns who may ask for `path`, as the router matched it, with `method`; `None` if nobody may.
    pub(super) fn access(&self, path: &str, method: &Method) -> Option<Access> {
        let methods = self.0.get(path)?;
        let found = methods.get(method.as_str());
        // A caller that may ask with GET may ask for the headers alone, with HEAD.
        let found = found.or_else(|| match *method {
            Method::HEAD => methods.get(Method::GET.as_str()),
            _ => None,
        });
        found.copied()
    }

    /// Returns the methods of `path`, for an `Allow` header.
    pub(super) fn methods(&self, path: &str) -> String {
        let methods = self.0.get(path).into_iter().flat_map(BTreeMap::keys);
        methods.map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

fn access(operation: &Value) -> Option<Access> {
    let asked = operation["security"].as_array()?.first()?.as_object()?;
    let Some(words) = asked.get("bearer") else {
        return asked.is_empty().then_some(Access::Public);
    };
    let words: Vec<&str> = words.as_array()?.iter().filter_map(Value::as_str).collect();
    let scope = words.iter().find_map(|word| Scope::parse(word))?;
    let reach = if words.contains(&"host") {
        RouteOwner::Host
    } else {
        RouteOwner::Own
    };
    Some(Access::Token(Rule { scope, reach }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_route_without_a_rule_allows_nothing() {
        let document = json!({ "paths": {
            "/a": {
                "get": { "security": [{ "bearer": ["read"] }] },
                "post": { "security": [{ "bearer": ["admin", "host"] }] },
                "put": {},
                "delete": { "security": [{ "bearer": ["everything"] }] },
            },
            "/open": { "get": { "security": [{}] } },
        }});
        let rules = Rules::of(&document);
        let token = |scope, reach| Some(Access::Token(Rule { scope, reach }));
        assert_eq!(
            rules.access("/a", &Method::GET),
            token(Scope::Read, RouteOwner::Own)
        );
        assert_eq!(
            rules.access("/a", &Method::HEAD),
            token(Scope::Read, RouteOwner::Own)
        );
        assert_eq!(
            rules.access("/a", &Method::POST),
            token(Scope::Admin, RouteOwner::Host)
        );
        assert_eq!(rules.access("/open", &Method::GET), Some(Access::Public));
        for (path, method) in [
            ("/a", Method::PUT),
            ("/a", Method::DELETE),
            ("/a", Method::OPTIONS),
            ("/b", Method::GET),
        ] {
            assert_eq!(rules.access(path, &method), None, "{method} {path}");
        }
        assert_eq!(rules.methods("/a"), "GET, POST");
    }
}
