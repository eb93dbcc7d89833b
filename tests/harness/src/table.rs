//! DynamoDB with one table and its index: four operations, evaluated for real, and faults where a script says so.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant, SystemTime},
};

use hyper::{
    Request,
    body::{Bytes, Incoming},
};
use serde_json::{Value, json};

use crate::http::{Answer, Cut, Reply, error, reply};

/// The name of the table.
pub const TABLE: &str = "connections";
/// The name of its index.
pub const INDEX: &str = "session_id-index";

/// What can be asked of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are DynamoDB's own")]
pub enum Operation {
    GetItem,
    PutItem,
    DeleteItem,
    Query,
}

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

/// One call, as it arrived.
#[derive(Debug, Clone)]
pub struct Call {
    /// What was asked.
    pub operation: Operation,
    /// When its head had arrived.
    pub at: Instant,
    /// Its body, DynamoDB's JSON.
    pub input: Bytes,
}

impl Call {
    /// The connection that the call is about, for a read, write or deletion of one row.
    #[must_use]
    pub fn connection(&self) -> Option<String> {
        let input: Value = serde_json::from_slice(&self.input).ok()?;
        let key = input.get("Key").or_else(|| input.get("Item"))?;
        Some(key.pointer("/connection_id/S")?.as_str()?.to_owned())
    }
}

type Script = Box<dyn FnMut(Operation, u32) -> Answer + Send>;

/// The table of connections.
#[derive(Default)]
pub struct Table(Mutex<State>);

#[derive(Default)]
struct State {
    rows: HashMap<String, Row>,
    /// Each session and connection, in the order in which the index gives them.
    index: BTreeSet<(String, String)>,
    page_rows: Option<usize>,
    script: Option<Script>,
    counts: HashMap<Operation, u32>,
    calls: Vec<Call>,
}

impl Table {
    /// Answers each call as `script` says, given the operation and how many calls of it came before. Without a
    /// script every call is served.
    pub fn script(&self, script: impl FnMut(Operation, u32) -> Answer + Send + 'static) {
        self.state().script = Some(Box::new(script));
    }

    /// Gives at most this many rows a page, whatever the caller's limit.
    pub fn page_rows(&self, rows: usize) {
        self.state().page_rows = Some(rows);
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
        self.0.lock().expect("a script should not panic")
    }

    pub(crate) async fn call(&self, request: Request<Incoming>) -> Result<Reply, Cut> {
        let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
        let operation = match target.and_then(|target| target.strip_prefix("DynamoDB_20120810.")) {
            Some("GetItem") => Operation::GetItem,
            Some("PutItem") => Operation::PutItem,
            Some("DeleteItem") => Operation::DeleteItem,
            Some("Query") => Operation::Query,
            _ => return Ok(error(400, "UnknownOperationException")),
        };
        let at = Instant::now();
        let answer = self.state().begin(operation);
        let input = answer.read(request).await?;
        self.state().calls.push(Call { operation, at, input: input.clone() });
        answer.reply(|| self.state().serve(operation, &input)).await
    }
}

impl State {
    fn begin(&mut self, operation: Operation) -> Answer {
        let count = self.counts.entry(operation).or_default();
        *count += 1;
        let before = *count - 1;
        self.script.as_mut().map_or(Answer::Serve, |script| script(operation, before))
    }

    fn serve(&mut self, operation: Operation, input: &[u8]) -> Reply {
        let input: Value = serde_json::from_slice(input).unwrap_or_default();
        if input["TableName"] != TABLE {
            return error(400, "ResourceNotFoundException");
        }
        let output = match operation {
            Operation::GetItem => self.get(&input),
            Operation::PutItem => self.put_item(&input["Item"]),
            Operation::DeleteItem => self.delete(&input),
            Operation::Query => self.query(&input),
        };
        output.map_or_else(|kind| error(400, kind), |output| reply(200, output.to_string()))
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

    /// A row in DynamoDB's form, without the attributes that `projection` does not name.
    fn item(&self, connection: &str, projection: Option<&str>) -> Option<Value> {
        let row = self.rows.get(connection)?;
        let n = |number: i64| ("N", number.to_string());
        let attributes = [
            ("connection_id", Some(("S", connection.to_owned()))),
            ("session_id", Some(("S", row.session.clone()))),
            ("connected_at", row.connected_at.map(n)),
            ("expires_at", row.expires_at.map(n)),
        ];
        let named =
            |name: &str| projection.is_none_or(|names| names.split(',').any(|other| other.trim() == name));
        let item = attributes.into_iter().filter(|(name, _)| named(name)).filter_map(|(name, value)| {
            let (kind, text) = value?;
            Some((name.to_owned(), Value::Object([(kind.to_owned(), text.into())].into_iter().collect())))
        });
        Some(Value::Object(item.collect()))
    }

    fn get(&self, input: &Value) -> Result<Value, &'static str> {
        let connection = text(&input["Key"]["connection_id"]).ok_or(INVALID)?;
        Ok(self.item(connection, None).map_or(json!({}), |item| json!({ "Item": item })))
    }

    fn put_item(&mut self, item: &Value) -> Result<Value, &'static str> {
        let connection = text(&item["connection_id"]).ok_or(INVALID)?;
        let row = Row {
            session: text(&item["session_id"]).ok_or(INVALID)?.to_owned(),
            connected_at: number(&item["connected_at"]),
            expires_at: number(&item["expires_at"]),
        };
        self.put(connection.to_owned(), row);
        Ok(json!({}))
    }

    fn delete(&mut self, input: &Value) -> Result<Value, &'static str> {
        let connection = text(&input["Key"]["connection_id"]).ok_or(INVALID)?;
        if let Some(condition) = input["ConditionExpression"].as_str() {
            let bound = comparison(input, condition, "connected_at", "<").and_then(number).ok_or(INVALID)?;
            let connected_at = self.rows.get(connection).and_then(|row| row.connected_at);
            if connected_at.is_none_or(|at| at >= bound) {
                return Err("ConditionalCheckFailedException");
            }
        }
        self.remove(connection);
        Ok(json!({}))
    }

    /// As DynamoDB does, a page that is full names where it ended even if nothing follows.
    fn query(&self, input: &Value) -> Result<Value, &'static str> {
        let condition = input["KeyConditionExpression"].as_str().ok_or(INVALID)?;
        let session = comparison(input, condition, "session_id", "=").and_then(text).ok_or(INVALID)?;
        if input["IndexName"] != INDEX || input["ConsistentRead"] == true {
            return Err(INVALID);
        }
        let after = text(&input["ExclusiveStartKey"]["connection_id"]).unwrap_or_default();
        let limit = input["Limit"].as_u64().and_then(|limit| limit.try_into().ok()).unwrap_or(usize::MAX);
        let limit = limit.min(self.page_rows.unwrap_or(usize::MAX));
        let start = Bound::Excluded((session.to_owned(), after.to_owned()));
        let page: Vec<&str> = self
            .index
            .range((start, Bound::Unbounded))
            .take_while(|(of, _)| of == session)
            .take(limit)
            .map(|(_, connection)| connection.as_str())
            .collect();
        let projection = input["ProjectionExpression"].as_str();
        let items: Vec<Value> =
            page.iter().filter_map(|connection| self.item(connection, projection)).collect();
        let mut output = json!({ "Count": items.len(), "ScannedCount": items.len() });
        if let Some(last) = page.last().filter(|_| page.len() == limit) {
            output["LastEvaluatedKey"] =
                json!({ "connection_id": { "S": last }, "session_id": { "S": session } });
        }
        output["Items"] = items.into();
        Ok(output)
    }
}

const INVALID: &str = "ValidationException";

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
