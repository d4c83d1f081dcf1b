//! Six hours of trading, feed and all, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use hersh::{EndKind, Watcher, testing};
use trader::feed::{BTC, ETH};
use trader::money::Cents;
use trader::portfolio::{Portfolio, Prices};
use trader::trader;

const HOUR: Duration = Duration::from_secs(3_600);

/// What is owned at the end of the day, and all that was logged meanwhile.
fn day() -> (Portfolio, Vec<String>) {
    let interval = ("FEED_INTERVAL_MS", "1000");
    let builder = Watcher::builder("trader").env([interval]).random_seed(7);
    let mut evening = None;
    let ending = testing::play(builder, trader, async |watcher| {
        testing::pass(2 * HOUR).await;
        watcher.send("target btc 10").unwrap();
        testing::pass(2 * HOUR).await;
        watcher.send("pause").unwrap();
        testing::pass(HOUR).await;
        let paused: Option<Portfolio> = watcher.value("portfolio").unwrap();
        testing::pass(HOUR).await;
        let portfolio: Option<Portfolio> = watcher.value("portfolio").unwrap();
        assert_eq!(portfolio, paused, "nothing is traded while it is paused");
        let logs = watcher.logs().into_iter();
        let logs: Vec<String> = logs.map(|line| line.message.to_string()).collect();
        evening = portfolio.map(|portfolio| (portfolio, logs));
        assert!(watcher.status().runs > 21_000);
        watcher.stop("the day is over");
    });
    assert_eq!(ending.kind, EndKind::Stopped, "{ending}");
    evening.unwrap()
}

#[test]
fn a_day_goes_as_planned_and_twice_the_same_way() {
    let (portfolio, logs) = day();
    let orders = logs.iter().filter(|line| line.starts_with("order "));
    assert!((3..100).contains(&orders.count()), "{logs:#?}");
    assert!(
        !logs.iter().any(|line| line.contains("refused")),
        "{logs:#?}"
    );
    assert!(portfolio.fees > Cents(0) && portfolio.cash > Cents(0));
    let prices = Prices {
        btc: BTC.opening,
        eth: ETH.opening,
    };
    assert!(portfolio.worth(&prices) > Cents(5_000_000), "{portfolio}");
    assert_eq!(day(), (portfolio, logs));
}
