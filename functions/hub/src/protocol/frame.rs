//! How the keys that frames of clients and requests of backends share are read.

use std::collections::HashSet;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{
    Refusal, SessionId,
    limits::{MAX_ID_CHARS, MAX_SESSIONS},
};

/// Distinguishes `null` from a missing key: a `null` message is a message.
///
/// # Errors
///
/// Those of the deserializer.
pub fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads a JSON object, which should have `keys`.
///
/// # Errors
///
/// The text is not a JSON object, or not one that `T` accepts.
pub fn parse_object<'a, T: Deserialize<'a>>(text: &'a str, keys: &str) -> Result<T, Refusal> {
    let no_object = |why: String| Refusal::bad_request(format!("send one JSON object with {keys}: {why}"));
    // serde reads a struct from an array, too.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(no_object("it does not begin with {".into()));
    }
    serde_json::from_str(text).map_err(|error| no_object(error.to_string()))
}

/// Reads a flag, which is true if its key is missing.
pub(super) fn parse_flag(name: &str, raw: Option<&RawValue>, id: Option<&String>) -> Result<bool, Refusal> {
    raw.map_or(Ok(true), |raw| serde_json::from_str(raw.get())).map_err(|_| {
        Refusal::bad_request(format!("`{name}` must be true or false, or be left out")).with_id(id.cloned())
    })
}

/// Reads the key `id`.
///
/// # Errors
///
/// It is neither a string of 1 to 128 characters nor null.
pub fn parse_id(raw: &RawValue) -> Result<Option<String>, Refusal> {
    let id: Option<String> = serde_json::from_str(raw.get())
        .map_err(|_| Refusal::bad_request("`id` must be a string of 1 to 128 characters, or be left out"))?;
    match id.as_deref().map(|id| id.chars().count()) {
        None | Some(1..=MAX_ID_CHARS) => Ok(id),
        Some(count) => Err(Refusal::bad_request(format!(
            "`id` has {count} characters: it must have 1 to {MAX_ID_CHARS}, or be left out"
        ))),
    }
}

/// Reads the key `sessions`: 1 to 100 session ids, each once, in the order of their first mention.
///
/// # Errors
///
/// It is anything else. The refusal has no id.
pub fn parse_sessions(raw: &RawValue) -> Result<Vec<SessionId>, Refusal> {
    let names: Vec<String> = serde_json::from_str(raw.get())
        .map_err(|_| Refusal::bad_request("`sessions` must be a list of session ids, each a string"))?;
    if names.is_empty() {
        return Err(Refusal::bad_request("`sessions` is empty: name at least one session"));
    }
    let mut seen = HashSet::new();
    let mut sessions = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let session = SessionId::parse(name).ok_or_else(|| {
            Refusal::bad_request(format!("`sessions[{index}]` is not a session id: {}", SessionId::RULE))
        })?;
        if seen.insert(name) {
            sessions.push(session);
        }
    }
    if sessions.len() > MAX_SESSIONS {
        return Err(Refusal::too_many_sessions(sessions.len()));
    }
    Ok(sessions)
}
