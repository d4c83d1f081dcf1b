//! Prices that are made up: a random walk, the same one at each start. A real feed would be a
//! stream too.

use std::time::Duration;

use futures_util::{Stream, stream};
use hersh::{Context, Control, Result};

use crate::money::Cents;

/// Milliseconds from one price to the next; 0 for as fast as can be.
const INTERVAL: &str = "FEED_INTERVAL_MS";
/// The largest step, hundredths of a percent of the price.
const STEP: i64 = 20;
const LOWEST: i64 = 1;
const HIGHEST: i64 = 1_000_000_000;

/// The prices of one asset.
#[derive(Clone, Copy, Debug)]
pub struct Feed {
    /// The price with which the day begins.
    pub opening: Cents,
    seed: u64,
}

/// Those of bitcoin.
pub const BTC: Feed = Feed {
    opening: Cents(6_000_000),
    seed: 1,
};

/// Those of ether.
pub const ETH: Feed = Feed {
    opening: Cents(300_000),
    seed: 2,
};

/// The interval that the environment asks for.
///
/// # Errors
/// A wish to crash, when it is no number.
pub fn interval(cx: &Context) -> Result<Duration> {
    let text = cx.env(INTERVAL).unwrap_or_else(|| "100".into());
    let interval_ms = text.parse().map_err(|_| {
        Control::crash(format!(
            "{INTERVAL} is {text:?}: give milliseconds, such as 100"
        ))
    })?;
    Ok(Duration::from_millis(interval_ms))
}

impl Feed {
    /// The prices after the opening, without an end.
    pub fn prices(self, every: Duration) -> impl Stream<Item = Result<Cents>> {
        stream::unfold(Walk::new(self), move |mut walk| async move {
            if !every.is_zero() {
                tokio::time::sleep(every).await;
            }
            Some((Ok(walk.step()), walk))
        })
    }
}

/// A walk by random steps.
struct Walk {
    price: i64,
    seed: u64,
}

impl Walk {
    fn new(feed: Feed) -> Self {
        Self {
            price: i64::try_from(feed.opening.0).unwrap_or(HIGHEST),
            seed: feed.seed,
        }
    }

    fn step(&mut self) -> Cents {
        // A linear congruential generator, Knuth's constants; its high bits are the random ones.
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005);
        self.seed = self.seed.wrapping_add(1_442_695_040_888_963_407);
        let drawn = i64::from((self.seed >> 32) as u32);
        let step = drawn % (2 * STEP + 1) - STEP;
        self.price = (self.price + self.price * step / 10_000).clamp(LOWEST, HIGHEST);
        Cents(self.price.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_walk_each_time_and_stays_in_bounds() {
        let (mut one, mut other) = (Walk::new(BTC), Walk::new(BTC));
        let mut last = BTC.opening;
        for _ in 0..100_000 {
            let price = one.step();
            assert_eq!(price, other.step());
            assert!(price.0.abs_diff(last.0) <= last.0 / 500 + 1);
            assert!((1..=1_000_000_000).contains(&price.0));
            last = price;
        }
    }
}
