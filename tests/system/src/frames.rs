//! The frames that the hub sends, as the tests expect them.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

/// The whole receipt for sessions that have (delivered, gone, failed).
pub(crate) fn receipt(id: &Value, sessions: &[(&str, [usize; 3])]) -> Value {
    let total = |column: usize| sessions.iter().map(|(_, counts)| counts[column]).sum::<usize>();
    json!({
        "type": "receipt",
        "id": id,
        "delivered": total(0),
        "gone": total(1),
        "failed": total(2),
        "sessions": sessions
            .iter()
            .map(|(session, [delivered, gone, failed])| {
                json!({"session": session, "delivered": delivered, "gone": gone, "failed": failed})
            })
            .collect::<Vec<_>>(),
    })
}

/// Checks a whole delivery, and that it was sent now, in RFC 3339, UTC, with milliseconds.
pub(crate) fn assert_delivery(mut frame: Value, id: &Value, from: &Value, message: &Value) {
    let sent_at = frame.as_object_mut().expect("a frame is an object").remove("sent_at").expect("sent_at");
    assert_eq!(frame, json!({"type": "message", "id": id, "from": from, "message": message}));

    let sent_at = sent_at.as_str().expect("sent_at is text");
    let time = humantime::parse_rfc3339(sent_at).expect("sent_at is RFC 3339");
    assert_eq!(
        sent_at,
        humantime::format_rfc3339_millis(time).to_string(),
        "UTC, with three digits of a second"
    );
    let now = SystemTime::now();
    let distance = now.duration_since(time).unwrap_or_else(|ahead| ahead.duration());
    assert!(distance < Duration::from_secs(60), "sent at {sent_at}, and it is {now:?}");
}

/// Checks an error frame but for its words, and returns them.
pub(crate) fn assert_error(frame: &Value, code: &str) -> String {
    assert_eq!(frame["type"], "error", "{frame}");
    assert_eq!(frame["code"], code, "{frame}");
    for field in frame.as_object().expect("a frame is an object").keys() {
        assert!(["type", "code", "message", "id"].contains(&field.as_str()), "{field} in {frame}");
    }
    let words = frame["message"].as_str().expect("an error says what to do");
    assert!(!words.is_empty(), "{frame}");
    words.to_owned()
}
