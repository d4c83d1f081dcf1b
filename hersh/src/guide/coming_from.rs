//! For people who know actors, or React's hooks.
//!
//! # From actors
//!
//! A watcher is one actor: a mailbox, state of its own, one message at a time, a supervisor that
//! restarts it with back-off. What differs:
//!
//! | an actor | a watcher |
//! |---|---|
//! | a handler for each kind of message | one function, run for every signal |
//! | polls by sending itself timers | [`Context::watch_call`] and [`Context::watch_tick`] |
//! | each value of a feed is a message; a fast feed fills the mailbox | a feed is a variable; a fast feed costs a slot |
//! | state in fields; lost on restart, or half changed by a crash | durable context; a failed run leaves no trace |
//! | a supervisor process decides about restarts | [`crate::Recovery`], a table; the crash is the last resort |
//! | replies to the sender | no replies: look at the context, the variables, the log |
//!
//! There is no address of a colleague, no ask, no selective receive. If you need many actors that
//! talk, use an actor library; if you need one long-lived decision maker that must not be lost
//! sight of, use a watcher.
//!
//! # From React's hooks
//!
//! The function is called again whenever something changed, and reads what it needs by calling
//! hooks. What differs:
//!
//! | React | hersh |
//! |---|---|
//! | hooks are told apart by their order, so never in an `if` | by their name: call them where you like |
//! | `useState` | captured variables, or [`Context::value`] and [`Context::set`] when it must survive |
//! | `useEffect` with dependencies | a plain `if watched.is_triggered(cx)`; what acts on the world is asked for: [`Context::start`] |
//! | `useMemo(f, dependencies)` | [`Context::memo`], with the dependencies in its name, or cleared by hand |
//! | `useSyncExternalStore` | [`Context::watch_flow`] |
//! | a render may be thrown away or repeated; no side effects in it | a run that fails leaves nothing behind, and what it asked for is not done |
//! | setting state renders again | setting the context wakes nobody: only signals cause runs |
//!
//! A variable that was registered once goes on, whether or not later runs read it: there is no
//! "unmount" but the end of the watcher.
#[allow(unused_imports, reason = "for the links above")]
use crate::Context;
