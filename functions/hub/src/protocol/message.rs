//! The request to send a message: the frame `sendMessage` of a client, or the payload of a backend.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Refusal, SessionId,
    frame::{parse_flag, parse_id, parse_object, parse_sessions, present},
};

const OBJECT: &str = "`sessions` and `message`";

/// A well-formed message, borrowed from its text.
#[derive(Debug)]
pub struct Message<'a> {
    /// The sessions that it is for: 1 to 100 different ones, in the order of their first mention.
    pub sessions: Vec<SessionId>,
    /// What to deliver, byte for byte as the sender wrote it.
    pub content: &'a RawValue,
    /// The sender's id for it: 1 to 128 characters.
    pub id: Option<String>,
    /// Whether success is answered with a receipt. Errors always have an answer.
    pub wants_receipt: bool,
    /// Whether it is written to the sessions' histories, if the hub has any.
    pub is_stored: bool,
}

/// The request with each value still unparsed, so that one bad value does not hide the others.
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    sessions: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    message: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    store: Option<&'a RawValue>,
}

/// A client's frame also has `receipt`, which a backend's request ignores as any unknown key, even twice. One struct for each,
/// so that a frame is read once.
#[derive(Deserialize)]
struct ClientParts<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    sessions: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    message: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    store: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    receipt: Option<&'a RawValue>,
}

impl<'a> Message<'a> {
    /// Its own id, or else the id of Lambda's request. Lambda keeps that when it repeats an asynchronous invocation, so
    /// recipients can recognise a repeated message.
    #[must_use]
    pub fn id_or(&self, request_id: &str) -> String {
        self.id.clone().unwrap_or_else(|| request_id.to_owned())
    }

    /// Reads a client's `sendMessage` frame. Unknown keys are ignored.
    pub fn parse_frame(text: &'a str) -> Result<Self, Refusal> {
        let ClientParts { sessions, message, id, store, receipt } = parse_object(text, OBJECT)?;
        let parts = Parts { sessions, message, id, store };
        let id = parts.id.map_or(Ok(None), parse_id)?;
        let wants_receipt = parse_flag("receipt", receipt, id.as_ref())?;
        Ok(Self { wants_receipt, ..Self::of_parts(&parts, id)? })
    }

    /// Reads a backend's request, whose receipt is the result of the invocation. Unknown keys are ignored.
    pub fn parse_request(text: &'a str) -> Result<Self, Refusal> {
        let parts: Parts<'_> = parse_object(text, OBJECT)?;
        Self::of_parts(&parts, parts.id.map_or(Ok(None), parse_id)?)
    }

    fn of_parts(parts: &Parts<'a>, id: Option<String>) -> Result<Self, Refusal> {
        let is_stored = parse_flag("store", parts.store, id.as_ref())?;
        let Some(sessions) = parts.sessions else {
            return Err(Refusal::bad_request("`sessions` is missing: give a list of 1 to 100 session ids")
                .with_id(id));
        };
        let Some(content) = parts.message else {
            return Err(
                Refusal::bad_request("`message` is missing: give any JSON value; null is one").with_id(id)
            );
        };
        match parse_sessions(sessions) {
            Ok(sessions) => Ok(Self { sessions, content, id, wants_receipt: true, is_stored }),
            Err(refusal) => Err(refusal.with_id(id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Code;

    fn refused(frame: &str) -> Refusal {
        Message::parse_frame(frame).expect_err(frame)
    }

    #[test]
    fn sessions_count_once_and_keep_their_order() {
        let send =
            Message::parse_frame(r#"{"sessions":["b","a","b"],"message":1,"id":"x","more":true}"#).unwrap();
        let names: Vec<_> = send.sessions.iter().map(SessionId::as_str).collect();
        assert_eq!((names, send.id.as_deref()), (vec!["b", "a"], Some("x")));
    }

    #[test]
    fn a_hundred_sessions_pass_and_one_more_does_not() {
        let frame = |different: usize| {
            let names: Vec<_> = (0..different).chain(0..50).map(|n| format!("s{n}")).collect();
            serde_json::json!({ "sessions": names, "message": 1, "id": "x" }).to_string()
        };
        assert_eq!(Message::parse_frame(&frame(100)).unwrap().sessions.len(), 100);
        let refusal = refused(&frame(101));
        assert_eq!((refusal.code, refusal.id.as_deref()), (Code::TooManySessions, Some("x")));
    }

    #[test]
    fn each_malformed_frame_is_a_bad_request_that_names_the_part() {
        for (frame, part) in [
            ("", "one JSON object"),
            ("nonsense", "JSON object"),
            ("[]", "JSON object"),
            (r#"[["a"],1]"#, "JSON object"),
            ("\"text\"", "JSON object"),
            (r#"{"sessions":["a"],"message":1"#, "JSON object"),
            (r#"{"sessions":["a"],"sessions":["b"],"message":1}"#, "duplicate"),
            (r#"{"message":1}"#, "`sessions` is missing"),
            (r#"{"sessions":["a"]}"#, "`message` is missing"),
            (r#"{"sessions":"a","message":1}"#, "`sessions` must be a list"),
            (r#"{"sessions":null,"message":1}"#, "`sessions` must be a list"),
            (r#"{"sessions":[1],"message":1}"#, "`sessions` must be a list"),
            (r#"{"sessions":[],"message":1}"#, "`sessions` is empty"),
            (r#"{"sessions":["a","b c"],"message":1}"#, "`sessions[1]`"),
            (r#"{"sessions":["a"],"message":1,"id":7}"#, "`id` must be a string"),
            (r#"{"sessions":["a"],"message":1,"id":""}"#, "`id` has 0"),
            (r#"{"sessions":["a"],"message":1,"receipt":null}"#, "`receipt` must be true or false"),
            (r#"{"sessions":["a"],"message":1,"receipt":"false"}"#, "`receipt` must be true or false"),
            (r#"{"sessions":["a"],"message":1,"receipt":0}"#, "`receipt` must be true or false"),
            (r#"{"sessions":["a"],"message":1,"receipt":[false]}"#, "`receipt` must be true or false"),
            (r#"{"sessions":["a"],"message":1,"receipt":false,"receipt":false}"#, "duplicate"),
            (r#"{"sessions":["a"],"message":1,"store":null}"#, "`store` must be true or false"),
            (r#"{"sessions":["a"],"message":1,"store":"no"}"#, "`store` must be true or false"),
        ] {
            let refusal = refused(frame);
            assert_eq!(refusal.code, Code::BadRequest, "{frame}");
            assert!(refusal.message.contains(part), "{frame}: {}", refusal.message);
        }
    }

    #[test]
    fn an_id_is_measured_in_characters_and_null_means_none() {
        let frame = |id: &str| format!(r#"{{"sessions":["a"],"message":1,"id":{id}}}"#);
        let longest = "é".repeat(128);
        assert_eq!(
            Message::parse_frame(&frame(&format!("\"{longest}\""))).unwrap().id,
            Some(longest.clone())
        );
        assert_eq!(refused(&frame(&format!("\"{longest}x\""))).code, Code::BadRequest);
        assert_eq!(Message::parse_frame(&frame("null")).unwrap().id, None);
    }

    #[test]
    fn a_refusal_returns_the_id_it_could_read() {
        for frame in
            [r#"{"id":"mine","message":1}"#, r#"{"receipt":0,"id":"mine","sessions":["a"],"message":1}"#]
        {
            assert_eq!(refused(frame).id.as_deref(), Some("mine"), "{frame}");
        }
    }

    #[test]
    fn a_client_may_do_without_a_receipt_which_a_backend_cannot_and_both_without_history() {
        let frame = |rest: &str| format!(r#"{{"sessions":["a"],"message":1{rest}}}"#);
        for (rest, wants_receipt) in [
            ("", true),
            (r#","receipt":true"#, true),
            (r#","receipt":false"#, false),
            (r#","\u0072eceipt" : false ,"id":"x""#, false),
            (r#","Receipt":false"#, true),
        ] {
            assert_eq!(Message::parse_frame(&frame(rest)).unwrap().wants_receipt, wants_receipt, "{rest}");
        }
        for (rest, is_stored) in [("", true), (r#","store":true"#, true), (r#","store":false"#, false)] {
            assert_eq!(Message::parse_frame(&frame(rest)).unwrap().is_stored, is_stored, "{rest}");
            assert_eq!(Message::parse_request(&frame(rest)).unwrap().is_stored, is_stored, "{rest}");
        }
        assert_eq!(Message::parse_request(&frame(r#","store":0"#)).unwrap_err().code, Code::BadRequest);
        for rest in [r#","receipt":false"#, r#","receipt":null"#, r#","receipt":0,"receipt":0"#] {
            assert!(Message::parse_request(&frame(rest)).unwrap().wants_receipt, "{rest}");
        }
    }
}
