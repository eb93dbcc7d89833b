//! The protocol: what the frames between clients and the hub are made of.

mod delivery_frame;
mod frame;
pub(crate) mod limits;
mod message;
mod receipt;
mod refusal;

use std::fmt;

use serde::Serialize;

use self::limits::MAX_ID_CHARS;
pub use self::{
    delivery_frame::{DeliveryFrame, Position},
    frame::{parse_id, parse_object, parse_sessions, present},
    limits::{EPOCH_CHARS, HISTORY_MESSAGES, MAX_OFFSET, MAX_SESSIONS, MAX_SUBSCRIPTIONS},
    message::Message,
    receipt::{Counts, Receipt, SessionCounts},
    refusal::{Code, INTERNAL_TEXT, Refusal},
};

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
}
