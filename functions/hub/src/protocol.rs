//! The protocol: what the frames between clients and the hub are made of.

mod delivery;
mod frame;
mod message;
mod receipt;

use std::fmt;

use serde::Serialize;

pub use self::{
    delivery::{DeliveryFrame, EPOCH_CHARS, Position},
    frame::{bad, parse_id, parse_object, parse_sessions, present},
    message::Message,
    receipt::{Counts, Receipt, SessionCounts},
};

/// The most sessions that one message may name.
pub const MAX_SESSIONS: usize = 100;
/// The most sessions that one connection may be subscribed to, besides its own.
pub const MAX_SUBSCRIPTIONS: usize = 100;
/// The longest session id, and the longest id of a frame, in characters.
const MAX_ID_CHARS: usize = 128;

/// The id of a session: 1 to 128 visible ASCII characters other than `*`, `"` and `\`, which patterns, JSON and logs
/// would have to escape. A value of this type has been checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SessionId(String);

impl SessionId {
    /// The rule, for the text of an error.
    pub const RULE: &str = "use 1 to 128 visible ASCII characters other than * \" \\";

    /// The id, if it is well formed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_graphic() && !b"*\"\\".contains(&byte);
        ((1..=MAX_ID_CHARS).contains(&text.len()) && text.bytes().all(allowed)).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

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
    /// The refusal of a frame with the id `id`.
    pub fn new(code: Code, message: impl Into<String>, id: Option<String>) -> Self {
        Self { code, message: message.into(), id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_are_checked_at_their_limits() {
        let every: String = ('!'..='~').filter(|character| !"*\"\\".contains(*character)).collect();
        for good in
            ["a", &every, "auth0|64af", "ann+test@example.com", "spiffe://a/b", "%41", &"x".repeat(128)]
        {
            assert_eq!(SessionId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "ä", "a\n", "a\0", "a\u{7f}", "a*", "a\"", "a\\", &"x".repeat(129)] {
            assert_eq!(SessionId::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn errors_have_the_documented_shape() {
        for code in [
            Code::BadRequest,
            Code::TooManySessions,
            Code::TooManySubscriptions,
            Code::MessageTooLarge,
            Code::UnknownAction,
            Code::NotConnected,
            Code::Forbidden,
            Code::Internal,
        ] {
            let error = serde_json::to_value(Refusal::new(code, "why", None)).unwrap();
            assert_eq!(
                error,
                serde_json::json!({ "type": "error", "code": code.as_str(), "message": "why" })
            );
        }
    }
}
