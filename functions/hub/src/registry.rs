//! The table of connections: which connections are open, and to which session each belongs.

mod subscription_set;

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client,
    config::Builder,
    error::SdkError,
    operation::{
        delete_item::{DeleteItemError, builders::DeleteItemFluentBuilder},
        query::{QueryError, QueryOutput, builders::QueryFluentBuilder},
    },
    types::Select,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

pub use self::subscription_set::{Added, Connection};
use crate::{
    clock::{now_seconds, since_epoch},
    config::{ConfigError, Variables},
    failure::Failure,
    protocol::SessionId,
    table::{self, Item, n, number, refused_delete, s, text},
};

/// The most rows per page. Several pages in flight need little memory (about 100 bytes per row), and reading is never
/// slower than posting: an account posts at most 10,000 frames per second.
const PAGE_ROWS: i32 = 1000;

/// The gateway closes every socket after so long, so an older row has none.
const SOCKET_LIFE: Duration = Duration::from_secs(2 * 60 * 60);

/// A younger row may belong to a handshake in progress, for which the gateway answers 410.
pub const PRUNE_GRACE: Duration = Duration::from_secs(10);

/// The table, through a client of its own.
#[derive(Debug, Clone)]
pub struct Registry {
    client: Client,
    table: String,
    index: String,
}

/// A connection to post to, read from the index or from the table of subscriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The gateway's name for the connection.
    pub connection_id: String,
    /// When it connected, in milliseconds since 1970; `None` if the hub did not write the row.
    pub connected_at: Option<i64>,
    /// When its row expires, in seconds since 1970; `None`, for never, if the hub did not write the row.
    pub expires_at: Option<i64>,
    /// Whether it is subscribed to the session, which is not its own.
    pub is_subscribed: bool,
}

impl Recipient {
    /// Whether its row has expired by `now`, in seconds since 1970. DynamoDB may remove expired rows days late.
    #[must_use]
    pub fn has_expired(&self, now: i64) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    /// Whether its socket may still be open: a token may expire earlier than the socket.
    #[must_use]
    pub fn may_be_open(&self, now: i64) -> bool {
        let life = i64::try_from(SOCKET_LIFE.as_secs()).unwrap_or(i64::MAX);
        self.connected_at.is_some_and(|at| (at / 1000).saturating_add(life) > now)
    }
}

/// One page of a session's recipients.
#[derive(Debug)]
pub struct Page {
    /// The recipients, including those whose row has expired.
    pub recipients: Vec<Recipient>,
    /// The key from which to read the next page; `None` after the last.
    pub next: Option<Item>,
}

/// The result of a prune.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// The row is deleted.
    Deleted,
    /// The row is too young, or did not exist.
    NotDeleted,
}

impl Prune {
    pub(crate) fn or(self, other: Self) -> Self {
        if self == Self::Deleted { self } else { other }
    }
}

impl Registry {
    /// The registry on the table that `TABLE_NAME` names.
    pub fn new(variables: &Variables, sdk: &SdkConfig) -> Result<Self, ConfigError> {
        Self::from_conf(variables, Builder::from(sdk))
    }

    /// The same with another client configuration.
    pub fn from_conf(variables: &Variables, conf: Builder) -> Result<Self, ConfigError> {
        let missing =
            || ConfigError::new("TABLE_NAME", "is missing: set it to the name of the table of connections");
        let table = table::name(variables, "TABLE_NAME")?.ok_or_else(missing)?;
        Ok(Self { client: table::client(conf), table, index: "session_id-index".into() })
    }

    /// The same with the index on `session_id` that `SESSION_INDEX` names, for functions that read the index.
    pub fn with_index(mut self, variables: &Variables) -> Result<Self, ConfigError> {
        if let Some(index) = table::name(variables, "SESSION_INDEX")? {
            self.index = index;
        }
        Ok(self)
    }

    /// Stores a connection that began at `connected_at` (milliseconds since 1970) and whose row expires at `expires_at`
    /// (seconds since 1970).
    pub async fn add(
        &self,
        connection_id: &str,
        session: &SessionId,
        connected_at: i64,
        expires_at: i64,
    ) -> Result<(), Failure> {
        self.client
            .put_item()
            .table_name(&self.table)
            .item("connection_id", s(connection_id))
            .item("session_id", s(session.as_str()))
            .item("connected_at", n(connected_at))
            .item("expires_at", n(expires_at))
            .send()
            .await
            .map_err(|error| failed("write to", error))?;
        Ok(())
    }

    /// Removes a connection without subscriptions. One that does not exist is no error.
    pub async fn remove(&self, connection_id: &str) -> Result<(), Failure> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .key("connection_id", s(connection_id))
            .send()
            .await
            .map_err(|error| failed("delete from", error))?;
        Ok(())
    }

    /// One page of a session's recipients, from the index, which may lag behind the table for a moment.
    pub async fn page(&self, session: &SessionId, from: Option<Item>) -> Result<Page, Failure> {
        let query = self.client.query().table_name(&self.table).index_name(&self.index);
        let output = recipients(query, session, from).await;
        Ok(Page::new(output.map_err(|error| failed("read from", error))?, false))
    }

    /// The number of open connections: the rows of the index that have not expired. A connection whose `$disconnect`
    /// was lost counts until its row expires or is pruned.
    pub async fn count_open(&self) -> Result<u64, Failure> {
        let now = n(now_seconds());
        let mut open = 0;
        let mut from = None;
        loop {
            let output = self
                .client
                .scan()
                .table_name(&self.table)
                .index_name(&self.index)
                .select(Select::Count)
                .filter_expression("expires_at > :now")
                .expression_attribute_values(":now", now.clone())
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(|error| failed("count", error))?;
            open += u64::try_from(output.count).unwrap_or_default();
            from = output.last_evaluated_key.filter(|key| !key.is_empty());
            if from.is_none() {
                return Ok(open);
            }
        }
    }

    /// Deletes the row of a connection that is gone, unless the row is younger than [`PRUNE_GRACE`]. Makes one attempt.
    pub async fn prune(&self, connection_id: &str) -> Result<Prune, Failure> {
        let row = self.client.delete_item().table_name(&self.table).key("connection_id", s(connection_id));
        prune(row).await.map_err(|error| failed("delete from", error))
    }
}

/// Deletes a row, unless it is younger than [`PRUNE_GRACE`]. Makes one attempt.
pub(crate) async fn prune(
    row: DeleteItemFluentBuilder,
) -> Result<Prune, SdkError<DeleteItemError, HttpResponse>> {
    let pruned = row
        .condition_expression("connected_at < :cutoff")
        .expression_attribute_values(":cutoff", n(prune_cutoff()))
        .customize()
        // A failed prune does no harm, and must not use up the retry quota that it shares with reading.
        .config_override(table::single_attempt())
        .send()
        .await;
    match pruned {
        Ok(_) => Ok(Prune::Deleted),
        Err(error) if refused_delete(&error).is_some() => Ok(Prune::NotDeleted),
        Err(error) => Err(error),
    }
}

/// Rows of connections that began before this time, in milliseconds since 1970, may be pruned.
#[must_use]
pub fn prune_cutoff() -> i64 {
    since_epoch().saturating_sub(PRUNE_GRACE).as_millis().try_into().unwrap_or(i64::MAX)
}

/// Reads a page of a session's recipients from a table or an index.
pub(crate) async fn recipients(
    query: QueryFluentBuilder,
    session: &SessionId,
    from: Option<Item>,
) -> Result<QueryOutput, SdkError<QueryError, HttpResponse>> {
    query
        .key_condition_expression("session_id = :session")
        .expression_attribute_values(":session", s(session.as_str()))
        .projection_expression("connection_id, connected_at, expires_at")
        .limit(PAGE_ROWS)
        .set_exclusive_start_key(from)
        .send()
        .await
}

impl Page {
    pub(crate) fn new(output: QueryOutput, is_subscribed: bool) -> Self {
        let rows = output.items.unwrap_or_default();
        let recipients = rows.iter().filter_map(|row| {
            Some(Recipient {
                connection_id: text(row, "connection_id")?.to_owned(),
                connected_at: number(row, "connected_at"),
                expires_at: number(row, "expires_at"),
                is_subscribed,
            })
        });
        let next = output.last_evaluated_key.filter(|key| !key.is_empty());
        Self { recipients: recipients.collect(), next }
    }
}

fn failed<E>(action: &'static str, source: E) -> Failure
where
    E: std::error::Error + Send + Sync + 'static,
{
    table::failed(action, "connections", source)
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::operation::scan::{ScanError, ScanOutput};
    use aws_sdk_dynamodb::types::AttributeValue;
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};

    use super::*;

    fn registry(rules: &[&Rule]) -> Registry {
        let client = mock_client!(aws_sdk_dynamodb, RuleMode::Sequential, rules);
        let variables = Variables::of(&[("TABLE_NAME", "connections")]);
        Registry::from_conf(&variables, client.config().to_builder()).unwrap()
    }

    #[test]
    fn malformed_names_are_refused() {
        let conf = || Builder::new().behavior_version_latest();
        let registry = |variables: &[_]| {
            let variables = Variables::of(variables);
            Registry::from_conf(&variables, conf()).and_then(|registry| registry.with_index(&variables))
        };
        let table = ("TABLE_NAME", "connections");
        assert_eq!(registry(&[table]).unwrap().index, "session_id-index");
        for (variables, name) in [
            (vec![], "TABLE_NAME"),
            (vec![("TABLE_NAME", "a table")], "TABLE_NAME"),
            (vec![table, ("SESSION_INDEX", "?")], "SESSION_INDEX"),
        ] {
            assert!(registry(&variables).unwrap_err().to_string().contains(name), "{variables:?}");
        }
    }

    /// A page of a scan that begins after one row and ends with another.
    fn counted(from: Option<&'static str>, count: i32, next: Option<Item>) -> Rule {
        let id = |id: &str| s(id);
        mock!(Client::scan)
            .match_requests(move |input| {
                let expired_by = input.expression_attribute_values().map(|values| values[":now"].clone());
                let expired_by: i64 = expired_by.unwrap().as_n().unwrap().parse().unwrap();
                input.table_name() == Some("connections")
                    && input.index_name() == Some("session_id-index")
                    && input.select() == Some(&Select::Count)
                    && input.filter_expression() == Some("expires_at > :now")
                    && (now_seconds() - 60..=now_seconds()).contains(&expired_by)
                    && input.exclusive_start_key().map(|key| key["connection_id"].clone()) == from.map(id)
            })
            .then_output(move || {
                ScanOutput::builder().count(count).set_last_evaluated_key(next.clone()).build()
            })
    }

    #[tokio::test]
    async fn open_connections_are_counted_to_the_last_page_even_past_an_empty_one() {
        let key = |id: &str| Some(row(&[("connection_id", s(id))]));
        let pages = [
            counted(None, 2, key("a")),
            counted(Some("a"), 0, key("b")),
            counted(Some("b"), 40, Some(Item::new())),
        ];
        let rules: Vec<_> = pages.iter().collect();
        assert_eq!(registry(&rules).count_open().await.unwrap(), 42);
        assert_eq!(pages.each_ref().map(Rule::num_calls), [1, 1, 1]);
    }

    #[tokio::test]
    async fn an_incomplete_count_is_a_failure() {
        let first = counted(None, 2, Some(row(&[("connection_id", s("a"))])));
        let broken = mock!(Client::scan).then_error(|| ScanError::unhandled("down"));
        let result = registry(&[&first, &broken]).count_open().await;
        assert!(matches!(result, Err(Failure::Table { action: "count", .. })), "{result:?}");
    }

    fn row(entries: &[(&str, AttributeValue)]) -> Item {
        entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn a_page_has_each_row_that_names_a_connection_and_an_empty_key_is_the_end() {
        let id = |id: &str| ("connection_id", s(id));
        let output = QueryOutput::builder()
            .items(row(&[id("own"), ("expires_at", n(101)), ("connected_at", n(5))]))
            .items(row(&[id("foreign")]))
            .items(row(&[("expires_at", n(101))]))
            .set_last_evaluated_key(Some(Item::new()))
            .build();
        let page = Page::new(output, false);
        let recipient = |id: &str, connected_at, expires_at| Recipient {
            connection_id: id.into(),
            connected_at,
            expires_at,
            is_subscribed: false,
        };
        assert_eq!(page.recipients, [recipient("own", Some(5), Some(101)), recipient("foreign", None, None)]);
        assert!(page.next.is_none(), "an empty key is the end");
    }

    #[test]
    fn a_socket_lives_for_two_hours_whatever_its_token_says() {
        let now = 10_000;
        let recipient = |connected_at: i64, expires_at| Recipient {
            connection_id: "one".into(),
            connected_at: Some(connected_at * 1000),
            expires_at: Some(expires_at),
            is_subscribed: false,
        };
        assert!(recipient(now, now).has_expired(now) && !recipient(now, now + 1).has_expired(now));
        assert!(recipient(now - 7_199, now).may_be_open(now));
        assert!(!recipient(now - 7_200, now).may_be_open(now));
    }
}
