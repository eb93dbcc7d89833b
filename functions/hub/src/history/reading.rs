//! Answers questions about a session's history: its position, and the messages in a range.

use aws_sdk_dynamodb::{operation::query::QueryOutput, types::ReturnValue};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{HEAD_LIFE, History, damaged, failed, position, random, walk::Walk};
use crate::{
    clock::since_epoch,
    failure::Failure,
    protocol::{EPOCH_CHARS, Position, SessionId},
    table::{self, Item, n, s},
};

/// Which messages to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Range {
    /// None, only the session's position.
    Nothing,
    /// The first `limit` after a position.
    After(Position, usize),
    /// The newest, up to this number.
    Last(usize),
}

/// The messages read, in the form of the answer.
#[derive(Debug, Serialize)]
pub struct Reading {
    /// The session's position: the number of its last message.
    #[serde(flatten)]
    pub position: Position,
    /// Whether there are more messages after these, or one may still be written.
    pub more: bool,
    /// Whether it is certain that no message is missing between the requested position and the end of the answer.
    /// `None` unless a position was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete: Option<bool>,
    /// The frames as they were posted, in the order of their numbers.
    pub messages: Vec<Box<RawValue>>,
    /// How many numbers were sealed as void meanwhile.
    #[serde(skip)]
    pub sealed: u64,
}

impl History {
    /// Reads a session's history consistently. If the session has none, it begins one, so that every position has an
    /// epoch.
    ///
    /// # Errors
    ///
    /// A DynamoDB call failed.
    pub async fn read(&self, session: &SessionId, range: &Range) -> Result<Reading, Failure> {
        let head = self.head(session).await?;
        let mut walk = Walk::new(self, session, &head)?;
        match range {
            Range::Nothing => {}
            Range::After(from, limit) => {
                let known = from.epoch == walk.last.epoch && from.offset <= walk.last.offset;
                (walk.complete, walk.complete_so_far) = (known, known);
                walk.after(if known { from.offset } else { 0 }, *limit).await?;
                return Ok(Reading { complete: Some(walk.complete), ..walk.reading() });
            }
            Range::Last(count) => walk.newest(*count).await?,
        }
        Ok(walk.reading())
    }

    /// A session's position, read consistently. If the session has no history, it begins one.
    ///
    /// # Errors
    ///
    /// A DynamoDB call failed.
    pub async fn position(&self, session: &SessionId) -> Result<Position, Failure> {
        position(&self.head(session).await?).ok_or_else(|| damaged(session))
    }

    async fn head(&self, session: &SessionId) -> Result<Item, Failure> {
        let get = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("session_id", s(session.as_str()))
            .key("offset", n(0))
            .consistent_read(true);
        let read =
            table::with_retries(|| get.clone().customize().config_override(table::single_attempt()).send())
                .await;
        match read.map_err(|error| failed("read from", error))?.item {
            Some(head) => Ok(head),
            None => self.begin(session).await,
        }
    }

    async fn begin(&self, session: &SessionId) -> Result<Item, Failure> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("session_id", s(session.as_str()))
            .key("offset", n(0))
            .update_expression(
                "SET epoch = if_not_exists(epoch, :new), #last = if_not_exists(#last, :none), \
                 expires_at = if_not_exists(expires_at, :expiry)",
            )
            .expression_attribute_names("#last", "last")
            .expression_attribute_values(":new", s(random(EPOCH_CHARS)?))
            .expression_attribute_values(":none", n(0))
            .expression_attribute_values(":expiry", n((since_epoch() + HEAD_LIFE).as_secs()))
            .return_values(ReturnValue::AllNew);
        let begun = table::with_retries(|| {
            update.clone().customize().config_override(table::single_attempt()).send()
        })
        .await;
        Ok(begun.map_err(|error| failed("write to", error))?.attributes.unwrap_or_default())
    }

    /// One page of the items between two numbers, both included, forwards or backwards.
    pub(super) async fn items(
        &self,
        session: &SessionId,
        [first, last]: [u64; 2],
        forwards: bool,
        most: usize,
    ) -> Result<QueryOutput, Failure> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("session_id = :session AND #offset BETWEEN :first AND :last")
            .expression_attribute_names("#offset", "offset")
            .expression_attribute_values(":session", s(session.as_str()))
            .expression_attribute_values(":first", n(first))
            .expression_attribute_values(":last", n(last))
            .scan_index_forward(forwards)
            .limit(most.try_into().unwrap_or(i32::MAX))
            .consistent_read(true);
        Box::pin(query.send()).await.map_err(|error| failed("read from", error))
    }
}
