//! What users deploy, drawn from the seed.

use hersh_machine::SplitMix64;
use serde_json::{Value, json};

use crate::shared::CANARY;

/// A program to be: few trees, so that some are built already.
pub(crate) fn program(random: &mut SplitMix64, mark: Option<&str>) -> Value {
    let restart = *pick(random, &["never", "on-failure", "always"]);
    let memory_mib = 64 * (1 + random.below(3));
    // What listens may be started beside the one before, and some of it is.
    let (readiness, strategy) = match random.below(4) {
        0..2 => ("none", "replace"),
        2 => ("tcp", "replace"),
        _rest => ("tcp", "overlap"),
    };
    json!({
        "dockerfile": "FROM scratch\n",
        "src_files": { "version": random.below(4).to_string() },
        "env": {
            "SECRET": format!("{CANARY}{:x}", random.next_u64()),
            "MARK": format!("{CANARY}{}", mark.unwrap_or_default()),
        },
        "resources": { "memory": format!("{memory_mib}MiB") },
        "restart": restart,
        "readiness": { "kind": readiness },
        "deploy": { "strategy": strategy },
        "liveness": liveness(random),
    })
}

/// A liveness probe, or none. The shortest one finds an instance that hangs before its revision has settled.
fn liveness(random: &mut SplitMix64) -> Value {
    let kind = *pick(random, &["none", "tcp", "http", "heartbeat"]);
    if kind == "none" {
        return json!({ "kind": kind });
    }
    json!({
        "kind": kind,
        "interval": format!("{}s", 1 + random.below(5)),
        "failures": 1 + random.below(3),
        "on_failure": *pick(random, &["restart", "restart", "notify"]),
    })
}

pub(crate) fn pick<'a, T>(random: &mut SplitMix64, from: &'a [T]) -> &'a T {
    let at = usize::try_from(random.below(from.len() as u64)).unwrap_or(0);
    &from[at]
}
