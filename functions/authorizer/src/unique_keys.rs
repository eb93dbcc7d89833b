//! JSON in which no object has a key twice: the issuer and the hub might use different ones of the two values.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A value without duplicate keys.
pub(crate) struct UniqueKeys(pub(crate) Value);

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(Self)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number out of range"))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut members = Vec::new();
        while let Some(UniqueKeys(member)) = list.next_element()? {
            members.push(member);
        }
        Ok(members.into())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, UniqueKeys(member))) = object.next_entry::<String, _>()? {
            if members.insert(name, member).is_some() {
                return Err(A::Error::custom("duplicate key"));
            }
        }
        Ok(members.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_without_duplicate_keys_is_read_unchanged() {
        for json in [
            "null",
            "[true,1,-1,18446744073709551615,1.5,1e300,\"\\u00e9\\n\",[],{}]",
            r#"{"a":{"b":1,"c":{"b":1}},"b":[{"b":1},{"b":1}]}"#,
        ] {
            let UniqueKeys(read) = serde_json::from_str(json).unwrap();
            assert_eq!(read, serde_json::from_str::<Value>(json).unwrap());
        }
    }

    #[test]
    fn a_duplicate_key_at_any_depth_is_refused() {
        for json in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":{"b":1,"c":2,"b":3}}"#,
            r#"[[{"a":[{"b":1,"b":[]}]}]]"#,
        ] {
            assert!(serde_json::from_str::<UniqueKeys>(json).is_err(), "{json}");
        }
        let deep = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
        assert!(serde_json::from_str::<UniqueKeys>(&deep).is_err());
    }
}
