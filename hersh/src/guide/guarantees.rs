//! What holds about order, loss, duplication and determinism.
//!
//! # Runs
//!
//! - One run at a time. The next begins only after the future of the last one is gone, whether that
//!   run returned, failed, panicked, ran out of time or was dropped by an end. Only what you start
//!   yourself runs on: a [`crate::blocking`] thread, a task you spawn.
//! - A run that does not end within [`crate::Builder::run_timeout`] is dropped at its next
//!   `await`. A run that never awaits cannot be ended from outside; move such work to
//!   [`crate::blocking`].
//! - The cleanup runs once on every way out: stop, kill, crash, a control value. Only a watcher
//!   that was never started, or whose process is killed, has no cleanup.
//!
//! # Messages
//!
//! - **With a state folder, accepted is on disk.** Status 200 of `POST /watcher/message`, and a return of
//!   [`crate::Watcher::deliver`], mean that the message is synced. It waits there over restarts, and is gone with
//!   the commit of its run: it ran if, and only if, that run was committed. What [`crate::Watcher::send`] took is
//!   on disk soon after; so is the note that a run took its message and changed nothing, because that run may happen
//!   again.
//! - **Without one it is in memory**, which the answer says (`"durable": false`), and lost with the process; the
//!   number of those lost is in the log's last line.
//! - **One run that counts.** A failed run's message comes again in the retry. When the tries are used up it is set
//!   aside with the reason, and the others go on: `GET /watcher/inbox` and `hersh inbox NAME` show it, and send
//!   it again or drop it. So is a message that took the process with it four times, or that is no
//!   [`crate::Context::message_as`] type. The changes that woke a failed run do not come again: variables keep
//!   their newest value.
//! - **A key makes it one.** A message that comes again under its [`crate::Message::key`] (`Idempotency-Key`) within a
//!   day is the same one: send it until there is an answer.
//! - **A reply** ([`crate::Context::reply`]) is committed with the run. Who waits for it ([`crate::Watcher::ask`],
//!   `?wait=run`) has it only then.
//! - **Order.** First in, first out; the messages of one sender keep their order. One that was set aside and sent again
//!   comes behind those that wait, and is back in its place after a restart.
//! - **Back-pressure.** At most [`crate::MESSAGE_CAPACITY`] messages and
//!   [`crate::MESSAGE_TOTAL_LIMIT_BYTES`] wait or are set aside; then [`crate::SendError::QueueFull`] goes to the
//!   sender, and nothing is dropped silently. Once an end is asked for, further messages are refused.
//!
//! # Watched variables
//!
//! - **The last value always arrives.** When values come faster than runs end, a run sees only the
//!   newest. Nothing queues up: a variable costs the memory of its value and of one that waits.
//! - [`crate::Context::watch_fold`] folds every answer, in order, before any value is left out: use
//!   it when every answer counts.
//! - Every run, whatever woke it, first takes in all updates that wait. So messages never starve
//!   variables, and [`crate::Triggered`] lists every cause.
//! - Updates of one variable are in order. Updates of different variables have no order but that of
//!   the runs that take them in.
//!
//! # Priority
//!
//! When several signals wait, a wish to end comes first, then messages and outcomes of effects by turns,
//! then variables. A stop lets
//! the run in progress finish within [`crate::Builder::stop_grace`]. A kill drops the run, but lets
//! a save of the context that is in progress end, within 30 s. In [`crate::main`] a run gets half
//! of the time that a stop signal grants, and the cleanup gets the rest.
//!
//! # Durable context
//!
//! - What a run sets is committed when the run succeeds, all of it or nothing. With a state folder
//!   the changes are on disk, synced, before the run counts as successful and before anybody sees
//!   them. After a crash or a power cut the context is that of the last successful run, or of the
//!   run whose save was in progress. Commits that wait are written together, with one sync.
//! - `context.json` is all that is kept after a clean end. While the watcher runs, and after a crash, a log of commits
//!   goes on with it: copy both, or neither.
//! - A run that fails, times out or is dropped leaves no trace in the context, and asked for no effect.
//!   What it did to the world by itself remains: ask for effects instead.
//! - Other files in `/state` are yours. Never open or copy a live database there from the machine,
//!   not even to read: the database's locks can't be seen outside of the sandbox, and SQLite then
//!   removes a log that is in use. `hersh state copy NAME` takes a consistent copy.
//!
//! # Effects
//!
//! - What a successful run asked for is acted on: at least once or at most once, as its
//!   [`crate::Policy`] says; with a state folder also after a crash. What a failed run asked for is not.
//! - The id of an effect is the same in every attempt, after every restart and in a replay, and no other
//!   effect has it.
//! - Each outcome has exactly one run that is committed. When that run fails, its outcome comes again in the
//!   next try, and after a crash in the next life.
//! - Of effects with one name and one key the next begins once the outcome of the one before is committed, or
//!   that one was cancelled before it began.
//! - A replay and a test never act. See [`super::acting`] for the moments of a crash.
//!
//! # Time
//!
//! - A timer ([`crate::Context::at`], [`crate::Context::after`], [`crate::Context::every`]) is a key of the
//!   durable context. With a state folder it survives restarts, and what became due meanwhile is due in the
//!   first run.
//! - Each due time has exactly one run that is committed; when that run fails, the timer is due in the retry.
//!   Of a rhythm, the times that passed without a run are told with the next one, as a number.
//! - Timers follow wall time. A clock that is set forward, or a machine that was suspended, is noticed within
//!   30 s; due times are whole milliseconds.
//!
//! # Determinism
//!
//! A run is a function of what it takes in: its message or outcome, the variables, the time, random
//! numbers, the environment and the durable context. All but the environment, which holds secrets, are in
//! the journal. So [`crate::replay`] makes the same runs again, and says where they differ from the
//! record.
//!
//! These things break determinism: `SystemTime::now()` instead of [`crate::Context::now`], a random
//! generator of your own instead of [`crate::Context::random`], the order of a `HashMap`, IO in the
//! run instead of in a source, globals. State that the closure captures is fine when a replay
//! begins with the first run of the session; a later part of the journal replays alone only when
//! what matters is in the context. A watched type must come back from its JSON as it was: no
//! skipped fields, no `NaN`. A run that did not end in time is not compared, because how far it
//! came is chance.
//!
//! # Journal
//!
//! With [`crate::Builder::journal_dir`] every run is appended as it ends. The records of a busy
//! engine wait in memory until the engine is idle, 64 KiB at most; a sync begins a second after a
//! write. So a crash of the process loses the run in progress and the records that wait. A power
//! cut also loses what was written since the last sync, a second or so. A record that was cut off
//! is recognised and left out; a record that was changed is named.
//!
//! # Failure
//!
//! | failures in a row | what follows, unless configured otherwise |
//! |---|---|
//! | 1, 2 | a light retry after 15 s, 30 s; the watcher counts as Ready |
//! | 3, 4, 5 | `WaitRecover` for 5 s, 10 s, 20 s, then a try |
//! | 6 | a message is set aside, and the rest go on; without one, the cleanup, then `Crashed` |
//!
//! A success resets the count. Stop and kill work during every delay. A hook that cannot be set
//! up in the first run crashes at once: no retry mends a name used twice.
//!
//! # Liveness
//!
//! `GET /watcher/health` is answered by another thread than the one your function runs on, so it is
//! answered while the function blocks. It says whether the engine goes on:
//!
//! | stalled (503) when | for |
//! |---|---|
//! | a run, the cleanup, a poll or a stream blocks the thread instead of awaiting | 10 s |
//! | a run is past [`crate::Builder::run_timeout`], because it blocks | 5 s |
//! | a save of the context, or a write of the journal, is under way | 10 s |
//! | a message or a stop waits, or a tick, poll or retry is due, and is not taken in | 10 s |
//! | the watcher is over, and its API has not closed yet | |
//!
//! All else is turning (200): idling for hours, awaiting within the time-out, a first run that has
//! not succeeded yet, waiting for a retry. Those are a matter of `GET /watcher/status`. Nothing is
//! done about a stalled engine but to tell: no thread can be ended from outside, so whoever
//! supervises the process has to start it again.
//!
//! The API is served by the runtime around [`crate::Builder::start`], which in [`crate::main`] is
//! the watcher's own. Of your code only `Serialize` of watched values runs there, when somebody
//! looks at them: what blocks there, or blocks that runtime in a program of your own, leaves the
//! request without an answer.
//!
//! # Bounds
//!
//! | what | at most |
//! |---|---|
//! | messages that wait or are set aside | 50,000, 64 MiB, each 64 KiB |
//! | idempotency keys | the newest 10,000, each for a day, with 4 MiB of replies; a reply has 64 KiB |
//! | watched variables at once, memos | 1,000 each; [`crate::Context::unwatch`] gives a place back |
//! | durable context | 1,000 keys, 4 MiB as JSON; each timer is a key |
//! | open effects | 10,000, 64 MiB of inputs, names and keys, each input 64 KiB; results 64 KiB each, and nothing more begins while 64 MiB of them wait; 100 names; 1,000 acted on at a time for a name |
//! | state folder | three times what is kept as JSON, and 2 MiB: a snapshot, a log about as long, and the next snapshot while it is written |
//! | log | 1,000 lines of each kind, each 8 KiB |
//! | journal | 64 MiB of finished parts, 1,000 parts, and the one being written |
