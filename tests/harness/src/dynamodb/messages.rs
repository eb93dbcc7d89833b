//! DynamoDB's table of messages: evaluates whatever expressions it is sent, and fails where a script says so.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    Call, Calls, Operation, Refusal, UNKNOWN,
    attributes::{Attributes, Number, attributes, kind, number, size},
    expressions::{Comparator, Condition, Expressions, Operand},
    invalid,
    item::{self, projected},
};
use crate::http::{Answer, Cut, Reply, reply};

/// The name of the table.
pub const MESSAGES: &str = "messages";

const HASH: &str = "session_id";
const RANGE: &str = "offset";
/// The largest page, in bytes.
const PAGE: usize = 1024 * 1024;

type Key = (String, Number);

/// The table of messages.
#[derive(Default)]
pub struct Messages {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    items: BTreeMap<Key, Attributes>,
    calls: Calls,
    page_items: Option<usize>,
}

impl Messages {
    /// Answers each call as `script` says, given the call and how many of its operation came before. Without a script
    /// every call is served. The script must not use the table.
    pub fn script(&self, script: impl FnMut(&Call, u32) -> Answer + Send + 'static) {
        self.state().calls.script = Some(Box::new(script));
    }

    /// Gives at most this many items a page from now on, whatever the caller's limit.
    pub fn page_items(&self, items: usize) {
        self.state().page_items = Some(items);
    }

    /// Every call so far, in the order of arrival.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.seen.clone()
    }

    /// A session's items in the order of their offsets, each an object of attributes in DynamoDB's JSON.
    #[must_use]
    pub fn items(&self, session: &str) -> Vec<Value> {
        let state = self.state();
        let items = state.items.iter().filter(|((of, _), _)| of == session);
        items.map(|(_, item)| item.clone().into()).collect()
    }

    /// Stores an item, in place of any other of that key, as a backup does that is restored.
    ///
    /// # Panics
    ///
    /// If DynamoDB would not take it.
    pub fn put(&self, item: &Value) {
        let item = attributes(item).and_then(|item| Ok((key(&item, false)?, item)));
        let (key, item) = item.expect("an item should be valid");
        self.state().items.insert(key, item);
    }

    /// Deletes an item, as the sweep of what has expired does.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn delete(&self, session: &str, offset: u64) {
        let offset = Number::parse(&offset.to_string()).expect("an offset is a number");
        let item = self.state().items.remove(&(session.to_owned(), offset));
        item.expect("an item should be there to be deleted");
    }

    /// Makes everything that is stored of a session older, as if that much time had passed.
    pub fn age(&self, session: &str, by: Duration) {
        let back = |by: u128| Number::parse(&format!("-{by}")).expect("a duration is a number");
        let (milliseconds, seconds) = (back(by.as_millis()), back(by.as_secs().into()));
        let times = [
            ("written_at", milliseconds),
            ("taken_at", milliseconds),
            ("expires_at", seconds),
            ("keep_until", seconds),
        ];
        for ((of, _), item) in &mut self.state().items {
            for (name, back) in times.iter().filter(|_| of == session) {
                if let Some(time) = item.get_mut(*name) {
                    let earlier = number(time).and_then(|time| time.plus(*back));
                    *time = json!({ "N": earlier.expect("a time should be a number").to_string() });
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a script should not panic")
    }

    /// `refusal` is for a request that is not signed as it must be.
    pub(crate) async fn call(&self, mut call: Call, refusal: Option<Reply>) -> Result<Reply, Cut> {
        let admitted = self.state().calls.admit(&mut call, refusal);
        match admitted {
            Ok(answer) => answer.reply(|| self.state().serve(&call)).await,
            Err(refusal) => Ok(*refusal),
        }
    }
}

impl State {
    fn serve(&mut self, call: &Call) -> Reply {
        match self.evaluate(call.operation, &call.input) {
            Ok(output) => reply(200, output.to_string()),
            Err(refusal) => refusal.reply(),
        }
    }

    fn evaluate(&mut self, operation: Operation, input: &Value) -> Result<Value, Refusal> {
        if operation == Operation::Scan || input.get("IndexName").is_some() {
            return Err(Refusal { kind: UNKNOWN, message: String::new(), item: None });
        }
        let expressions = item::expressions(operation, input)?;
        match operation {
            Operation::GetItem => {
                let key = key(&attributes(&input["Key"])?, true)?;
                item::get(expressions, self.items.get(&key))
            }
            Operation::Query => self.query(input, expressions),
            _ => {
                let puts = operation == Operation::PutItem;
                let named = attributes(&input[if puts { "Item" } else { "Key" }])?;
                let key = key(&named, !puts)?;
                let old = self.items.get(&key).cloned();
                let (new, output) = item::write(operation, input, expressions, &[HASH, RANGE], named, old)?;
                match new {
                    Some(new) => self.items.insert(key, new),
                    None => self.items.remove(&key),
                };
                Ok(output)
            }
        }
    }

    fn query(&self, input: &Value, mut expressions: Expressions<'_>) -> Result<Value, Refusal> {
        let condition = expressions.condition("KeyConditionExpression")?;
        let condition = condition.ok_or_else(|| invalid("a query needs a condition on its key"))?;
        check_key_condition(&condition)?;
        let projection = expressions.projection()?;
        expressions.finish()?;
        let start = match &input["ExclusiveStartKey"] {
            Value::Null => None,
            start => {
                let start = attributes(start)?;
                let key = key(&start, true)?;
                if !condition.holds(&start) {
                    return Err(invalid("the provided starting key is outside query boundaries"));
                }
                Some(key.1)
            }
        };
        let limit = item::limit(input, self.page_items)?;
        let is_forward = input["ScanIndexForward"] != false;

        let mut found: Vec<_> = self.items.iter().filter(|(_, item)| condition.holds(item)).collect();
        if !is_forward {
            found.reverse();
        }
        let is_after = |offset: &Number| {
            start.is_none_or(|start| if is_forward { *offset > start } else { *offset < start })
        };
        found.retain(|((_, offset), _)| is_after(offset));
        let mut bytes = 0;
        let mut fits = |item: &Attributes| {
            bytes += size(item);
            bytes <= PAGE
        };
        let page: Vec<&Attributes> =
            found.iter().map(|(_, item)| *item).take(limit).take_while(|item| fits(item)).collect();
        let items: Vec<Attributes> = page.iter().map(|item| projected(item, projection.as_ref())).collect();
        let mut output = json!({ "Count": items.len(), "ScannedCount": items.len(), "Items": items });
        // A page that is full names where it ended even if nothing follows.
        if let Some(last) = page.last().filter(|_| page.len() == limit || page.len() < found.len()) {
            output["LastEvaluatedKey"] = json!({ HASH: last[HASH], RANGE: last[RANGE] });
        }
        Ok(output)
    }
}

/// The key among attributes; `alone` where nothing else may be there.
fn key(attributes: &Attributes, alone: bool) -> Result<Key, Refusal> {
    let session = item::key_text(attributes, HASH);
    let offset = attributes.get(RANGE).and_then(number);
    match (session, offset) {
        (Some(session), Some(offset)) if !alone || attributes.len() == 2 => Ok((session, offset)),
        _ => Err(invalid("the provided key does not match the schema")),
    }
}

/// A key condition is one comparison of the session for equality, with or without one of the offset.
fn check_key_condition(condition: &Condition) -> Result<(), Refusal> {
    let (mut hashes, mut ranges) = (0, 0);
    let mut rest = vec![condition];
    while let Some(condition) = rest.pop() {
        match condition {
            Condition::And(one, other) => rest.extend([&**one, &**other]),
            Condition::Compare(Operand::Path(path), Comparator::Equal, Operand::Value(value))
                if path == HASH && kind(value) == "S" =>
            {
                hashes += 1;
            }
            Condition::Compare(Operand::Path(path), comparator, Operand::Value(value))
                if path == RANGE && *comparator != Comparator::NotEqual && kind(value) == "N" =>
            {
                ranges += 1;
            }
            Condition::Between(Operand::Path(path), Operand::Value(low), Operand::Value(_))
                if path == RANGE && kind(low) == "N" =>
            {
                ranges += 1;
            }
            _ => return Err(invalid("a condition that a key cannot have")),
        }
    }
    let is_one_each = hashes == 1 && ranges <= 1;
    is_one_each.then_some(()).ok_or_else(|| invalid("a key condition has one part for each key attribute"))
}
