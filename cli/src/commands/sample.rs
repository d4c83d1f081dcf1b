//! A sample program for tests, as a host would show it.

use hersh_wire::ProgramView;
use serde_json::{Value, json};

/// Returns a program in state Ready, with `change` applied.
pub(crate) fn program(change: &Value) -> ProgramView {
    let mut view = json!({
        "program_id": "a", "state": "Ready", "build_id": "build-1", "run_build_id": "build-1",
        "attempts": 0, "proxy_url": "/programs/a/watcher/", "created_at_ms": 1,
        "changed_at_ms": 1, "manifest": {},
    });
    let change = change.as_object().unwrap().clone();
    view.as_object_mut().unwrap().extend(change);
    serde_json::from_value(view).unwrap()
}
