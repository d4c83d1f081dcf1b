//! The WatcherAPI: what a watcher shows over HTTP, and the messages it takes.
//!
//! | request | answer |
//! |---|---|
//! | `GET /watcher/status` | `{state, isRunning, watcherID, uptime, lastUpdate}` |
//! | `GET /watcher/varState` | `{variables: {name: value or {value, error}}, count, timestamp}` |
//! | `GET /watcher/context` | `{context: {key: value}, count, timestamp}`, as committed |
//! | `POST /watcher/message {content}` | `{status: "message sent"}` |
//!
//! Errors are `{error}`: 400 malformed, 404 unknown path, 405 wrong method, 408 too slow, 409 not
//! running, 413 over 64 KiB, 503 queue full (with `Retry-After`).

mod reply;
mod routes;
mod server;

pub(crate) use server::{Server, listen, serve};
