//! Variables that are watched for a while.

use std::cell::Cell;
use std::rc::Weak;
use std::time::Duration;

use futures_util::stream;

use super::*;
use crate::{Control, JournalLimits, Tick, replay};

const SECOND: Duration = Duration::from_secs(1);
/// More orders over a life than may be watched at once.
const ORDERS: u64 = 10_000;

#[tokio::test(start_paused = true)]
async fn ten_thousand_orders_pass_through_a_thousand_places() {
    let polls = Rc::new(Cell::new(0_u64));
    let counted = polls.clone();
    let managed = async move |cx: &mut Context| -> crate::Result {
        let mut next: u64 = cx.value("next")?.unwrap_or_default();
        let mut open: Vec<u64> = cx.value("open")?.unwrap_or_default();
        while open.len() < 100 && next < ORDERS {
            open.push(next);
            next += 1;
        }
        let mut still_open = Vec::new();
        for id in open {
            let name = format!("order/{id}");
            let counted = counted.clone();
            let poll = async move || {
                counted.set(counted.get() + 1);
                Ok::<_, Error>(true)
            };
            let filled = cx.watch_call(&name, SECOND, false, poll)?;
            match *filled {
                true => assert!(cx.unwatch(&name)),
                false => still_open.push(id),
            }
        }
        cx.set("next", &next)?;
        cx.set("open", &still_open)?;
        match still_open.is_empty() && next == ORDERS {
            true => Err(Control::stop("all filled").into()),
            false => Ok(()),
        }
    };
    let ending = play(plain(), managed, async |_| {}).await;
    assert_eq!(ending.to_string(), "Stopped: all filled");
    assert_eq!(polls.get(), ORDERS, "no poll after the first answer");
}

#[tokio::test(start_paused = true)]
async fn its_source_ends_and_its_stream_is_closed() {
    let held = Rc::new(());
    let open: Weak<()> = Rc::downgrade(&held);
    let held = Cell::new(Some(held));
    let managed = async move |cx: &mut Context| -> crate::Result {
        if cx.message().is_some() {
            assert!(cx.unwatch("flow") && cx.unwatch("tick"));
            assert!(!cx.unwatch("flow") && !cx.unwatch("never"));
            return Ok(());
        }
        if cx.triggered().init {
            let held = held.take();
            let values = stream::unfold(held, async |held| {
                std::future::pending::<()>().await;
                Some((Ok::<u64, Error>(1), held))
            });
            cx.watch_flow("flow", 0, || values)?;
            cx.watch_tick("tick", SECOND)?;
        }
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        pass(2_500).await;
        let runs = watcher.status().runs;
        assert!(open.upgrade().is_some());
        watcher.send("enough").unwrap();
        pass(10_000).await;
        assert!(open.upgrade().is_none(), "the stream is dropped");
        assert_eq!(watcher.status().runs, runs + 1, "no tick causes a run");
        watcher.stop("done");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_name_is_free_for_another_interval() {
    let notes = Notes::new();
    let noted = notes.clone();
    let managed = async move |cx: &mut Context| -> crate::Result {
        let fast = cx.value("fast")?.unwrap_or(true);
        let every = if fast { SECOND } else { SECOND * 10 };
        let tick = cx.watch_tick("look", every)?;
        noted.add(tick.count.to_string());
        if fast && tick.count == 2 {
            cx.unwatch("look");
            let slow = cx.watch_tick("look", SECOND * 10)?;
            assert_eq!((slow.count, slow.is_triggered(cx)), (0, false));
            cx.set("fast", &false)?;
        }
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        pass(23_500).await;
        watcher.stop("done");
    })
    .await;
    assert_eq!(notes.texts(), ["0", "1", "2", "1", "2"]);
    assert_eq!(notes.times_ms(), [0, 1_000, 2_000, 12_000, 22_000]);
}

#[tokio::test(start_paused = true)]
async fn an_update_that_waits_is_dropped_with_its_variable() {
    let managed = async |cx: &mut Context| -> crate::Result {
        let tick = cx.watch_tick("tick", SECOND)?;
        match cx.run_number() {
            1 => {
                // A tick comes due during the run, and waits for the next one.
                pass(1_500).await;
                cx.unwatch("tick");
                Ok(())
            }
            _later => {
                assert_eq!((tick.count, tick.is_triggered(cx)), (0, false));
                assert!(cx.triggered().variables.is_empty());
                Err(Control::stop("checked").into())
            }
        }
    };
    let ending = play(plain(), managed, async |watcher| {
        pass(100).await;
        watcher.send("another run").unwrap();
        pass(5_000).await;
    })
    .await;
    assert_eq!(ending.to_string(), "Stopped: checked");
}

#[tokio::test(start_paused = true)]
async fn a_replay_of_a_life_with_it_is_identical() {
    fn visit(cx: &mut Context, round: u64) -> crate::Result<Watched<Tick>> {
        let every = SECOND * (1 + u32::try_from(round % 2)?);
        Ok(cx.watch_tick(&format!("visit {}", round % 3), every)?)
    }
    async fn visits(cx: &mut Context) -> crate::Result {
        let round: u64 = cx.value("round")?.unwrap_or_default();
        let tick = visit(cx, round)?;
        cx.log(format!("{round}: {} at {:?}", tick.count, tick.at));
        if tick.count == 2 {
            cx.unwatch(&format!("visit {}", round % 3));
            cx.set("round", &(round + 1))?;
            assert_eq!(visit(cx, round + 1)?.count, 0);
        }
        Ok(())
    }
    let folder = tempfile::tempdir().unwrap();
    let limits = JournalLimits {
        part_bytes: 2_000,
        ..JournalLimits::default()
    };
    let builder = plain().journal_dir(folder.path()).journal_limits(limits);
    play(builder, visits, async |watcher| {
        pass(200_000).await;
        watcher.stop("done");
    })
    .await;
    let replayed = replay(folder.path(), visits).unwrap_or_else(|error| panic!("{error}"));
    assert!(replayed.runs > 100, "{} runs", replayed.runs);
    assert!(replayed.context["round"].as_u64().unwrap() > 30);
}
