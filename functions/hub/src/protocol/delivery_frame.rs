//! The frame that the recipients of a message get.

use std::time::SystemTime;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Refusal, SessionId,
    limits::{EPOCH_CHARS, OFFSET_DIGITS},
};

/// The position of a message in its session's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Position {
    /// The epoch: [`EPOCH_CHARS`] characters. A new one means that the offsets have started again.
    pub epoch: String,
    /// The offset, from 1.
    pub offset: u64,
}

/// `{"type":"message",…}`: the frame of a message, which differs between sessions only in its end.
#[derive(Debug)]
pub struct DeliveryFrame {
    shared: String,
    longest: usize,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "message")]
struct SharedKeys<'a> {
    id: &'a str,
    from: Option<&'a SessionId>,
    message: &'a RawValue,
    sent_at: String,
}

impl DeliveryFrame {
    /// The frame of a message to these `sessions`. `from` is the sender's session, `None` for a backend.
    ///
    /// # Errors
    ///
    /// The message cannot be written as JSON; or with the longest session and any position, the frame has more than
    /// `max_bytes`. The refusal has the `id`.
    pub fn new(
        id: &str,
        from: Option<&SessionId>,
        content: &RawValue,
        sessions: &[SessionId],
        sent_at: SystemTime,
        max_bytes: usize,
    ) -> Result<Self, Refusal> {
        let sent_at = humantime::format_rfc3339_millis(sent_at).to_string();
        let mut shared =
            serde_json::to_string(&SharedKeys { id, from, message: content, sent_at }).map_err(|error| {
                Refusal::bad_request(format!("the message cannot be written as a frame: {error}"))
                    .with_id(id.to_owned())
            })?;
        // The object continues with the keys that differ.
        shared.pop();
        let session = sessions.iter().map(|session| session.as_str().len()).max().unwrap_or_default();
        let longest = shared.len()
            + r#","session":"","epoch":"","offset":}"#.len()
            + session
            + EPOCH_CHARS
            + OFFSET_DIGITS;
        if longest > max_bytes {
            return Err(Refusal::message_too_large(longest, max_bytes).with_id(id.to_owned()));
        }
        Ok(Self { shared, longest })
    }

    /// The beginning that all sessions share: JSON up to the end of a value.
    #[must_use]
    pub fn shared(&self) -> &str {
        &self.shared
    }

    /// The whole frame for `session`, at `position` of its history.
    #[must_use]
    pub fn text(&self, session: &SessionId, position: &Position) -> String {
        format!("{}{}", self.shared, Self::end(session, Some(position)))
    }

    /// The end of the frame for `session`, at `position` if the message is in the session's history.
    #[must_use]
    pub fn end(session: &SessionId, position: Option<&Position>) -> String {
        // Session ids and epochs have no character that JSON escapes.
        match position {
            None => format!(r#","session":"{session}"}}"#),
            Some(Position { epoch, offset }) => {
                format!(r#","session":"{session}","epoch":"{epoch}","offset":{offset}}}"#)
            }
        }
    }

    /// Its size in bytes as the limit counts it: with the longest session and the longest position.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::{Code, Message};

    #[test]
    fn a_message_keeps_every_byte() {
        for message in [
            "null",
            "\"\"",
            "12345678901234567890123",
            "1e400",
            "-0",
            "1.10",
            "{\"b\":1, \"a\" : [ ]}",
            "\"\\u0000\\ud83d\\ude00 😀\"",
            "{\"a\":1,\"a\":2}",
            &format!("{}1{}", "[".repeat(500), "]".repeat(500)),
        ] {
            let frame = format!("{{\"sessions\":[\"a\"],\"message\":{message}}}");
            let read = Message::parse_frame(&frame).unwrap();
            let delivery =
                DeliveryFrame::new("1", None, read.content, &[], SystemTime::UNIX_EPOCH, 32_768).unwrap();
            let expected = format!(
                "{{\"type\":\"message\",\"id\":\"1\",\"from\":null,\"message\":{message},\"sent_at\":\"1970-01-01T00:00:00.000Z\""
            );
            assert_eq!(delivery.shared(), expected);
        }
    }

    #[test]
    fn a_frame_ends_with_its_session_and_its_position() {
        let message: Box<RawValue> = serde_json::from_str("\"é\"").unwrap();
        let [from, long] = ["a", "longest"].map(|name| SessionId::parse(name).unwrap());
        let position = Position { epoch: "k3f9q2xa".into(), offset: (1 << 53) - 1 };
        let sized = |max| {
            let sessions = [from.clone(), long.clone()];
            let sent_at = SystemTime::UNIX_EPOCH + Duration::from_millis(7);
            DeliveryFrame::new("1", Some(&from), &message, &sessions, sent_at, max)
        };
        let frame = sized(1000).unwrap();
        let shared = frame.shared();
        assert_eq!(
            format!("{shared}{}", DeliveryFrame::end(&from, None)),
            r#"{"type":"message","id":"1","from":"a","message":"é","sent_at":"1970-01-01T00:00:00.007Z","session":"a"}"#
        );
        let longest = format!("{shared}{}", DeliveryFrame::end(&long, Some(&position)));
        assert!(
            longest.ends_with(r#","session":"longest","epoch":"k3f9q2xa","offset":9007199254740991}"#),
            "{longest}"
        );
        assert_eq!(sized(longest.len()).unwrap().longest(), longest.len());
        assert_eq!(sized(longest.len() - 1).unwrap_err().code, Code::MessageTooLarge);
    }
}
