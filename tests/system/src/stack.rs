//! What lies behind the sockets, seen with an administrator's eyes: the table, the functions and their logs.

use std::{
    collections::HashMap,
    env, fs,
    panic::{AssertUnwindSafe, resume_unwind},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_sdk_dynamodb::{operation::query::builders::QueryFluentBuilder, types::AttributeValue};
use aws_sdk_lambda::{
    client::Waiters,
    primitives::Blob,
    types::{Environment, FunctionCode, FunctionConfiguration},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures::FutureExt;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::OnceCell,
};

use crate::{
    client::{Client, PATIENCE, eventually},
    recorder::Recorder,
};

pub(crate) type Row = HashMap<String, AttributeValue>;

/// The environment of a running stack; without one a test fails, since passing would prove nothing.
pub(crate) fn required(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set, so there is no stack to test: run scripts/test.sh, or scripts/local.sh up and then eval \"$(scripts/local.sh env)\"")
    })
}

/// A name that no other test, and no earlier run on the same stack, has used.
pub(crate) fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{name}-{:x}-{:x}-{count}", now_ms(), process::id())
}

pub(crate) fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock should be past 1970").as_millis()
}

/// What a direct invocation answered.
pub(crate) struct Answer {
    pub(crate) payload: Value,
    /// Lambda's own word for a function that failed.
    pub(crate) function_error: Option<String>,
}

pub(crate) struct Stack {
    table: String,
    subscriptions: OnceCell<String>,
    dynamodb: aws_sdk_dynamodb::Client,
    lambda: aws_sdk_lambda::Client,
    logs: aws_sdk_cloudwatchlogs::Client,
}

impl Stack {
    pub(crate) async fn new() -> Self {
        let table = required("TABLE_NAME");
        let config = aws_config::load_from_env().await;
        Self {
            table,
            subscriptions: OnceCell::new(),
            dynamodb: aws_sdk_dynamodb::Client::new(&config),
            lambda: aws_sdk_lambda::Client::new(&config),
            logs: aws_sdk_cloudwatchlogs::Client::new(&config),
        }
    }

    // The table.

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

    // The subscriptions.

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

    // The history.

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

    // The functions.

    /// A deployed function of those that read the table of connections, such as `connect`.
    async fn function(&self, route: &str) -> FunctionConfiguration {
        let functions = self
            .lambda
            .list_functions()
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await
            .expect("Lambda should list its functions");
        functions
            .into_iter()
            .find(|function| {
                function.function_name().is_some_and(|name| name.ends_with(&format!("-{route}")))
                    && variables(function).get("TABLE_NAME") == Some(&self.table)
            })
            .unwrap_or_else(|| panic!("no function {route} with the table {}", self.table))
    }

    pub(crate) async fn name_of(&self, route: &str) -> String {
        self.function(route).await.function_name.expect("a function has a name")
    }

    /// A variable of a function's environment.
    pub(crate) async fn variable(&self, route: &str, name: &str) -> String {
        variables(&self.function(route).await)
            .remove(name)
            .unwrap_or_else(|| panic!("{route} has no variable {name}"))
    }

    /// Invokes a function directly, as a backend does.
    pub(crate) async fn invoke(&self, name: &str, event: &Value) -> Answer {
        let answer = self
            .lambda
            .invoke()
            .function_name(name)
            .payload(Blob::new(event.to_string()))
            .send()
            .await
            .expect("Lambda should answer");
        let payload: Value =
            serde_json::from_slice(answer.payload().expect("an answer has a payload").as_ref())
                .expect("a payload is JSON");
        if name.contains("-publish") {
            let recorder = Recorder::new("publish");
            recorder.record("client", &event.to_string());
            recorder.record("hub", &payload.to_string());
        }
        Answer { payload, function_error: answer.function_error }
    }

    /// Runs `test` with the name of a copy that has the code of `route`, the role of `role_of` and changed variables:
    /// what a test breaks there is broken for no other.
    pub(crate) async fn with_copy(
        &self,
        route: &str,
        role_of: &str,
        changes: &[(&str, &str)],
        test: impl AsyncFnOnce(&str),
    ) {
        let original = self.function(route).await;
        let role = self.function(role_of).await.role.expect("a function has a role");
        let name = unique(&format!("copy-of-{route}"));
        let mut variables = variables(&original);
        variables.extend(changes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        self.lambda
            .create_function()
            .function_name(&name)
            .role(role)
            .runtime(original.runtime.expect("a function from a zip has a runtime"))
            .handler(original.handler.expect("a function from a zip has a handler"))
            .set_timeout(original.timeout)
            .set_memory_size(original.memory_size)
            .set_architectures(original.architectures)
            .environment(Environment::builder().set_variables(Some(variables)).build())
            .code(
                FunctionCode::builder()
                    .zip_file(self.code_of(&original.function_name.expect("a function has a name")).await)
                    .build(),
            )
            .send()
            .await
            .expect("Lambda should create the copy");
        self.lambda
            .wait_until_function_active_v2()
            .function_name(&name)
            .wait(PATIENCE)
            .await
            .expect("the copy should become active");

        let tidy = async {
            self.lambda
                .delete_function()
                .function_name(&name)
                .send()
                .await
                .expect("Lambda should delete the copy");
            // There is no group where the copy has never logged, and that is as good.
            let _ = self.logs.delete_log_group().log_group_name(format!("/aws/lambda/{name}")).send().await;
        };
        // Boxed, because they are large.
        finally(Box::pin(test(&name)), Box::pin(tidy)).await;
    }

    /// Runs `test` while Lambda has no room for any invocation of `route`.
    pub(crate) async fn without_room(&self, route: &str, test: impl Future<Output = ()>) {
        let name = self.name_of(route).await;
        self.lambda
            .put_function_concurrency()
            .function_name(&name)
            .reserved_concurrent_executions(0)
            .send()
            .await
            .expect("Lambda should take the limit");
        let tidy = async {
            self.lambda
                .delete_function_concurrency()
                .function_name(&name)
                .send()
                .await
                .expect("Lambda should drop the limit");
        };
        finally(test, tidy).await;
    }

    /// Kills every process that runs the code of `route`, and says how many there were. The local stack has it in a folder
    /// that is named by its hash.
    pub(crate) async fn kill(&self, route: &str) -> usize {
        let hash = self.function(route).await.code_sha256.expect("a function has code");
        let hash = BASE64_STANDARD.decode(hash).expect("a hash is in base64");
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let endpoint = required("AWS_ENDPOINT_URL");
        let port = endpoint.rsplit(':').next().expect("a local stack's URL has a port");
        let program = format!("-{port}/{hash}/bootstrap\0");
        let processes = fs::read_dir("/proc").expect("there should be a list of processes");
        let pids: Vec<String> = processes
            .filter_map(|process| {
                let process = process.ok()?;
                let command = fs::read_to_string(process.path().join("cmdline")).ok()?;
                command.ends_with(&program).then(|| process.file_name().into_string().ok())?
            })
            .collect();
        // One may have ended by itself meanwhile.
        let _ = Command::new("kill").arg("-KILL").args(&pids).output().expect("there should be kill");
        pids.len()
    }

    async fn code_of(&self, name: &str) -> Blob {
        let function =
            self.lambda.get_function().function_name(name).send().await.expect("Lambda should answer");
        let url = function.code().and_then(|code| code.location()).expect("a function has code").to_owned();
        let (host, path) = url
            .strip_prefix("http://")
            .and_then(|url| url.split_once('/'))
            .expect("a local stack's URL is http");
        let mut socket = TcpStream::connect(host).await.expect("the code should be at hand");
        socket
            .write_all(format!("GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes())
            .await
            .expect("the code should be at hand");
        let mut response = Vec::new();
        socket.read_to_end(&mut response).await.expect("the code should arrive whole");
        let body = response.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("HTTP has a header") + 4;
        Blob::new(response.split_off(body))
    }

    // The logs.

    /// The lines in a function's log group that hold `text`.
    pub(crate) async fn log_lines(&self, name: &str, text: &str) -> Vec<String> {
        let pages = self
            .logs
            .filter_log_events()
            .log_group_name(format!("/aws/lambda/{name}"))
            .filter_pattern(format!("\"{text}\""))
            .into_paginator()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await
            .expect("the function should have a log group");
        pages
            .into_iter()
            .flat_map(|page| page.events.unwrap_or_default())
            .filter_map(|event| event.message)
            .collect()
    }

    /// Waits until that many lines hold `text`, since a log may be late, and returns them.
    pub(crate) async fn wait_for_log_lines(&self, name: &str, text: &str, count: usize) -> Vec<String> {
        eventually(&format!("{count} lines with {text} in the log of {name}"), async || {
            Some(self.log_lines(name, text).await).filter(|lines| lines.len() >= count)
        })
        .await
    }
}

/// Runs `test`, and then `tidy` even where it fails.
async fn finally(test: impl Future<Output = ()>, tidy: impl Future<Output = ()>) {
    let outcome = AssertUnwindSafe(test).catch_unwind().await;
    tidy.await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

fn variables(function: &FunctionConfiguration) -> HashMap<String, String> {
    function.environment().and_then(|environment| environment.variables()).cloned().unwrap_or_default()
}

pub(crate) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

pub(crate) fn number(value: u128) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
