//! When to trade: pure functions of what is owned, what is wanted and what it costs.
//!
//! Each asset has a target, a share of all that is owned. Once a minute the asset that is furthest
//! from its target is brought back to it, if it is out of the band around it. Weights are judged by
//! averages, so that one odd price trades nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::money::Cents;
use crate::portfolio::{Asset, Each, Order, Portfolio, Prices, Side};

/// The numbers that the strategy turns on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strategy {
    /// How far a weight may be from its target, percent of all that is owned.
    pub band_percent: u64,
    /// How many looks an average remembers.
    pub memory: u64,
}

/// What share of all that is owned each asset should be, percent. The rest is cash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Targets(Each<u64>);

/// Targets that cannot all be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{sum} percent of all that is owned cannot be invested: give targets of at most 100 in all"
)]
pub struct TooMuch {
    sum: u64,
}

impl Strategy {
    /// The average prices after another look at them.
    #[must_use]
    pub fn smooth(&self, averages: &Prices, prices: &Prices) -> Prices {
        let mut next = *averages;
        for asset in Asset::ALL {
            let old = averages[asset].share(self.memory - 1, self.memory);
            let new = prices[asset].share_up(1, self.memory);
            next[asset] = Cents(old.0 + new.0);
        }
        next
    }

    /// The order that brings back the asset that is furthest from its target; none when all are
    /// within the band.
    #[must_use]
    pub fn order(&self, owned: &Portfolio, targets: &Targets, prices: &Prices) -> Option<Order> {
        let all = owned.worth(prices);
        let (asset, wanted, held) = Asset::ALL
            .map(|asset| {
                let wanted = all.share(targets.0[asset], 100);
                (asset, wanted, owned.held[asset].worth(prices[asset]))
            })
            .into_iter()
            .max_by_key(|(_, wanted, held)| wanted.0.abs_diff(held.0))?;
        let drift = Cents(wanted.0.abs_diff(held.0));
        if drift <= all.share(self.band_percent, 100) {
            return None;
        }
        let (side, sum) = if held > wanted {
            (Side::Sell, drift)
        } else {
            (Side::Buy, drift.min(owned.spendable()))
        };
        let amount = sum.buys(prices[asset]);
        (amount.0 > 0).then_some(Order {
            side,
            asset,
            amount,
        })
    }
}

impl Targets {
    /// Changes the target of one asset.
    ///
    /// # Errors
    /// [`TooMuch`]; nothing has changed then.
    pub fn set(&mut self, asset: Asset, percent: u64) -> Result<(), TooMuch> {
        let mut targets = self.0;
        targets[asset] = percent;
        let sum = targets.btc.saturating_add(targets.eth);
        if sum > 100 {
            return Err(TooMuch { sum });
        }
        self.0 = targets;
        Ok(())
    }
}

impl Default for Strategy {
    fn default() -> Self {
        Self {
            band_percent: 5,
            memory: 10,
        }
    }
}

/// Two fifths each, a fifth in cash.
impl Default for Targets {
    fn default() -> Self {
        Self(Each { btc: 40, eth: 40 })
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} % btc, {} % eth", self.0.btc, self.0.eth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Amount;

    const PRICES: Prices = Prices {
        btc: Cents(6_000_000),
        eth: Cents(300_000),
    };

    #[test]
    fn a_portfolio_comes_to_its_targets_and_rests_there() {
        let (strategy, targets) = (Strategy::default(), Targets::default());
        let mut owned = Portfolio::default();
        let mut orders = Vec::new();
        while let Some(order) = strategy.order(&owned, &targets, &PRICES) {
            owned.fill(order, &PRICES).unwrap();
            orders.push(order.to_string());
        }
        assert_eq!(orders, ["buy 13.333333 eth", "buy 0.666399 btc"]);
    }

    #[test]
    fn what_has_grown_past_the_band_is_sold() {
        let (strategy, targets) = (Strategy::default(), Targets::default());
        let mut owned = Portfolio {
            cash: Cents(2_000_000),
            ..Portfolio::default()
        };
        owned.held.btc = Amount(666_666);
        owned.held.eth = Amount(13_333_333);
        assert_eq!(strategy.order(&owned, &targets, &PRICES), None);
        let risen = Prices {
            btc: Cents(9_000_000),
            ..PRICES
        };
        let order = strategy.order(&owned, &targets, &risen).unwrap();
        assert_eq!(order.to_string(), "sell 0.133333 btc");
    }

    #[test]
    fn an_average_follows_slowly_and_stays_where_prices_stay() {
        let strategy = Strategy::default();
        assert_eq!(strategy.smooth(&PRICES, &PRICES), PRICES);
        let risen = Prices {
            btc: Cents(7_000_000),
            ..PRICES
        };
        let average = strategy.smooth(&PRICES, &risen);
        assert_eq!(average.btc, Cents(6_100_000));
    }

    #[test]
    fn more_than_everything_is_no_target() {
        let mut targets = Targets::default();
        let error = targets.set(Asset::Btc, 61).unwrap_err();
        assert!(error.to_string().starts_with("101 percent "));
        assert_eq!(targets, Targets::default());
        targets.set(Asset::Btc, 60).unwrap();
        assert_eq!(targets.to_string(), "60 % btc, 40 % eth");
    }
}
