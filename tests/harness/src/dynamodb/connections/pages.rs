//! Queries of a session and the scan that counts, page by page.

use std::ops::Bound;

use serde_json::Value;

use super::{CONNECTION, INDEX, Key, Row, SESSION, State, TABLE};
use crate::dynamodb::{
    Operation, Refusal,
    attributes::{Attributes, attributes},
    expressions::{Comparator, Condition, Operand},
    invalid, item,
};

impl State {
    /// As DynamoDB does, a page that is full names where it ended even if nothing follows.
    pub(super) fn query(&self, input: &Value, page_rows: Option<usize>) -> Result<String, Refusal> {
        let mut expressions = item::expressions(Operation::Query, input)?;
        let condition = expressions.condition("KeyConditionExpression")?;
        let projection = expressions.projection()?;
        expressions.finish()?;
        let session = match condition {
            Some(Condition::Compare(
                Operand::Path(path),
                Comparator::Equal,
                Operand::Value(Value::Object(value)),
            )) if path == SESSION => item::key_text(&Attributes::from_iter([(path, value.into())]), SESSION),
            _ => None,
        };
        let session = session.ok_or_else(|| invalid("a condition that a key cannot have"))?;
        self.check_index(input)?;
        let start =
            (session.clone(), start(input, Some(&session))?.map_or(String::new(), |(_, after)| after));
        let limit = item::limit(input, page_rows)?;
        let named = ATTRIBUTES
            .map(|(name, _)| projection.as_ref().is_none_or(|projection| projection.contains(name)));
        if projection.is_some_and(|names| names.len() != named.iter().filter(|named| **named).count()) {
            return Err(invalid("an attribute that is not projected, or unknown here"));
        }
        let (mut items, mut count, mut last) = (String::new(), 0, None);
        for (key, row) in self
            .rows
            .range((Bound::Excluded(start), Bound::Unbounded))
            .take_while(|((of, _), _)| *of == session)
            .take(limit)
        {
            items.push_str(if count == 0 { "" } else { "," });
            write_item(&key.1, row, &named, &mut items);
            count += 1;
            last = Some(key);
        }
        let last = last_key(last.filter(|_| count == limit));
        Ok(format!(r#"{{"Count":{count},"ScannedCount":{count},"Items":[{items}]{last}}}"#))
    }

    /// A count of the index's rows, page by page.
    pub(super) fn scan(&self, input: &Value, page_rows: Option<usize>) -> Result<String, Refusal> {
        let mut expressions = item::expressions(Operation::Scan, input)?;
        let filter = expressions.condition("FilterExpression")?;
        expressions.finish()?;
        if self.name != TABLE || input["Select"] != "COUNT" {
            return Err(invalid("a scan that is unknown here"));
        }
        self.check_index(input)?;
        let limit = item::limit(input, page_rows)?;
        let start = start(input, None)?.unwrap_or_default();
        let (mut scanned, mut count, mut last) = (0, 0, None);
        for (key, row) in self
            .rows
            .range((Bound::Excluded(start), Bound::Unbounded))
            .filter(|((session, _), _)| !session.is_empty())
            .take(limit)
        {
            scanned += 1;
            count += u64::from(filter.as_ref().is_none_or(|filter| filter.holds(&row.item(&key.1))));
            last = Some(key);
        }
        let last = last_key(last.filter(|_| scanned == limit));
        Ok(format!(r#"{{"Count":{count},"ScannedCount":{scanned}{last}}}"#))
    }

    /// Connections are found by session in their index alone, which is never read consistently.
    fn check_index(&self, input: &Value) -> Result<(), Refusal> {
        let is_right = match self.name {
            TABLE => input["IndexName"] == INDEX && input["ConsistentRead"] != true,
            _ => input["IndexName"].is_null(),
        };
        is_right.then_some(()).ok_or_else(|| invalid("the wrong index, or a consistent read of one"))
    }
}

/// Where a page is to start; in this session, if one is given.
fn start(input: &Value, within: Option<&str>) -> Result<Option<Key>, Refusal> {
    let start = &input["ExclusiveStartKey"];
    if start.is_null() {
        return Ok(None);
    }
    let start = attributes(start)?;
    let key = item::key_text(&start, SESSION).zip(item::key_text(&start, CONNECTION));
    let key = key.filter(|(session, _)| start.len() == 2 && within.is_none_or(|within| within == session));
    key.map(Some).ok_or_else(|| invalid("the provided starting key is invalid"))
}

/// Writes a row in DynamoDB's JSON, without the attributes that are not named. By hand, because a page of a thousand would
/// otherwise take so long that it showed in what is measured.
fn write_item(connection: &str, row: &Row, named: &[bool; 4], out: &mut String) {
    let number = |number: i64| format!("\"{number}\"");
    let values = [
        Some(quoted(connection)),
        Some(quoted(&row.session)),
        row.connected_at.map(number),
        row.expires_at.map(number),
    ];
    let mut separator = '{';
    for ((value, (name, kind)), named) in values.iter().zip(ATTRIBUTES).zip(named) {
        if let (Some(value), true) = (value, named) {
            out.push(separator);
            for part in ["\"", name, "\":{\"", kind, "\":", value, "}"] {
                out.push_str(part);
            }
            separator = ',';
        }
    }
    out.push_str(if separator == '{' { "{}" } else { "}" });
}

/// Where a page that is full ended.
fn last_key(last: Option<&Key>) -> String {
    let Some((session, connection)) = last else { return String::new() };
    let (connection, session) = (quoted(connection), quoted(session));
    format!(r#","LastEvaluatedKey":{{"connection_id":{{"S":{connection}}},"session_id":{{"S":{session}}}}}"#)
}

/// What a query can read of a row, with DynamoDB's letter for its kind.
const ATTRIBUTES: [(&str, &str); 4] =
    [(CONNECTION, "S"), (SESSION, "S"), ("connected_at", "N"), ("expires_at", "N")];

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
