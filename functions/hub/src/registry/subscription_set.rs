//! The set of subscriptions in a connection's row. It names at least the sessions for which the table of subscriptions
//! has a row, so that the connection can be removed together with those rows.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::{
        delete_item::{DeleteItemError, DeleteItemOutput},
        update_item::builders::UpdateItemFluentBuilder,
    },
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure::AllOld},
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::{Registry, failed};
use crate::{
    clock::now_seconds,
    failure::Failure,
    protocol::{MAX_SUBSCRIPTIONS, SessionId},
    table::{self, Item, members, n, number, refused_delete, refused_update, s, ss, text},
};

const IS_LIVE: &str =
    "attribute_exists(connection_id) AND (attribute_not_exists(expires_at) OR expires_at > :now)";

/// A live connection's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The session that it belongs to.
    pub session: SessionId,
    /// The sessions that it is subscribed to.
    pub subscriptions: BTreeSet<SessionId>,
    /// When it connected, in milliseconds since 1970; `None` if the hub did not write the row.
    pub connected_at: Option<i64>,
    /// When its row expires, in seconds since 1970; `None`, for never, if the hub did not write the row.
    pub expires_at: Option<i64>,
}

/// The result of an addition to the set.
#[derive(Debug, PartialEq, Eq)]
pub enum Added {
    /// The names were added.
    Done,
    /// The set, which has changed since it was read, had no room. Nothing was added.
    Full(Connection),
    /// The connection is not live.
    NotConnected,
}

impl Connection {
    fn read(row: &Item) -> Option<Self> {
        let expires_at = number(row, "expires_at");
        if expires_at.is_some_and(|expires_at| expires_at <= now_seconds()) {
            return None;
        }
        Some(Self {
            session: SessionId::parse(text(row, "session_id")?)?,
            subscriptions: subscriptions(row),
            connected_at: number(row, "connected_at"),
            expires_at,
        })
    }
}

impl Registry {
    /// A live connection, read consistently, since its `$connect` may be a moment old.
    ///
    /// # Errors
    ///
    /// The DynamoDB call failed.
    pub async fn connection(&self, connection_id: &str) -> Result<Option<Connection>, Failure> {
        self.read(connection_id, None).await
    }

    /// The session of a live connection, read consistently, without its subscriptions, which may take 13 KB.
    ///
    /// # Errors
    ///
    /// The DynamoDB call failed.
    pub async fn session_of(&self, connection_id: &str) -> Result<Option<SessionId>, Failure> {
        let connection = self.read(connection_id, Some("session_id, expires_at")).await?;
        Ok(connection.map(|connection| connection.session))
    }

    async fn read(
        &self,
        connection_id: &str,
        attributes: Option<&str>,
    ) -> Result<Option<Connection>, Failure> {
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("connection_id", s(connection_id))
            .set_projection_expression(attributes.map(str::to_owned))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| failed("read from", error))?;
        Ok(output.item.as_ref().and_then(Connection::read))
    }

    /// Adds `new` names, none of which is in the set, to the set of a live connection if it has room for all of them.
    ///
    /// # Errors
    ///
    /// The DynamoDB call failed. The names may be in the set.
    pub async fn add_subscriptions(
        &self,
        connection_id: &str,
        new: &BTreeSet<SessionId>,
    ) -> Result<Added, Failure> {
        let update = self
            .update(connection_id, "ADD subscriptions :names", new)
            .condition_expression(format!(
                "{IS_LIVE} AND (attribute_not_exists(subscriptions) OR size(subscriptions) <= :room)"
            ))
            .expression_attribute_values(":room", n(MAX_SUBSCRIPTIONS.saturating_sub(new.len())))
            .return_values_on_condition_check_failure(AllOld);
        Ok(match refused(update).await? {
            None => Added::Done,
            Some(row) => Connection::read(&row).map_or(Added::NotConnected, Added::Full),
        })
    }

    /// Removes names from the set of a connection. Returns whether the connection is live.
    ///
    /// # Errors
    ///
    /// The DynamoDB call failed.
    pub async fn remove_subscriptions(
        &self,
        connection_id: &str,
        gone: &BTreeSet<SessionId>,
    ) -> Result<bool, Failure> {
        let update =
            self.update(connection_id, "DELETE subscriptions :names", gone).condition_expression(IS_LIVE);
        Ok(refused(update).await?.is_none())
    }

    /// An update of a connection's set with these names. The caller adds a condition.
    fn update(
        &self,
        connection_id: &str,
        expression: &str,
        names: &BTreeSet<SessionId>,
    ) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("connection_id", s(connection_id))
            .update_expression(expression)
            .expression_attribute_values(":now", n(now_seconds()))
            .expression_attribute_values(":names", ss(names.iter().map(SessionId::as_str)))
    }

    /// Removes a connection and returns its subscriptions, even if the answer to a first attempt was lost: a row with
    /// subscriptions is deleted only after they have been read. A connection that does not exist is no error.
    ///
    /// # Errors
    ///
    /// The DynamoDB call failed.
    pub async fn remove_with_subscriptions(
        &self,
        connection_id: &str,
    ) -> Result<BTreeSet<SessionId>, Failure> {
        let mut seen = BTreeSet::new();
        let mut as_seen = None;
        loop {
            match self.remove_if(connection_id, as_seen.as_ref()).await {
                Ok(_) => return Ok(seen),
                Err(error) => match refused_delete(&error) {
                    Some(row) => {
                        seen.extend(subscriptions(&row));
                        as_seen = row.get("subscriptions").cloned();
                    }
                    None => return Err(failed("delete from", error)),
                },
            }
        }
    }

    /// Deletes a row if its set is `as_seen`; `None` is no set.
    async fn remove_if(
        &self,
        connection_id: &str,
        as_seen: Option<&AttributeValue>,
    ) -> Result<DeleteItemOutput, SdkError<DeleteItemError, HttpResponse>> {
        let condition = match as_seen {
            None => "attribute_not_exists(subscriptions)",
            Some(_) => "attribute_not_exists(connection_id) OR subscriptions = :seen",
        };
        let delete = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key("connection_id", s(connection_id))
            .condition_expression(condition)
            .set_expression_attribute_values(as_seen.map(|seen| Item::from([(":seen".into(), seen.clone())])))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(AllOld);
        // Boxed, because the SDK's futures are large.
        Box::pin(delete.send()).await
    }
}

fn subscriptions(row: &Item) -> BTreeSet<SessionId> {
    members(row, "subscriptions").iter().filter_map(|name| SessionId::parse(name)).collect()
}

/// Makes a conditional update. If the condition fails, returns the item that it met, empty if there was none.
async fn refused(update: UpdateItemFluentBuilder) -> Result<Option<Item>, Failure> {
    match table::with_retries(|| update.clone().customize().config_override(table::single_attempt()).send())
        .await
    {
        Ok(_) => Ok(None),
        Err(error) => match refused_update(&error) {
            Some(row) => Ok(Some(row)),
            None => Err(failed("write to", error)),
        },
    }
}
