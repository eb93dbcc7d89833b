//! The edge: what Lambda hands over, turned into small structs whose fields are all there.

use std::collections::{BTreeMap, HashMap};

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequestContext;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    failure::Failure,
    grant::Grant,
    protocol::{Code, Refusal, SessionId, bad},
};

type One = Option<HashMap<String, String>>;
type Many = Option<HashMap<String, Vec<String>>>;

/// The part of API Gateway's event that the hub reads.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WebsocketEvent {
    request_context: ApiGatewayWebsocketProxyRequestContext,
    #[serde(default)]
    multi_value_headers: Many,
    #[serde(default)]
    headers: One,
    #[serde(default)]
    multi_value_query_string_parameters: Many,
    #[serde(default)]
    query_string_parameters: One,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: Option<bool>,
    #[serde(default)]
    method_arn: Option<String>,
}

impl WebsocketEvent {
    fn parse(payload: &RawValue) -> Result<Self, Failure> {
        // serde's own text may quote the payload, which must not reach the log: say only where it stopped.
        serde_json::from_str(payload.get()).map_err(|error| {
            Failure::Event(format!(
                "not an API Gateway WebSocket event (line {}, column {}); a backend invokes publish and no other function",
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

    /// Every value of a query parameter, as often as it is given.
    fn query(&self, name: &str) -> Vec<&str> {
        let same = |given: &str| given == name;
        values(self.multi_value_query_string_parameters.as_ref(), self.query_string_parameters.as_ref(), same)
    }

    /// Every value of a header, whose name may be written in any case.
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

/// From the map of all values; from the other, which has the last one only, where there is no such map.
fn values<'a>(
    many: Option<&'a HashMap<String, Vec<String>>>,
    one: Option<&'a HashMap<String, String>>,
    same: impl Fn(&str) -> bool,
) -> Vec<&'a str> {
    let many = many.into_iter().flatten().filter(|(name, _)| same(name)).flat_map(|(_, values)| values);
    let found: Vec<_> = many.map(String::as_str).collect();
    if !found.is_empty() {
        return found;
    }
    one.into_iter().flatten().filter(|(name, _)| same(name)).map(|(_, value)| value.as_str()).collect()
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
    /// The session named in the query string, `None` if there is none, or what is wrong with it.
    pub session: Result<Option<SessionId>, &'static str>,
    /// When the handshake began, in milliseconds since 1970.
    pub connected_at: i64,
    /// What the authorizer has granted, if there is one.
    pub grant: Option<Grant>,
    /// Whether the client offers [`SUBPROTOCOL`], and so needs to hear that it is chosen.
    pub offers_subprotocol: bool,
}

/// The subprotocol that stands beside a token in `Sec-WebSocket-Protocol`: a browser ends a handshake that
/// chooses none of those it offers.
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
        // A proxy that checks the first value and a hub that takes the last would disagree on who this is.
        _ => Err("session_id is given more than once: name one session"),
    }
}

/// A handshake that asks the authorizer for admission.
#[derive(Debug, PartialEq, Eq)]
pub struct Admission {
    /// What would be invoked: the answer allows or denies this.
    pub method_arn: String,
    /// The gateway's name for the connection.
    pub connection_id: String,
    /// The session named in the query string, `None` if there is none, or what is wrong with it.
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
                Failure::Event("methodArn is missing: this function belongs to a REQUEST authorizer".into())
            })?,
            connection_id: event.connection_id()?,
            session: session(&event),
            authorization: owned(event.header("Authorization")),
            query_tokens: owned(event.query("token")),
            subprotocols: owned(event.subprotocols().collect()),
        })
    }
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

/// A frame that came over a socket.
#[derive(Debug, PartialEq, Eq)]
pub struct SocketFrame {
    /// The connection that it came over.
    pub sender: Sender,
    /// The route that it took, its action; `None` where the event does not say.
    pub route: Option<String>,
    /// `None` if it was binary or empty.
    pub text: Option<String>,
}

/// The connection that a frame came over.
#[derive(Debug, PartialEq, Eq)]
pub struct Sender {
    /// The gateway's name for the connection.
    pub connection_id: String,
    /// The API that it belongs to.
    pub api_id: String,
    /// The stage that it belongs to.
    pub stage: String,
    /// What the authorizer has granted, if there is one.
    pub grant: Option<Grant>,
}

impl SocketFrame {
    /// Reads the event of a frame's route, and takes no other payload for one.
    pub fn parse(payload: &RawValue) -> Result<Self, Failure> {
        let mut event = WebsocketEvent::parse(payload)?;
        if event.request_context.event_type.as_deref() != Some("MESSAGE") {
            let text = "requestContext.eventType is not MESSAGE: this function answers frames only; a backend invokes publish";
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
}

/// A frame's text.
///
/// # Errors
///
/// There is none.
pub fn text(of_frame: Option<&str>) -> Result<&str, Refusal> {
    of_frame.ok_or_else(|| bad("the frame must be text: send JSON, not binary", None))
}

/// What a function answers API Gateway: on `$connect` the handshake's status, on `sendMessage` the frame that
/// the route response carries back.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayAnswer {
    /// An HTTP status.
    pub status_code: u16,
    /// Of a handshake's answer: the chosen subprotocol is the only one that the gateway takes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<&'static str, &'static str>,
    /// Empty where there is nothing to say: the client then gets no frame, or an empty one, which it ignores.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
}

impl GatewayAnswer {
    /// 200 without a body.
    #[must_use]
    pub fn ok() -> Self {
        Self::new(200, String::new())
    }

    /// 200 to a handshake, with the subprotocol if the client offers it.
    #[must_use]
    pub fn connected(offers_subprotocol: bool) -> Self {
        let mut answer = Self::ok();
        if offers_subprotocol {
            answer.headers.insert("Sec-WebSocket-Protocol", SUBPROTOCOL);
        }
        answer
    }

    /// 200 with a frame for the client.
    #[must_use]
    pub fn frame(frame: &impl Serialize) -> Self {
        Self::new(200, json(frame))
    }

    /// The answer to a frame that names one of the gateway's own routes as its action.
    #[must_use]
    pub fn unknown_action() -> Self {
        let text = "no such action: send a JSON object whose action is one of the hub's, such as sendMessage or ping";
        Self::frame(&Refusal::new(Code::UnknownAction, text, None))
    }

    /// A refused handshake. `why` holds none of the client's text.
    #[must_use]
    pub fn refused(status_code: u16, why: &str) -> Self {
        Self::new(status_code, json(&serde_json::json!({ "message": why })))
    }

    fn new(status_code: u16, body: String) -> Self {
        Self { status_code, headers: BTreeMap::new(), body }
    }
}

/// The frames and answers are plain structs of strings and numbers, which always have a JSON form.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
