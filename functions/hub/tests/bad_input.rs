//! The parsers of frames and events never panic, and answer any input with an error of their own.

mod edge;

use std::{env, fs};

use hub::{
    event::{Admission, Connect, Disconnect, SocketFrame},
    failure::Failure,
    protocol::{Code, DeliveryFrame, MAX_SESSIONS, Message, Position, SessionId},
};
use proptest::prelude::*;
use serde_json::{Value, json, value::RawValue};

/// Nested JSON with strings that are hard to parse.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[\u{0}-\u{1f}\u{7f}\u{85}\u{2028}\"\\\\]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(key(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Keys of the protocol, and others.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "action",
            "sessions",
            "message",
            "id",
            "receipt",
            "requestContext",
            "authorizer",
            "exp",
            "send_to",
            "methodArn",
            "multiValueHeaders",
            "Sec-WebSocket-Protocol",
            "connectionId",
            "connectedAt",
            "requestTimeEpoch",
            "messageId",
            "apiId",
            "stage",
            "body",
            "isBase64Encoded",
            "queryStringParameters",
            "multiValueQueryStringParameters",
            "session_id",
            "disconnectReason",
            "disconnectStatusCode",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ]
}

/// A frame that is valid, or malformed in one or more parts.
fn frame() -> impl Strategy<Value = String> {
    let names = prop_oneof![
        prop::collection::vec("[a-z0-9]{1,4}", 0..150).prop_map(|names| json!(names)),
        prop::collection::vec(any::<String>(), 0..4).prop_map(|names| json!(names)),
        any_json(),
    ];
    let id = prop_oneof![Just(None), "\\PC{0,140}".prop_map(|id| Some(json!(id))), any_json().prop_map(Some)];
    let receipt = prop_oneof![
        Just(None),
        any::<bool>().prop_map(|wanted| Some(json!(wanted))),
        any_json().prop_map(Some)
    ];
    (names, any_json(), id, receipt).prop_map(|(sessions, message, id, receipt)| {
        let mut frame = json!({ "action": "sendMessage", "sessions": sessions, "message": message });
        for (key, value) in [("id", id), ("receipt", receipt)] {
            if let (Some(value), Some(frame)) = (value, frame.as_object_mut()) {
                frame.insert(key.into(), value);
            }
        }
        frame.to_string()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_a_frame_or_a_bad_request(text in any::<String>()) {
        for parsed in [Message::parse_frame(&text), Message::parse_request(&text)] {
            if let Err(refusal) = parsed {
                prop_assert_eq!(refusal.code, Code::BadRequest);
            }
        }
    }

    #[test]
    fn a_parsed_frame_keeps_every_promise_of_its_type(text in frame()) {
        match Message::parse_frame(&text) {
            Ok(send) => {
                prop_assert!((1..=MAX_SESSIONS).contains(&send.sessions.len()));
                let mut names: Vec<_> = send.sessions.iter().map(SessionId::as_str).collect();
                prop_assert!(names.iter().all(|name| SessionId::parse(name).is_some()));
                names.sort_unstable();
                names.dedup();
                prop_assert_eq!(names.len(), send.sessions.len());
                prop_assert!(send.id.is_none_or(|id| (1..=128).contains(&id.chars().count())));
                prop_assert!(text.contains(send.content.get()), "the message is a slice of the frame");
                let receipt = serde_json::from_str::<Value>(&text).unwrap()["receipt"].take();
                prop_assert_eq!(json!(send.wants_receipt), if receipt.is_null() { json!(true) } else { receipt });
            }
            Err(refusal) => prop_assert!(matches!(refusal.code, Code::BadRequest | Code::TooManySessions)),
        }
    }

    #[test]
    fn a_delivery_frame_is_json_that_holds_the_message_and_stays_below_its_limit(
        message in any_json(), id in "\\PC{1,128}", limit in 1_usize..4096,
    ) {
        let raw: Box<RawValue> = serde_json::from_str(&message.to_string()).unwrap();
        let session = SessionId::parse("a").unwrap();
        let sessions = [session.clone(), SessionId::parse("longer").unwrap()];
        match DeliveryFrame::new(&id, None, &raw, &sessions, std::time::SystemTime::now(), limit) {
            Ok(frame) => {
                let text = frame.text(&session, &Position { epoch: "k3f9q2xa".into(), offset: (1 << 53) - 1 });
                prop_assert!(text.len() <= limit);
                prop_assert!(text.contains(raw.get()));
                let parsed: Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(&parsed["id"], &json!(id));
                prop_assert_eq!(&parsed["session"], "a");
            }
            Err(refusal) => prop_assert_eq!(refusal.code, Code::MessageTooLarge),
        }
    }

    #[test]
    fn any_json_is_an_event_or_a_failure_that_quotes_nothing(mut event in any_json(), secret in "[a-z]{24}") {
        // The event holds a text that no log may show.
        match &mut event {
            Value::Object(map) => { map.insert("body".into(), json!({ "not": secret })); }
            other => *other = json!([secret]),
        }
        let raw: Box<RawValue> = serde_json::from_str(&event.to_string()).unwrap();
        let failures = [
            Admission::parse(&raw).err(),
            Connect::parse(&raw).err(),
            Disconnect::parse(&raw).err(),
            SocketFrame::parse(&raw).err(),
        ];
        for failure in failures.into_iter().flatten() {
            prop_assert!(matches!(failure, Failure::Event(_)));
            prop_assert!(!failure.to_string().contains(&secret));
        }
    }
}

#[test]
fn extreme_inputs_are_answered() {
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let frame = format!(r#"{{"sessions":["a"],"message":{deep}}}"#);
    assert_eq!(
        Message::parse_frame(&frame).unwrap().content.get(),
        deep,
        "depth is the recipient's business"
    );

    let huge = "9".repeat(100_000);
    let frame = format!(r#"{{"sessions":["a"],"message":{huge}}}"#);
    assert_eq!(Message::parse_frame(&frame).unwrap().content.get(), huge);

    for deep_part in [
        format!(r#"{{"sessions":{deep},"message":1}}"#),
        format!(r#"{{"sessions":["a"],"message":1,"id":{deep}}}"#),
    ] {
        assert_eq!(Message::parse_frame(&deep_part).unwrap_err().code, Code::BadRequest);
    }

    let frame = format!(r#"{{"sessions":["a"],"message":"{}"}}"#, "x".repeat(128 * 1024));
    let send = Message::parse_frame(&frame).unwrap();
    let refused =
        DeliveryFrame::new("1", None, send.content, &send.sessions, std::time::SystemTime::now(), 32 * 1024)
            .unwrap_err();
    assert_eq!(refused.code, Code::MessageTooLarge);

    let lone_surrogate = r#"{"sessions":["a"],"message":"\ud800"}"#;
    assert_eq!(Message::parse_frame(lone_surrogate).unwrap().content.get(), r#""\ud800""#);
}

/// The checks of the fuzz target, on every sample event in thousands of damaged forms: cut off, and with bytes
/// overwritten, removed and doubled. Seeded, so that a failure can be reproduced.
#[test]
fn damaged_sample_events_are_answered() {
    let rounds = env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(200);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events");
    let mut samples = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        samples += 1;
        let sample = fs::read(&path).unwrap();
        edge::check(&sample);
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..rounds {
            let mut bytes = sample.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bytes.len());
                match random.u8(..4) {
                    0 => bytes.truncate(at.max(1)),
                    1 => bytes[at] = random.u8(..),
                    2 => drop(bytes.drain(at..(at + random.usize(1..20)).min(bytes.len()))),
                    _ => bytes.insert(at, random.choice(b"{}[]\",:\\0e-\0".iter().copied()).unwrap()),
                }
                if bytes.is_empty() {
                    break;
                }
            }
            edge::check(&bytes);
        }
    }
    assert!(samples > 20, "only {samples} sample events in {folder}");
}
