//! Delivers a message to some of its recipients, and answers with what became of them.

use std::{sync::Arc, time::Instant};

use hub::{
    aws::SdkConfig,
    chunk::{Chunk, Outcome},
    config::Variables,
    deadline::Deadline,
    failure::Failure,
    fanout::{self, Fanout, Report, Role},
    posts::{Connections, Gateway},
    protocol::Counts,
    registry::Registry,
    signed::Payload,
    stragglers::Stragglers,
    subscriptions::Subscriptions,
    telemetry,
};
use lambda_runtime::Context;
use serde::Deserialize;
use serde_json::value::RawValue;

const ROUTE: &str = "deliver";

/// What outlives an invocation.
pub(crate) struct Handler {
    registry: Registry,
    subscriptions: Option<Subscriptions>,
    connections: Arc<Connections>,
    concurrency: usize,
}

impl Handler {
    /// Reads what the tables, the gateway and the fan-out need. No event says where the connections are: a variable must.
    pub(crate) fn new(variables: &Variables, sdk: &SdkConfig) -> anyhow::Result<Self> {
        Ok(Self {
            registry: Registry::new(variables, sdk)?,
            subscriptions: Subscriptions::new(variables, sdk)?,
            connections: Gateway::new(variables, sdk)?.connections(None)?,
            concurrency: fanout::concurrency(variables)?,
        })
    }

    /// Whatever fails here, the planner posts the chunk itself.
    pub(crate) async fn handle(&self, payload: &RawValue, context: &Context) -> Result<Outcome, Failure> {
        let started = Instant::now();
        let delivered = self.deliver(payload, context, started).await;
        delivered.inspect_err(|failure| telemetry::failed(ROUTE, "", failure, started))
    }

    async fn deliver(
        &self,
        payload: &RawValue,
        context: &Context,
        started: Instant,
    ) -> Result<Outcome, Failure> {
        let chunk = Chunk::parse(payload.get())?;
        let (session, recipients) = (chunk.session()?, chunk.recipients());
        // The planner remembers them, since the next chunk may come to another process.
        let stragglers = Stragglers::default();
        let fanout = Fanout {
            sessions: std::slice::from_ref(&session),
            registry: &self.registry,
            subscriptions: self.subscriptions.as_ref(),
            connections: &self.connections,
            stragglers: &stragglers,
            concurrency: self.concurrency,
            sender: chunk.sender.as_deref(),
            role: Role::Worker,
            deadline: Deadline::of_worker(context.deadline(), chunk.budget()),
        };
        let frame = Payload::new(chunk.frame.as_bytes().to_vec());
        let mut report = Report::default();
        // Boxed, because it is large.
        let delivering = Box::pin(fanout.deliver_to(recipients.clone(), frame, chunk.rate, &mut report));
        let left = delivering.await?;
        let outcome = Outcome::new(report, &recipients, &left);
        log(&chunk.frame, session.as_str(), recipients.len(), &outcome, started);
        Ok(outcome)
    }
}

/// The message is counted, and its failures are logged, by the function that answers for all of it.
fn log(frame: &str, session_id: &str, connections: usize, outcome: &Outcome, started: Instant) {
    #[derive(Deserialize)]
    struct Frame {
        id: String,
    }
    let Counts { delivered, gone, failed } = outcome.counts;
    tracing::info!(
        route = ROUTE,
        message_id = serde_json::from_str(frame).map_or_else(|_| String::new(), |Frame { id }| id),
        session_id,
        connections,
        delivered,
        gone,
        failed,
        left = outcome.left.len(),
        retries = outcome.retries,
        throttled = outcome.throttled,
        pruned = outcome.pruned,
        bytes = frame.len(),
        duration_ms = telemetry::millis_since(started),
        "delivered"
    );
}
