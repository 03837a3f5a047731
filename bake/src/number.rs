//! Numbers of definitions: decimal, exact as far as 28 digits go.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use rust_decimal::prelude::{FromPrimitive as _, ToPrimitive as _};

/// A number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(Decimal);

/// What comes of a calculation whose result is no number of up to 28 digits.
const TOO_LARGE: &str = "the number has too many digits";

impl Number {
    /// A whole number.
    pub fn whole(value: i64) -> Self {
        Self(Decimal::from(value))
    }

    /// How many there are of something.
    pub fn count(value: usize) -> Self {
        Self(Decimal::from(value))
    }

    /// The nearest number to a binary one.
    ///
    /// # Errors
    /// When it is none, infinite or too large.
    pub fn from_f64(value: f64) -> Result<Self, String> {
        Decimal::from_f64(value)
            .map(|found| Self(found.normalize()))
            .ok_or_else(|| TOO_LARGE.to_owned())
    }

    /// As a binary number, the nearest one.
    pub fn to_f64(self) -> f64 {
        self.0.to_f64().unwrap_or(f64::NAN)
    }

    /// As a whole number, when it is one that fits.
    pub fn to_i64(self) -> Option<i64> {
        match self.0.fract().is_zero() {
            true => self.0.to_i64(),
            false => None,
        }
    }

    /// As an index, when it is one.
    pub fn to_index(self) -> Option<usize> {
        usize::try_from(self.to_i64()?).ok()
    }

    /// The sum.
    ///
    /// # Errors
    /// When it has too many digits, as with all calculations here.
    pub fn add(self, other: Self) -> Result<Self, String> {
        known(self.0.checked_add(other.0))
    }

    /// The difference.
    ///
    /// # Errors
    /// As with [`add`](Self::add).
    pub fn subtract(self, other: Self) -> Result<Self, String> {
        known(self.0.checked_sub(other.0))
    }

    /// The product.
    ///
    /// # Errors
    /// As with [`add`](Self::add).
    pub fn multiply(self, other: Self) -> Result<Self, String> {
        known(self.0.checked_mul(other.0))
    }

    /// The quotient.
    ///
    /// # Errors
    /// When it is divided by zero.
    pub fn divide(self, other: Self) -> Result<Self, String> {
        if other.0.is_zero() {
            return Err("division by zero".to_owned());
        }
        known(self.0.checked_div(other.0))
    }

    /// What is left of a division, with the sign of the first.
    ///
    /// # Errors
    /// When it is divided by zero.
    pub fn modulo(self, other: Self) -> Result<Self, String> {
        if other.0.is_zero() {
            return Err("division by zero".to_owned());
        }
        known(self.0.checked_rem(other.0))
    }

    /// The same distance on the other side of zero.
    pub fn negate(self) -> Self {
        Self(-self.0)
    }

    /// Its distance from zero.
    pub fn absolute(self) -> Self {
        Self(self.0.abs())
    }

    /// The whole number that is not above it.
    pub fn floor(self) -> Self {
        Self(self.0.floor().normalize())
    }

    /// The whole number that is not below it.
    pub fn ceil(self) -> Self {
        Self(self.0.ceil().normalize())
    }

    /// Without what stands behind the point.
    pub fn truncate(self) -> Self {
        Self(self.0.trunc().normalize())
    }

    /// -1, 0 or 1.
    pub fn sign(self) -> Self {
        Self(match self.0.is_zero() {
            true => Decimal::ZERO,
            false => Decimal::ONE.copysign(&self.0),
        })
    }
}

/// The sign of one decimal on the digits of another.
trait CopySign {
    fn copysign(self, of: &Decimal) -> Decimal;
}

impl CopySign for Decimal {
    fn copysign(mut self, of: &Decimal) -> Decimal {
        self.set_sign_negative(of.is_sign_negative());
        self
    }
}

fn known(result: Option<Decimal>) -> Result<Number, String> {
    result
        .map(|value| Number(value.normalize()))
        .ok_or_else(|| TOO_LARGE.to_owned())
}

impl FromStr for Number {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let exponent = text.contains(['e', 'E']);
        let parsed = match exponent {
            true => Decimal::from_scientific(text),
            false => Decimal::from_str(text),
        };
        match parsed {
            Ok(value) => Ok(Self(value.normalize())),
            Err(_) if text.parse::<f64>().is_ok_and(f64::is_finite) => Err(TOO_LARGE.to_owned()),
            Err(_) => Err("a number is required".to_owned()),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.normalize(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_and_written_plainly() {
        let number = |text: &str| text.parse::<Number>().unwrap();
        for (text, shown) in [
            ("1.50", "1.5"),
            ("1e3", "1000"),
            ("12345678901234567890", "12345678901234567890"),
            ("0", "0"),
        ] {
            assert_eq!(number(text).to_string(), shown);
        }
        let sum = number("0.1").add(number("0.2")).unwrap();
        assert_eq!(sum.to_string(), "0.3");
        assert_eq!(number("7").modulo(number("-3")).unwrap().to_string(), "1");
        assert!(number("1").divide(number("0")).is_err());
        assert!("1e40".parse::<Number>().is_err());
        assert!("x".parse::<Number>().is_err());
    }
}
