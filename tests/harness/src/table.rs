//! DynamoDB's table of connections and its index: five operations, evaluated for real, and faults where a script says.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::{
    dynamodb::{Call, INVALID, Operation, UNKNOWN},
    http::{Answer, Cut, Reply, error, reply},
};

/// The name of the table.
pub const TABLE: &str = "connections";
/// The name of its index.
pub const INDEX: &str = "session_id-index";

/// A connection's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// `session_id`.
    pub session: String,
    /// `connected_at`, in milliseconds since 1970.
    pub connected_at: Option<i64>,
    /// `expires_at`, in seconds since 1970.
    pub expires_at: Option<i64>,
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
        }
    }
}

fn now_ms() -> i64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    now.as_millis().try_into().unwrap_or(i64::MAX)
}

type Script = Box<dyn FnMut(Operation, u32) -> Answer + Send>;
type PageScript = Box<dyn FnMut(&str, u32) -> Answer + Send>;

/// The table of connections.
#[derive(Default)]
pub struct Table {
    state: Mutex<State>,
    /// Apart from the rest, so that a script can set it. 0 is no limit.
    page_rows: AtomicUsize,
}

#[derive(Default)]
struct State {
    rows: HashMap<String, Row>,
    /// Each session and connection, in the order in which the index gives them.
    index: BTreeSet<(String, String)>,
    script: Option<Script>,
    page_script: Option<PageScript>,
    counts: HashMap<Operation, u32>,
    calls: Vec<Call>,
}

impl Table {
    /// Answers each call as `script` says, given the operation and how many calls of it came before. Without a
    /// script every call is served.
    pub fn script(&self, script: impl FnMut(Operation, u32) -> Answer + Send + 'static) {
        self.state().script = Some(Box::new(script));
    }

    /// Answers each query that is otherwise served as `script` says, given the session and whether it is the first page
    /// (0) or a later one (1).
    pub fn page_script(&self, script: impl FnMut(&str, u32) -> Answer + Send + 'static) {
        self.state().page_script = Some(Box::new(script));
    }

    /// Gives at most this many rows a page from now on, whatever the caller's limit.
    pub fn page_rows(&self, rows: usize) {
        self.page_rows.store(rows, Ordering::Relaxed);
    }

    /// Stores a row, in place of any other of that connection.
    pub fn put(&self, connection: &str, row: Row) {
        self.state().put(connection.to_owned(), row);
    }

    /// The row of a connection.
    #[must_use]
    pub fn row(&self, connection: &str) -> Option<Row> {
        self.state().rows.get(connection).cloned()
    }

    /// Every connection that has a row.
    #[must_use]
    pub fn connections(&self) -> BTreeSet<String> {
        self.state().rows.keys().cloned().collect()
    }

    /// Makes a connection older, as if that much time had passed.
    pub fn age(&self, connection: &str, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        if let Some(row) = self.state().rows.get_mut(connection) {
            row.connected_at = row.connected_at.map(|at| at - by);
        }
    }

    /// Every call so far, in the order of arrival.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a script should not panic")
    }

    /// `refusal` is for a request that is not signed as it must be.
    pub(crate) async fn call(&self, mut call: Call, refusal: Option<Reply>) -> Result<Reply, Cut> {
        let operation = call.operation;
        let answer = self.state().begin(operation);
        if answer.is_unread() {
            call.input = Value::Null;
        } else if let Some(refusal) = refusal {
            return Ok(refusal);
        }
        self.state().calls.push(call.clone());
        let answer = match answer {
            Answer::Serve => self.state().page_answer(operation, &call.input),
            other => other,
        };
        let page_rows = || self.page_rows.load(Ordering::Relaxed);
        answer.reply(|| self.state().serve(operation, &call.input, page_rows())).await
    }
}

impl State {
    fn begin(&mut self, operation: Operation) -> Answer {
        let count = self.counts.entry(operation).or_default();
        *count += 1;
        let before = *count - 1;
        self.script.as_mut().map_or(Answer::Serve, |script| script(operation, before))
    }

    fn page_answer(&mut self, operation: Operation, input: &Value) -> Answer {
        let Some(script) = self.page_script.as_mut().filter(|_| operation == Operation::Query) else {
            return Answer::Serve;
        };
        let session = text(&input["ExpressionAttributeValues"][":session"]).unwrap_or_default();
        script(session, u32::from(input["ExclusiveStartKey"].is_object()))
    }

    fn serve(&mut self, operation: Operation, input: &Value, page_rows: usize) -> Reply {
        if input["TableName"] != TABLE {
            return error(400, "ResourceNotFoundException");
        }
        let output = match operation {
            Operation::GetItem => self.get(input),
            Operation::PutItem => self.put_item(&input["Item"]),
            Operation::UpdateItem => Err(UNKNOWN),
            Operation::DeleteItem => self.delete(input),
            Operation::Query => self.query(input, page_rows),
            Operation::Scan => self.scan(input, page_rows),
        };
        output.map_or_else(|kind| error(400, kind), |output| reply(200, output))
    }

    fn put(&mut self, connection: String, row: Row) {
        self.remove(&connection);
        self.index.insert((row.session.clone(), connection.clone()));
        self.rows.insert(connection, row);
    }

    fn remove(&mut self, connection: &str) {
        if let Some(row) = self.rows.remove(connection) {
            self.index.remove(&(row.session, connection.to_owned()));
        }
    }

    /// Writes a row in DynamoDB's JSON, without the attributes that `projection` does not name. By hand, because a
    /// page of a thousand would otherwise take so long that it showed in what is measured.
    fn write_item(&self, connection: &str, projection: &[bool; 4], out: &mut String) {
        let Some(row) = self.rows.get(connection) else { return };
        let number = |number: i64| format!("\"{number}\"");
        let values = [
            Some(quoted(connection)),
            Some(quoted(&row.session)),
            row.connected_at.map(number),
            row.expires_at.map(number),
        ];
        let mut separator = '{';
        for ((value, (name, kind)), named) in values.iter().zip(ATTRIBUTES).zip(projection) {
            if let (Some(value), true) = (value, named) {
                out.push(separator);
                for part in ["\"", name, "\":{\"", kind, "\":", value, "}"] {
                    out.push_str(part);
                }
                separator = ',';
            }
        }
        out.push('}');
    }

    fn get(&self, input: &Value) -> Result<String, &'static str> {
        let connection = text(&input["Key"]["connection_id"]).ok_or(INVALID)?;
        if !self.rows.contains_key(connection) {
            return Ok(empty());
        }
        let mut item = String::new();
        self.write_item(connection, &[true; 4], &mut item);
        Ok(format!(r#"{{"Item":{item}}}"#))
    }

    fn put_item(&mut self, item: &Value) -> Result<String, &'static str> {
        let connection = text(&item["connection_id"]).ok_or(INVALID)?;
        let row = Row {
            session: text(&item["session_id"]).ok_or(INVALID)?.to_owned(),
            connected_at: number(&item["connected_at"]),
            expires_at: number(&item["expires_at"]),
        };
        self.put(connection.to_owned(), row);
        Ok(empty())
    }

    fn delete(&mut self, input: &Value) -> Result<String, &'static str> {
        let connection = text(&input["Key"]["connection_id"]).ok_or(INVALID)?;
        if let Some(condition) = input["ConditionExpression"].as_str() {
            let bound = comparison(input, condition, "connected_at", "<").and_then(number).ok_or(INVALID)?;
            let connected_at = self.rows.get(connection).and_then(|row| row.connected_at);
            if connected_at.is_none_or(|at| at >= bound) {
                return Err("ConditionalCheckFailedException");
            }
        }
        self.remove(connection);
        Ok(empty())
    }

    /// As DynamoDB does, a page that is full names where it ended even if nothing follows.
    fn query(&self, input: &Value, page_rows: usize) -> Result<String, &'static str> {
        let condition = input["KeyConditionExpression"].as_str().ok_or(INVALID)?;
        let session = comparison(input, condition, "session_id", "=").and_then(text).ok_or(INVALID)?;
        if input["IndexName"] != INDEX || input["ConsistentRead"] == true {
            return Err(INVALID);
        }
        let after = text(&input["ExclusiveStartKey"]["connection_id"]).unwrap_or_default();
        let limit = input["Limit"].as_u64().and_then(|limit| limit.try_into().ok()).unwrap_or(usize::MAX);
        let limit = if page_rows == 0 { limit } else { limit.min(page_rows) };
        let start = Bound::Excluded((session.to_owned(), after.to_owned()));
        let page: Vec<&str> = self
            .index
            .range((start, Bound::Unbounded))
            .take_while(|(of, _)| of == session)
            .take(limit)
            .map(|(_, connection)| connection.as_str())
            .collect();
        let projection = input["ProjectionExpression"].as_str();
        let named = ATTRIBUTES.map(|(name, _)| projection.is_none_or(|names| names.contains(name)));
        let mut items = String::new();
        for connection in &page {
            items.push_str(if items.is_empty() { "" } else { "," });
            self.write_item(connection, &named, &mut items);
        }
        let last = page.last().map(|connection| (session.to_owned(), (*connection).to_owned()));
        let last = last_key(last.as_ref(), page.len() == limit);
        let count = page.len();
        Ok(format!(r#"{{"Count":{count},"ScannedCount":{count},"Items":[{items}]{last}}}"#))
    }

    /// A count of the index's rows that have not expired, page by page.
    fn scan(&self, input: &Value, page_rows: usize) -> Result<String, &'static str> {
        let filter = input["FilterExpression"].as_str().ok_or(INVALID)?;
        let now = comparison(input, filter, "expires_at", ">").and_then(number).ok_or(INVALID)?;
        if input["IndexName"] != INDEX || input["Select"] != "COUNT" {
            return Err(INVALID);
        }
        let after = ["session_id", "connection_id"]
            .map(|name| text(&input["ExclusiveStartKey"][name]).unwrap_or_default().to_owned());
        let limit = if page_rows == 0 { usize::MAX } else { page_rows };
        let start = Bound::Excluded((after[0].clone(), after[1].clone()));
        let page: Vec<_> = self.index.range((start, Bound::Unbounded)).take(limit).collect();
        let expires_at = |connection: &str| self.rows.get(connection).and_then(|row| row.expires_at);
        let count =
            page.iter().filter(|(_, connection)| expires_at(connection).is_some_and(|at| at > now)).count();
        Ok(format!(
            r#"{{"Count":{count},"ScannedCount":{}{}}}"#,
            page.len(),
            last_key(page.last().copied(), page.len() == limit)
        ))
    }
}

/// Where a page that is full ended.
fn last_key(last: Option<&(String, String)>, is_full: bool) -> String {
    let Some((session, connection)) = last.filter(|_| is_full) else { return String::new() };
    let (connection, session) = (quoted(connection), quoted(session));
    format!(r#","LastEvaluatedKey":{{"connection_id":{{"S":{connection}}},"session_id":{{"S":{session}}}}}"#)
}

/// What a row is made of, with DynamoDB's letter for its kind.
const ATTRIBUTES: [(&str, &str); 4] =
    [("connection_id", "S"), ("session_id", "S"), ("connected_at", "N"), ("expires_at", "N")];

fn empty() -> String {
    "{}".to_owned()
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn text(value: &Value) -> Option<&str> {
    value["S"].as_str()
}

fn number(value: &Value) -> Option<i64> {
    value["N"].as_str()?.parse().ok()
}

/// The value that an expression of the form `name operator :value` compares with.
fn comparison<'a>(input: &'a Value, expression: &str, name: &str, operator: &str) -> Option<&'a Value> {
    let placeholder = expression.strip_prefix(name)?.trim_start().strip_prefix(operator)?.trim();
    input["ExpressionAttributeValues"].get(placeholder)
}
