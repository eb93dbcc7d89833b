//! The answers of the functions behind API Gateway's routes.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{event::SUBPROTOCOL, protocol::Refusal};

/// The answer of a function to API Gateway: the status of a handshake, or the frame that the route response carries
/// back.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayAnswer {
    /// An HTTP status.
    pub status_code: u16,
    /// Those of a handshake's answer: the chosen subprotocol is the only header that the gateway passes on.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<&'static str, &'static str>,
    /// If it is empty, the client gets no frame, or an empty one, which it ignores.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
}

impl GatewayAnswer {
    /// 200 without a body.
    #[must_use]
    pub fn ok() -> Self {
        Self::new(200, String::new())
    }

    /// 200 to a handshake, with [`SUBPROTOCOL`] if the client offers it.
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

    /// The answer to a frame whose action is one of the gateway's own routes.
    #[must_use]
    pub fn unknown_action() -> Self {
        Self::frame(&Refusal::unknown_action())
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

/// Cannot fail: frames and answers are plain structs of strings and numbers.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
