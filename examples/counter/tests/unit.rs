//! The counter run by run: no watcher, no waiting.

use std::time::Duration;

use counter::counter;
use hersh::testing::{Setup, Test};

#[test]
fn a_message_adds_to_the_total() {
    let mut test = Test::new(counter);
    test.start().ok();
    let run = test.message("add 5").ok();
    assert_eq!(run.log(), "added 5, the total is 5");
    test.message("add five").ok();
    assert_eq!(test.value("total"), Some(5));
}

#[test]
fn it_goes_on_from_the_total_that_it_finds() {
    let mut test = Test::with(Setup::new().context("total", &40), counter);
    test.start().ok();
    test.message("add 2").ok();
    assert_eq!(test.value("total"), Some(42));
}

#[test]
fn once_a_minute_it_tells_the_total() {
    let mut test = Test::new(counter);
    test.start().ok();
    let runs = test.advance(Duration::from_secs(150));
    let logs: Vec<String> = runs
        .iter()
        .flat_map(|run| run.logs.iter().map(ToString::to_string))
        .collect();
    assert_eq!(runs.len(), 150);
    assert_eq!(
        logs,
        ["60 ticks, the total is 0", "120 ticks, the total is 0"]
    );
}

#[test]
fn it_stops_when_told() {
    let mut test = Test::new(counter);
    test.start().ok();
    let ending = test.message("stop").ending();
    assert_eq!(ending.to_string(), "Stopped: a message said stop");
}
