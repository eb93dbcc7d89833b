//! DynamoDB's API: which operation a request asks for, of which table.

mod attributes;
mod connections;
mod expressions;
mod item;
mod messages;

use std::{collections::HashMap, time::Instant};

use hyper::{Request, body::Incoming};
use serde_json::{Value, json};

use self::attributes::Attributes;
pub use self::{
    connections::{INDEX, Row, SUBSCRIPTIONS, TABLE, Table},
    messages::{MESSAGES, Messages},
};
use crate::{
    http::{Answer, Cut, Reply, error, error_with},
    signature::Signatures,
};

/// What can be asked of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are DynamoDB's own")]
pub enum Operation {
    GetItem,
    PutItem,
    UpdateItem,
    DeleteItem,
    Query,
    Scan,
    BatchWriteItem,
}

/// One call, as it arrived.
#[derive(Debug, Clone)]
pub struct Call {
    /// What was asked.
    pub operation: Operation,
    /// When its head had arrived.
    pub at: Instant,
    /// Its body, DynamoDB's JSON; null if the connection was cut before that was read.
    pub input: Value,
}

impl Call {
    /// The connection that the call is about, for a read, write or deletion of one row.
    #[must_use]
    pub fn connection(&self) -> Option<String> {
        let key = self.input.get("Key").or_else(|| self.input.get("Item"))?;
        Some(key.pointer("/connection_id/S")?.as_str()?.to_owned())
    }

    /// The table that the call is about.
    pub(crate) fn table(&self) -> Option<&str> {
        let of_batch = || Some(self.input["RequestItems"].as_object()?.keys().next()?.as_str());
        self.input["TableName"].as_str().or_else(of_batch)
    }
}

type Script = Box<dyn FnMut(&Call, u32) -> Answer + Send>;

/// The calls of a table, and the script that says which of them fail.
#[derive(Default)]
struct Calls {
    script: Option<Script>,
    counts: HashMap<Operation, u32>,
    seen: Vec<Call>,
}

impl Calls {
    /// The script's answer, or the refusal of a request that is not signed as it must be.
    fn admit(&mut self, call: &mut Call, refusal: Option<Reply>) -> Result<Answer, Box<Reply>> {
        let before = self.count(call.operation);
        self.counts.insert(call.operation, before + 1);
        let answer = self.script.as_mut().map_or(Answer::Serve, |script| script(call, before));
        if answer.is_unread() {
            call.input = Value::Null;
        } else if let Some(refusal) = refusal {
            return Err(refusal.into());
        }
        self.seen.push(call.clone());
        Ok(answer)
    }

    fn count(&self, operation: Operation) -> u32 {
        self.counts.get(&operation).copied().unwrap_or_default()
    }
}

/// Why DynamoDB does not do what it was asked.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    /// The item that a condition was not true of, where the caller wants it.
    pub(crate) item: Option<Attributes>,
}

pub(crate) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal { kind: "ValidationException", message: message.into(), item: None }
}

pub(crate) const UNKNOWN: &str = "UnknownOperationException";

impl Refusal {
    pub(crate) fn reply(self) -> Reply {
        let mut body = json!({ "message": self.message });
        if let Some(item) = self.item {
            body["Item"] = item.into();
        }
        error_with(400, self.kind, body)
    }
}

/// Answers a request from the table that it names.
pub(crate) async fn call(
    request: Request<Incoming>,
    table: &Table,
    subscriptions: &Table,
    messages: &Messages,
    signatures: &Signatures,
) -> Result<Reply, Cut> {
    let at = Instant::now();
    let (head, body) = request.into_parts();
    let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let operation = match target.and_then(|target| target.strip_prefix("DynamoDB_20120810.")) {
        Some("GetItem") => Operation::GetItem,
        Some("PutItem") => Operation::PutItem,
        Some("UpdateItem") => Operation::UpdateItem,
        Some("DeleteItem") => Operation::DeleteItem,
        Some("Query") => Operation::Query,
        Some("Scan") => Operation::Scan,
        Some("BatchWriteItem") => Operation::BatchWriteItem,
        _ => return Ok(error(400, UNKNOWN)),
    };
    let body = Answer::Serve.read(body).await?;
    let refusal = signatures.refusal(&head, &body, "dynamodb");
    let call = Call { operation, at, input: serde_json::from_slice(&body).unwrap_or_default() };
    match call.table() {
        Some(MESSAGES) => messages.call(call, refusal).await,
        Some(SUBSCRIPTIONS) => subscriptions.call(call, refusal).await,
        _ => table.call(call, refusal).await,
    }
}
