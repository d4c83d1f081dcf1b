//! Messages that are on disk before they are accepted, and runs that are on disk before they count, beside SQLite
//! with a commit for each.

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use hersh::{Context, Watcher};
use rusqlite::Connection;

use super::{SUITE, builder, messages, runtime, seen_all};
use crate::{
    row::{Goal, Row},
    turns::{FEW_RUNS, turn_by_turn},
};

const SQLITE: &str = "SQLite";
const GOAL_RATIO: f64 = 0.8;
const MESSAGES: u64 = 2_048;
/// Messages that come at once, and share a commit on both sides.
const GROUPS: [u64; 2] = [1, 64];

/// Measures all.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for group in GROUPS {
        let sides = turn_by_turn(
            FEW_RUNS,
            [
                &|| watcher(group, Keeps::Nothing),
                &|| sqlite(group, Keeps::Nothing),
                &|| watcher(group, Keeps::Total),
                &|| sqlite(group, Keeps::Total),
            ],
        )?;
        let [[accepted], [inserted], [run], [updated]] = sides;
        let name = |what: &str| format!("durable messages, {group} at once, {what}");
        let goal = Goal::RatioAtLeast(GOAL_RATIO);
        let row =
            |what, ours, peer| Row::new(SUITE, name(what), (ours, "1/s"), (SQLITE, peer), goal);
        rows.push(row("runs keep nothing", accepted, inserted));
        rows.push(row("each run keeps a value", run, updated));
    }
    Ok(rows)
}

/// What the run of a message changes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeps {
    Nothing,
    Total,
}

/// Messages per second that a watcher accepts and runs.
fn watcher(group: u64, keeps: Keeps) -> Result<[f64; 1]> {
    let folder = tempfile::tempdir()?;
    let managed = async move |cx: &mut Context| -> hersh::Result {
        if keeps == Keeps::Total && cx.message().is_some() {
            cx.update("total", |total: u64| total + 1)?;
        }
        match cx.run_number() {
            run if run > MESSAGES => seen_all(),
            _ => Ok(()),
        }
    };
    runtime()?.block_on(async {
        let builder = builder().state_dir(folder.path());
        let watcher = builder.start(managed).await?;
        messages::ready(&watcher).await?;
        let start = Instant::now();
        send(&watcher, group).await?;
        messages::seen(&watcher).await?;
        Ok([per_second(start)])
    })
}

async fn send(watcher: &Watcher, group: u64) -> Result<()> {
    let message: Arc<str> = "a message of some length, as programs send".into();
    for _ in 0..MESSAGES / group {
        let group = (0..group).map(|_| watcher.deliver(message.clone()));
        try_join_all(group).await?;
    }
    Ok(())
}

/// The same by hand: a table of messages and a table of values. What comes at once is inserted in one commit; each
/// run is one, or shares that of the next group if it keeps nothing.
fn sqlite(group: u64, keeps: Keeps) -> Result<[f64; 1]> {
    let folder = tempfile::tempdir()?;
    let mut connection = connect(&folder.path().join("by-hand.sqlite"))?;
    let start = Instant::now();
    let mut total = 0;
    for _ in 0..MESSAGES / group {
        let transaction = connection.transaction()?;
        if keeps == Keeps::Nothing {
            transaction
                .prepare_cached("DELETE FROM messages")?
                .execute([])?;
        }
        for _ in 0..group {
            transaction
                .prepare_cached("INSERT INTO messages(content) VALUES(?1)")?
                .execute(["a message of some length, as programs send"])?;
        }
        let last = transaction.last_insert_rowid();
        transaction.commit()?;
        if keeps == Keeps::Nothing {
            continue;
        }
        for number in 1..=i64::try_from(group)? {
            total += 1;
            let transaction = connection.transaction()?;
            transaction
                .prepare_cached("INSERT OR REPLACE INTO state(key, value) VALUES('total', ?1)")?
                .execute([total])?;
            transaction
                .prepare_cached("DELETE FROM messages WHERE number = ?1")?
                .execute([last - i64::try_from(group)? + number])?;
            transaction.commit()?;
        }
    }
    let per_second = per_second(start);
    let left: i64 = connection.query_row("SELECT count(*) FROM messages", [], |row| row.get(0))?;
    ensure!(
        keeps == Keeps::Nothing || left == 0,
        "{left} messages are left"
    );
    Ok([per_second])
}

fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(
        "CREATE TABLE messages(number INTEGER PRIMARY KEY AUTOINCREMENT, content TEXT NOT NULL);
         CREATE TABLE state(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;",
    )?;
    Ok(connection)
}

#[allow(clippy::cast_precision_loss, reason = "the count is small")]
fn per_second(start: Instant) -> f64 {
    MESSAGES as f64 / start.elapsed().as_secs_f64()
}
