//! A sender may do without its receipt: then success is not answered, and nothing else is different.

use harness::{Answer, Operation, Outcome, over_socket};
use serde_json::{Value, json};

use crate::support::{AMPLE, Hub, ID, SENDER, counted, frame, line, totals};

async fn send_without_receipt(hub: &Hub, message: &Value) -> Outcome {
    let frame = json!({ "action": "sendMessage", "sessions": ["room"], "message": message, "id": ID, "receipt": false });
    hub.function.invoke(over_socket(SENDER, &frame.to_string()), AMPLE).await
}

#[tokio::test]
async fn without_a_receipt_nothing_is_answered_and_all_is_counted_logged_and_pruned() {
    let hub = Hub::new().await;
    let room = hub.crowd("room", 3);
    let (gone, refused) = (room[1].clone(), room[2].clone());
    hub.world.gateway.script(move |connection, _| match connection {
        _ if *connection == gone => Answer::Bare(410),
        _ if *connection == refused => Answer::Error(413, "PayloadTooLargeException"),
        _ => Answer::Serve,
    });
    let outcome = send_without_receipt(&hub, &json!("hello")).await;
    assert_eq!(outcome.response(), &json!({ "statusCode": 200 }));
    assert!(hub.posts_to(SENDER).is_empty() && !hub.has_row(&room[1]));
    // The row is gone by now, and this sender wants to know.
    assert_eq!(totals(&frame(&hub.send(&["room"], AMPLE).await)), [1, 0, 1]);

    let log = hub.log();
    let sent = log.iter().find(|line| line["message"] == "sent").expect("a line of the first message");
    assert_eq!(
        ["delivered", "gone", "failed", "pruned"].map(|count| sent[count].as_u64()),
        [Some(1); 4],
        "{sent}"
    );
    let metrics = ["Messages", "Delivered", "Gone", "Failed", "Pruned"];
    assert_eq!(metrics.map(|metric| counted(&log, metric)), [2.0, 2.0, 1.0, 2.0, 1.0]);
}

#[tokio::test]
async fn without_a_receipt_errors_are_still_answered() {
    let hub = Hub::new().await;
    hub.crowd("room", 1);
    let too_large = send_without_receipt(&hub, &json!("x".repeat(40_000))).await;
    assert_eq!(frame(&too_large)["code"], "message_too_large");
    hub.world.table.script(|operation, _| match operation {
        Operation::Query => Answer::Error(500, "InternalServerError"),
        _ => Answer::Serve,
    });
    let failed = send_without_receipt(&hub, &json!("hello")).await;
    assert_eq!(failed.error()["errorType"], "internal");
    let [notice] = &hub.posts_to(SENDER)[..] else { panic!("the sender should be told once") };
    let notice: Value = serde_json::from_slice(&notice.frame).expect("a frame should be JSON");
    assert_eq!((&notice["code"], &notice["id"]), (&json!("internal"), &json!(ID)));
    let log = hub.log();
    assert_eq!((&line(&log, "failed")["cause"], counted(&log, "MessagesRefused")), (&json!("table"), 1.0));
}
