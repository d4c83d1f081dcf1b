//! A reactive framework: one managed function, run again whenever a signal arrives.
//!
//! ```text
//! messages ──┐                                       ┌─► durable context (/state)
//! calls    ──┤                                       ├─► effects ─► acts on the world ─► outcome ─┐
//! flows    ──┼─► inbox ─► engine ─► your function ───┼─► log                                      │
//! ticks    ──┤   (bounded)  (pure)    (never twice   ├─► journal ─► replay                        │
//! outcomes ──┤                         at a time)    └─► WatcherAPI :8080                         │
//! stop     ──┘◄───────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! You write one `async` function over [`Context`]. It runs once at the start and then for each
//! signal: every message has exactly one run, in order; a changed variable has one soon; every run
//! first takes in all variable updates that wait. What a run sets in the context is committed when
//! the run succeeds, and survives restarts. A failed run leaves no trace and is tried again, by
//! [`Recovery`]. What a run wants done to the world it asks for, with [`Context::effects`]: that is done once
//! the run is committed. The [`guide`] says what exactly holds, which hook is for what, and how this
//! framework compares with actors and React.
//!
//! # A first program
//!
//! ```no_run
//! use std::time::Duration;
//!
//! async fn managed(cx: &mut hersh::Context) -> hersh::Result {
//!     let tick = cx.watch_tick("tick", Duration::from_secs(1))?;
//!     if let Some(name) = cx.message() {
//!         let greeted = cx.update("greeted", |n: u64| n + 1)?;
//!         cx.log(format!("hello {name}, you are number {greeted}"));
//!     }
//!     if tick.is_triggered(cx) && tick.count % 60 == 0 {
//!         cx.log("another minute");
//!     }
//!     Ok(())
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     hersh::main(managed)
//! }
//! ```
//!
//! Start it, and send it a message from another terminal:
//!
//! ```text
//! HERSH_STATE_DIR=state HERSH_WATCHER_ADDRESS=127.0.0.1:8080 cargo run
//! curl -d '{"content": "Ada"}' http://127.0.0.1:8080/watcher/message
//! ```
//!
//! # Its test
//!
//! ```
//! # use std::time::Duration;
//! # async fn managed(cx: &mut hersh::Context) -> hersh::Result {
//! #     let tick = cx.watch_tick("tick", Duration::from_secs(1))?;
//! #     if let Some(name) = cx.message() {
//! #         let greeted = cx.update("greeted", |n: u64| n + 1)?;
//! #         cx.log(format!("hello {name}, you are number {greeted}"));
//! #     }
//! #     if tick.is_triggered(cx) && tick.count % 60 == 0 {
//! #         cx.log("another minute");
//! #     }
//! #     Ok(())
//! # }
//! let mut test = hersh::testing::Test::new(managed);
//! test.start().ok();
//! assert_eq!(test.message("Ada").ok().log(), "hello Ada, you are number 1");
//! let runs = test.advance(Duration::from_secs(60));
//! assert_eq!(runs[59].log(), "another minute");
//! ```
//!
//! # What happened last night?
//!
//! With `HERSH_JOURNAL_DIR=journal` every run is recorded. `HERSH_REPLAY=journal cargo run`, or
//! [`replay`] in a test, makes the same runs again with the program as it is now, and names the
//! first run that differs; [`compare`] goes on and sums up, for a changed strategy. Neither acts on the world, because no run does: the engine acts on what runs
//! ask for.
//!
//! # Embedded
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use hersh::{Control, Watcher};
//!
//! let mut seen = Vec::new();
//! let watcher = Watcher::builder("collector")
//!     .start(async move |cx: &mut hersh::Context| -> hersh::Result {
//!         let Some(message) = cx.message() else {
//!             return Ok(());
//!         };
//!         seen.push(message);
//!         if seen.len() == 2 {
//!             return Err(Control::stop("seen both").into());
//!         }
//!         Ok(())
//!     })
//!     .await?;
//! watcher.send("one")?;
//! watcher.send("two")?;
//! assert_eq!(watcher.wait().await.reason.as_ref(), "seen both");
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! `api` (default): the WatcherAPI, an HTTP server on a port, a Unix socket or both. Without it no
//! HTTP code comes along.

// The way of a signal through the folders; no two of them know each other:
//
//   watcher (settings, start, handle)          sources (ticks, polls, streams)
//          │ messages, stop, kill                 │ the newest value of each variable
//          └────────────────► inbox ◄─────────────┘
//                               │ bell, one message, all changed variables
//         engine (pure) ◄────► run ──► your function, over the context
//                               │
//           store (/state) ◄────┼────► journal ──► replay (the same function, given inputs)
//             │  ▲              │
//             ▼  │ outcomes     │
//           effects (act)       ▼
//                            shared (state, log, signals) ──► handles, api (the WatcherAPI)
//
//   error: what a function or a start fails with      base: time, locks, panics; knows nobody
//   testing: single runs and whole watchers, in virtual time

#[cfg(feature = "api")]
mod api;
mod base;
mod effects;
mod engine;
mod error;
mod inbox;
mod journal;
mod replay;
mod run;
mod shared;
mod sources;
mod store;
mod timers;
mod watcher;

pub mod guide;
pub mod testing;

pub use effects::{Outcome, Policy, SettledEffect};
pub use engine::{EndKind, Ending, Recovery, Verdict, WatcherState};
pub use error::{
    CONTEXT_KEY_LIMIT, CONTEXT_LIMIT_BYTES, Control, EFFECT_LIMIT, EFFECT_LIMIT_BYTES,
    EFFECT_NAME_LIMIT, EFFECT_TOTAL_LIMIT_BYTES, Error, HookError, INTERVAL_MAX, INTERVAL_MIN,
    KEY_LIMIT, KEY_LIMIT_BYTES, KEY_REPLIES_LIMIT_BYTES, MEMO_LIMIT, NAME_LIMIT_BYTES,
    REPLY_LIMIT_BYTES, Result, StartError, WATCH_LIMIT,
};
pub use inbox::{
    MESSAGE_CAPACITY, MESSAGE_LIMIT_BYTES, MESSAGE_TOTAL_LIMIT_BYTES, SendError, Shown, Watchable,
};
pub use journal::JournalLimits;
pub use replay::{
    Comparison, Counts, DIFFERENCE_LIMIT, Difference, Divergence, ReplayError, Replayed,
};
pub use run::{Context, Effects, Timer, Triggered, Watched, blocking};
pub use shared::{
    LOG_LINE_LIMIT, LOG_MESSAGE_LIMIT_BYTES, Level, LogKind, LogLine, Message, Receipt, Sender,
    Status,
};
pub use sources::Tick;
pub use store::{
    CONTEXT_FILES, ContextChange, ContextChangeError, EffectId, EffectIdError, change_context,
};
pub use watcher::{Answer, AskError, Builder, Watcher, compare, main, replay};
