//! The frames `subscribe`, `unsubscribe` and `hello`.

use hub::protocol::{Code, Refusal, SessionId, parse_id, parse_object, parse_sessions, present};
use serde::Deserialize;
use serde_json::value::RawValue;

/// One of this function's routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// Receives the messages of some sessions from now on.
    Subscribe,
    /// Stops receiving them.
    Unsubscribe,
    /// Asks what the hub knows of the connection.
    Hello,
}

impl Route {
    pub(crate) const ALL: [Self; 3] = [Self::Subscribe, Self::Unsubscribe, Self::Hello];

    /// Its key, which is the action of its frames.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Hello => "hello",
        }
    }
}

/// The frame with each value still unparsed, so that one bad value does not hide the other.
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    sessions: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
}

/// Reads a frame's id, and the sessions that it names: 1 to 100, or none for [`Route::Hello`]. Unknown keys are
/// ignored.
pub(crate) fn parse(route: Route, text: &str) -> Result<(Option<String>, Vec<SessionId>), Refusal> {
    let keys = if route == Route::Hello { "`action`" } else { "`sessions`" };
    let parts: Parts<'_> = parse_object(text, keys)?;
    let id = parts.id.map_or(Ok(None), parse_id)?;
    if route == Route::Hello {
        return Ok((id, Vec::new()));
    }
    let Some(sessions) = parts.sessions else {
        return Err(
            Refusal::bad_request("`sessions` is missing: give a list of 1 to 100 session ids").with_id(id)
        );
    };
    match parse_sessions(sessions) {
        Ok(sessions) => Ok((id, sessions)),
        Err(refusal) if refusal.code == Code::TooManySessions && route == Route::Subscribe => {
            Err(Refusal::too_many_subscriptions().with_id(id))
        }
        Err(refusal) => Err(refusal.with_id(id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(frame: &str) -> Vec<String> {
        let (_, sessions) = parse(Route::Subscribe, frame).unwrap();
        sessions.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn sessions_are_read_once_each_in_their_order() {
        assert_eq!(names(r#"{"sessions":["b","a","b"],"x":1}"#), ["b", "a"]);
        let hundred: Vec<_> = (0..100).map(|number| format!("room-{number}")).collect();
        assert_eq!(names(&serde_json::json!({ "sessions": hundred }).to_string()), hundred);
    }

    #[test]
    fn hello_needs_nothing_and_has_its_id() {
        assert_eq!(parse(Route::Hello, r#"{"id":"h","sessions":7}"#), Ok((Some("h".into()), vec![])));
        assert_eq!(parse(Route::Hello, "{}"), Ok((None, vec![])));
    }

    #[test]
    fn a_frame_that_is_no_object_is_refused_with_the_key_that_it_needs() {
        for (route, key) in [(Route::Hello, "`action`"), (Route::Subscribe, "`sessions`")] {
            let refusal = parse(route, "[]").unwrap_err();
            assert!(refusal.code == Code::BadRequest && refusal.message.contains(key), "{refusal:?}");
        }
    }

    #[test]
    fn each_malformed_frame_is_refused_with_its_id_and_what_to_do() {
        let many =
            serde_json::to_string(&(0..101).map(|number| format!("r{number}")).collect::<Vec<_>>()).unwrap();
        for (route, sessions, code, part) in [
            (Route::Subscribe, r#""x":1"#, Code::BadRequest, "missing"),
            (Route::Unsubscribe, r#""sessions":null"#, Code::BadRequest, "must be a list"),
            (Route::Subscribe, r#""sessions":[]"#, Code::BadRequest, "empty"),
            (Route::Unsubscribe, r#""sessions":["a","b*"]"#, Code::BadRequest, "`sessions[1]`"),
            (
                Route::Subscribe,
                &format!(r#""sessions":{many}"#),
                Code::TooManySubscriptions,
                "nothing has changed",
            ),
            (Route::Unsubscribe, &format!(r#""sessions":{many}"#), Code::TooManySessions, "101 different"),
        ] {
            let refusal = parse(route, &format!(r#"{{"id":"q",{sessions}}}"#)).unwrap_err();
            assert_eq!((refusal.code, refusal.id.as_deref()), (code, Some("q")), "{sessions}");
            assert!(refusal.message.contains(part), "{sessions}: {}", refusal.message);
        }
        assert!(
            parse(Route::Subscribe, r#"{"id":1,"sessions":["a"]}"#).unwrap_err().message.contains("`id`")
        );
    }
}
