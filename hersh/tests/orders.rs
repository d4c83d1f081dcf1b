//! An order bot that is ended at random moments, beside an exchange that knows ids, loses answers and fails:
//! what was decided is executed and booked, nothing twice and nothing lost.
//!
//! The child is this program again. Odd orders are placed at least once; even ones at most once, and what is
//! unknown of them is asked for at the exchange and voided there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use hersh::{Context, Control, EffectId, Error, Outcome, Policy, Result};
use hersh_machine::SplitMix64;
use serde::{Deserialize, Serialize};

const KILLS: usize = 300;
const STOPS: usize = 100;
const SEED: u64 = 20_261_130;
/// Most executions that are waited for, and most turns after them, before an end.
const EXECUTIONS: u64 = 6;
const SPINS: u64 = 1_000_000;

const EXCHANGE: &str = "HERSH_TEST_EXCHANGE";
const DECIDES: &str = "HERSH_TEST_DECIDES";

#[test]
fn decided_is_executed_is_booked_over_400_ends() {
    let folder = tempfile::tempdir().unwrap();
    let exchange = Exchange::serve();
    let mut random = SplitMix64::new(SEED);
    for end in 0..KILLS + STOPS {
        let before = exchange.count();
        let mut child = start(folder.path(), &exchange.address, true);
        exchange.wait_for(before + random.below(EXECUTIONS));
        for _ in 0..random.below(SPINS) {
            std::hint::spin_loop();
        }
        // Every fourth end lets the watcher clean up.
        if end % 4 == 3 {
            let id = child.id().to_string();
            let told = Command::new("kill").args(["-TERM", &id]).status();
            assert!(told.unwrap().success());
        } else {
            child.kill().unwrap();
        }
        child.wait().unwrap();
    }
    let last = start(folder.path(), &exchange.address, false)
        .wait()
        .unwrap();
    assert!(last.success(), "{last}");

    let books = books(folder.path());
    let state = exchange.state.lock().unwrap();
    let executed: BTreeMap<u64, usize> =
        state
            .executed
            .values()
            .fold(BTreeMap::new(), |mut all, order| {
                *all.entry(*order).or_default() += 1;
                all
            });
    assert!(
        executed.values().all(|times| *times == 1),
        "an order under two ids"
    );
    let executed: BTreeSet<u64> = executed.into_keys().collect();
    assert_eq!(books.booked, executed, "booked is executed");
    let ended: BTreeSet<u64> = books.booked.union(&books.void).copied().collect();
    let decided: BTreeSet<u64> = (1..=books.decided).collect();
    assert_eq!(ended, decided, "each order has its end");
    assert!(
        books.void.iter().all(|order| order % 2 == 0),
        "at least once is done"
    );
    assert_eq!(state.twice, 0, "at most once is asked for once");
    println!(
        "{} orders over {} ends: {} came again, {} were unknown",
        books.decided,
        KILLS + STOPS,
        state.again,
        books.unknown
    );
    assert!(state.again > 50 && books.unknown > 50 && books.decided > 400);
}

/// What a bot keeps.
#[derive(Default, Serialize, Deserialize)]
struct Books {
    decided: u64,
    booked: BTreeSet<u64>,
    /// Orders that the exchange has not executed and never will.
    void: BTreeSet<u64>,
    unknown: u64,
}

fn books(folder: &Path) -> Books {
    let kept = std::fs::read(folder.join("context.json")).unwrap();
    let kept: serde_json::Value = serde_json::from_slice(&kept).unwrap();
    serde_json::from_value(kept["values"]["books"].clone()).unwrap()
}

/// No test of its own: what the test above starts and ends.
#[test]
fn the_bot() {
    let Ok(address) = std::env::var(EXCHANGE) else {
        return;
    };
    let decides = std::env::var_os(DECIDES).is_some();
    let _ = hersh::main(async move |cx: &mut Context| trade(cx, &address, decides).await);
}

async fn trade(cx: &mut Context, address: &str, decides: bool) -> Result {
    let tick = cx.watch_tick("tick", Duration::from_millis(1))?;
    let place = |cx: &mut Context, name, policy| {
        let address = address.to_owned();
        cx.effects(name, policy, async move |id, order: u64| {
            ask(&address, format!("{name} {id} {order}")).await
        })
    };
    let second = Duration::from_secs(1);
    let sure = place(cx, "sure", Policy::at_least_once().timeout(second))?;
    let once = place(cx, "once", Policy::at_most_once().timeout(second))?;
    let address = address.to_owned();
    let voids = cx.effects("void", Policy::at_least_once().timeout(second), {
        async move |_, (id, order): (EffectId, u64)| {
            ask(&address, format!("void {id} {order}")).await
        }
    })?;
    let mut books: Books = cx.value("books")?.unwrap_or_default();
    let mut ended = |order: u64, is_booked: bool| {
        let list = if is_booked {
            &mut books.booked
        } else {
            &mut books.void
        };
        assert!(list.insert(order), "order {order} ends twice");
    };
    if let Some(done) = sure.settled(cx)? {
        ended(done.input, done.outcome.result().is_ok());
    } else if let Some(asked) = voids.settled(cx)? {
        let answer = asked.outcome.result().map_err(Error::msg)?;
        ended(asked.input.1, answer == "executed");
    } else if let Some(done) = once.settled(cx)? {
        match done.outcome {
            Outcome::Done(_) => ended(done.input, true),
            Outcome::Failed { .. } | Outcome::Unknown { .. } | Outcome::Cancelled => {
                books.unknown += 1;
                cx.start(&voids, &(done.id, done.input))?;
            }
        }
    } else if decides && tick.is_triggered(cx) {
        books.decided += 1;
        let order = books.decided;
        match order % 2 {
            1 => cx.start(&sure, &order)?,
            _ => cx.start(&once, &order)?,
        };
    }
    cx.set("books", &books)?;
    let ends = books.booked.len() + books.void.len();
    if !decides && ends as u64 == books.decided {
        return Err(Control::stop("each order has its end").into());
    }
    Ok(())
}

/// Sends one line to the exchange, and returns its answer.
async fn ask(address: &str, line: String) -> Result<String> {
    let address = address.to_owned();
    let answer = hersh::blocking(move || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        writeln!(stream, "{line}")?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        std::io::Result::Ok(answer)
    });
    match answer.await??.trim_end() {
        "" => Err(Error::msg("the connection was closed without an answer")),
        "busy" => Err(Error::msg("busy")),
        answer => Ok(answer.to_owned()),
    }
}

fn start(folder: &Path, address: &str, decides: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["the_bot", "--exact"])
        .env(EXCHANGE, address)
        .env("HERSH_STATE_DIR", folder)
        .env("HERSH_WATCHER_ADDRESS", "none")
        .stdout(Stdio::null());
    if decides {
        command.env(DECIDES, "");
    }
    command.spawn().unwrap()
}

/// The other side: it executes an order once for each id.
struct Exchange {
    address: String,
    state: Arc<Mutex<State>>,
    news: Arc<Condvar>,
}

#[derive(Default)]
struct State {
    executed: BTreeMap<String, u64>,
    void: BTreeSet<String>,
    requests: u64,
    /// Orders that came again under their id, of those that may.
    again: u64,
    /// The same of those that must not.
    twice: u64,
}

impl Exchange {
    fn serve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let exchange = Self {
            address: listener.local_addr().unwrap().to_string(),
            state: Arc::default(),
            news: Arc::default(),
        };
        let (state, news) = (exchange.state.clone(), exchange.news.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (state, news) = (state.clone(), news.clone());
                std::thread::spawn(move || answer(&stream.unwrap(), &state, &news));
            }
        });
        exchange
    }

    fn count(&self) -> u64 {
        self.state.lock().unwrap().executed.len() as u64
    }

    fn wait_for(&self, executions: u64) {
        let state = self.state.lock().unwrap();
        let limit = Duration::from_secs(60);
        let short = |state: &mut State| (state.executed.len() as u64) < executions;
        let (_state, waited) = self.news.wait_timeout_while(state, limit, short).unwrap();
        assert!(!waited.timed_out(), "the bot places no orders");
    }
}

/// Answers one request. A bot that died in the middle has closed the connection: that is no fault here.
fn answer(stream: &TcpStream, state: &Mutex<State>, news: &Condvar) {
    let mut line = String::new();
    if BufReader::new(stream).read_line(&mut line).is_err() || !line.ends_with('\n') {
        return;
    }
    let [what, id, order] = line.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{line:?}");
    };
    let order: u64 = order.parse().unwrap();
    let mut state = state.lock().unwrap();
    state.requests += 1;
    let chance = SplitMix64::new(state.requests).below(10);
    if chance == 0 {
        let _ = writeln!(&mut &*stream, "busy");
        return;
    }
    let answer = if what == "void" && !state.executed.contains_key(id) {
        state.void.insert(id.to_owned());
        "void"
    } else if what == "void" {
        "executed"
    } else if state.void.contains(id) {
        "busy"
    } else {
        let was = state.executed.insert(id.to_owned(), order).is_some();
        match what {
            "once" => state.twice += u64::from(was),
            _ => state.again += u64::from(was),
        }
        "done"
    };
    drop(state);
    news.notify_all();
    // Every tenth answer is lost.
    if chance != 1 {
        let _ = writeln!(&mut &*stream, "{answer}");
    }
}
