//! The WatcherAPI: what a watcher shows over HTTP, and the messages it takes.
//!
//! | request | answer |
//! |---|---|
//! | `GET /watcher/` | `{watcherID, state, endpoints}` |
//! | `GET /watcher/status` | `{state, isRunning, watcherID, uptime, lastUpdate}`; 503 before the first run succeeded |
//! | `GET /watcher/health` | `{engine, cause, state, run: {since}, lastRun, nextDue, saving}`; 503 while the engine is stalled or over |
//! | `GET /watcher/config` | `{config: {serverPort, signalChanCapacity, maxLogEntries, maxMemoEntries}, timestamp}` |
//! | `GET /watcher/varState` | `{variables: {name: value or {value, error}}, count, timestamp}` |
//! | `GET /watcher/watching` | `{watchedVars: [name], count, timestamp}` |
//! | `GET /watcher/memoCache` | `{entries: {name: {type, computedAt}}, count, timestamp}` |
//! | `GET /watcher/context` | `{context: {key: value}, count, timestamp}`, as committed |
//! | `GET /watcher/effects` | `{open, settled, effects: [{id, effect, key, state, input, askedAt}], timestamp}`, the 100 oldest |
//! | `GET /watcher/signals` | `{varSigCount, userSigCount, watcherSigCount, totalPending, recentSignals, timestamp}` |
//! | `GET /watcher/logs?type=all&limit=100` | `{effectLogs, reduceLogs, watchErrorLogs, contextLogs, stateFaultLogs, effectResults}` |
//! | `GET /watcher/journal` | `{journal: {recording, runs, bytes, parts, error}, timestamp}` |
//! | `GET /watcher/metrics` | Prometheus text |
//! | `GET /watcher/events` | Server-Sent Events: `signal`, `state`, `value`, `log`, `gap`, `dropped`, `end` |
//! | `GET /watcher/openapi.json` | this table as an OpenAPI document |
//! | `GET /watcher/inbox` | `{waiting, setAside, durable, messages: [{number, content, reason, receivedAt}], timestamp}` |
//! | `POST /watcher/message {content}` | `{status: "message sent", durable, number, repeated}`; with an `Idempotency-Key`, a message counts once |
//! | `POST /watcher/message?wait=run {content}` | `{status: "done", durable, number, repeated, run, reply}`; 202 `waiting` after 25 s |
//! | `POST /watcher/inbox/{number}/again`, `/drop` | `{status}`; of a message that was set aside |
//! | `POST /watcher/stop {reason}` | 202 `{status: "stopping"}`; the body may be left out |
//!
//! Errors are `{error}`: 400 malformed, 404 unknown path, 405 wrong method, 408 too slow, 409 not
//! running, 413 over 64 KiB, 422 a message that cannot be read, 503 queue full (with `Retry-After`), 507 disk full.
//!
//! ```text
//! TCP  ─┐                       ┌─► handlers ─► what the engine shows (Shared)
//! Unix ─┴─► server ─► routes ───┤
//!           (bounded)           └─► events ◄── broadcast ◄── hub ◄── feed ◄── engine
//! ```

mod clients;
mod commands;
mod effects;
mod events;
mod frames;
mod health;
mod hub;
mod journal;
mod kept_logs;
mod listeners;
mod logs;
mod messages;
mod metrics;
mod query;
mod reply;
mod routes;
mod server;
mod settings;
mod signals;
mod socket;
mod state;
mod status;
mod values;

pub(crate) use listeners::{Listeners, listen};
pub(crate) use server::{Server, serve};
pub(crate) use settings::{Address, Settings};
