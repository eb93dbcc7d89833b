//! The error codes and their texts. Only `bad_request` is worded where a frame is parsed.

use serde::Serialize;

use super::{
    SessionId,
    limits::{MAX_SESSIONS, MAX_SUBSCRIPTIONS},
};

/// The text that callers get for every failure of the hub.
pub const INTERNAL_TEXT: &str =
    "the hub could not handle this; try again, and if it persists ask its operator to look in the log";

/// Why the hub refused a request, as a word for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The protocol does not allow the frame.
    BadRequest,
    /// More than [`MAX_SESSIONS`] different sessions.
    TooManySessions,
    /// The connection would have more than [`MAX_SUBSCRIPTIONS`].
    TooManySubscriptions,
    /// The delivery frame would be larger than `MAX_MESSAGE_BYTES`.
    MessageTooLarge,
    /// The hub does not know the frame's action.
    UnknownAction,
    /// The sender's connection has no live row, or its grant has expired.
    NotConnected,
    /// The connection's token does not allow the request.
    Forbidden,
    /// The hub failed.
    Internal,
}

impl Code {
    /// The word, for the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::TooManySessions => "too_many_sessions",
            Self::TooManySubscriptions => "too_many_subscriptions",
            Self::MessageTooLarge => "message_too_large",
            Self::UnknownAction => "unknown_action",
            Self::NotConnected => "not_connected",
            Self::Forbidden => "forbidden",
            Self::Internal => "internal",
        }
    }
}

/// `{"type":"error","code":…,"message":…,"id":…?}`: an error of the caller, and how to fix it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "error")]
pub struct Refusal {
    /// The kind of refusal.
    pub code: Code,
    /// What is wrong and how to fix it. It may quote the caller's input, so it must not be logged.
    pub message: String,
    /// The frame's id, if it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl Refusal {
    fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), id: None }
    }

    /// The same for a frame with this id.
    #[must_use]
    pub fn with_id(self, id: impl Into<Option<String>>) -> Self {
        Self { id: id.into(), ..self }
    }

    /// The protocol does not allow the frame.
    pub fn bad_request(text: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, text)
    }

    /// The frame names `count` different sessions.
    pub(super) fn too_many_sessions(count: usize) -> Self {
        let text = format!(
            "{count} different sessions: one request may name at most {MAX_SESSIONS}; send several requests"
        );
        Self::new(Code::TooManySessions, text)
    }

    /// The connection would have too many subscriptions.
    #[must_use]
    pub fn too_many_subscriptions() -> Self {
        let text = format!(
            "a connection may be subscribed to {MAX_SUBSCRIPTIONS} sessions besides its own: unsubscribe from some first, or open another connection; nothing has changed"
        );
        Self::new(Code::TooManySubscriptions, text)
    }

    /// The delivery frame might have `bytes`, of which `most` are allowed.
    pub(super) fn message_too_large(bytes: usize, most: usize) -> Self {
        let text = format!(
            "the delivery frame would have up to {bytes} bytes: at most {most} are allowed; send a link or split it"
        );
        Self::new(Code::MessageTooLarge, text)
    }

    /// The frame's action is one of the gateway's own routes.
    pub(crate) fn unknown_action() -> Self {
        let text = "no such action: send a JSON object whose action is one of the hub's, such as sendMessage or ping";
        Self::new(Code::UnknownAction, text)
    }

    /// The connection has no live row.
    #[must_use]
    pub fn not_registered() -> Self {
        let text = "this connection is not registered, or has expired: connect again";
        Self::new(Code::NotConnected, text)
    }

    /// The connection's grant has expired.
    pub(crate) fn token_expired() -> Self {
        let text = "the token of this connection has expired: connect again with a new one";
        Self::new(Code::NotConnected, text)
    }

    /// The connection has no grant, on a hub with an authorizer.
    pub(crate) fn no_token() -> Self {
        let text = "this connection was opened without a token: connect again with one";
        Self::new(Code::NotConnected, text)
    }

    /// The connection's grant does not cover sending to `session`.
    #[must_use]
    pub fn may_not_send_to(session: &SessionId) -> Self {
        let text = format!("the token of this connection does not allow it to send to \"{session}\"");
        Self::new(Code::Forbidden, text)
    }

    /// The connection's grant does not cover subscribing to `session`.
    #[must_use]
    pub fn may_not_subscribe_to(session: &SessionId) -> Self {
        let text = format!("the token of this connection does not allow it to subscribe to \"{session}\"");
        Self::new(Code::Forbidden, text)
    }

    /// The session is neither the connection's own nor one that it is subscribed to.
    #[must_use]
    pub fn may_not_read(session: &SessionId) -> Self {
        let text = format!(
            "this connection may not read the history of \"{session}\": ask for the history of its own session, or of one that it is subscribed to"
        );
        Self::new(Code::Forbidden, text)
    }

    /// The hub failed.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(Code::Internal, INTERNAL_TEXT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_says_what_is_wrong_and_what_to_do() {
        let session = || SessionId::parse("room").unwrap();
        for (refusal, code, message) in [
            (Refusal::bad_request("why"), "bad_request", "why"),
            (
                Refusal::too_many_sessions(101),
                "too_many_sessions",
                "101 different sessions: one request may name at most 100; send several requests",
            ),
            (
                Refusal::too_many_subscriptions(),
                "too_many_subscriptions",
                "a connection may be subscribed to 100 sessions besides its own: unsubscribe from some first, or open another connection; nothing has changed",
            ),
            (
                Refusal::message_too_large(32_769, 32_768),
                "message_too_large",
                "the delivery frame would have up to 32769 bytes: at most 32768 are allowed; send a link or split it",
            ),
            (
                Refusal::unknown_action(),
                "unknown_action",
                "no such action: send a JSON object whose action is one of the hub's, such as sendMessage or ping",
            ),
            (
                Refusal::not_registered(),
                "not_connected",
                "this connection is not registered, or has expired: connect again",
            ),
            (
                Refusal::token_expired(),
                "not_connected",
                "the token of this connection has expired: connect again with a new one",
            ),
            (
                Refusal::no_token(),
                "not_connected",
                "this connection was opened without a token: connect again with one",
            ),
            (
                Refusal::may_not_send_to(&session()),
                "forbidden",
                "the token of this connection does not allow it to send to \"room\"",
            ),
            (
                Refusal::may_not_subscribe_to(&session()),
                "forbidden",
                "the token of this connection does not allow it to subscribe to \"room\"",
            ),
            (
                Refusal::may_not_read(&session()),
                "forbidden",
                "this connection may not read the history of \"room\": ask for the history of its own session, or of one that it is subscribed to",
            ),
            (
                Refusal::internal(),
                "internal",
                "the hub could not handle this; try again, and if it persists ask its operator to look in the log",
            ),
        ] {
            assert_eq!(refusal.code.as_str(), code);
            let error = serde_json::to_value(refusal).unwrap();
            assert_eq!(error, serde_json::json!({ "type": "error", "code": code, "message": message }));
        }
    }
}
