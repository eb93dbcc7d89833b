//! DynamoDB's attribute values: which are valid, how they compare, and how large they are.

use std::{cmp::Ordering, collections::BTreeSet, fmt};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Map, Value, json};

use super::{Refusal, invalid};

/// An item, or a key: DynamoDB's JSON by attribute name.
pub(crate) type Attributes = Map<String, Value>;

/// A number of up to 38 significant digits, without trailing zeros in its coefficient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number {
    coefficient: i128,
    exponent: i32,
}

impl Number {
    const DIGITS: usize = 38;

    fn new(mut coefficient: i128, mut exponent: i32) -> Option<Self> {
        if coefficient == 0 {
            return Some(Self { coefficient, exponent: 0 });
        }
        while coefficient % 10 == 0 {
            coefficient /= 10;
            exponent += 1;
        }
        let number = Self { coefficient, exponent };
        let is_kept = number.digits().len() <= Self::DIGITS && (-130..=125).contains(&number.magnitude());
        is_kept.then_some(number)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse().ok()?),
            None => (text, 0_i32),
        };
        let unsigned = mantissa.strip_prefix(['+', '-']).unwrap_or(mantissa);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let digits = [whole, fraction].concat();
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let kept = digits.trim_end_matches('0');
        let dropped = i32::try_from(digits.len() - kept.len()).ok()?;
        let exponent = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?.checked_add(dropped)?;
        let coefficient: i128 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
        Self::new(if mantissa.starts_with('-') { -coefficient } else { coefficient }, exponent)
    }

    fn digits(self) -> String {
        self.coefficient.unsigned_abs().to_string()
    }

    /// The power of ten of the first digit.
    fn magnitude(self) -> i32 {
        i32::try_from(self.digits().len()).unwrap_or(i32::MAX) - 1 + self.exponent
    }

    fn scaled(self, exponent: i32) -> Option<i128> {
        let by = u32::try_from(self.exponent - exponent).ok()?;
        self.coefficient.checked_mul(10_i128.checked_pow(by)?)
    }

    /// None where the sum has more digits than DynamoDB keeps.
    pub(crate) fn plus(self, other: Self) -> Option<Self> {
        let exponent = match (self.coefficient, other.coefficient) {
            (0, _) => return Some(other),
            (_, 0) => return Some(self),
            _ => self.exponent.min(other.exponent),
        };
        Self::new(self.scaled(exponent)?.checked_add(other.scaled(exponent)?)?, exponent)
    }

    /// One byte for two digits, one more for all, and one for a minus sign.
    fn size(self) -> usize {
        self.digits().len().div_ceil(2) + 1 + usize::from(self.coefficient < 0)
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = self.coefficient.signum();
        let by_sign = sign.cmp(&other.coefficient.signum());
        if by_sign.is_ne() || sign == 0 {
            return by_sign;
        }
        let by_magnitude = self.magnitude().cmp(&other.magnitude());
        if by_magnitude.is_ne() {
            return if sign < 0 { by_magnitude.reverse() } else { by_magnitude };
        }
        // Of the same magnitude: neither can overflow.
        let exponent = self.exponent.min(other.exponent);
        self.scaled(exponent).cmp(&other.scaled(exponent))
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, digits) = (if self.coefficient < 0 { "-" } else { "" }, self.digits());
        let places = usize::try_from(-self.exponent).unwrap_or_default();
        if places == 0 {
            let zeros = usize::try_from(self.exponent).unwrap_or_default();
            return write!(out, "{sign}{digits}{}", "0".repeat(zeros));
        }
        let digits = format!("{digits:0>width$}", width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        write!(out, "{sign}{whole}.{fraction}")
    }
}

/// The letter of an attribute's type, and what stands after it.
fn parts(value: &Value) -> (&str, &Value) {
    let part = value.as_object().filter(|parts| parts.len() == 1).and_then(|parts| parts.iter().next());
    part.map_or(("", &Value::Null), |(kind, value)| (kind.as_str(), value))
}

/// The letter of an attribute's type.
pub(crate) fn kind(value: &Value) -> &str {
    parts(value).0
}

/// The number that an attribute is.
pub(crate) fn number(value: &Value) -> Option<Number> {
    Number::parse(value.get("N")?.as_str()?)
}

fn binary(value: &Value) -> Option<Vec<u8>> {
    BASE64.decode(value.get("B")?.as_str()?).ok()
}

/// The members of an attribute that is a set of strings.
pub(crate) fn members(value: &Value) -> Option<BTreeSet<String>> {
    value.get("SS")?.as_array()?.iter().map(|member| member.as_str().map(ToOwned::to_owned)).collect()
}

/// The set of these strings; none where it would be empty, which DynamoDB keeps none of.
pub(crate) fn set(members: &BTreeSet<String>) -> Option<Value> {
    (!members.is_empty()).then(|| json!({ "SS": members }))
}

/// A value as DynamoDB keeps it, so that equal values are equal JSON. Other sets than of strings, lists and maps are refused:
/// nothing here uses them.
fn normal(value: &Value) -> Option<Value> {
    match parts(value) {
        ("SS", Value::Array(list)) => {
            let members = members(value).filter(|members| members.len() == list.len())?;
            set(&members)
        }
        ("S", Value::String(_)) | ("BOOL", Value::Bool(_)) | ("NULL", Value::Bool(true)) => {
            Some(value.clone())
        }
        ("N", _) => number(value).map(|number| json!({ "N": number.to_string() })),
        ("B", _) => binary(value).map(|_| value.clone()),
        _ => None,
    }
}

/// The attributes of a member of a request.
pub(crate) fn attributes(member: &Value) -> Result<Attributes, Refusal> {
    let members = member.as_object().ok_or_else(|| invalid("attributes are missing"))?;
    members
        .iter()
        .map(|(name, value)| {
            Ok((name.clone(), normal(value).ok_or_else(|| invalid(format!("invalid value of {name}")))?))
        })
        .collect()
}

/// How two values of one type that has an order compare.
pub(crate) fn order(one: &Value, other: &Value) -> Option<Ordering> {
    match (parts(one), parts(other)) {
        (("S", one), ("S", other)) => Some(one.as_str()?.cmp(other.as_str()?)),
        (("N", _), ("N", _)) => Some(number(one)?.cmp(&number(other)?)),
        (("B", _), ("B", _)) => Some(binary(one)?.cmp(&binary(other)?)),
        _ => None,
    }
}

/// An item's size as DynamoDB counts it: names and values.
pub(crate) fn size(item: &Attributes) -> usize {
    let value_size = |value: &Value| match parts(value) {
        ("S", text) => text.as_str().unwrap_or_default().len(),
        ("N", _) => number(value).map_or(0, Number::size),
        ("B", _) => binary(value).map_or(0, |bytes| bytes.len()),
        ("SS", _) => members(value).unwrap_or_default().iter().map(String::len).sum(),
        _ => 1,
    };
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_decimals() {
        let plain = |text: &str| Number::parse(text).map(|number| number.to_string());
        for (text, expected) in [
            ("42", "42"),
            ("007", "7"),
            ("-0.50", "-0.5"),
            ("+1e3", "1000"),
            ("1.5E-3", "0.0015"),
            ("0e9", "0"),
            ("-0", "0"),
            ("99999999999999999999999999999999999999", "99999999999999999999999999999999999999"),
        ] {
            assert_eq!(plain(text).as_deref(), Some(expected), "{text}");
        }
        let too_many_digits = "123456789012345678901234567890123456789";
        for text in
            ["", "-", "1-", "--1", "0x1", "1e", "1.2.3", " 1", "1e126", "1e-131", "NaN", too_many_digits]
        {
            assert_eq!(plain(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_ordered_by_value_not_as_text() {
        let sorted = ["-1e125", "-10", "-9.5", "-1e-130", "0", "1e-130", "0.1", "9", "10", "10.01", "1e125"];
        let numbers = sorted.map(|text| Number::parse(text).unwrap());
        assert!(numbers.is_sorted_by(|one, other| one < other));
        assert_eq!(Number::parse("10"), Number::parse("1.0e1"));
    }

    #[test]
    fn a_sum_that_would_lose_digits_is_refused() {
        let sum = |one, other| {
            Number::parse(one).unwrap().plus(Number::parse(other).unwrap()).map(|sum| sum.to_string())
        };
        assert_eq!(sum("9007199254740993", "1").as_deref(), Some("9007199254740994"));
        assert_eq!(sum("0.1", "-0.3").as_deref(), Some("-0.2"));
        assert_eq!(sum("5", "-5").as_deref(), Some("0"));
        assert_eq!(sum("1e60", "1"), None);
        assert_eq!(sum("1e60", "0"), Some(format!("1{}", "0".repeat(60))));
    }

    #[test]
    fn only_valid_values_are_kept_and_equal_ones_are_the_same() {
        let kept = |value: Value| attributes(&json!({ "a": value })).ok().map(|kept| kept["a"].clone());
        assert_eq!(kept(json!({ "N": "1.0" })), Some(json!({ "N": "1" })));
        assert_eq!(kept(json!({ "S": "" })), Some(json!({ "S": "" })));
        assert_eq!(kept(json!({ "SS": ["b", "a"] })), Some(json!({ "SS": ["a", "b"] })));
        for value in [
            json!("a"),
            json!({}),
            json!({ "N": 1 }),
            json!({ "N": "" }),
            json!({ "NULL": false }),
            json!({ "S": "a", "N": "1" }),
            json!({ "SS": [] }),
            json!({ "SS": ["a", "a"] }),
            json!({ "SS": ["a", 1] }),
            json!({ "NS": ["1"] }),
        ] {
            assert_eq!(kept(value.clone()), None, "{value}");
        }
    }

    #[test]
    fn a_size_counts_names_and_values() {
        let item = json!({ "text": { "S": "é" }, "n": { "N": "-1230" }, "raw": { "B": "AAEC" }, "yes": { "BOOL": true }, "set": { "SS": ["a", "bc"] } });
        assert_eq!(size(item.as_object().unwrap()), (4 + 2) + (1 + 4) + (3 + 3) + (3 + 1) + (3 + 3));
    }
}
