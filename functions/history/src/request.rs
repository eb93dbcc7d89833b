//! The request for messages of a session's history: the frame `history`.

use std::ops::RangeInclusive;

use hub::{
    history::Range,
    protocol::{HISTORY_MESSAGES, MAX_OFFSET, Position, Refusal, SessionId, parse_id, parse_object, present},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

/// A well-formed request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HistoryRequest {
    /// The session.
    pub(crate) session: SessionId,
    /// The messages to read.
    pub(crate) range: Range,
    /// The client's own id for the request: 1 to 128 characters.
    pub(crate) id: Option<String>,
}

/// The frame with each value still unparsed, so that one bad value does not hide the others.
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    session: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    epoch: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    after: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    last: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    limit: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
}

impl HistoryRequest {
    /// Reads a `history` frame. Unknown keys are ignored.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let parts: Parts<'_> = parse_object(text, "`session`")?;
        let id = parts.id.map_or(Ok(None), parse_id)?;
        match read(&parts) {
            Ok((session, range)) => Ok(Self { session, range, id }),
            Err(why) => Err(Refusal::bad_request(why).with_id(id)),
        }
    }
}

fn read(parts: &Parts<'_>) -> Result<(SessionId, Range), String> {
    let name: String = value(parts.session)
        .flatten()
        .ok_or("`session` must be there, and a string: name the session whose messages you want")?;
    let session = SessionId::parse(&name)
        .ok_or_else(|| format!("`session` is not a session id: {}", SessionId::RULE))?;
    let epoch: Option<String> =
        value(parts.epoch).ok_or("`epoch` must be a string, the one that came with the offset")?;
    let after = number("after", parts.after, &(0..=MAX_OFFSET))?;
    let last = number("last", parts.last, &HISTORY_MESSAGES)?;
    let limit = number("limit", parts.limit, &HISTORY_MESSAGES)?;
    let range = match (after, epoch, last) {
        (Some(_), _, Some(_)) => {
            return Err("`after` and `last` exclude each other: give one of them".into());
        }
        (Some(_), None, _) => {
            return Err(
                "`after` needs `epoch`: an offset means nothing without the epoch it came with".into()
            );
        }
        (Some(offset), Some(epoch), None) => {
            Range::After(Position { epoch, offset }, limit.unwrap_or(*HISTORY_MESSAGES.end()))
        }
        (None, _, Some(last)) => Range::Last(last),
        (None, _, None) => Range::Nothing,
    };
    Ok((session, range))
}

/// The value of a key, if the key is there; `None` if the value has another type.
fn value<T: DeserializeOwned>(raw: Option<&RawValue>) -> Option<Option<T>> {
    raw.map(|raw| serde_json::from_str(raw.get()).ok()).map_or(Some(None), |value| value.map(Some))
}

fn number<T>(name: &str, raw: Option<&RawValue>, range: &RangeInclusive<T>) -> Result<Option<T>, String>
where
    T: DeserializeOwned + PartialOrd + std::fmt::Display,
{
    let number = value(raw).filter(|number| number.as_ref().is_none_or(|number| range.contains(number)));
    number.ok_or_else(|| {
        format!("`{name}` must be a whole number from {} to {}, or be left out", range.start(), range.end())
    })
}

#[cfg(test)]
mod tests {
    use hub::protocol::Code;

    use super::*;

    #[test]
    fn each_request_is_read() {
        let position = |offset| Position { epoch: "k3f9q2xa".into(), offset };
        for (frame, range) in [
            (r#"{"session":"a"}"#, Range::Nothing),
            (r#"{"session":"a","epoch":"k3f9q2xa","limit":7,"more":[]}"#, Range::Nothing),
            (r#"{"session":"a","epoch":"k3f9q2xa","after":0}"#, Range::After(position(0), 100)),
            (
                r#"{"session":"a","epoch":"k3f9q2xa","after":9007199254740991,"limit":1}"#,
                Range::After(position((1 << 53) - 1), 1),
            ),
            (r#"{"session":"a","last":100,"id":null}"#, Range::Last(100)),
        ] {
            let request = HistoryRequest::parse(frame).unwrap();
            assert_eq!((request.session.as_str(), request.range), ("a", range), "{frame}");
        }
    }

    #[test]
    fn each_malformed_request_is_refused_with_the_name_of_the_part_and_the_id() {
        for (rest, part) in [
            (r#""x":1"#, "`session` must be there"),
            (r#""session":1"#, "`session` must be there"),
            (r#""session":null"#, "`session` must be there"),
            (r#""session":"a*""#, "`session` is not"),
            (r#""session":"a","after":1"#, "needs `epoch`"),
            (r#""session":"a","epoch":"e","after":1,"last":1"#, "exclude each other"),
            (
                r#""session":"a","epoch":"e","after":-1"#,
                "`after` must be a whole number from 0 to 9007199254740991",
            ),
            (r#""session":"a","epoch":"e","after":9007199254740992"#, "`after` must be"),
            (r#""session":"a","epoch":"e","after":1.5"#, "`after` must be"),
            (r#""session":"a","epoch":"e","after":"1""#, "`after` must be"),
            (r#""session":"a","epoch":"e","after":null"#, "`after` must be"),
            (r#""session":"a","epoch":null,"after":1"#, "`epoch` must be"),
            (r#""session":"a","last":0"#, "`last` must be a whole number from 1 to 100"),
            (r#""session":"a","last":101"#, "`last` must be"),
            (r#""session":"a","limit":0"#, "`limit` must be"),
            (r#""session":"a","limit":101"#, "`limit` must be"),
            (r#""session":"a","session":"b""#, "duplicate"),
        ] {
            let refusal =
                HistoryRequest::parse(&format!(r#"{{"id":"q","action":"history",{rest}}}"#)).unwrap_err();
            assert_eq!(refusal.code, Code::BadRequest, "{rest}");
            assert!(refusal.message.contains(part), "{rest}: {}", refusal.message);
            assert!(part == "duplicate" || refusal.id.as_deref() == Some("q"), "{rest}");
        }
        for frame in ["", "[]", r#""text""#] {
            assert!(HistoryRequest::parse(frame).unwrap_err().message.contains("JSON object"), "{frame}");
        }
    }
}
