//! What a backend gets from publish, with the real executable.

use harness::{Answer, Ending, Function};
use serde_json::{Value, json};

use crate::support::{AMPLE, Hub, counted, line, log, totals};

const TO_ROOM: &str = r#"{"sessions":["room"],"message":1,"id":"m-1"}"#;

#[tokio::test]
async fn a_refusal_is_a_function_error_that_no_alarm_counts() {
    let hub = Hub::new().await;
    hub.crowd("room", 3);
    let function = Function::start("publish", &hub.world).await;
    let in_a_connections_name = include_str!("../../../events/send-message.json");
    let queued = include_str!("../../../events/publish-sqs.json");
    for (payload, code) in [
        (r#"{"sessions":["room"]}"#, "bad_request"),
        (in_a_connections_name, "bad_request"),
        (queued, "bad_request"),
        (&*json!({ "sessions": ["room"], "message": "x".repeat(40_000) }).to_string(), "message_too_large"),
    ] {
        let outcome = function.invoke(payload.to_owned(), AMPLE).await;
        assert_eq!(outcome.error()["errorType"], code, "{}", outcome.error());
    }
    assert_eq!(hub.world.gateway.posts().len(), 0);
    let log = log(&function.finish());
    let refused: Vec<_> = log.iter().filter(|line| line["message"] == "refused").collect();
    assert_eq!(refused.len(), 4);
    assert!(refused.iter().all(|line| line["level"] == "INFO" && line["route"] == "publish"), "{refused:?}");
    assert_eq!((counted(&log, "MessagesRefused"), counted(&log, "HandlerErrors")), (4.0, 0.0));
}

#[tokio::test]
async fn a_failure_of_ours_is_internal_and_is_counted() {
    let hub = Hub::new().await;
    let function = Function::start("publish", &hub.world).await;
    hub.world.table.script(|_, _| Answer::Error(400, "AccessDeniedException"));
    let outcome = function.invoke(TO_ROOM, AMPLE).await;
    assert_eq!(outcome.error()["errorType"], "internal");
    let log = log(&function.finish());
    assert_eq!(line(&log, "failed")["cause"], "table");
    assert_eq!((counted(&log, "MessagesRefused"), counted(&log, "HandlerErrors")), (0.0, 1.0));
}

#[tokio::test]
async fn a_receipt_is_the_result_even_where_some_failed_and_lambdas_deadline_is_the_only_one() {
    let hub = Hub::new().await;
    hub.crowd("room", 3);
    hub.world.gateway.script(|connection, _| match connection.contains("000001") {
        true => Answer::Error(413, "PayloadTooLargeException"),
        false => Answer::Serve,
    });
    let function = Function::start("publish", &hub.world).await;
    let outcome = function.invoke(TO_ROOM, AMPLE).await;
    assert!(matches!(outcome.ending, Ending::Response(_)), "{outcome:?}");
    assert_eq!(totals(outcome.response()), [2, 0, 1]);
    assert_eq!(outcome.response()["id"], "m-1");
    let frame: Value = serde_json::from_slice(&hub.world.gateway.posts()[0].frame).expect("JSON");
    assert_eq!(frame["from"], Value::Null);
    let reads = hub.world.table.calls().iter().map(|call| call.operation).collect::<Vec<_>>();
    assert_eq!(reads, [harness::Operation::Query], "one read, of the index");
    assert_eq!(line(&log(&function.finish()), "sent")["route"], "publish");
}
