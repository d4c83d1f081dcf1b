//! The reactive framework: what a run, a wait and a variable cost.
//!
//! ```text
//! messages     one thread ──flood──► inbox ──► a function that does nothing
//! round-trip   one thread ──► function ──► the same thread, which spins
//! idle         processor time and memory of a watcher that waits, in processes of their own
//! growth       memory by variable and by signal
//! flow         streams ──► variables ──► a function that reads them all
//! journal      the messages once more, each run recorded
//! durable      messages on disk before they are accepted, runs before they count; beside SQLite
//! api          wrk ──► WatcherAPI
//! ```
//! Peers: the same by hand on tokio (the floor: no commit, no state that others can see, no stop
//! that is decided while a run is in progress), and kameo, an actor library. Goals are ratios to what is
//! measured in the same run. Figures of the earlier implementation in Go are from another machine: they
//! are printed for reference, and nothing is decided by them.

mod actor;
mod api;
mod bare;
mod bare_flow;
mod durable;
mod flood;
mod flow;
mod growth;
mod idle;
mod journal;
mod messages;
mod round_trip;

use anyhow::{Result, bail};
use hersh::{Builder, Control, Watcher};
use tokio::runtime::Runtime;

use crate::row::Row;

const SUITE: &str = "watcher";
const GO: &str = "Go (reference)";
const BARE: &str = "bare tokio loop";

/// A part of the suite: its name, and what takes its rows.
type Part = (&'static str, fn() -> Result<Vec<Row>>);

/// All parts, in the order of their rows.
const PARTS: [Part; 8] = [
    ("messages", messages::rows),
    ("round-trip", round_trip::rows),
    ("idle", idle::rows),
    ("growth", growth::rows),
    ("flow", flow::rows),
    ("journal", journal::rows),
    ("durable", durable::rows),
    ("api", api::rows),
];

/// Measures all, or the one part that is named.
pub(crate) fn suite(only: Option<&str>) -> Result<Vec<Row>> {
    let names = PARTS.map(|(name, _)| name);
    if let Some(only) = only
        && !names.contains(&only)
    {
        bail!("no part '{only}': there are {}", names.join(", "));
    }
    let mut rows = Vec::new();
    for (_, part) in PARTS
        .iter()
        .filter(|(name, _)| only.is_none_or(|only| only == *name))
    {
        rows.extend(part()?);
    }
    Ok(rows)
}

/// What a process of its own measures.
pub(crate) fn child(what: &str) -> Result<()> {
    match what {
        "per-variable" => growth::child_per_variable(),
        "per-signal" => growth::child_per_signal(),
        _ => idle::child(what),
    }
}

/// A runtime of one thread.
fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

/// A watcher with default settings: nothing durable, no API.
fn builder() -> Builder {
    Watcher::builder("bench")
}

/// What the managed functions end with.
fn seen_all() -> hersh::Result {
    Err(Control::stop("all seen").into())
}
