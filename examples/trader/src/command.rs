//! What messages may ask.

use std::str::FromStr;

use crate::money::AmountError;
use crate::portfolio::{Asset, Order, Side};

/// A message that was understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `buy btc 0.5`, `sell eth 2`
    Order(Order),
    /// `target btc 40`
    Target {
        /// Of what.
        asset: Asset,
        /// Percent of all that is owned.
        percent: u64,
    },
    /// `pause`: no order but those that messages ask for.
    Pause,
    /// `resume`
    Resume,
    /// `report`
    Report,
}

/// A message that was not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// It is no command at all.
    #[error(
        "{message:?} is none of: buy ASSET AMOUNT, sell ASSET AMOUNT, target ASSET PERCENT, \
         pause, resume, report; assets are btc and eth"
    )]
    Unknown {
        /// The message.
        message: String,
    },
    /// Its amount is none.
    #[error(transparent)]
    Amount(#[from] AmountError),
}

impl FromStr for Command {
    type Err = CommandError;

    fn from_str(message: &str) -> Result<Self, CommandError> {
        let unknown = || CommandError::Unknown {
            message: message.into(),
        };
        let order = |side, asset: &str, amount: &str| {
            Ok(Command::Order(Order {
                side,
                asset: asset.parse().map_err(|()| unknown())?,
                amount: amount.parse()?,
            }))
        };
        match *message.split_whitespace().collect::<Vec<_>>() {
            ["buy", asset, amount] => order(Side::Buy, asset, amount),
            ["sell", asset, amount] => order(Side::Sell, asset, amount),
            ["target", asset, percent] => Ok(Command::Target {
                asset: asset.parse().map_err(|()| unknown())?,
                percent: percent.parse().map_err(|_| unknown())?,
            }),
            ["pause"] => Ok(Command::Pause),
            ["resume"] => Ok(Command::Resume),
            ["report"] => Ok(Command::Report),
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Amount;

    #[test]
    fn commands_are_understood() {
        let order = |side, asset, amount| {
            Ok(Command::Order(Order {
                side,
                asset,
                amount: Amount(amount),
            }))
        };
        let target = Command::Target {
            asset: Asset::Btc,
            percent: 40,
        };
        for (message, command) in [
            ("buy btc 0.5", order(Side::Buy, Asset::Btc, 500_000)),
            (" sell  eth 2 ", order(Side::Sell, Asset::Eth, 2_000_000)),
            ("target btc 40", Ok(target)),
            ("pause", Ok(Command::Pause)),
            ("resume", Ok(Command::Resume)),
            ("report", Ok(Command::Report)),
        ] {
            assert_eq!(message.parse(), command, "{message}");
        }
    }

    #[test]
    fn what_is_not_understood_says_what_would_be() {
        for message in ["hodl", "buy", "buy xrp 1", "target btc -1", "pause now"] {
            let error = message.parse::<Command>().unwrap_err();
            assert!(error.to_string().contains("is none of: buy "), "{error}");
        }
        let error = "buy btc much".parse::<Command>().unwrap_err();
        assert!(error.to_string().starts_with("\"much\" is no amount: "));
    }
}
