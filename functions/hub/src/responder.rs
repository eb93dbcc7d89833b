//! Frames that are answered by their route's response, whatever the answer: for functions that cannot post.

use std::time::Instant;

use aws_config::SdkConfig;
use lambda_runtime::Context;

use crate::{
    config::Variables,
    deadline::Deadline,
    event::{self, GatewayAnswer, Sender, SocketFrame},
    failure::PUBLIC_TEXT,
    invocation::{Origin, Stop},
    protocol::{Code, Refusal},
    registry::Registry,
};

/// Checks who asks, and says why there is no answer; outlives an invocation.
pub struct Responder {
    /// The table of connections.
    pub registry: Registry,
    require_grant: bool,
}

/// A frame that has been checked.
pub struct Request<'a> {
    /// The connection that it came over.
    pub sender: &'a Sender,
    /// Its own id, or else that of Lambda's request.
    pub id: &'a str,
    /// The invocation.
    pub origin: &'a Origin<'a>,
}

impl Responder {
    /// Reads what the registry needs, and `REQUIRE_GRANT`.
    ///
    /// # Errors
    ///
    /// A variable is missing or malformed.
    pub fn new(variables: &Variables, sdk: &SdkConfig) -> anyhow::Result<Self> {
        Ok(Self { registry: Registry::new(variables, sdk)?, require_grant: variables.require_grant()? })
    }

    /// Answers a frame with what `answer` makes of what `parse` reads, its own id and the rest. A refusal is an answer too, and
    /// so is a failure of ours, which is logged and counted.
    pub async fn respond<Q>(
        &self,
        route: &'static str,
        SocketFrame { sender, text, .. }: &SocketFrame,
        context: &Context,
        parse: impl FnOnce(&str) -> Result<(Option<String>, Q), Refusal>,
        answer: impl AsyncFnOnce(Request<'_>, Q) -> Result<GatewayAnswer, Stop>,
    ) -> GatewayAnswer {
        let deadline = Deadline::of_route(context.deadline());
        let connection_id = Some(sender.connection_id.as_str());
        let origin = Origin { route, connection_id, deadline, started: Instant::now() };
        let mut known_id = None;
        let answering = async {
            let request = event::text(text.as_deref()).and_then(parse);
            if let Some(why) = sender.why_over(self.require_grant) {
                let id = request.map_or_else(|refusal| refusal.id, |(id, _)| id);
                return Err(Refusal::new(Code::NotConnected, why, id).into());
            }
            let (id, question) = request?;
            let id = known_id.insert(id.unwrap_or_else(|| context.request_id.clone()));
            deadline.bound(answer(Request { sender, id, origin: &origin }, question)).await
        };
        match answering.await {
            Ok(answer) => answer,
            Err(Stop::Refused(refusal)) => {
                origin.log_refusal(&refusal);
                GatewayAnswer::frame(&refusal)
            }
            Err(Stop::Failed(failure)) => {
                origin.log_failure(&failure);
                GatewayAnswer::frame(&Refusal::new(Code::Internal, PUBLIC_TEXT, known_id))
            }
        }
    }
}
