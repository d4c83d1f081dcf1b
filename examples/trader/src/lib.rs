//! Keeps a made-up portfolio near its targets: two price flows, a look every minute, commands by
//! message. All that it decides is in [`strategy`], all that it counts in [`portfolio`].

pub mod command;
pub mod feed;
pub mod money;
pub mod portfolio;
pub mod strategy;

use std::time::Duration;

use hersh::{Context, Result};

use command::Command;
use feed::{BTC, ETH};
use portfolio::{Order, Portfolio, Prices};
use strategy::{Strategy, Targets};

/// The managed function: runs at the start, for each new price, every minute, and once for each
/// message.
///
/// # Errors
/// When a stored value cannot be read; and, as a wish to end, when the environment makes no sense.
pub async fn trader(cx: &mut Context) -> Result {
    trade(cx, &Strategy::default())
}

/// One run of [`trader`], by this strategy.
///
/// # Errors
/// As [`trader`].
pub fn trade(cx: &mut Context, strategy: &Strategy) -> Result {
    let every = feed::interval(cx)?;
    let btc = cx.watch_flow("btc", BTC.opening, move || BTC.prices(every))?;
    let eth = cx.watch_flow("eth", ETH.opening, move || ETH.prices(every))?;
    let minute = cx.watch_tick("minute", Duration::from_secs(60))?;
    let prices = Prices {
        btc: *btc,
        eth: *eth,
    };

    if let Some(message) = cx.message() {
        match message.parse() {
            Ok(command) => obey(cx, command, &prices)?,
            Err(error) => cx.log(error.to_string()),
        }
    }
    if minute.is_triggered(cx) {
        rebalance(cx, strategy, &prices)?;
    }
    Ok(())
}

/// Moves the portfolio towards its targets, if it has drifted away from them.
fn rebalance(cx: &mut Context, strategy: &Strategy, prices: &Prices) -> Result {
    let averages = cx.value("averages")?.unwrap_or(*prices);
    let averages = strategy.smooth(&averages, prices);
    cx.set("averages", &averages)?;

    let paused: bool = cx.value("paused")?.unwrap_or_default();
    if paused {
        return Ok(());
    }
    let portfolio: Portfolio = cx.value("portfolio")?.unwrap_or_default();
    let targets: Targets = cx.value("targets")?.unwrap_or_default();
    if let Some(order) = strategy.order(&portfolio, &targets, &averages) {
        place(cx, order, prices)?;
    }
    Ok(())
}

/// Does what a message asks.
fn obey(cx: &mut Context, command: Command, prices: &Prices) -> Result {
    match command {
        Command::Order(order) => place(cx, order, prices)?,
        Command::Target { asset, percent } => {
            let mut targets: Targets = cx.value("targets")?.unwrap_or_default();
            match targets.set(asset, percent) {
                Ok(()) => {
                    cx.set("targets", &targets)?;
                    cx.log(format!("the targets are {targets}"));
                }
                Err(refusal) => cx.log(format!("refused: {refusal}")),
            }
        }
        Command::Pause => cx.set("paused", &true)?,
        Command::Resume => cx.set("paused", &false)?,
        Command::Report => {
            let portfolio: Portfolio = cx.value("portfolio")?.unwrap_or_default();
            let worth = portfolio.worth(prices);
            cx.log(format!("{portfolio}, all worth {worth}"));
        }
    }
    Ok(())
}

/// Fills an order at today's prices, or says why not.
fn place(cx: &mut Context, order: Order, prices: &Prices) -> Result {
    let id = cx.random_below(1 << 32);
    let mut portfolio: Portfolio = cx.value("portfolio")?.unwrap_or_default();
    match portfolio.fill(order, prices) {
        Ok(fill) => {
            cx.set("portfolio", &portfolio)?;
            cx.log(format!("order {id:08x}: {fill}"));
        }
        Err(refusal) => cx.log(format!("order {id:08x}: refused to {order}: {refusal}")),
    }
    Ok(())
}
