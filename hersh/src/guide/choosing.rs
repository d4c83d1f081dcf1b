//! Which hook for what.
//!
//! | you have | use |
//! |---|---|
//! | commands from people or programs, none may be lost | [`Context::message`], or [`Context::message_as`] for JSON; [`Context::reply`] answers |
//! | something to ask again and again: an HTTP API, a file, a database | [`Context::watch_call`] |
//! | the same, but only some answers matter, or each must be counted | [`Context::watch_fold`] |
//! | something that pushes: a socket, a channel, a subscription | [`Context::watch_flow`] |
//! | something to do to the world: an order, a mail, a tool | [`Context::effects`], [`Context::start`] |
//! | a rhythm while the program runs: every second, every minute | [`Context::watch_tick`] |
//! | a rhythm of the calendar, over restarts: weekdays at 9:30 in New York | [`Context::every`] |
//! | a time, or some time from now, over restarts | [`Context::at`], [`Context::after`] |
//! | something to watch only for a while: an open order, an upload | a name for each, and [`Context::unwatch`] when it is over |
//! | work in pieces, each committed by itself | [`Context::run_again`] |
//! | a callback of another library that has news | [`Context::sender`] |
//! | a client, a table, a parsed file, needed in every run | [`Context::memo`], [`Context::memo_async`] |
//! | what must survive a restart | [`Context::set`], [`Context::update`], [`Context::remove`] |
//! | what only this life of the program needs | a variable that the closure captures |
//! | a long computation or a synchronous library | [`crate::blocking`] |
//! | settings | [`Context::env`] |
//!
//! # Call or flow?
//!
//! A call asks, a flow listens. Is there a `Stream`, or a socket that you read from? A flow. Is
//! there a request and an answer? A call. Both run beside your function, so that it never waits
//! for them: it sees the last good value and, if the last attempt failed, the error beside it.
//!
//! # IO in a source or in the run?
//!
//! Reading belongs in a source: it is then bounded in time, recorded, and replayed without the
//! network. Acting (placing an order, sending a mail) is an effect: a run asks for it, the engine acts
//! once the run is committed, and no retry and no replay acts again. See [`super::acting`].
//!
//! # Captured or durable?
//!
//! ```
//! use hersh::{Context, Result, testing::Test};
//!
//! let mut seen_since_start = 0;
//! let mut test = Test::new(async move |cx: &mut Context| -> Result {
//!     seen_since_start += 1; // gone after a restart, and kept when the run fails
//!     cx.update("seen", |seen: u64| seen + 1)?; // survives, and forgotten when the run fails
//!     cx.log(format!("{seen_since_start} since the start"));
//!     Ok(())
//! });
//! test.start().ok();
//! assert_eq!(test.message("x").ok().log(), "2 since the start");
//! assert_eq!(test.value::<u64>("seen"), Some(2));
//! ```
//!
//! # One function or several?
//!
//! One watcher has one function; split it into plain functions over `&mut Context` as it grows.
//! Two things that must not wait for each other are two watchers, in one program if you like.
#[allow(unused_imports, reason = "for the links above")]
use crate::Context;
