//! Delivers a message to a chunk of its recipients, and answers with the result.

use std::{sync::Arc, time::Instant};

use hub::{
    aws::SdkConfig,
    chunk::{Chunk, ChunkReport},
    config::Variables,
    deadline::Deadline,
    failure::Failure,
    fanout::{Fanout, Role, settings},
    gateway::{Connections, Gateway},
    protocol::Counts,
    recent_failures::RecentFailures,
    registry::Registry,
    report::Report,
    signing::Payload,
    subscriptions::Subscriptions,
    telemetry,
};
use lambda_runtime::Context;
use serde::Deserialize;
use serde_json::value::RawValue;

const ROUTE: &str = "deliver";

/// Lives as long as the process.
pub(crate) struct Handler {
    registry: Registry,
    subscriptions: Option<Subscriptions>,
    connections: Arc<Connections>,
    concurrency: usize,
}

impl Handler {
    /// Reads the settings of the tables, the gateway and the fan-out. A variable must name the API and its stage, since
    /// no event does.
    pub(crate) fn new(variables: &Variables, sdk: &SdkConfig) -> anyhow::Result<Self> {
        Ok(Self {
            registry: Registry::new(variables, sdk)?,
            subscriptions: Subscriptions::new(variables, sdk)?,
            connections: Gateway::new(variables, sdk)?.connections(None)?,
            concurrency: settings::concurrency(variables)?,
        })
    }

    /// If this fails, the planner posts the chunk itself.
    pub(crate) async fn handle(&self, payload: &RawValue, context: &Context) -> Result<ChunkReport, Failure> {
        let started = Instant::now();
        let delivered = self.deliver(payload, context, started).await;
        delivered.inspect_err(|failure| telemetry::failed(ROUTE, "", failure, started))
    }

    async fn deliver(
        &self,
        payload: &RawValue,
        context: &Context,
        started: Instant,
    ) -> Result<ChunkReport, Failure> {
        let chunk = Chunk::parse(payload.get())?;
        let (session, recipients) = (chunk.session()?, chunk.recipients());
        // Not remembered here: the planner does, since the next chunk may go to another process.
        let recent_failures = RecentFailures::default();
        let fanout = Fanout {
            sessions: std::slice::from_ref(&session),
            registry: &self.registry,
            subscriptions: self.subscriptions.as_ref(),
            connections: &self.connections,
            recent_failures: &recent_failures,
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
        let report = ChunkReport::new(report, &recipients, &left);
        log(&chunk.frame, session.as_str(), recipients.len(), &report, started);
        Ok(report)
    }
}

/// The planner counts the message, and logs its failures.
fn log(frame: &str, session_id: &str, connections: usize, report: &ChunkReport, started: Instant) {
    #[derive(Deserialize)]
    struct Frame {
        id: String,
    }
    let Counts { delivered, gone, failed } = report.counts;
    tracing::info!(
        route = ROUTE,
        message_id = serde_json::from_str(frame).map_or_else(|_| String::new(), |Frame { id }| id),
        session_id,
        connections,
        delivered,
        gone,
        failed,
        left = report.left.len(),
        retries = report.retries,
        throttled = report.throttled,
        pruned = report.pruned,
        bytes = frame.len(),
        duration_ms = telemetry::millis_since(started),
        "delivered"
    );
}
