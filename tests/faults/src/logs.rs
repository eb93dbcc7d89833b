//! One line a log event, whatever strangers send, and nothing in it that is not the operator's business.

use harness::{Answer, Function, Operation, over_socket};
use serde_json::{Value, json};

use crate::{
    connecting::{CONNECT, DISCONNECT},
    support::{AMPLE, Hub, IMPATIENT, SENDER, ending_in, index, line, log, name, now_ms, totals},
};

/// Ends a line, colours a terminal, closes a string, and pretends to be a log line.
const FORGED: &str =
    "x\r\n{\"level\":\"ERROR\",\"message\":\"forged\"}\u{2028}\u{1b}[31m\u{0}\",\"level\":\"FATAL";
/// In everything that must not be logged.
const SECRET: &str = "s3cret-words";

fn changed(sample: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut event: Value = serde_json::from_str(sample).expect("a sample should be JSON");
    change(&mut event);
    event.to_string()
}

fn connects() -> Vec<String> {
    let with_session = |session: &str| {
        changed(CONNECT, |event| {
            event["queryStringParameters"] = json!({ "session_id": session, "token": SECRET });
            event["multiValueQueryStringParameters"] = json!({ "session_id": [session], "token": [SECRET] });
            event["headers"]["Authorization"] = SECRET.into();
            event["headers"]["User-Agent"] = FORGED.into();
            event["requestContext"]["identity"]["userAgent"] = FORGED.into();
        })
    };
    vec![with_session("alice"), with_session(FORGED), with_session(&format!("{SECRET} {FORGED}"))]
}

fn disconnects() -> Vec<String> {
    vec![changed(DISCONNECT, |event| event["requestContext"]["disconnectReason"] = FORGED.into())]
}

fn frames() -> Vec<Value> {
    let message = json!({ "text": format!("{SECRET} {FORGED}"), SECRET: FORGED });
    vec![
        json!({ "action": "sendMessage", "sessions": ["room"], "message": message, "id": FORGED }),
        json!({ "action": "sendMessage", "sessions": ["senders"], "message": message }),
        json!({ "action": "sendMessage", "sessions": [FORGED, SECRET], "message": message }),
        json!({ "action": "sendMessage", "sessions": SECRET, "message": message }),
        json!({ "action": "sendMessage", "sessions": ["room"], "message": message, "id": [SECRET] }),
        json!({ "action": "sendMessage", "sessions": ["room"], "message": SECRET.repeat(3_000) }),
        json!([SECRET, FORGED]),
    ]
}

fn messages() -> Vec<String> {
    let frames = frames();
    let mut payloads: Vec<String> =
        frames.iter().map(|frame| over_socket(SENDER, &frame.to_string())).collect();
    payloads.push(over_socket(SENDER, &format!("{{\"{SECRET}\": {FORGED}")));
    payloads.push(over_socket(FORGED, &frames[0].to_string()));
    payloads.push(json!({ "requestContext": { "connectedAt": SECRET } }).to_string());
    payloads
}

/// Of subscriptions: the names of sessions are the operator's business, and no more.
fn memberships() -> Vec<String> {
    let mut frames = Vec::new();
    for action in ["subscribe", "unsubscribe", "hello"] {
        frames.extend([
            json!({ "action": action, "sessions": ["room"], "id": FORGED, SECRET: FORGED }),
            json!({ "action": action, "sessions": [FORGED, SECRET], "id": SECRET }),
            json!({ "action": action, "sessions": SECRET }),
            json!({ "action": action, "sessions": ["room"], "id": [SECRET] }),
        ]);
    }
    let mut payloads: Vec<String> =
        frames.iter().map(|frame| over_socket(SENDER, &frame.to_string())).collect();
    payloads.push(over_socket(FORGED, &frames[0].to_string()));
    payloads.push(json!({ "requestContext": { "routeKey": SECRET, "connectedAt": SECRET } }).to_string());
    payloads
}

fn requests() -> Vec<String> {
    let mut payloads: Vec<String> = frames().iter().map(Value::to_string).collect();
    payloads.push(json!({ "requestContext": { "connectionId": SECRET } }).to_string());
    payloads.push(json!({ "Records": [{ "body": SECRET }] }).to_string());
    payloads
}

/// Payloads that name no session and no message.
fn chunks() -> Vec<String> {
    let room = [name("room", 0), name("room", 1), FORGED.to_owned()];
    let now = now_ms() / 1000;
    let connections: Vec<_> = room.iter().map(|id| json!([id, 0, now + 3600])).collect();
    let frame = json!({
        "type": "message", "id": "1", "from": "alice", "message": format!("{SECRET} {FORGED}"),
        "sent_at": "2030-01-01T00:00:00.000Z", "session": "room",
    });
    let good = json!({
        "v": 1, "session": "room", "kind": "connection", "frame": frame.to_string(), "sender": null,
        "connections": connections, "budget_ms": 5_000, "rate": 0, SECRET: FORGED,
    });
    let mut payloads = vec![good.clone()];
    for (key, value) in [
        ("v", json!(2)),
        ("v", json!(SECRET)),
        ("session", json!(FORGED)),
        ("session", json!(format!("{SECRET} "))),
        ("kind", json!(SECRET)),
        ("frame", json!([SECRET])),
        ("connections", json!([[SECRET, SECRET, 1]])),
        ("connections", json!(SECRET)),
        ("budget_ms", json!(SECRET)),
    ] {
        let mut changed = good.clone();
        changed[key] = value;
        payloads.push(changed);
    }
    payloads.push(json!([SECRET, FORGED]));
    payloads.iter().map(Value::to_string).collect()
}

/// Runs `function` at `level` on every payload, in good times and in bad ones, and looks at its log.
async fn keeps_its_log_clean(function: &str, level: &str, payloads: &[String]) {
    let hub = Hub::with_subscriptions().await;
    hub.crowd("room", 3);
    let running = Function::with_settings(
        function,
        &hub.world,
        &[("AWS_LAMBDA_LOG_LEVEL", level), ("RUST_LOG", "trace")],
    )
    .await;
    let mut answers = 0;
    for trouble in 0..4 {
        hub.world.table.script(move |operation, _| match (trouble, operation) {
            (1, _) | (2, Operation::Query) => Answer::Error(500, "InternalServerError"),
            _ => Answer::Serve,
        });
        hub.world.subscriptions.script(move |_, _| match trouble {
            2 => Answer::Error(500, "InternalServerError"),
            _ => Answer::Serve,
        });
        hub.world
            .gateway
            .script(move |_, _| if trouble == 3 { Answer::Error(403, "Forbidden") } else { Answer::Serve });
        for payload in payloads {
            let outcome = running.invoke(payload.clone(), AMPLE).await;
            assert!(
                matches!(outcome.ending, harness::Ending::Response(_) | harness::Ending::Error(_)),
                "{outcome:?}"
            );
            answers += 1;
        }
    }
    let output = running.finish();
    for unwanted in [SECRET, "secret-access-key", "secret-session-token", "\u{1b}", "\u{0}", "\r"] {
        let lines: Vec<_> = output.stdout.iter().filter(|line| line.contains(unwanted)).collect();
        assert!(lines.is_empty(), "{function} at {level} logged {unwanted:?}: {lines:#?}");
    }
    let (metrics, lines): (Vec<_>, Vec<_>) =
        log(&output).into_iter().partition(|line| line["_aws"].is_object());
    // What membership refuses it does not count, and deliver counts nothing but trouble.
    let counts_all = !["deliver", "membership"].contains(&function);
    let expected = if counts_all { answers } else { metrics.len().min(answers) };
    assert_eq!(metrics.len(), expected, "one line of metrics an invocation");
    assert!(lines.len() >= answers, "{} lines for {answers} events", lines.len());
    for line in &lines {
        assert_ne!(line["message"], "forged");
        assert!(
            ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"].iter().any(|level| line["level"] == *level),
            "{line}"
        );
    }
}

/// Hundreds of troubles of every kind in one invocation, which log counts all lines of.
#[tokio::test]
async fn every_kind_of_trouble_is_one_line_however_often_it_happens() {
    let hub = Hub::new().await;
    hub.crowd("stadium", 1_000);
    hub.crowd("unreadable", 100);
    for index in 0..50 {
        hub.world.table.put(&name("over", index), ending_in("stadium", -1));
    }
    hub.world.table.script(|operation, _| match operation {
        Operation::DeleteItem => Answer::Error(500, "InternalServerError"),
        _ => Answer::Serve,
    });
    hub.world.table.page_script(|session, _| match session {
        "unreadable" => Answer::Error(400, "AccessDeniedException"),
        _ => Answer::Serve,
    });
    hub.world.gateway.script(|connection, before| match (index(connection) % 10, before) {
        (0, _) => Answer::Error(410, "GoneException"),
        (1, _) => Answer::Error(413, "PayloadTooLargeException"),
        (2, 0) => Answer::Bare(503),
        (3, 0) => Answer::Error(429, "LimitExceededException"),
        (4, 0) => Answer::CutUnread,
        (5, 0) => Answer::CutRead,
        (6, _) => Answer::Bare(500),
        _ => Answer::Serve,
    });
    hub.world.gateway.close_script(|_| Answer::Bare(500));
    let function =
        Function::with_settings("publish", &hub.world, &[("REQUIRE_GRANT", "true"), IMPATIENT]).await;
    let outcome = function.invoke(r#"{"sessions":["stadium","unreadable"],"message":1}"#, AMPLE).await;
    assert_eq!(totals(outcome.response()), [700, 100, 200]);
    let log = log(&function.finish());
    for (message, level, count) in [
        ("sessions not served", "ERROR", 1),
        ("deliveries failed", "ERROR", 200),
        ("prunes failed", "WARN", 100),
        ("not closed", "WARN", 50),
    ] {
        let line = line(&log, message);
        assert_eq!((&line["level"], &line["count"]), (&level.into(), &count.into()), "{line}");
    }
    assert_eq!(log.len(), 7, "with a start, an invocation and its metrics: {log:#?}");
}

/// A table that answers only after several attempts: what the SDK has to say of them stays out of the log.
#[tokio::test]
async fn a_table_in_trouble_is_no_line_where_it_recovers_and_one_where_it_does_not() {
    for (trouble, recovers) in [
        (Answer::Error(500, "InternalServerError"), true),
        (Answer::Error(400, "ThrottlingException"), true),
        (Answer::CutRead, true),
        (Answer::CutUnread, true),
        (Answer::Hang, true),
        (Answer::Bare(503), false),
        (Answer::Error(400, "ThrottlingException"), false),
    ] {
        let hub = Hub::new().await;
        hub.crowd("room", 3);
        let answer = trouble.clone();
        hub.world.table.script(move |_, count| match !recovers || count < 2 {
            true => answer.clone(),
            false => Answer::Serve,
        });
        let outcome = hub.send(&["room"], AMPLE).await;
        assert_eq!(matches!(outcome.ending, harness::Ending::Response(_)), recovers, "{trouble:?}");
        assert_eq!(hub.log().len(), 3, "{trouble:?}: a start, one line and its metrics");
    }
}

async fn at_every_level(function: &str, payloads: &[String]) {
    tokio::join!(
        keeps_its_log_clean(function, "INFO", payloads),
        keeps_its_log_clean(function, "TRACE", payloads)
    );
}

#[tokio::test]
async fn forged_lines_and_secrets_stay_out_of_the_log_of_connect() {
    at_every_level("connect", &connects()).await;
}

#[tokio::test]
async fn forged_lines_stay_out_of_the_log_of_disconnect() {
    at_every_level("disconnect", &disconnects()).await;
}

#[tokio::test]
async fn forged_lines_and_messages_stay_out_of_the_log_of_send_message() {
    at_every_level("send-message", &messages()).await;
}

#[tokio::test]
async fn forged_lines_and_messages_stay_out_of_the_log_of_publish() {
    at_every_level("publish", &requests()).await;
}

#[tokio::test]
async fn forged_lines_and_ids_stay_out_of_the_log_of_membership() {
    at_every_level("membership", &memberships()).await;
}

#[tokio::test]
async fn forged_lines_and_messages_stay_out_of_the_log_of_deliver() {
    at_every_level("deliver", &chunks()).await;
}
