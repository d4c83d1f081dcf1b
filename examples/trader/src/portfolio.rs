//! What is owned, and what an order does to it.

use std::fmt;
use std::ops::{Index, IndexMut};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::money::{Amount, Cents};

/// The fee of an order, hundredths of a percent of what it costs or brings.
pub const FEE: u64 = 10;
/// What [`FEE`] is a part of.
const WHOLE: u64 = 10_000;

/// What can be traded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asset {
    /// Bitcoin.
    Btc,
    /// Ether.
    Eth,
}

/// One value for each asset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Each<T> {
    /// That of [`Asset::Btc`].
    pub btc: T,
    /// That of [`Asset::Eth`].
    pub eth: T,
}

/// What one whole of each asset costs.
pub type Prices = Each<Cents>;

/// Cash and assets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Portfolio {
    /// Money that is not invested.
    pub cash: Cents,
    /// What is held of each asset.
    pub held: Each<Amount>,
    /// All fees that were paid.
    pub fees: Cents,
}

/// Which way an order goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Cash becomes an asset.
    Buy,
    /// An asset becomes cash.
    Sell,
}

/// A wish to trade at the current price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Which way.
    pub side: Side,
    /// What.
    pub asset: Asset,
    /// How much of it.
    pub amount: Amount,
}

/// An order that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The order.
    pub order: Order,
    /// The price of one whole.
    pub price: Cents,
    /// What it cost on top, or took from the proceeds.
    pub fee: Cents,
}

/// Why an order was not carried out. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It costs more than there is.
    #[error("it costs {cost} with its fee, and there is {cash}")]
    Cash {
        /// With the fee.
        cost: Cents,
        /// What there is.
        cash: Cents,
    },
    /// It sells more than there is.
    #[error("only {held} {asset} is held")]
    Held {
        /// Of what.
        asset: Asset,
        /// What there is.
        held: Amount,
    },
}

impl Portfolio {
    /// Carries an order out.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn fill(&mut self, order: Order, prices: &Prices) -> Result<Fill, Refusal> {
        let Order {
            side,
            asset,
            amount,
        } = order;
        let price = prices[asset];
        let held = self.held[asset];
        let fee = match side {
            Side::Buy => {
                let cost = amount.cost(price);
                let fee = fee_of(cost);
                let cost = Cents(cost.0.saturating_add(fee.0));
                let left = self.cash.0.checked_sub(cost.0);
                let left = left.ok_or(Refusal::Cash {
                    cost,
                    cash: self.cash,
                })?;
                self.cash = Cents(left);
                self.held[asset] = Amount(held.0.saturating_add(amount.0));
                fee
            }
            Side::Sell => {
                let left = held.0.checked_sub(amount.0);
                let left = left.ok_or(Refusal::Held { asset, held })?;
                let proceeds = amount.worth(price);
                let fee = fee_of(proceeds).min(proceeds);
                self.held[asset] = Amount(left);
                self.cash = Cents(self.cash.0.saturating_add(proceeds.0 - fee.0));
                fee
            }
        };
        self.fees = Cents(self.fees.0.saturating_add(fee.0));
        Ok(Fill { order, price, fee })
    }

    /// What all of it is worth, each asset rounded down.
    #[must_use]
    pub fn worth(&self, prices: &Prices) -> Cents {
        let assets = Asset::ALL.map(|asset| self.held[asset].worth(prices[asset]).0);
        Cents(assets.into_iter().fold(self.cash.0, u64::saturating_add))
    }

    /// The cash that can be spent with its fee on top.
    #[must_use]
    pub fn spendable(&self) -> Cents {
        let spendable = self.cash.share(WHOLE, WHOLE + FEE);
        // Both the cost and the fee may be rounded up.
        Cents(spendable.0.saturating_sub(1))
    }
}

fn fee_of(sum: Cents) -> Cents {
    sum.share_up(FEE, WHOLE)
}

impl Asset {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Btc, Self::Eth];
}

/// A beginner: 100,000.00 and nothing else.
impl Default for Portfolio {
    fn default() -> Self {
        Self {
            cash: Cents(10_000_000),
            held: Each::default(),
            fees: Cents(0),
        }
    }
}

impl<T> Index<Asset> for Each<T> {
    type Output = T;

    fn index(&self, asset: Asset) -> &T {
        match asset {
            Asset::Btc => &self.btc,
            Asset::Eth => &self.eth,
        }
    }
}

impl<T> IndexMut<Asset> for Each<T> {
    fn index_mut(&mut self, asset: Asset) -> &mut T {
        match asset {
            Asset::Btc => &mut self.btc,
            Asset::Eth => &mut self.eth,
        }
    }
}

impl FromStr for Asset {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "btc" => Ok(Self::Btc),
            "eth" => Ok(Self::Eth),
            _ => Err(()),
        }
    }
}

impl fmt::Display for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Btc => "btc",
            Self::Eth => "eth",
        })
    }
}

impl fmt::Display for Portfolio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cash, held, fees } = self;
        write!(f, "{} btc, {} eth, {cash} in cash, ", held.btc, held.eth)?;
        write!(f, "{fees} paid in fees")
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.side {
            Side::Buy => "buy",
            Side::Sell => "sell",
        };
        write!(f, "{verb} {} {}", self.amount, self.asset)
    }
}

impl fmt::Display for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.order.side {
            Side::Buy => "bought",
            Side::Sell => "sold",
        };
        let Order { amount, asset, .. } = self.order;
        write!(
            f,
            "{verb} {amount} {asset} at {}, fee {}",
            self.price, self.fee
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICES: Prices = Prices {
        btc: Cents(6_000_000),
        eth: Cents(300_000),
    };

    fn order(side: Side, asset: Asset, amount: u64) -> Order {
        Order {
            side,
            asset,
            amount: Amount(amount),
        }
    }

    #[test]
    fn a_purchase_costs_its_price_and_a_fee() {
        let mut portfolio = Portfolio::default();
        let fill = portfolio.fill(order(Side::Buy, Asset::Btc, 500_000), &PRICES);
        let text = "bought 0.5 btc at 60000.00, fee 30.00";
        assert_eq!(fill.unwrap().to_string(), text);
        assert_eq!(portfolio.cash, Cents(6_997_000));
        assert_eq!(portfolio.worth(&PRICES), Cents(9_997_000));
    }

    #[test]
    fn what_cannot_be_paid_or_is_not_held_changes_nothing() {
        let mut portfolio = Portfolio::default();
        let refusal = portfolio.fill(order(Side::Buy, Asset::Btc, 2_000_000), &PRICES);
        let text = "it costs 120120.00 with its fee, and there is 100000.00";
        assert_eq!(refusal.unwrap_err().to_string(), text);
        let refusal = portfolio.fill(order(Side::Sell, Asset::Eth, 1), &PRICES);
        assert_eq!(refusal.unwrap_err().to_string(), "only 0 eth is held");
        assert_eq!(portfolio, Portfolio::default());
    }
}
