//! The rows of the hub's tables.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;

use super::{Row, Stack, number, text};
use crate::client::{Client, eventually};

impl Stack {
    /// The whole row of a client that is alone in its session.
    pub(crate) async fn row_of(&self, client: &Client) -> Row {
        let id = self.connection_id_of(client).await;
        self.row(&id).await.expect("a row that the index shows should be in the table")
    }

    pub(crate) async fn connection_id_of(&self, client: &Client) -> String {
        let row =
            eventually("the row in the index", async || self.rows_in(&client.session).await.pop()).await;
        row["connection_id"].as_s().expect("an id is text").clone()
    }

    /// What the index knows of a session's rows.
    pub(crate) async fn rows_in(&self, session: &str) -> Vec<Row> {
        self.of_session(session, |query| query.table_name(&self.table).index_name("session_id-index")).await
    }

    async fn of_session(
        &self,
        session: &str,
        table: impl FnOnce(QueryFluentBuilder) -> QueryFluentBuilder,
    ) -> Vec<Row> {
        table(self.dynamodb.query())
            .key_condition_expression("session_id = :session")
            .expression_attribute_values(":session", text(session))
            .into_paginator()
            .items()
            .send()
            .collect::<Result<_, _>>()
            .await
            .expect("DynamoDB should answer")
    }

    pub(crate) async fn row(&self, connection_id: &str) -> Option<Row> {
        self.dynamodb
            .get_item()
            .table_name(&self.table)
            .key("connection_id", text(connection_id))
            .consistent_read(true)
            .send()
            .await
            .expect("the table should answer")
            .item
    }

    pub(crate) async fn put_row(&self, row: Row) {
        self.dynamodb
            .put_item()
            .table_name(&self.table)
            .set_item(Some(row))
            .send()
            .await
            .expect("the table should take the row");
    }

    pub(crate) async fn delete_row(&self, connection_id: &str) {
        self.dynamodb
            .delete_item()
            .table_name(&self.table)
            .key("connection_id", text(connection_id))
            .send()
            .await
            .expect("the table should delete the row");
    }

    pub(crate) async fn wait_until_row_is_gone(&self, connection_id: &str) {
        eventually("the row to go", async || self.row(connection_id).await.is_none().then_some(())).await;
    }

    /// Every session that the table knows, and `None` for a row without one.
    pub(crate) async fn stored_sessions(&self) -> Vec<Option<String>> {
        self.dynamodb
            .scan()
            .table_name(&self.table)
            .consistent_read(true)
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await
            .expect("the table should answer")
            .iter()
            .map(|row| row.get("session_id").and_then(|session| session.as_s().ok()).cloned())
            .collect()
    }

    /// The rows of a session in the table of subscriptions.
    pub(crate) async fn subscribers_of(&self, session: &str) -> Vec<Row> {
        let table = self.subscriptions_table().await;
        self.of_session(session, |query| query.table_name(table).consistent_read(true)).await
    }

    /// The rows of a connection in the table of subscriptions.
    pub(crate) async fn subscriptions_of(&self, connection_id: &str) -> Vec<Row> {
        self.dynamodb
            .scan()
            .table_name(self.subscriptions_table().await)
            .consistent_read(true)
            .filter_expression("connection_id = :connection")
            .expression_attribute_values(":connection", text(connection_id))
            .into_paginator()
            .items()
            .send()
            .collect::<Result<_, _>>()
            .await
            .expect("the table should answer")
    }

    /// Waits until a connection has no row in either table.
    pub(crate) async fn wait_until_nothing_is_left(&self, connection_id: &str) {
        self.wait_until_row_is_gone(connection_id).await;
        eventually("the subscriptions to go", async || {
            self.subscriptions_of(connection_id).await.is_empty().then_some(())
        })
        .await;
    }

    pub(crate) async fn put_subscription(&self, row: Row) {
        self.dynamodb
            .put_item()
            .table_name(self.subscriptions_table().await)
            .set_item(Some(row))
            .send()
            .await
            .expect("the table should take the row");
    }

    async fn subscriptions_table(&self) -> &str {
        self.subscriptions.get_or_init(|| self.variable("membership", "SUBSCRIPTIONS_TABLE")).await
    }

    /// Deletes what stands at a number of a session's history, 0 being its head.
    pub(crate) async fn forget(&self, session: &str, offset: u128) {
        self.dynamodb
            .delete_item()
            .table_name(self.variable("history", "MESSAGES_TABLE").await)
            .key("session_id", text(session))
            .key("offset", number(offset))
            .send()
            .await
            .expect("the table should delete the item");
    }
}
