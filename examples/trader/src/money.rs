//! Money and amounts as whole numbers, so that sums are exact. Whatever has to be rounded is
//! rounded so that nobody gains by it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Money, in cents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cents(pub u64);

/// So much of an asset, in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Amount(pub u64);

/// A text that is no amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no amount: give a number above 0 with at most six decimals, such as 0.5")]
pub struct AmountError {
    text: String,
}

const MILLIONTHS: u64 = 1_000_000;
/// The most that an order may ask for.
const MOST: u64 = 1_000_000_000 * MILLIONTHS;

impl Cents {
    /// How much of an asset this pays for, rounded down.
    #[must_use]
    pub fn buys(self, price: Cents) -> Amount {
        Amount(scaled(self.0, MILLIONTHS, price.0.max(1)))
    }

    /// So many parts of so many, rounded down.
    #[must_use]
    pub fn share(self, parts: u64, of: u64) -> Cents {
        Cents(scaled(self.0, parts, of))
    }

    /// So many parts of so many, rounded up.
    #[must_use]
    pub fn share_up(self, parts: u64, of: u64) -> Cents {
        Cents(scaled_up(self.0, parts, of))
    }
}

impl Amount {
    /// What a seller gets for it, rounded down.
    #[must_use]
    pub fn worth(self, price: Cents) -> Cents {
        Cents(scaled(self.0, price.0, MILLIONTHS))
    }

    /// What a buyer pays for it, rounded up.
    #[must_use]
    pub fn cost(self, price: Cents) -> Cents {
        Cents(scaled_up(self.0, price.0, MILLIONTHS))
    }
}

fn scaled(number: u64, times: u64, by: u64) -> u64 {
    let exact = u128::from(number) * u128::from(times) / u128::from(by);
    u64::try_from(exact).unwrap_or(u64::MAX)
}

fn scaled_up(number: u64, times: u64, by: u64) -> u64 {
    let exact = (u128::from(number) * u128::from(times)).div_ceil(u128::from(by));
    u64::try_from(exact).unwrap_or(u64::MAX)
}

impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:06}", self.0 / MILLIONTHS, self.0 % MILLIONTHS);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let parse = || {
            let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
            let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            if !digits(whole) || !digits(decimals) || decimals.len() > 6 {
                return None;
            }
            let whole: u64 = whole.parse().ok()?;
            let millionths: u64 = format!("{decimals:0<6}").parse().ok()?;
            let amount = whole.checked_mul(MILLIONTHS)?.checked_add(millionths)?;
            (1..=MOST).contains(&amount).then_some(Amount(amount))
        };
        parse().ok_or_else(|| AmountError { text: text.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_shown_alike() {
        for (text, amount) in [
            ("2", 2_000_000),
            ("0.5", 500_000),
            ("10.25", 10_250_000),
            ("0.000001", 1),
        ] {
            assert_eq!(text.parse(), Ok(Amount(amount)));
            assert_eq!(Amount(amount).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in [
            "",
            "0",
            "-1",
            "+1",
            "1e3",
            ".",
            "0.0000001",
            "1000000001",
            "half",
        ] {
            let error = text.parse::<Amount>().unwrap_err();
            assert!(error.to_string().contains("such as 0.5"), "{text}");
        }
    }

    #[test]
    fn buyers_pay_the_rounding_and_sellers_too() {
        let (third, price) = (Amount(333_333), Cents(100));
        assert_eq!(third.cost(price), Cents(34));
        assert_eq!(third.worth(price), Cents(33));
        assert_eq!(Cents(100).buys(Cents(300)), Amount(333_333));
        assert_eq!(Cents(1_234_567).to_string(), "12345.67");
    }
}
