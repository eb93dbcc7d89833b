//! Parses the events of API Gateway into small structs.

use std::collections::HashMap;

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequestContext;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    failure::Failure,
    grant::Grant,
    protocol::{Refusal, SessionId},
};

type SingleValues = Option<HashMap<String, String>>;
type MultiValues = Option<HashMap<String, Vec<String>>>;

/// The part of API Gateway's event that the hub reads.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WebsocketEvent {
    request_context: ApiGatewayWebsocketProxyRequestContext,
    #[serde(default)]
    multi_value_headers: MultiValues,
    #[serde(default)]
    headers: SingleValues,
    #[serde(default)]
    multi_value_query_string_parameters: MultiValues,
    #[serde(default)]
    query_string_parameters: SingleValues,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: Option<bool>,
    #[serde(default)]
    method_arn: Option<String>,
}

impl WebsocketEvent {
    fn parse(payload: &RawValue) -> Result<Self, Failure> {
        // serde's own text may quote the payload, which must not reach the log.
        serde_json::from_str(payload.get()).map_err(|error| {
            Failure::Event(format!(
                "not an API Gateway WebSocket event (line {}, column {}); a backend may invoke publish only",
                error.line(),
                error.column()
            ))
        })
    }

    /// Whether the gateway names this event type, or none. A client can send a frame whose action is `$connect` or
    /// `$disconnect`, which must not pass for a handshake or a disconnect.
    fn is(&self, event_type: &str) -> bool {
        self.request_context.event_type.as_deref().is_none_or(|of_event| of_event == event_type)
    }

    fn connection_id(&mut self) -> Result<String, Failure> {
        required(self.request_context.connection_id.take(), "connectionId")
    }

    /// All values of a query parameter.
    fn query(&self, name: &str) -> Vec<&str> {
        let same = |given: &str| given == name;
        values(self.multi_value_query_string_parameters.as_ref(), self.query_string_parameters.as_ref(), same)
    }

    /// All values of a header, whose name is not case-sensitive.
    fn header(&self, name: &str) -> Vec<&str> {
        let same = |given: &str| given.eq_ignore_ascii_case(name);
        values(self.multi_value_headers.as_ref(), self.headers.as_ref(), same)
    }

    /// The subprotocols that the client offers, in its order.
    fn subprotocols(&self) -> impl Iterator<Item = &str> {
        let headers = self.header("Sec-WebSocket-Protocol");
        headers.into_iter().flat_map(|list| list.split(',')).map(str::trim)
    }

    fn grant(&self) -> Result<Option<Grant>, Failure> {
        Grant::from_context(&self.request_context.authorizer.fields)
    }
}

/// The values from the map of all values, or else from the map that has only the last one of each name.
fn values<'a>(
    multi: Option<&'a HashMap<String, Vec<String>>>,
    single: Option<&'a HashMap<String, String>>,
    same: impl Fn(&str) -> bool,
) -> Vec<&'a str> {
    let multi = multi.into_iter().flatten().filter(|(name, _)| same(name)).flat_map(|(_, values)| values);
    let found: Vec<_> = multi.map(String::as_str).collect();
    if !found.is_empty() {
        return found;
    }
    single.into_iter().flatten().filter(|(name, _)| same(name)).map(|(_, value)| value.as_str()).collect()
}

fn required(value: Option<String>, name: &str) -> Result<String, Failure> {
    value
        .filter(|text| !text.is_empty())
        .ok_or_else(|| Failure::Event(format!("requestContext.{name} is missing")))
}

/// An event of the route `$connect`.
#[derive(Debug, PartialEq, Eq)]
pub enum Connect {
    /// A handshake.
    Handshake(Handshake),
    /// A frame whose action is `$connect`.
    Frame,
}

/// A connection that is about to open.
#[derive(Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The gateway's name for the connection.
    pub connection_id: String,
    /// The session in the query string, `None` if there is none, or what is wrong with it.
    pub session: Result<Option<SessionId>, &'static str>,
    /// When the handshake began, in milliseconds since 1970.
    pub connected_at: i64,
    /// The authorizer's grant, if there is an authorizer.
    pub grant: Option<Grant>,
    /// Whether the client offers [`SUBPROTOCOL`]: then the answer must choose it.
    pub offers_subprotocol: bool,
}

/// The subprotocol that a client offers together with a token in `Sec-WebSocket-Protocol`: a browser fails a handshake
/// in which the server chooses none of the offered subprotocols.
pub const SUBPROTOCOL: &str = "hub.v1";

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
            grant: event.grant()?,
            offers_subprotocol: event.subprotocols().any(|offered| offered == SUBPROTOCOL),
        }))
    }
}

fn session(event: &WebsocketEvent) -> Result<Option<SessionId>, &'static str> {
    match event.query("session_id").as_slice() {
        [] => Ok(None),
        [only] => SessionId::parse(only)
            .map(Some)
            .ok_or("session_id is malformed: use 1 to 128 visible ASCII characters other than * \" \\, percent-encoded"),
        // A proxy that checks the first value and a hub that uses the last would see different sessions.
        _ => Err("session_id is given more than once: name one session"),
    }
}

/// A handshake that the authorizer has to admit or deny.
#[derive(Debug, PartialEq, Eq)]
pub struct Admission {
    /// The ARN of the route, which the answer allows or denies.
    pub method_arn: String,
    /// The gateway's name for the connection.
    pub connection_id: String,
    /// The session in the query string, `None` if there is none, or what is wrong with it.
    pub session: Result<Option<SessionId>, &'static str>,
    /// The values of the header `Authorization`.
    pub authorization: Vec<String>,
    /// The values of the query parameter `token`.
    pub query_tokens: Vec<String>,
    /// The subprotocols offered.
    pub subprotocols: Vec<String>,
}

impl Admission {
    /// Reads the event of a REQUEST authorizer.
    pub fn parse(payload: &RawValue) -> Result<Self, Failure> {
        let mut event = WebsocketEvent::parse(payload)?;
        let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
        Ok(Self {
            method_arn: event.method_arn.take().filter(|arn| !arn.is_empty()).ok_or_else(|| {
                Failure::Event(
                    "methodArn is missing: this function must be called by a REQUEST authorizer".into(),
                )
            })?,
            connection_id: event.connection_id()?,
            session: session(&event),
            authorization: owned(event.header("Authorization")),
            query_tokens: owned(event.query("token")),
            subprotocols: owned(event.subprotocols().collect()),
        })
    }
}

/// An event of the route `$disconnect`.
#[derive(Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// The end of a connection.
    Closed(ClosedConnection),
    /// A frame whose action is `$disconnect`.
    Frame,
}

/// A connection that has closed.
#[derive(Debug, PartialEq, Eq)]
pub struct ClosedConnection {
    /// The gateway's name for the connection.
    pub connection_id: String,
    /// The WebSocket close code, if the gateway gives one.
    pub close_code: Option<i64>,
    /// The reason that came with it, in the client's own words; may be empty.
    pub close_reason: String,
}

impl Disconnect {
    /// Reads the event of a `$disconnect` route.
    pub fn parse(payload: &RawValue) -> Result<Self, Failure> {
        let mut event = WebsocketEvent::parse(payload)?;
        if !event.is("DISCONNECT") {
            return Ok(Self::Frame);
        }
        Ok(Self::Closed(ClosedConnection {
            connection_id: event.connection_id()?,
            close_code: event.request_context.disconnect_status_code,
            close_reason: event.request_context.disconnect_reason.take().unwrap_or_default(),
        }))
    }
}

/// A frame that came over a connection.
#[derive(Debug, PartialEq, Eq)]
pub struct SocketFrame {
    /// The connection that it came over.
    pub sender: Sender,
    /// The key of the route, which is the frame's action; `None` if the event names none.
    pub route: Option<String>,
    /// `None` if the frame was binary or empty.
    pub text: Option<String>,
}

/// The connection that a frame came over.
#[derive(Debug, PartialEq, Eq)]
pub struct Sender {
    /// The gateway's name for the connection.
    pub connection_id: String,
    /// The id of its API.
    pub api_id: String,
    /// Its stage.
    pub stage: String,
    /// The authorizer's grant, if there is an authorizer.
    pub grant: Option<Grant>,
}

impl SocketFrame {
    /// Reads the event of a frame's route, and refuses every other payload.
    pub fn parse(payload: &RawValue) -> Result<Self, Failure> {
        let mut event = WebsocketEvent::parse(payload)?;
        if event.request_context.event_type.as_deref() != Some("MESSAGE") {
            let text = "requestContext.eventType is not MESSAGE: this function answers frames only; a backend may invoke publish";
            return Err(Failure::Event(text.into()));
        }
        let sender = Sender {
            connection_id: event.connection_id()?,
            api_id: required(event.request_context.apiid.take(), "apiId")?,
            stage: required(event.request_context.stage.take(), "stage")?,
            grant: event.grant()?,
        };
        let text = event.body.filter(|_| event.is_base64_encoded != Some(true));
        Ok(Self { sender, route: event.request_context.route_key.take(), text })
    }

    /// The frame's text.
    ///
    /// # Errors
    ///
    /// The frame was binary or empty.
    pub fn text(&self) -> Result<&str, Refusal> {
        self.text
            .as_deref()
            .ok_or_else(|| Refusal::bad_request("the frame must be text: send JSON, not binary"))
    }
}
