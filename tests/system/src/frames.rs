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

/// A receipt without the positions, each of which must be one.
pub(crate) fn plain(answer: &Value) -> Value {
    let mut answer = answer.clone();
    for entry in answer["sessions"].as_array_mut().into_iter().flatten() {
        take_position(entry);
    }
    answer
}

/// Checks a whole receipt of a message that is kept: that each session has (delivered, gone, failed), and a position.
pub(crate) fn assert_receipt(answer: &Value, id: &Value, sessions: &[(&str, [usize; 3])]) {
    assert_eq!(plain(answer), receipt(id, sessions), "{answer}");
}

/// Where a message stands in its session's history: epoch and offset.
pub(crate) fn take_position(of: &mut Value) -> (String, u64) {
    let keys = of.as_object_mut().expect("a frame is an object");
    let (epoch, offset) = (keys.remove("epoch"), keys.remove("offset"));
    let epoch = epoch.as_ref().and_then(Value::as_str).expect("an epoch").to_owned();
    assert_eq!(epoch.len(), 8, "{epoch}");
    let offset = offset.as_ref().and_then(Value::as_u64).expect("an offset");
    assert!(offset > 0);
    (epoch, offset)
}

/// Checks a whole delivery to `session`, and that it was sent now, in RFC 3339, UTC, with milliseconds.
pub(crate) fn assert_delivery(mut frame: Value, session: &str, id: &Value, from: &Value, message: &Value) {
    let sent_at = frame.as_object_mut().expect("a frame is an object").remove("sent_at").expect("sent_at");
    take_position(&mut frame);
    let expected = json!({"type": "message", "id": id, "from": from, "message": message, "session": session});
    assert_eq!(frame, expected);

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
