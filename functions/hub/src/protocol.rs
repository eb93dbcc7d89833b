//! The frames that clients and the hub exchange.

use std::{collections::HashSet, fmt, time::SystemTime};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// The most sessions that one message may name.
pub const MAX_SESSIONS: usize = 100;
/// The most sessions that one connection may be subscribed to, its own not counted.
pub const MAX_SUBSCRIPTIONS: usize = 100;
/// The longest session id and message id, in characters.
const MAX_ID_CHARS: usize = 128;

/// The name of a session: 1 to 128 visible ASCII characters without `*`, `"` and `\`, which patterns, JSON and logs would
/// have to escape. Having one proves the check.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SessionId(String);

impl SessionId {
    /// What a name must be, for whoever has given one that is not.
    pub const RULE: &str = "use 1 to 128 visible ASCII characters other than * \" \\";

    /// The name, if it is well formed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_graphic() && !b"*\"\\".contains(&byte);
        ((1..=MAX_ID_CHARS).contains(&text.len()) && text.bytes().all(allowed)).then(|| Self(text.to_owned()))
    }

    /// The name as text.
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

/// Why the hub refused what a caller asked for: the word that programs tell refusals apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The frame is not what the protocol describes.
    BadRequest,
    /// More than [`MAX_SESSIONS`] different sessions.
    TooManySessions,
    /// The connection would have more than [`MAX_SUBSCRIPTIONS`].
    TooManySubscriptions,
    /// The delivery frame would be larger than `MAX_MESSAGE_BYTES`.
    MessageTooLarge,
    /// The frame's action is none of the hub's.
    UnknownAction,
    /// The sender has no live row in the table.
    NotConnected,
    /// The connection's token does not allow what is asked.
    Forbidden,
    /// A failure of ours.
    Internal,
}

impl Code {
    /// The word itself, for the log.
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

/// `{"type":"error","code":…,"message":…,"id":…?}`: the caller's fault, said so that the caller can fix it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "error")]
pub struct Refusal {
    /// What kind of refusal.
    pub code: Code,
    /// What to do about it. May quote the caller's own input, so it never goes to the log.
    pub message: String,
    /// The frame's own id, where it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl Refusal {
    /// A refusal of a frame whose id is `id`.
    pub fn new(code: Code, message: impl Into<String>, id: Option<String>) -> Self {
        Self { code, message: message.into(), id }
    }
}

/// A well-formed request to deliver something, borrowed from its text.
#[derive(Debug)]
pub struct Message<'a> {
    /// The addressees: 1 to 100 different sessions, in the order of their first mention.
    pub sessions: Vec<SessionId>,
    /// What to deliver, as the sender wrote it, byte for byte.
    pub content: &'a RawValue,
    /// The sender's own id for it: 1 to 128 characters.
    pub id: Option<String>,
    /// Whether success is answered too. Errors always are.
    pub wants_receipt: bool,
    /// Whether it is kept, where the hub has a history.
    pub is_stored: bool,
}

/// The frame with each part still unread, so that one bad part does not hide the others.
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

/// The same of a client's frame, which has a key more. To a backend that key is unknown, and not even looked at.
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

/// Whether a JSON text is an object, if it is JSON at all: serde reads a struct from an array too.
fn is_object(json: &str) -> bool {
    json.trim_ascii_start().starts_with('{')
}

/// Keeps `null` apart from a missing key: a `null` message is a message.
///
/// # Errors
///
/// The deserializer's own.
pub fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> Message<'a> {
    /// Its own id, or else that of Lambda's request. Lambda keeps that where it repeats an asynchronous invocation, so
    /// recipients can tell that a repeated message is one.
    #[must_use]
    pub fn id_or(&self, request_id: &str) -> String {
        self.id.clone().unwrap_or_else(|| request_id.to_owned())
    }

    /// Reads a client's `sendMessage` frame. Unknown keys are ignored.
    pub fn parse_frame(text: &'a str) -> Result<Self, Refusal> {
        let ClientParts { sessions, message, id, store, receipt } = parse_object(text, OBJECT)?;
        let id = id.map_or(Ok(None), parse_id)?;
        let wants_receipt = parse_flag("receipt", receipt, id.as_ref())?;
        Ok(Self { wants_receipt, ..Self::of_parts(sessions, message, id, store)? })
    }

    /// Reads a backend's request: the same object, whose receipt is the result. Unknown keys are ignored.
    pub fn parse_request(text: &'a str) -> Result<Self, Refusal> {
        let Parts { sessions, message, id, store } = parse_object(text, OBJECT)?;
        Self::of_parts(sessions, message, id.map_or(Ok(None), parse_id)?, store)
    }

    fn of_parts(
        sessions: Option<&'a RawValue>,
        message: Option<&'a RawValue>,
        id: Option<String>,
        store: Option<&'a RawValue>,
    ) -> Result<Self, Refusal> {
        let is_stored = parse_flag("store", store, id.as_ref())?;
        let Some(sessions) = sessions else {
            return Err(bad("`sessions` is missing: give a list of 1 to 100 session ids", id));
        };
        let Some(content) = message else {
            return Err(bad("`message` is missing: give any JSON value; null is one", id));
        };
        match parse_sessions(sessions) {
            Ok(sessions) => Ok(Self { sessions, content, id, wants_receipt: true, is_stored }),
            Err(refusal) => Err(Refusal { id, ..refusal }),
        }
    }
}

const OBJECT: &str = "`sessions` and `message`";

/// A refusal of a frame whose id is `id`: it is not what the protocol describes.
pub fn bad(message: impl Into<String>, id: Option<String>) -> Refusal {
    Refusal::new(Code::BadRequest, message, id)
}

/// Reads one JSON object, which should have `keys`.
///
/// # Errors
///
/// It is none, or not one of this kind.
pub fn parse_object<'a, T: Deserialize<'a>>(text: &'a str, keys: &str) -> Result<T, Refusal> {
    let no_object = |why: String| bad(format!("send one JSON object with {keys}: {why}"), None);
    if !is_object(text) {
        return Err(no_object("it does not begin with {".into()));
    }
    serde_json::from_str(text).map_err(|error| no_object(error.to_string()))
}

/// A key that is true where it is missing.
fn parse_flag(name: &str, raw: Option<&RawValue>, id: Option<&String>) -> Result<bool, Refusal> {
    raw.map_or(Ok(true), |raw| serde_json::from_str(raw.get()))
        .map_err(|_| bad(format!("`{name}` must be true or false, or be left out"), id.cloned()))
}

/// Reads the key `id`.
///
/// # Errors
///
/// It is not a string of 1 to 128 characters, nor null.
pub fn parse_id(raw: &RawValue) -> Result<Option<String>, Refusal> {
    let id: Option<String> = serde_json::from_str(raw.get()).map_err(|_| {
        Refusal::new(Code::BadRequest, "`id` must be a string of 1 to 128 characters, or be left out", None)
    })?;
    match id.as_deref().map(|id| id.chars().count()) {
        None | Some(1..=MAX_ID_CHARS) => Ok(id),
        Some(count) => Err(Refusal::new(
            Code::BadRequest,
            format!("`id` has {count} characters: it must have 1 to {MAX_ID_CHARS}, or be left out"),
            None,
        )),
    }
}

/// Reads the key `sessions`: 1 to 100 session ids, in the order of their first mention.
///
/// # Errors
///
/// It is something else.
pub fn parse_sessions(raw: &RawValue) -> Result<Vec<SessionId>, Refusal> {
    let bad = |message: String| Refusal::new(Code::BadRequest, message, None);
    let names: Vec<String> = serde_json::from_str(raw.get())
        .map_err(|_| bad("`sessions` must be a list of session ids, each a string".into()))?;
    if names.is_empty() {
        return Err(bad("`sessions` is empty: name at least one session".into()));
    }
    let mut seen = HashSet::new();
    let mut sessions = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let session = SessionId::parse(name)
            .ok_or_else(|| bad(format!("`sessions[{index}]` is not a session id: {}", SessionId::RULE)))?;
        if seen.insert(name) {
            sessions.push(session);
        }
    }
    if sessions.len() > MAX_SESSIONS {
        return Err(Refusal::new(
            Code::TooManySessions,
            format!(
                "{} different sessions: a frame may name at most {MAX_SESSIONS}; split it",
                sessions.len()
            ),
            None,
        ));
    }
    Ok(sessions)
}

/// Where a message stands in its session's history: in which numbering, and its number there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Position {
    /// The numbering: [`EPOCH_CHARS`] characters, others once the numbers begin anew.
    pub epoch: String,
    /// The number, from 1.
    pub offset: u64,
}

/// The length of an epoch.
pub const EPOCH_CHARS: usize = 8;
/// The most digits of an offset: JavaScript counts exactly up to 2^53.
const OFFSET_DIGITS: usize = 16;

/// `{"type":"message",…}`: what the recipients of a message get, in all sessions alike but for its end.
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
    /// With the longest session and any position, it has more than `max_bytes`.
    pub fn new(
        id: &str,
        from: Option<&SessionId>,
        content: &RawValue,
        sessions: &[SessionId],
        sent_at: SystemTime,
        max_bytes: usize,
    ) -> Result<Self, Refusal> {
        let sent_at = humantime::format_rfc3339_millis(sent_at).to_string();
        let refuse = |text: String| Refusal::new(Code::MessageTooLarge, text, Some(id.to_owned()));
        let mut shared = serde_json::to_string(&SharedKeys { id, from, message: content, sent_at })
            .map_err(|error| refuse(format!("the message cannot be written as a frame: {error}")))?;
        // The object goes on with what is different.
        shared.pop();
        let session = sessions.iter().map(|session| session.as_str().len()).max().unwrap_or_default();
        let longest = shared.len()
            + r#","session":"","epoch":"","offset":}"#.len()
            + session
            + EPOCH_CHARS
            + OFFSET_DIGITS;
        if longest > max_bytes {
            return Err(refuse(format!(
                "the delivery frame would have up to {longest} bytes: at most {max_bytes} are allowed; send a link or split it"
            )));
        }
        Ok(Self { shared, longest })
    }

    /// How it begins: JSON up to the end of a value.
    #[must_use]
    pub fn shared(&self) -> &str {
        &self.shared
    }

    /// The whole of it for `session`, at `position` of its history.
    #[must_use]
    pub fn text(&self, session: &SessionId, position: &Position) -> String {
        format!("{}{}", self.shared, Self::end(session, Some(position)))
    }

    /// How it ends for `session`, at `position` if the session's history has it.
    #[must_use]
    pub fn end(session: &SessionId, position: Option<&Position>) -> String {
        // A session id and an epoch have nothing that JSON would escape.
        match position {
            None => format!(r#","session":"{session}"}}"#),
            Some(Position { epoch, offset }) => {
                format!(r#","session":"{session}","epoch":"{epoch}","offset":{offset}}}"#)
            }
        }
    }

    /// Its size in bytes as the limit counts it: with the longest session, and a position.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.longest
    }
}

/// How many connections of a session met which end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// The gateway took the frame.
    pub delivered: u64,
    /// The connection exists no more.
    pub gone: u64,
    /// Neither, within the time there was.
    pub failed: u64,
}

impl Counts {
    /// Adds other connections.
    pub fn add(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.gone += other.gone;
        self.failed += other.failed;
    }
}

/// One session's part of a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionCounts {
    /// The session.
    pub session: SessionId,
    /// Its connections' ends.
    #[serde(flatten)]
    pub counts: Counts,
    /// Where the message stands in its history, if it is kept there.
    #[serde(flatten)]
    pub position: Option<Position>,
    /// Whether every recipient of it is counted. Left out of the frame where it is true.
    #[serde(skip_serializing_if = "is_true")]
    pub complete: bool,
}

impl SessionCounts {
    /// A session of which nothing is known yet.
    #[must_use]
    pub fn new(session: SessionId) -> Self {
        Self { session, counts: Counts::default(), position: None, complete: true }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_true(value: &bool) -> bool {
    *value
}

/// `{"type":"receipt",…}`: what became of a message, in total and session by session, in the order asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "receipt")]
pub struct Receipt {
    /// The message's id.
    pub id: String,
    /// The sum over all sessions.
    #[serde(flatten)]
    pub total: Counts,
    /// Whether all sessions are. Left out of the frame where it is true.
    #[serde(skip_serializing_if = "is_true")]
    pub complete: bool,
    /// Each session's part.
    pub sessions: Vec<SessionCounts>,
}

impl Receipt {
    /// Adds the sessions up.
    #[must_use]
    pub fn new(id: String, sessions: Vec<SessionCounts>) -> Self {
        let mut total = Counts::default();
        sessions.iter().for_each(|session| total.add(session.counts));
        let complete = sessions.iter().all(|session| session.complete);
        Self { id, total, complete, sessions }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn refused(frame: &str) -> Refusal {
        Message::parse_frame(frame).expect_err(frame)
    }

    #[test]
    fn session_ids_are_checked_at_their_edges() {
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

    #[test]
    fn a_frame_ends_with_its_session_and_where_it_stands_in_its_history() {
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

    #[test]
    fn receipts_and_errors_have_the_documented_shape() {
        let of = |name: &str, delivered, gone, failed| SessionCounts {
            session: SessionId::parse(name).unwrap(),
            counts: Counts { delivered, gone, failed },
            position: None,
            complete: true,
        };
        let mut receipt = Receipt::new("1".into(), vec![of("a", 3, 1, 0), of("b", 0, 0, 2)]);
        assert_eq!(
            serde_json::to_string(&receipt).unwrap(),
            r#"{"type":"receipt","id":"1","delivered":3,"gone":1,"failed":2,"sessions":[{"session":"a","delivered":3,"gone":1,"failed":0},{"session":"b","delivered":0,"gone":0,"failed":2}]}"#
        );
        receipt.sessions[0].position = Some(Position { epoch: "k3f9q2xa".into(), offset: 7 });
        receipt.sessions[1].complete = false;
        assert_eq!(
            serde_json::to_string(&Receipt::new("1".into(), receipt.sessions)).unwrap(),
            r#"{"type":"receipt","id":"1","delivered":3,"gone":1,"failed":2,"complete":false,"sessions":[{"session":"a","delivered":3,"gone":1,"failed":0,"epoch":"k3f9q2xa","offset":7},{"session":"b","delivered":0,"gone":0,"failed":2,"complete":false}]}"#
        );
        for code in [
            Code::BadRequest,
            Code::TooManySessions,
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
