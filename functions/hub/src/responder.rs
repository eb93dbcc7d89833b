//! Answers frames through the route's response, for functions that do not post.

use std::time::Instant;

use aws_config::SdkConfig;
use lambda_runtime::Context;

use crate::{
    answer::GatewayAnswer,
    config::Variables,
    deadline::Deadline,
    event::{Sender, SocketFrame},
    invocation::{Invocation, RequestError},
    protocol::Refusal,
    registry::Registry,
};

/// Checks the sender of each frame, and turns refusals and failures into answers. Lives as long as the process.
pub struct Responder {
    /// The table of connections.
    pub registry: Registry,
    require_grant: bool,
}

/// A frame whose sender may ask.
pub struct Request<'a> {
    /// The connection that it came over.
    pub sender: &'a Sender,
    /// Its own id, or else that of Lambda's request.
    pub id: &'a str,
    /// The invocation.
    pub invocation: &'a Invocation<'a>,
}

impl Responder {
    /// Reads the registry's settings, and `REQUIRE_GRANT`.
    ///
    /// # Errors
    ///
    /// A variable is missing or malformed.
    pub fn new(variables: &Variables, sdk: &SdkConfig) -> anyhow::Result<Self> {
        Ok(Self { registry: Registry::new(variables, sdk)?, require_grant: variables.require_grant()? })
    }

    /// Answers a frame: `parse` reads its id and its request, and `answer` answers that. Refusals and failures become
    /// answers, too; both are logged, and failures are counted.
    pub async fn respond<Q>(
        &self,
        route: &'static str,
        frame: &SocketFrame,
        context: &Context,
        parse: impl FnOnce(&str) -> Result<(Option<String>, Q), Refusal>,
        answer: impl AsyncFnOnce(Request<'_>, Q) -> Result<GatewayAnswer, RequestError>,
    ) -> GatewayAnswer {
        let sender = &frame.sender;
        let deadline = Deadline::of_route(context.deadline());
        let connection_id = Some(sender.connection_id.as_str());
        let invocation = Invocation { route, connection_id, deadline, started: Instant::now() };
        let mut known_id = None;
        let answering = async {
            let request = frame.text().and_then(parse);
            if let Some(refusal) = sender.refusal(self.require_grant) {
                let id = request.map_or_else(|refusal| refusal.id, |(id, _)| id);
                return Err(refusal.with_id(id).into());
            }
            let (id, question) = request?;
            let id = known_id.insert(id.unwrap_or_else(|| context.request_id.clone()));
            deadline.bound(answer(Request { sender, id, invocation: &invocation }, question)).await
        };
        match answering.await {
            Ok(answer) => answer,
            Err(RequestError::Refused(refusal)) => {
                invocation.log_refusal(&refusal);
                GatewayAnswer::frame(&refusal)
            }
            Err(RequestError::Failed(failure)) => {
                invocation.log_failure(&failure);
                GatewayAnswer::frame(&Refusal::internal().with_id(known_id))
            }
        }
    }
}
