//! The table of subscriptions: the connections that receive the messages of a session other than their own.

use std::collections::BTreeSet;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client,
    config::Builder,
    types::{DeleteRequest, PutRequest, WriteRequest},
};
use futures::{StreamExt, stream};

use crate::{
    config::{ConfigError, Variables},
    failure::Failure,
    metrics,
    protocol::{MAX_SUBSCRIPTIONS, SessionId},
    registry::{Connection, Page, Prune, prune, recipients},
    table::{self, Item, n, s},
    throttling::TABLE_THROTTLED,
};

/// The most requests in one `BatchWriteItem`.
const BATCH: usize = 25;

/// The table, through a client of its own.
#[derive(Debug, Clone)]
pub struct Subscriptions {
    client: Client,
    table: String,
}

impl Subscriptions {
    /// The table that `SUBSCRIPTIONS_TABLE` names; `None` if the variable is missing.
    ///
    /// # Errors
    ///
    /// The variable is malformed.
    pub fn new(variables: &Variables, sdk: &SdkConfig) -> Result<Option<Self>, ConfigError> {
        let table = table::name(variables, "SUBSCRIPTIONS_TABLE")?;
        Ok(table.map(|table| Self { client: table::client(Builder::from(sdk)), table }))
    }

    /// One page of a session's subscribers, read consistently.
    ///
    /// # Errors
    ///
    /// The DynamoDB call failed.
    pub async fn page(&self, session: &SessionId, from: Option<Item>) -> Result<Page, Failure> {
        let query = self.client.query().table_name(&self.table).consistent_read(true);
        let output = recipients(query, session, from).await;
        Ok(Page::new(output.map_err(|error| failed("read from", error))?, true))
    }

    /// Writes a row for each of the sessions.
    ///
    /// # Errors
    ///
    /// DynamoDB did not write all of them. Any of them may exist.
    pub async fn add(
        &self,
        connection_id: &str,
        connection: &Connection,
        sessions: &BTreeSet<SessionId>,
    ) -> Result<(), Failure> {
        let times = [("connected_at", connection.connected_at), ("expires_at", connection.expires_at)];
        self.write(sessions, |session| {
            let times = times.iter().filter_map(|(name, time)| Some(((*name).into(), n((*time)?))));
            let row = key(session, connection_id).into_iter().chain(times).collect();
            let put = PutRequest::builder().set_item(Some(row)).build();
            put.map(|put| WriteRequest::builder().put_request(put).build())
        })
        .await
    }

    /// Deletes the row of each of the sessions. A row that does not exist is no error.
    ///
    /// # Errors
    ///
    /// DynamoDB did not delete all of them.
    pub async fn remove(&self, connection_id: &str, sessions: &BTreeSet<SessionId>) -> Result<(), Failure> {
        self.write(sessions, |session| {
            let delete = DeleteRequest::builder().set_key(Some(key(session, connection_id))).build();
            delete.map(|delete| WriteRequest::builder().delete_request(delete).build())
        })
        .await
    }

    /// Deletes the row of a connection that is gone, unless the row is too young. Makes one attempt.
    ///
    /// # Errors
    ///
    /// The DynamoDB call failed.
    pub async fn prune(&self, session: &SessionId, connection_id: &str) -> Result<Prune, Failure> {
        let row = self.client.delete_item().table_name(&self.table);
        let row = row.set_key(Some(key(session, connection_id)));
        prune(row).await.map_err(|error| failed("delete from", error))
    }

    /// Returns only when no request is under way, even if one has failed.
    async fn write<E>(
        &self,
        sessions: &BTreeSet<SessionId>,
        request: impl Fn(&SessionId) -> Result<WriteRequest, E>,
    ) -> Result<(), Failure>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let requests = sessions.iter().map(request).collect::<Result<Vec<_>, _>>();
        let requests = requests.map_err(|error| failed("write to", error))?;
        let batches = requests.chunks(BATCH).map(<[_]>::to_vec);
        let written: Vec<_> = stream::iter(batches)
            .map(|batch| Box::pin(self.write_batch(batch)))
            .buffer_unordered(MAX_SUBSCRIPTIONS / BATCH)
            .collect()
            .await;
        written.into_iter().collect()
    }

    async fn write_batch(&self, mut requests: Vec<WriteRequest>) -> Result<(), Failure> {
        for attempt in 1..=table::ATTEMPTS {
            let write = self.client.batch_write_item().request_items(&self.table, requests);
            let output = table::with_retries(|| {
                write.clone().customize().config_override(table::single_attempt()).send()
            })
            .await;
            let output = output.map_err(|error| failed("write to", error))?;
            let left = output.unprocessed_items.unwrap_or_default();
            requests = left.into_values().flatten().collect();
            if requests.is_empty() {
                return Ok(());
            }
            // DynamoDB reports this throttling without an error.
            metrics::count(TABLE_THROTTLED);
            if attempt < table::ATTEMPTS {
                table::pause(attempt).await;
            }
        }
        let text = format!(
            "DynamoDB throttled {} writes to the table of subscriptions {} times in a row",
            requests.len(),
            table::ATTEMPTS
        );
        Err(Failure::other("table", text))
    }
}

fn key(session: &SessionId, connection_id: &str) -> Item {
    Item::from([("session_id".into(), s(session.as_str())), ("connection_id".into(), s(connection_id))])
}

fn failed<E>(action: &'static str, source: E) -> Failure
where
    E: std::error::Error + Send + Sync + 'static,
{
    table::failed(action, "subscriptions", source)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_dynamodb::operation::batch_write_item::BatchWriteItemOutput;
    use aws_smithy_mocks::{RuleMode, mock, mock_client};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn between_five_attempts_at_a_batch_are_random_pauses_whose_limit_doubles() {
        let room = SessionId::parse("room").unwrap();
        let row = key(&room, "a=");
        let unprocessed = mock!(Client::batch_write_item).then_output(move || {
            let delete = DeleteRequest::builder().set_key(Some(row.clone())).build().unwrap();
            let left = WriteRequest::builder().delete_request(delete).build();
            BatchWriteItemOutput::builder().unprocessed_items("subscriptions", vec![left]).build()
        });
        let client = mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, [&unprocessed]);
        let subscriptions = Subscriptions { client, table: "subscriptions".into() };
        let mut longest = Duration::ZERO;
        for _ in 0..100 {
            let began = Instant::now();
            let failure = subscriptions.remove("a=", &BTreeSet::from([room.clone()])).await.unwrap_err();
            assert!(failure.to_string().contains("throttled 1 writes"), "{failure}");
            longest = longest.max(began.elapsed());
        }
        assert_eq!(unprocessed.num_calls(), 500);
        // The limits are 50, 100, 200 and 400 ms: without the last doubling, 550 in all.
        assert!((551..=750).contains(&longest.as_millis()), "{longest:?}");
    }
}
