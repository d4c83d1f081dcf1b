//! The trader run by run: the test says what it costs and when, and looks at what each run did.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use hersh::testing::{Setup, Test};
use trader::money::{Amount, Cents};
use trader::portfolio::Portfolio;
use trader::trader;

const MINUTE: Duration = Duration::from_secs(60);

/// Messages that begin the day with 40 % btc, 40 % eth and 20 % cash.
const BOUGHT: [&str; 2] = ["buy btc 0.666666", "buy eth 13.333333"];

#[test]
fn orders_are_filled_at_the_newest_price() {
    let mut test = Test::new(trader);
    test.start().ok();
    test.change("btc", &Cents(5_000_000)).ok();
    let run = test.message("buy btc 0.5").ok();
    assert!(run.log().ends_with("bought 0.5 btc at 50000.00, fee 25.00"));
    let run = test.message("sell btc 0.2").ok();
    assert!(run.log().ends_with("sold 0.2 btc at 50000.00, fee 10.00"));

    let portfolio: Portfolio = test.value("portfolio").unwrap();
    assert_eq!(portfolio.held.btc, Amount(300_000));
    assert_eq!(portfolio.cash, Cents(8_496_500));
    let run = test.message("report").ok();
    assert_eq!(
        run.log(),
        "0.3 btc, 0 eth, 84965.00 in cash, 35.00 paid in fees, all worth 99965.00"
    );
}

#[test]
fn what_cannot_be_done_is_told_and_changes_nothing() {
    let mut test = Test::new(trader);
    test.start().ok();
    for (message, told) in [
        ("sell btc 1", "refused to sell 1 btc: only 0 btc is held"),
        ("buy btc 9", "and there is 100000.00"),
        ("target eth 61", "101 percent of all that is owned cannot"),
        ("hodl", "\"hodl\" is none of: buy ASSET AMOUNT, "),
        ("buy btc 0", "\"0\" is no amount"),
    ] {
        let run = test.message(message).ok();
        assert!(run.log().contains(told), "{}", run.log());
        assert!(run.changes.is_empty(), "{message}: {:?}", run.changes);
    }
}

#[test]
fn each_minute_it_moves_towards_its_targets() {
    let mut test = Test::new(trader);
    test.start().ok();
    let logs: Vec<_> = test
        .advance(3 * MINUTE)
        .into_iter()
        .flat_map(|run| run.ok().logs)
        .collect();
    assert_eq!(logs.len(), 2, "one order a minute, then it rests: {logs:?}");
    assert!(logs[0].contains("bought 13.333333 eth"));
    assert!(logs[1].contains("bought 0.666399 btc"));

    let run = test.message("target btc 20").ok();
    assert_eq!(run.log(), "the targets are 20 % btc, 40 % eth");
    let run = test.advance(MINUTE).remove(0).ok();
    assert!(run.log().contains("sold 0.333"), "{}", run.log());
}

#[test]
fn one_odd_price_trades_nothing_and_one_that_lasts_does() {
    let mut test = Test::new(trader);
    test.start().ok();
    for message in BOUGHT {
        test.message(message).ok();
    }
    let orders = |test: &mut Test<_>, minutes| -> Vec<usize> {
        let runs = test.advance(minutes * MINUTE);
        runs.iter().map(|run| run.logs.len()).collect()
    };
    assert_eq!(orders(&mut test, 1), [0]);
    test.change("btc", &Cents(9_000_000)).ok();
    assert_eq!(orders(&mut test, 1), [0]);
    test.change("btc", &Cents(6_000_000)).ok();
    assert_eq!(orders(&mut test, 20), [0; 20]);
    test.change("btc", &Cents(9_000_000)).ok();
    let first = orders(&mut test, 10)
        .into_iter()
        .position(|orders| orders > 0);
    assert_eq!(first, Some(5), "the average needs minutes to pass the band");
}

#[test]
fn paused_it_trades_only_when_told() {
    let mut test = Test::new(trader);
    test.start().ok();
    test.message("pause").ok();
    let logs = |test: &mut Test<_>| -> usize {
        let runs = test.advance(10 * MINUTE).into_iter();
        runs.map(|run| run.ok().logs.len()).sum()
    };
    assert_eq!(logs(&mut test), 0);
    assert!(
        test.message("buy eth 1")
            .ok()
            .log()
            .contains("bought 1 eth")
    );
    test.message("resume").ok();
    assert_eq!(logs(&mut test), 2);
}

#[test]
fn an_interval_that_is_none_ends_it_at_once() {
    let setup = Setup::new().env("FEED_INTERVAL_MS", "often");
    let ending = Test::with(setup, trader).start().ending();
    let wanted = "Crashed: FEED_INTERVAL_MS is \"often\": give milliseconds, such as 100";
    assert_eq!(ending.to_string(), wanted);
}
