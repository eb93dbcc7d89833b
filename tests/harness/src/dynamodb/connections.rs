//! DynamoDB's tables of connections, with its index, and of subscriptions: evaluated for real, and faults where a script
//! says.

mod pages;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use super::{
    Call, Calls, Operation, Refusal,
    attributes::{Attributes, attributes, members, set},
    invalid, item,
};
use crate::http::{Answer, Cut, Reply, error, reply};

/// The name of the table of connections.
pub const TABLE: &str = "connections";
/// The name of its index.
pub const INDEX: &str = "session_id-index";
/// The name of the table of subscriptions.
pub const SUBSCRIPTIONS: &str = "subscriptions";

const SESSION: &str = "session_id";
const CONNECTION: &str = "connection_id";
/// The most requests that one batch may have.
const BATCH: usize = 25;

/// A row of a connection, or of its subscription to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// `session_id`; empty in a row that an update made where there was none.
    pub session: String,
    /// `connected_at`, in milliseconds since 1970.
    pub connected_at: Option<i64>,
    /// `expires_at`, in seconds since 1970.
    pub expires_at: Option<i64>,
    /// `subscriptions`, which is not there where it is empty.
    pub subscriptions: BTreeSet<String>,
}

impl Row {
    /// A row whose connection is `age` seconds old and has an hour left; a negative age is in the future.
    #[must_use]
    pub fn aged(session: &str, age: i64) -> Self {
        let now = now_ms();
        Self {
            session: session.to_owned(),
            connected_at: Some(now - age * 1000),
            expires_at: Some(now / 1000 + 3600),
            subscriptions: BTreeSet::new(),
        }
    }

    fn item(&self, connection: &str) -> Attributes {
        let number = |number: i64| json!({ "N": number.to_string() });
        let text = |text: &str| (!text.is_empty()).then(|| json!({ "S": text }));
        let values = [
            (CONNECTION, text(connection)),
            (SESSION, text(&self.session)),
            ("connected_at", self.connected_at.map(number)),
            ("expires_at", self.expires_at.map(number)),
            ("subscriptions", set(&self.subscriptions)),
        ];
        values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    fn of(item: &Attributes) -> Result<Self, Refusal> {
        let number = |name: &str| item.get(name)?["N"].as_str()?.parse().ok();
        let row = Self {
            session: item::key_text(item, SESSION).unwrap_or_default(),
            connected_at: number("connected_at"),
            expires_at: number("expires_at"),
            subscriptions: item.get("subscriptions").and_then(members).unwrap_or_default(),
        };
        let connection = item::key_text(item, CONNECTION).unwrap_or_default();
        let is_whole = row.item(&connection) == *item;
        is_whole
            .then_some(row)
            .ok_or_else(|| invalid("an attribute that is unknown here, or of another type"))
    }
}

fn now_ms() -> i64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    now.as_millis().try_into().unwrap_or(i64::MAX)
}

/// Session and connection, in the order in which a query gives them.
type Key = (String, String);
type PageScript = Box<dyn FnMut(&str, u32) -> Answer + Send>;
type BatchScript = Box<dyn FnMut(&Value, u32) -> usize + Send>;

/// The table of connections, which has one row for each, or that of subscriptions.
pub struct Table {
    state: Mutex<State>,
    /// Apart from the rest, so that a script can set it. 0 is no limit.
    page_rows: AtomicUsize,
}

struct State {
    name: &'static str,
    rows: BTreeMap<Key, Row>,
    /// The sessions of each connection's rows.
    sessions: HashMap<String, BTreeSet<String>>,
    calls: Calls,
    page_script: Option<PageScript>,
    batch_script: Option<BatchScript>,
}

impl Table {
    pub(crate) fn new(name: &'static str) -> Self {
        let state = State {
            name,
            rows: BTreeMap::new(),
            sessions: HashMap::new(),
            calls: Calls::default(),
            page_script: None,
            batch_script: None,
        };
        Self { state: state.into(), page_rows: AtomicUsize::default() }
    }

    /// Answers each call as `script` says, given the operation and how many calls of it came before. Without a
    /// script every call is served.
    pub fn script(&self, mut script: impl FnMut(Operation, u32) -> Answer + Send + 'static) {
        self.call_script(move |call, count| script(call.operation, count));
    }

    /// The same for a script that looks at the whole call.
    pub fn call_script(&self, script: impl FnMut(&Call, u32) -> Answer + Send + 'static) {
        self.state().calls.script = Some(Box::new(script));
    }

    /// Answers each query that is otherwise served as `script` says, given the session and whether it is the first page
    /// (0) or a later one (1).
    pub fn page_script(&self, script: impl FnMut(&str, u32) -> Answer + Send + 'static) {
        self.state().page_script = Some(Box::new(script));
    }

    /// Leaves as many of each batch's requests undone as `script` says, the last ones, given the first one and how many batches
    /// came before.
    pub fn batch_script(&self, script: impl FnMut(&Value, u32) -> usize + Send + 'static) {
        self.state().batch_script = Some(Box::new(script));
    }

    /// Gives at most this many rows a page from now on, whatever the caller's limit.
    pub fn page_rows(&self, rows: usize) {
        self.page_rows.store(rows, Ordering::Relaxed);
    }

    /// Stores a row, in place of any other of that key.
    pub fn put(&self, connection: &str, row: Row) {
        self.state().put(connection.to_owned(), row);
    }

    /// Deletes every row of a connection, as the sweep of what has expired does.
    pub fn delete(&self, connection: &str) {
        let mut state = self.state();
        for session in state.sessions.remove(connection).unwrap_or_default() {
            state.rows.remove(&(session, connection.to_owned()));
        }
    }

    /// The row of a connection, the first one if it has several.
    #[must_use]
    pub fn row(&self, connection: &str) -> Option<Row> {
        let state = self.state();
        let session = state.sessions.get(connection)?.first()?;
        state.rows.get(&(session.clone(), connection.to_owned())).cloned()
    }

    /// Every connection that has a row.
    #[must_use]
    pub fn connections(&self) -> BTreeSet<String> {
        self.state().sessions.keys().cloned().collect()
    }

    /// The sessions of a connection's rows.
    #[must_use]
    pub fn sessions(&self, connection: &str) -> BTreeSet<String> {
        self.state().sessions.get(connection).cloned().unwrap_or_default()
    }

    /// Makes a connection older, as if that much time had passed.
    pub fn age(&self, connection: &str, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        let mut state = self.state();
        for session in state.sessions.get(connection).cloned().unwrap_or_default() {
            let row = state.rows.get_mut(&(session, connection.to_owned())).expect("a row for each session");
            row.connected_at = row.connected_at.map(|at| at - by);
        }
    }

    /// Every call so far, in the order of arrival.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.seen.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a script should not panic")
    }

    /// `refusal` is for a request that is not signed as it must be.
    pub(crate) async fn call(&self, mut call: Call, refusal: Option<Reply>) -> Result<Reply, Cut> {
        let admitted = self.state().calls.admit(&mut call, refusal);
        let answer = match admitted {
            Ok(Answer::Serve) => self.state().page_answer(call.operation, &call.input),
            Ok(other) => other,
            Err(refusal) => return Ok(*refusal),
        };
        let page_rows = || Some(self.page_rows.load(Ordering::Relaxed)).filter(|rows| *rows > 0);
        answer.reply(|| self.state().serve(&call, page_rows())).await
    }
}

impl State {
    fn page_answer(&mut self, operation: Operation, input: &Value) -> Answer {
        let Some(script) = self.page_script.as_mut().filter(|_| operation == Operation::Query) else {
            return Answer::Serve;
        };
        let session = input["ExpressionAttributeValues"][":session"]["S"].as_str().unwrap_or_default();
        script(session, u32::from(input["ExclusiveStartKey"].is_object()))
    }

    fn serve(&mut self, call: &Call, page_rows: Option<usize>) -> Reply {
        if call.table() != Some(self.name) {
            return error(400, "ResourceNotFoundException");
        }
        let input = &call.input;
        let output = match call.operation {
            Operation::Query => self.query(input, page_rows),
            Operation::Scan => self.scan(input, page_rows),
            Operation::BatchWriteItem => self.batch(input).map(|output| output.to_string()),
            operation => self.item(operation, input).map(|output| output.to_string()),
        };
        output.map_or_else(Refusal::reply, |output| reply(200, output))
    }

    fn put(&mut self, connection: String, row: Row) {
        let sessions = self.sessions.entry(connection.clone()).or_default();
        if self.name == TABLE {
            for session in std::mem::take(sessions) {
                self.rows.remove(&(session, connection.clone()));
            }
        }
        sessions.insert(row.session.clone());
        self.rows.insert((row.session.clone(), connection), row);
    }

    fn remove(&mut self, key: &Key) {
        self.rows.remove(key);
        let (session, connection) = key;
        if let Some(sessions) = self.sessions.get_mut(connection) {
            sessions.remove(session);
            if sessions.is_empty() {
                self.sessions.remove(connection);
            }
        }
    }

    fn key_names(&self) -> &'static [&'static str] {
        if self.name == TABLE { &[CONNECTION] } else { &[CONNECTION, SESSION] }
    }

    /// Where the row of that key is; `alone` where nothing else may be there. In the table of connections a key does not say
    /// of which session it is.
    fn key(&self, attributes: &Attributes, alone: bool) -> Result<Key, Refusal> {
        let names = self.key_names();
        let mismatch = || invalid("the provided key does not match the schema");
        if alone && attributes.len() != names.len() {
            return Err(mismatch());
        }
        let connection = item::key_text(attributes, CONNECTION).ok_or_else(mismatch)?;
        let session = match names {
            [_] => self.sessions.get(&connection).and_then(|sessions| sessions.first().cloned()),
            _ => Some(item::key_text(attributes, SESSION).ok_or_else(mismatch)?),
        };
        Ok((session.unwrap_or_default(), connection))
    }

    fn item(&mut self, operation: Operation, input: &Value) -> Result<Value, Refusal> {
        let expressions = item::expressions(operation, input)?;
        let puts = operation == Operation::PutItem;
        let named = attributes(&input[if puts { "Item" } else { "Key" }])?;
        let key = self.key(&named, !puts)?;
        let old = self.rows.get(&key).map(|row| row.item(&key.1));
        if operation == Operation::GetItem {
            return item::get(expressions, old.as_ref());
        }
        let (new, output) = item::write(operation, input, expressions, self.key_names(), named, old)?;
        match new.as_ref().map(Row::of).transpose()? {
            Some(row) => self.put(key.1, row),
            None => self.remove(&key),
        }
        Ok(output)
    }

    fn batch(&mut self, input: &Value) -> Result<Value, Refusal> {
        let is_alone = |members: &Value| members.as_object().is_some_and(|members| members.len() == 1);
        if !is_alone(input) || !is_alone(&input["RequestItems"]) {
            return Err(invalid("a member or a table that is unknown here"));
        }
        let requests = input["RequestItems"][self.name].as_array().map(Vec::as_slice).unwrap_or_default();
        if !(1..=BATCH).contains(&requests.len()) {
            return Err(invalid("a batch has 1 to 25 requests"));
        }
        let mut writes = Vec::new();
        let mut keys = HashSet::new();
        for request in requests {
            let (put, deletion) = (&request["PutRequest"]["Item"], &request["DeleteRequest"]["Key"]);
            if !is_alone(request) || put.is_null() == deletion.is_null() {
                return Err(invalid("a request puts or deletes"));
            }
            let named = attributes(if put.is_null() { deletion } else { put })?;
            let key = self.key(&named, put.is_null())?;
            let row = (!put.is_null()).then(|| Row::of(&named)).transpose()?;
            if !keys.insert(key.clone()) {
                return Err(invalid("provided list of item keys contains duplicates"));
            }
            writes.push((key, row));
        }
        let before = self.calls.count(Operation::BatchWriteItem).saturating_sub(1);
        let undone = self.batch_script.as_mut().map_or(0, |script| script(&requests[0], before));
        let done = requests.len().saturating_sub(undone);
        for (key, row) in writes.into_iter().take(done) {
            match row {
                Some(row) => self.put(key.1, row),
                None => self.remove(&key),
            }
        }
        let rest = &requests[done..];
        let unprocessed = if rest.is_empty() { json!({}) } else { json!({ self.name: rest }) };
        Ok(json!({ "UnprocessedItems": unprocessed }))
    }
}
