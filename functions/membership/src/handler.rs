//! Handles `subscribe`, `unsubscribe` and `hello`.

use std::{collections::BTreeSet, time::Instant};

use anyhow::Context as _;
use futures::{StreamExt, TryStreamExt, stream};
use hub::{
    answer::GatewayAnswer,
    aws::SdkConfig,
    clock::now_seconds,
    config::Variables,
    event::SocketFrame,
    failure::Failure,
    history::History,
    invocation::{Invocation, RequestError},
    metrics::{self, Metric},
    protocol::{Position, Refusal, SessionId},
    responder::{Request, Responder},
    subscriptions::Subscriptions,
    telemetry,
};
use lambda_runtime::Context;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    request::{self, Route},
    subscribing::Subscribing,
};

/// The most heads of histories that are read at once.
const READERS: usize = 16;

/// Sessions subscribed to, including those subscribed to before.
const SUBSCRIBED: Metric = Metric::count("Subscribed");
/// Sessions unsubscribed from.
const UNSUBSCRIBED: Metric = Metric::count("Unsubscribed");
/// `hello` frames answered.
const HELLOS: Metric = Metric::count("Hellos");

/// Lives as long as the process.
pub(crate) struct Handler {
    responder: Responder,
    subscriptions: Subscriptions,
    history: Option<History>,
}

/// A session, and its position if the hub has histories.
#[derive(Serialize)]
struct SessionPosition {
    session: SessionId,
    #[serde(flatten)]
    position: Option<Position>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Answer<'a> {
    Subscribed {
        id: &'a str,
        sessions: Vec<SessionPosition>,
    },
    Unsubscribed {
        id: &'a str,
        sessions: &'a [SessionId],
    },
    Hello {
        id: &'a str,
        session: &'a SessionId,
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_in: Option<i64>,
        subscriptions: &'a BTreeSet<SessionId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        positions: Option<Vec<SessionPosition>>,
    },
}

impl Handler {
    /// Reads the settings of the tables and the responder.
    pub(crate) fn new(variables: &Variables, sdk: &SdkConfig) -> anyhow::Result<Self> {
        let subscriptions = Subscriptions::new(variables, sdk)?;
        Ok(Self {
            responder: Responder::new(variables, sdk)?,
            subscriptions: subscriptions.context(
                "environment variable SUBSCRIPTIONS_TABLE is missing: set it to the name of the table of subscriptions",
            )?,
            history: History::read_only(variables, sdk)?,
        })
    }

    /// # Errors
    ///
    /// The event is not a frame's, on one of these routes.
    pub(crate) async fn handle(
        &self,
        payload: &RawValue,
        context: &Context,
    ) -> Result<GatewayAnswer, Failure> {
        let (route, frame) = read(payload)
            .inspect_err(|failure| telemetry::failed("membership", "", failure, Instant::now()))?;
        let parse = |text: &str| request::parse(route, text);
        let answer = async |request: Request<'_>, sessions: Vec<SessionId>| match route {
            Route::Subscribe => self.subscribe(request, sessions).await,
            Route::Unsubscribe => self.unsubscribe(request, sessions).await,
            Route::Hello => self.hello(request).await,
        };
        Ok(self.responder.respond(route.key(), &frame, context, parse, answer).await)
    }

    async fn subscribe(
        &self,
        request: Request<'_>,
        sessions: Vec<SessionId>,
    ) -> Result<GatewayAnswer, RequestError> {
        let (id, invocation) = (request.id, request.invocation);
        let subscribing =
            Subscribing { registry: &self.responder.registry, subscriptions: &self.subscriptions, request };
        subscribing.subscribe(&sessions).await?;
        // Read only now: every message with a later number is posted to this connection.
        let sessions = self.positions(sessions).await?;
        log(invocation, SUBSCRIBED, "subscribed", sessions.len());
        Ok(GatewayAnswer::frame(&Answer::Subscribed { id, sessions }))
    }

    /// Deletes the rows first, since the set must name at least the sessions that have a row.
    async fn unsubscribe(
        &self,
        Request { sender, id, invocation }: Request<'_>,
        sessions: Vec<SessionId>,
    ) -> Result<GatewayAnswer, RequestError> {
        let gone = sessions.iter().cloned().collect();
        self.subscriptions.remove(&sender.connection_id, &gone).await?;
        if !self.responder.registry.remove_subscriptions(&sender.connection_id, &gone).await? {
            return Err(Refusal::not_registered().with_id(id.to_owned()).into());
        }
        log(invocation, UNSUBSCRIBED, "unsubscribed", sessions.len());
        Ok(GatewayAnswer::frame(&Answer::Unsubscribed { id, sessions: &sessions }))
    }

    async fn hello(
        &self,
        Request { sender, id, invocation }: Request<'_>,
    ) -> Result<GatewayAnswer, RequestError> {
        let connection = sender.connection(&self.responder.registry, id).await?;
        let (session, subscriptions) = (&connection.session, &connection.subscriptions);
        let positions = match self.history {
            None => None,
            Some(_) => {
                let own = std::iter::once(session).chain(subscriptions).cloned().collect();
                Some(self.positions(own).await?)
            }
        };
        let expires_at = connection.expires_at;
        let expires_in = expires_at.map(|at| (at - now_seconds()).max(0));
        log(invocation, HELLOS, "hello", subscriptions.len());
        Ok(GatewayAnswer::frame(&Answer::Hello {
            id,
            session,
            expires_at,
            expires_in,
            subscriptions,
            positions,
        }))
    }

    /// The position of each session, in the order given.
    async fn positions(&self, sessions: Vec<SessionId>) -> Result<Vec<SessionPosition>, Failure> {
        let position_of = async |session: SessionId| {
            let position = match &self.history {
                None => None,
                Some(history) => Some(history.position(&session).await?),
            };
            Ok(SessionPosition { session, position })
        };
        stream::iter(sessions)
            .map(|session| Box::pin(position_of(session)))
            .buffered(READERS)
            .try_collect()
            .await
    }
}

fn read(payload: &RawValue) -> Result<(Route, SocketFrame), Failure> {
    let frame = SocketFrame::parse(payload)?;
    let route = Route::ALL.into_iter().find(|route| frame.route.as_deref() == Some(route.key()));
    let route = route.ok_or_else(|| {
        let text =
            "requestContext.routeKey is not one of this function's routes: subscribe, unsubscribe and hello";
        Failure::Event(text.into())
    })?;
    Ok((route, frame))
}

fn log(invocation: &Invocation<'_>, metric: Metric, message: &str, sessions: usize) {
    let counted = if metric == HELLOS { 1 } else { sessions };
    metrics::add(metric, u32::try_from(counted).unwrap_or(u32::MAX).into());
    tracing::info!(
        route = invocation.route,
        connection_id = invocation.id(),
        sessions,
        duration_ms = telemetry::millis_since(invocation.started),
        "{message}"
    );
}
