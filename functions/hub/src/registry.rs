//! The table of connections: who is connected, and to which session.

mod subscribing;

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

pub use self::subscribing::{Added, Connection};
use crate::{
    clock::{now_seconds, since_epoch},
    config::{ConfigError, Variables},
    failure::Failure,
    protocol::SessionId,
    table::{self, Item, n, number, refused_delete, s, text},
};

/// A page is small enough to keep memory flat with several in flight (about 100 bytes a row), and large
/// enough that reading is never slower than posting: an account posts at most 10,000 frames a second.
const PAGE_ROWS: i32 = 1000;

/// The gateway ends every socket after this, so that none is behind an older row.
const SOCKET_LIFE: Duration = Duration::from_secs(2 * 60 * 60);

/// A row this young may belong to a handshake that has not ended, to which the gateway answers 410.
pub const PRUNE_GRACE: Duration = Duration::from_secs(10);

/// The table, through a client of its own.
#[derive(Debug, Clone)]
pub struct Registry {
    client: Client,
    table: String,
    index: String,
}

/// A connection to post to, as the index or the table of subscriptions has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The gateway's name for the connection.
    pub connection_id: String,
    /// When it connected, in milliseconds since 1970; `None` in a row that the hub did not write.
    pub connected_at: Option<i64>,
    /// Until when it counts as there, in seconds since 1970; `None` in a row that the hub did not write, for ever.
    pub expires_at: Option<i64>,
    /// Whether the session is not its own, but one that it is subscribed to.
    pub is_subscribed: bool,
}

impl Recipient {
    /// Whether its time is over by `now`, in seconds since 1970. DynamoDB removes such rows days late.
    #[must_use]
    pub fn has_expired(&self, now: i64) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    /// Whether its socket may be open all the same: its token had less time than a socket has.
    #[must_use]
    pub fn may_be_open(&self, now: i64) -> bool {
        let life = i64::try_from(SOCKET_LIFE.as_secs()).unwrap_or(i64::MAX);
        self.connected_at.is_some_and(|at| (at / 1000).saturating_add(life) > now)
    }
}

/// Some of a session's recipients, and where the next ones begin.
#[derive(Debug)]
pub struct Page {
    /// Those that have expired among them.
    pub recipients: Vec<Recipient>,
    /// To be passed on to read the next page; `None` at the end.
    pub next: Option<Item>,
}

/// What became of a prune.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// The row is deleted.
    Deleted,
    /// The row is too young, or was gone already.
    Kept,
}

impl Prune {
    pub(crate) fn or(self, other: Self) -> Self {
        if self == Self::Deleted { self } else { other }
    }
}

impl Registry {
    /// A registry on the table `TABLE_NAME`, a name or an ARN.
    pub fn new(variables: &Variables, sdk: &SdkConfig) -> Result<Self, ConfigError> {
        Self::from_conf(variables, Builder::from(sdk))
    }

    /// The same from a client configuration of one's own.
    pub fn from_conf(variables: &Variables, conf: Builder) -> Result<Self, ConfigError> {
        let missing =
            || ConfigError::new("TABLE_NAME", "is missing: set it to the name of the table of connections");
        let table = table::name(variables, "TABLE_NAME")?.ok_or_else(missing)?;
        Ok(Self { client: table::client(conf), table, index: "session_id-index".into() })
    }

    /// The same with the index on `session_id` that `SESSION_INDEX` names: for functions that read it.
    pub fn with_index(mut self, variables: &Variables) -> Result<Self, ConfigError> {
        if let Some(index) = table::name(variables, "SESSION_INDEX")? {
            self.index = index;
        }
        Ok(self)
    }

    /// Stores a connection that began at `connected_at` (milliseconds since 1970) and counts as there until
    /// `expires_at` (seconds since 1970).
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

    /// Removes a connection without subscriptions; one that is not there is no error.
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

    /// One page of a session's recipients, from the index, which may lag a moment behind the table.
    pub async fn page(&self, session: &SessionId, from: Option<Item>) -> Result<Page, Failure> {
        let query = self.client.query().table_name(&self.table).index_name(&self.index);
        let output = recipients(query, session, from).await;
        Ok(Page::new(output.map_err(|error| failed("read from", error))?, false))
    }

    /// How many connections count as there: the rows of the index that have not expired. A socket whose
    /// `$disconnect` was lost counts until its row expires or is pruned.
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

    /// Deletes the row of a connection that is gone, unless it is younger than [`PRUNE_GRACE`]. Tries once.
    pub async fn prune(&self, connection_id: &str) -> Result<Prune, Failure> {
        let row = self.client.delete_item().table_name(&self.table).key("connection_id", s(connection_id));
        prune(row).await.map_err(|error| failed("delete from", error))
    }
}

/// Deletes a row, unless it is younger than [`PRUNE_GRACE`]. Tries once.
pub(crate) async fn prune(
    row: DeleteItemFluentBuilder,
) -> Result<Prune, SdkError<DeleteItemError, HttpResponse>> {
    let pruned = row
        .condition_expression("connected_at < :cutoff")
        .expression_attribute_values(":cutoff", n(prune_cutoff()))
        .customize()
        // A prune that fails is of no consequence, and must not use up the retries that reading shares.
        .config_override(table::once())
        .send()
        .await;
    match pruned {
        Ok(_) => Ok(Prune::Deleted),
        Err(error) if refused_delete(&error).is_some() => Ok(Prune::Kept),
        Err(error) => Err(error),
    }
}

/// Rows that connected before this, in milliseconds since 1970, may be pruned.
#[must_use]
pub fn prune_cutoff() -> i64 {
    since_epoch().saturating_sub(PRUNE_GRACE).as_millis().try_into().unwrap_or(i64::MAX)
}

/// Asks a table or an index for a page of a session's recipients.
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
    fn names_that_are_none_are_refused() {
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

    /// A page of a scan that begins at one row and ends at another.
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
    async fn half_a_count_is_a_failure_and_no_count() {
        let first = counted(None, 2, Some(row(&[("connection_id", s("a"))])));
        let broken = mock!(Client::scan).then_error(|| ScanError::unhandled("down"));
        let result = registry(&[&first, &broken]).count_open().await;
        assert!(matches!(result, Err(Failure::Table { action: "count", .. })), "{result:?}");
    }

    fn row(entries: &[(&str, AttributeValue)]) -> Item {
        entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn a_page_has_each_row_that_names_a_connection_and_knows_its_end() {
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
        assert!(page.next.is_none(), "an empty key is the end, not the beginning");
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
