//! `$connect` and `$disconnect` while DynamoDB has trouble.

use std::time::Duration;

use harness::{Answer, Function, Operation, Row, World};
use serde_json::Value;

use crate::support::{AMPLE, counted, line, log};

/// API Gateway's event for a handshake, or for the end of one, of this connection.
pub(crate) fn event(sample: &str, connection: &str, session: &str, connected_at: i64) -> String {
    let mut event: Value = serde_json::from_str(sample).expect("a sample should be JSON");
    event["requestContext"]["connectionId"] = connection.into();
    event["requestContext"]["connectedAt"] = connected_at.into();
    if event.get("queryStringParameters").is_some() {
        event["queryStringParameters"]["session_id"] = session.into();
        event["multiValueQueryStringParameters"]["session_id"] = [session].as_slice().into();
    }
    event.to_string()
}

pub(crate) const CONNECT: &str = include_str!("../../../events/connect.json");
pub(crate) const DISCONNECT: &str = include_str!("../../../events/disconnect.json");
const FUNCTIONS: [(&str, &str); 2] = [("connect", CONNECT), ("disconnect", DISCONNECT)];
/// The connection in those events.
const ALICE: &str = "Q3xWdcTzDoECHtA=";

#[tokio::test]
async fn a_table_that_is_down_is_a_function_error_without_internals() {
    for (function, event) in FUNCTIONS {
        let world = World::start().await;
        world.table.script(|_, _| Answer::Error(500, "InternalServerError"));
        let running = Function::start(function, &world).await;
        let outcome = running.invoke(event, AMPLE).await;
        assert_eq!(outcome.error()["errorType"], "internal");
        assert!(!outcome.error().to_string().contains("InternalServerError"), "{}", outcome.error());
        let log = log(&running.finish());
        let failed = line(&log, "failed");
        assert_eq!((&failed["cause"], &failed["connection_id"]), (&"table".into(), &ALICE.into()));
    }
}

#[tokio::test]
async fn a_table_that_hangs_is_a_function_error_before_the_time_is_up() {
    let hangs = async |(function, event): (&str, &'static str)| {
        let world = World::start().await;
        world.table.script(|_, _| Answer::Hang);
        let running = Function::start(function, &world).await;
        let outcome = running.invoke(event, Duration::from_secs(5)).await;
        assert_eq!(outcome.error()["errorType"], "internal", "{function}");
    };
    tokio::join!(hangs(FUNCTIONS[0]), hangs(FUNCTIONS[1]));
}

#[tokio::test]
async fn a_few_throttles_are_ridden_out_and_counted() {
    for (function, event) in FUNCTIONS {
        let world = World::start().await;
        world.table.put(ALICE, Row::aged("bob", 60));
        world.table.script(|_, count| match count {
            0 => Answer::Error(400, "ProvisionedThroughputExceededException"),
            1 => Answer::CutUnread,
            2 => Answer::Error(400, "ThrottlingException"),
            _ => Answer::Serve,
        });
        let running = Function::start(function, &world).await;
        assert_eq!(running.invoke(event, AMPLE).await.response()["statusCode"], 200);
        let session = world.table.row(ALICE).map(|row| row.session);
        assert_eq!(session, (function == "connect").then(|| "alice".to_owned()));
        let log = log(&running.finish());
        assert_eq!((counted(&log, "TableThrottled"), counted(&log, "HandlerErrors")), (2.0, 0.0));
    }
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_repeated_and_leaves_one_row() {
    let world = World::start().await;
    world.table.script(|_, count| if count == 0 { Answer::CutRead } else { Answer::Serve });
    let connect = Function::start("connect", &world).await;
    assert_eq!(connect.invoke(CONNECT, AMPLE).await.response()["statusCode"], 200);
    let calls = world.table.calls();
    assert!(calls.len() == 2 && calls.iter().all(|call| call.operation == Operation::PutItem));
    assert_eq!(world.table.connections().into_iter().collect::<Vec<_>>(), [ALICE]);
}
