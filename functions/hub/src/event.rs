//! The edge: what Lambda hands over, turned into small structs whose fields are all there.

use std::collections::HashMap;

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequestContext;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    failure::Failure,
    protocol::{Code, Refusal, SessionId, is_object},
};

/// The part of API Gateway's event that the hub reads. Headers are left alone: a client may send anything
/// in them, and nothing here depends on them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WebsocketEvent {
    request_context: ApiGatewayWebsocketProxyRequestContext,
    #[serde(default)]
    multi_value_query_string_parameters: Option<HashMap<String, Vec<String>>>,
    #[serde(default)]
    query_string_parameters: Option<HashMap<String, String>>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: Option<bool>,
}

impl WebsocketEvent {
    fn parse(payload: &RawValue) -> Result<Self, Failure> {
        // serde's own text may quote the payload, which must not reach the log: say only where it stopped.
        serde_json::from_str(payload.get()).map_err(|error| {
            Failure::Event(format!(
                "not an API Gateway WebSocket event (line {}, column {})",
                error.line(),
                error.column()
            ))
        })
    }

    /// Whether the gateway itself says so. A client can name `$connect` or `$disconnect` as its frame's action,
    /// and such a frame must not pass for a handshake or a goodbye.
    fn is(&self, event_type: &str) -> bool {
        self.request_context.event_type.as_deref().is_none_or(|of_event| of_event == event_type)
    }

    fn connection_id(&mut self) -> Result<String, Failure> {
        required(self.request_context.connection_id.take(), "connectionId")
    }
}

fn required(value: Option<String>, name: &str) -> Result<String, Failure> {
    value
        .filter(|text| !text.is_empty())
        .ok_or_else(|| Failure::Event(format!("requestContext.{name} is missing")))
}

/// What reached the `$connect` function.
#[derive(Debug, PartialEq, Eq)]
pub enum Connect {
    /// A handshake.
    Handshake(Handshake),
    /// A frame whose action is `$connect`.
    Frame,
}

/// A socket about to open.
#[derive(Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The gateway's name for the connection.
    pub connection_id: String,
    /// The session named in the query string, or what is wrong with it.
    pub session: Result<SessionId, &'static str>,
    /// When the handshake began, in milliseconds since 1970.
    pub connected_at: i64,
}

impl Connect {
    /// Reads the event of a `$connect` route.
    pub fn parse(payload: &RawValue) -> Result<Self, Failure> {
        let mut event = WebsocketEvent::parse(payload)?;
        if !event.is("CONNECT") {
            return Ok(Self::Frame);
        }
        Ok(Self::Handshake(Handshake {
            connection_id: event.connection_id()?,
            session: session(&event),
            connected_at: event.request_context.connected_at,
        }))
    }
}

fn session(event: &WebsocketEvent) -> Result<SessionId, &'static str> {
    const NAME: &str = "session_id";
    let many = event.multi_value_query_string_parameters.as_ref().and_then(|query| query.get(NAME));
    let one = event.query_string_parameters.as_ref().and_then(|query| query.get(NAME));
    let text = match (many.map(Vec::as_slice), one) {
        (Some([only]), _) => only,
        // A proxy that checks the first value and a hub that takes the last would disagree on who this is.
        (Some([_, _, ..]), _) => return Err("session_id is given more than once: name one session"),
        (_, Some(only)) => only,
        _ => return Err("session_id is missing: connect to …?session_id={session}"),
    };
    SessionId::parse(text)
        .ok_or("session_id is malformed: use 1 to 128 characters of A-Z a-z 0-9 . _ ~ : @ -")
}

/// What reached the `$disconnect` function.
#[derive(Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// The end of a connection.
    Goodbye(Goodbye),
    /// A frame whose action is `$disconnect`.
    Frame,
}

/// A socket that has closed.
#[derive(Debug, PartialEq, Eq)]
pub struct Goodbye {
    /// The gateway's name for the connection.
    pub connection_id: String,
    /// The WebSocket close code, where the gateway gives one.
    pub close_code: Option<i64>,
    /// The reason that came with it; may be empty. Text of the client's choosing.
    pub close_reason: String,
}

impl Disconnect {
    /// Reads the event of a `$disconnect` route.
    pub fn parse(payload: &RawValue) -> Result<Self, Failure> {
        let mut event = WebsocketEvent::parse(payload)?;
        if !event.is("DISCONNECT") {
            return Ok(Self::Frame);
        }
        Ok(Self::Goodbye(Goodbye {
            connection_id: event.connection_id()?,
            close_code: event.request_context.disconnect_status_code,
            close_reason: event.request_context.disconnect_reason.take().unwrap_or_default(),
        }))
    }
}

/// Something to send: over a socket, or from a backend that invokes the function itself.
#[derive(Debug, PartialEq, Eq)]
pub enum Publish {
    /// A `sendMessage` frame.
    Socket {
        /// Whose frame it is.
        sender: Sender,
        /// The frame's text; `None` if it was binary or empty.
        frame: Option<String>,
    },
    /// A direct invocation, whose payload is the request.
    Backend,
}

/// The connection that a frame came over.
#[derive(Debug, PartialEq, Eq)]
pub struct Sender {
    /// The gateway's name for the connection.
    pub connection_id: String,
    /// The API that it belongs to.
    pub api_id: String,
    /// And the stage.
    pub stage: String,
}

impl Publish {
    /// Reads the payload of the send-message function: an event has a `requestContext`, a backend's request
    /// has none.
    pub fn parse(payload: &RawValue) -> Result<Self, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Probe<'a> {
            #[serde(borrow)]
            request_context: Option<&'a RawValue>,
        }
        let is_event = is_object(payload.get())
            && serde_json::from_str::<Probe>(payload.get())
                .is_ok_and(|probe| probe.request_context.is_some());
        if !is_event {
            return Ok(Self::Backend);
        }
        let mut event = WebsocketEvent::parse(payload)?;
        let sender = Sender {
            connection_id: event.connection_id()?,
            api_id: required(event.request_context.apiid.take(), "apiId")?,
            stage: required(event.request_context.stage.take(), "stage")?,
        };
        let frame = event.body.filter(|_| event.is_base64_encoded != Some(true));
        Ok(Self::Socket { sender, frame })
    }
}

/// What a function answers API Gateway: on `$connect` the handshake's status, on `sendMessage` the frame that
/// the route response carries back.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayAnswer {
    /// An HTTP status.
    pub status_code: u16,
    /// Empty where there is nothing to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
}

impl GatewayAnswer {
    /// 200 without a body.
    #[must_use]
    pub fn ok() -> Self {
        Self { status_code: 200, body: String::new() }
    }

    /// 200 with a frame for the client.
    #[must_use]
    pub fn frame(frame: &impl Serialize) -> Self {
        Self { status_code: 200, body: json(frame) }
    }

    /// The answer to a frame that names one of the gateway's own routes as its action.
    #[must_use]
    pub fn unknown_action() -> Self {
        let text = "no such action: send a JSON object whose action is sendMessage or ping";
        Self::frame(&Refusal::new(Code::UnknownAction, text, None))
    }

    /// A refused handshake. `why` holds none of the client's text.
    #[must_use]
    pub fn refused(status_code: u16, why: &str) -> Self {
        Self { status_code, body: json(&serde_json::json!({ "message": why })) }
    }
}

/// The frames and answers are plain structs of strings and numbers, which always have a JSON form.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
