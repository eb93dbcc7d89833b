//! Runs a function's real executable among scripted surroundings, over real HTTP on loopback.
//!
//! A [`World`] is the AWS that the function sees: DynamoDB's [`Table`]s of connections and of subscriptions, its
//! [`Messages`], the [`Gateway`] behind `@connections`, and [`Lambda`], which invokes another function, each with a script
//! that says which calls fail, and how. A [`Function`] is a process that gets its events from a Lambda Runtime API of its
//! own. Everything that was asked of the world is kept for the test to look at.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness that meets the unexpected should stop its test there and then"
)]

mod dynamodb;
mod function;
mod gateway;
mod http;
pub mod issuer;
mod lambda;
mod signature;

use std::{path::Path, sync::Arc};

use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use crate::http::Server;
pub use crate::{
    dynamodb::{Call, INDEX, MESSAGES, Messages, Operation, Row, SUBSCRIPTIONS, TABLE, Table},
    function::{Ending, Function, Outcome, Output, RELEASE, executable},
    gateway::{Gateway, Post},
    http::Answer,
    lambda::{DELIVER, Invoke, Lambda, Reaction},
    signature::{CREDENTIALS, REGION, Signatures},
};

/// How long a message is kept in a world with history.
pub const HISTORY_SECONDS: u64 = 86_400;

/// The AWS that functions see, until it is dropped.
pub struct World {
    /// DynamoDB's table of connections.
    pub table: Arc<Table>,
    /// DynamoDB's table of subscriptions.
    pub subscriptions: Arc<Table>,
    /// DynamoDB's table of messages.
    pub messages: Arc<Messages>,
    /// `@connections`.
    pub gateway: Arc<Gateway>,
    /// Lambda's Invoke, of the function that recipients are handed to.
    pub lambda: Arc<Lambda>,
    /// How all of them see the signatures of requests.
    pub signatures: Arc<Signatures>,
    // An address each, as on AWS: a client's pool would otherwise share connections between them.
    servers: [Server; 3],
    scheme: &'static str,
    /// What functions are told of what is on.
    features: Vec<(&'static str, String)>,
}

impl World {
    /// Empty tables, and a gateway that takes every frame.
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// The same over TLS, under the name `localhost`, with the certificate `server.pem` and the key `server.key` of a
    /// folder.
    pub async fn start_over_tls(folder: &Path) -> Self {
        Self::start_with(Some(http::acceptor(folder))).await
    }

    async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let scheme = if tls.is_some() { "https://localhost" } else { "http://127.0.0.1" };
        let signatures = Arc::new(Signatures::default());
        let (table, subscriptions) = (Arc::new(Table::new(TABLE)), Arc::new(Table::new(SUBSCRIPTIONS)));
        let messages = Arc::<Messages>::default();
        let gateway = Arc::new(Gateway::new(signatures.clone()));
        let lambda = Arc::new(Lambda::new(signatures.clone()));
        let (to_tables, to_gateway, to_lambda) =
            ((table.clone(), subscriptions.clone(), messages.clone()), gateway.clone(), lambda.clone());
        let clock = signatures.clone();
        let tables = Server::start(tls.clone(), move |request| {
            let ((table, subscriptions, messages), clock) = (to_tables.clone(), clock.clone());
            async move {
                let reply = dynamodb::call(request, &table, &subscriptions, &messages, &clock).await;
                reply.map(|reply| clock.dated(reply))
            }
        });
        let clock = signatures.clone();
        let gateways = Server::start(tls.clone(), move |request| {
            let (gateway, clock) = (to_gateway.clone(), clock.clone());
            async move { gateway.call(request).await.map(|reply| clock.dated(reply)) }
        });
        let clock = signatures.clone();
        let lambdas = Server::start(tls, move |request| {
            let (lambda, clock) = (to_lambda.clone(), clock.clone());
            async move { lambda.call(request).await.map(|reply| clock.dated(reply)) }
        });
        let servers = [tables.await, gateways.await, lambdas.await];
        let features = Vec::new();
        Self { table, subscriptions, messages, gateway, lambda, signatures, servers, scheme, features }
            .with([])
    }

    /// The same where functions are told of one more thing that is on.
    fn with(mut self, feature: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        self.features.extend(feature);
        self.lambda.set_environment(self.environment());
        self
    }

    /// The same where history is on: functions are told of the table of messages.
    #[must_use]
    pub fn with_history(self) -> Self {
        self.with([("MESSAGES_TABLE", MESSAGES.to_owned()), ("HISTORY_SECONDS", HISTORY_SECONDS.to_string())])
    }

    /// The same where subscriptions are on: functions are told of their table.
    #[must_use]
    pub fn with_subscriptions(self) -> Self {
        self.with([("SUBSCRIPTIONS_TABLE", SUBSCRIPTIONS.to_owned())])
    }

    /// The same where recipients beyond the first `split` are handed to `workers` other functions, which post `rate` times a
    /// second altogether.
    #[must_use]
    pub fn with_workers(self, split: usize, workers: usize, rate: usize) -> Self {
        let url = self.lambda_url();
        self.with([
            ("DELIVER_FUNCTION", DELIVER.to_owned()),
            ("FANOUT_SPLIT", split.to_string()),
            ("FANOUT_WORKERS", workers.to_string()),
            ("FANOUT_RATE", rate.to_string()),
            ("AWS_ENDPOINT_URL_LAMBDA", url),
        ])
    }

    /// Where the tables answer, as `AWS_ENDPOINT_URL`.
    #[must_use]
    pub fn table_url(&self) -> String {
        format!("{}:{}", self.scheme, self.servers[0].address.port())
    }

    /// Where the gateway answers, as `WEBSOCKET_ENDPOINT`.
    #[must_use]
    pub fn gateway_url(&self) -> String {
        format!("{}:{}/live", self.scheme, self.servers[1].address.port())
    }

    /// Where Lambda answers, as `AWS_ENDPOINT_URL_LAMBDA`.
    #[must_use]
    pub fn lambda_url(&self) -> String {
        format!("{}:{}", self.scheme, self.servers[2].address.port())
    }

    /// What Lambda and this project's Terraform would set for a function here, apart from what is a process's own.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let [key, secret, token] = CREDENTIALS;
        [
            ("AWS_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", key),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_SESSION_TOKEN", token),
            ("AWS_ENDPOINT_URL", &self.table_url()),
            ("WEBSOCKET_ENDPOINT", &self.gateway_url()),
            ("TABLE_NAME", TABLE),
            ("SESSION_INDEX", INDEX),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into_iter()
        .chain(self.features.iter().cloned())
        .collect()
    }

    /// Closes every open connection, as happens to a function that is frozen for long.
    pub fn close_connections(&self) {
        self.servers.iter().for_each(Server::close_connections);
    }

    /// Leaves every open connection open but never reads it again, as a network does that forgot it.
    pub fn silence_connections(&self) {
        self.servers.iter().for_each(Server::silence_connections);
    }
}

/// API Gateway's event for a frame that came over a socket.
#[must_use]
pub fn over_socket(connection: &str, frame: &str) -> String {
    let mut event: Value = serde_json::from_str(include_str!("../../../events/send-message.json"))
        .expect("a sample should be JSON");
    event["requestContext"]["connectionId"] = connection.into();
    if let Ok(Value::String(action)) = serde_json::from_str(frame).map(|frame: Value| frame["action"].clone())
    {
        event["requestContext"]["routeKey"] = action.into();
    }
    event["body"] = frame.into();
    event.to_string()
}

/// The same with what the hub's authorizer adds where a token is for `session` and may send to all.
#[must_use]
pub fn granted(connection: &str, session: &str, frame: &str) -> String {
    let mut event: Value = serde_json::from_str(&over_socket(connection, frame)).expect("an event is JSON");
    event["requestContext"]["authorizer"] = json!({
        "principalId": session, "session_id": session, "send_to": "[\"*\"]", "exp": "4102444800",
    });
    event.to_string()
}
