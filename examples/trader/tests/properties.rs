//! What holds for every order at every price: nothing comes from nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use proptest::strategy::Strategy as Values;
use trader::money::{Amount, Cents};
use trader::portfolio::{Asset, Each, Order, Portfolio, Prices, Side};
use trader::strategy::{Strategy, Targets};

fn prices() -> impl Values<Value = Prices> {
    let price = || (1..=1_000_000_000_u64).prop_map(Cents);
    (price(), price()).prop_map(|(btc, eth)| Each { btc, eth })
}

fn portfolios() -> impl Values<Value = Portfolio> {
    let amount = || (0..=1_000_000_000_u64).prop_map(Amount);
    let cash = (0..=1_000_000_000_u64).prop_map(Cents);
    (cash, amount(), amount()).prop_map(|(cash, btc, eth)| Portfolio {
        cash,
        held: Each { btc, eth },
        fees: Cents(0),
    })
}

fn orders() -> impl Values<Value = Order> {
    let side = prop_oneof![Just(Side::Buy), Just(Side::Sell)];
    let asset = prop_oneof![Just(Asset::Btc), Just(Asset::Eth)];
    // Sizes of every order of magnitude, so that many can be filled.
    let amount =
        (0..40_u32, 1..1_000_u64).prop_map(|(shift, n)| Amount(n << shift >> 8).max(Amount(1)));
    (side, asset, amount).prop_map(|(side, asset, amount)| Order {
        side,
        asset,
        amount,
    })
}

fn targets() -> impl Values<Value = Targets> {
    (0..=100_u64, 0..=100_u64).prop_map(|(btc, rest)| {
        let mut targets = Targets::default();
        targets.set(Asset::Btc, 0).unwrap();
        targets.set(Asset::Eth, (100 - btc) * rest / 100).unwrap();
        targets.set(Asset::Btc, btc).unwrap();
        targets
    })
}

/// Millionths of a cent: nothing is rounded.
fn exact_worth(portfolio: &Portfolio, prices: &Prices) -> u128 {
    let whole = |cents: Cents| u128::from(cents.0) * 1_000_000;
    let worth = |asset| u128::from(portfolio.held[asset].0) * u128::from(prices[asset].0);
    whole(portfolio.cash) + whole(portfolio.fees) + Asset::ALL.map(worth).into_iter().sum::<u128>()
}

proptest! {
    #[test]
    fn no_order_makes_value_from_nothing(
        mut portfolio in portfolios(),
        orders in prop::collection::vec((orders(), prices()), 1..20),
    ) {
        for (order, prices) in orders {
            let before = portfolio.clone();
            let worth = exact_worth(&before, &prices);
            match portfolio.fill(order, &prices) {
                Ok(fill) => {
                    let after = exact_worth(&portfolio, &prices);
                    prop_assert!(after <= worth, "{order}: {worth} became {after}");
                    // No more than the rounding is lost, a cent.
                    prop_assert!(worth - after < 1_000_000, "{order}: {worth} became {after}");
                    prop_assert_eq!(portfolio.fees.0, before.fees.0 + fill.fee.0);
                }
                Err(_) => prop_assert_eq!(&portfolio, &before),
            }
        }
    }

    #[test]
    fn the_strategy_asks_only_for_what_can_be_done(
        portfolio in portfolios(),
        targets in targets(),
        prices in prices(),
    ) {
        if let Some(order) = Strategy::default().order(&portfolio, &targets, &prices) {
            let mut after = portfolio.clone();
            prop_assert!(after.fill(order, &prices).is_ok(), "{order} by {portfolio}");
        }
    }

    #[test]
    fn an_average_stays_between_the_last_one_and_the_price(
        averages in prices(),
        prices in prices(),
    ) {
        let next = Strategy::default().smooth(&averages, &prices);
        for asset in Asset::ALL {
            let (low, high) = (averages[asset].min(prices[asset]), averages[asset].max(prices[asset]));
            prop_assert!((low..=high).contains(&next[asset]), "{next:?}");
        }
    }
}
