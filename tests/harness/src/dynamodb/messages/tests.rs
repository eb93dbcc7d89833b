//! The table of messages by its API: what is written, read page by page, refused, and lost.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use tokio::task::spawn_blocking;

use super::*;
use crate::{INDEX, Row, SUBSCRIPTIONS, TABLE, World};

#[derive(Default)]
struct Client(State);

impl Client {
    fn call(&mut self, operation: Operation, mut input: Value) -> Result<Value, Refusal> {
        input["TableName"] = MESSAGES.into();
        self.0.evaluate(operation, &input)
    }

    fn put(&mut self, offset: u64, text: &str) {
        let mut item = key_of(offset);
        item["frame"] = json!({ "S": text });
        self.call(Operation::PutItem, json!({ "Item": item })).unwrap();
    }

    /// The offsets that a query finds, and where its page ended.
    fn query(&mut self, range: &str, more: &Value) -> Result<(Vec<u64>, Option<u64>), Refusal> {
        let values =
            [(":s", json!({ "S": "bob" })), (":a", json!({ "N": "3" })), (":b", json!({ "N": "10" }))];
        let named = values.into_iter().filter(|(name, _)| *name == ":s" || range.contains(name));
        let named: Attributes = named.map(|(name, value)| (name.to_owned(), value)).collect();
        let mut input = json!({
            "KeyConditionExpression": format!("session_id = :s{range}"),
            "ExpressionAttributeValues": named,
        });
        if range.contains('#') {
            input["ExpressionAttributeNames"] = json!({ "#o": RANGE });
        }
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let output = self.call(Operation::Query, input)?;
        let offset = |item: &Value| item[RANGE]["N"].as_str().unwrap().parse().unwrap();
        let offsets: Vec<u64> = output["Items"].as_array().unwrap().iter().map(offset).collect();
        assert_eq!(output["Count"], offsets.len());
        Ok((offsets, output.get("LastEvaluatedKey").map(offset)))
    }
}

fn key_of(offset: u64) -> Value {
    json!({ HASH: { "S": "bob" }, RANGE: { "N": offset.to_string() } })
}

#[test]
fn a_number_is_taken_once_by_each() {
    let mut client = Client::default();
    let take = |keep_until: &str| {
        json!({
            "Key": key_of(0),
            "UpdateExpression": "SET epoch = if_not_exists(epoch, :e), keep_until = :k ADD #last :one",
            "ConditionExpression": "attribute_not_exists(keep_until) OR keep_until <= :k",
            "ExpressionAttributeNames": { "#last": "last" },
            "ExpressionAttributeValues": {
                ":e": { "S": keep_until }, ":k": { "N": keep_until }, ":one": { "N": "1" },
            },
            "ReturnValues": "ALL_NEW",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        })
    };
    let first = client.call(Operation::UpdateItem, take("9")).unwrap();
    let mut expected = key_of(0);
    expected["epoch"] = json!({ "S": "9" });
    expected["keep_until"] = json!({ "N": "9" });
    expected["last"] = json!({ "N": "1" });
    assert_eq!(first["Attributes"], expected);
    let mut second = take("10");
    second["ReturnValues"] = "UPDATED_NEW".into();
    let second = client.call(Operation::UpdateItem, second).unwrap();
    let expected = json!({ "epoch": { "S": "9" }, "keep_until": { "N": "10" }, "last": { "N": "2" } });
    assert_eq!(second["Attributes"], expected);

    let refusal = client.call(Operation::UpdateItem, take("9")).unwrap_err();
    assert_eq!(refusal.kind, "ConditionalCheckFailedException");
    assert_eq!(refusal.item.unwrap()["last"], json!({ "N": "2" }), "and nothing was taken");
}

#[test]
fn a_condition_guards_what_is_put_and_deleted() {
    let mut client = Client::default();
    let put = |epoch: &str| {
        let mut item = key_of(1);
        item["epoch"] = json!({ "S": epoch });
        json!({
            "Item": item,
            "ConditionExpression": "attribute_not_exists(session_id) OR epoch <> :e",
            "ExpressionAttributeValues": { ":e": { "S": epoch } },
            "ReturnValues": "ALL_OLD",
        })
    };
    assert_eq!(client.call(Operation::PutItem, put("a")).unwrap(), json!({}));
    let refusal = client.call(Operation::PutItem, put("a")).unwrap_err();
    assert_eq!((refusal.kind, refusal.item), ("ConditionalCheckFailedException", None));
    let replaced = client.call(Operation::PutItem, put("b")).unwrap();
    assert_eq!(replaced["Attributes"]["epoch"], json!({ "S": "a" }));

    let delete = |condition: &str| json!({ "Key": key_of(1), "ConditionExpression": condition });
    assert!(client.call(Operation::DeleteItem, delete("attribute_not_exists(epoch)")).is_err());
    client.call(Operation::DeleteItem, delete("attribute_exists(epoch)")).unwrap();
    assert_eq!(client.call(Operation::GetItem, json!({ "Key": key_of(1) })).unwrap(), json!({}));
}

#[test]
fn a_failed_update_changes_nothing() {
    let mut client = Client::default();
    client.put(1, "text");
    let one = json!({ ":one": { "N": "1" } });
    for text in ["SET a = :one ADD frame :one", "SET a = :one, session_id = :one", "SET a = :one, b = c"] {
        let update = json!({ "Key": key_of(1), "UpdateExpression": text, "ExpressionAttributeValues": one });
        assert!(client.call(Operation::UpdateItem, update).is_err(), "{text}");
    }
    let item = client.call(Operation::GetItem, json!({ "Key": key_of(1) })).unwrap();
    assert_eq!(item["Item"].as_object().unwrap().len(), 3);

    let removal = json!({ "Key": key_of(2), "UpdateExpression": "REMOVE frame" });
    client.call(Operation::UpdateItem, removal).unwrap();
    assert_eq!(client.0.items.len(), 1, "a removal creates no item");
}

#[test]
fn a_query_gives_a_range_in_either_direction_page_by_page() {
    let mut client = Client::default();
    for offset in [10, 9, 3, 1, 0] {
        client.put(offset, "text");
    }
    let other = json!({ "Item": { HASH: { "S": "bobby" }, RANGE: { "N": "4" } } });
    client.call(Operation::PutItem, other).unwrap();
    for (range, expected) in [
        ("", vec![0, 1, 3, 9, 10]),
        (" AND #o > :a", vec![9, 10]),
        (" AND #o >= :a", vec![3, 9, 10]),
        (" AND #o < :a", vec![0, 1]),
        (" AND #o <= :a", vec![0, 1, 3]),
        (" AND #o = :a", vec![3]),
        (" AND #o BETWEEN :a AND :b", vec![3, 9, 10]),
    ] {
        assert_eq!(client.query(range, &json!({})).unwrap(), (expected, None), "{range}");
    }
    let newest = json!({ "ScanIndexForward": false, "Limit": 2 });
    assert_eq!(client.query("", &newest).unwrap(), (vec![10, 9], Some(9)));
    let next = json!({ "ScanIndexForward": false, "Limit": 3, "ExclusiveStartKey": key_of(9) });
    assert_eq!(client.query("", &next).unwrap(), (vec![3, 1, 0], Some(0)), "full, though nothing follows");
    let rest = json!({ "ExclusiveStartKey": key_of(4) });
    assert_eq!(client.query(" AND #o > :a", &rest).unwrap(), (vec![9, 10], None));
    client.0.page_items = Some(1);
    assert_eq!(client.query("", &json!({ "Limit": 9 })).unwrap(), (vec![0], Some(0)));

    for range in [
        " AND #o <> :a",
        " OR #o = :a",
        " AND NOT #o = :a",
        " AND #o > :a AND #o < :b",
        " AND #o BETWEEN :b AND :a",
        " AND frame = :a",
        " AND offset = :a",
        " AND session_id = :s",
    ] {
        assert!(client.query(range, &json!({})).is_err(), "{range}");
    }
    for more in [json!({ "Limit": 0 }), json!({ "IndexName": INDEX }), json!({ "ExclusiveStartKey": {} })] {
        assert!(client.query("", &more).is_err(), "{more}");
    }
    assert!(client.query(" AND #o > :a", &json!({ "ExclusiveStartKey": key_of(1) })).is_err(), "outside");
}

#[test]
fn a_page_ends_at_a_mebibyte_and_an_item_at_400_kib() {
    let mut client = Client::default();
    for offset in 1..=5 {
        client.put(offset, &"x".repeat(300 * 1024));
    }
    assert_eq!(client.query("", &json!({})).unwrap(), (vec![1, 2, 3], Some(3)));
    let rest = json!({
        "ProjectionExpression": "#o",
        "ExpressionAttributeNames": { "#o": RANGE },
        "ExclusiveStartKey": key_of(3),
    });
    assert_eq!(client.query("", &rest).unwrap(), (vec![4, 5], None));

    let room = 409_600 - "session_idbob".len() - ("offset".len() + 2) - "frame".len();
    client.put(6, &"x".repeat(room));
    let mut item = key_of(7);
    item["frame"] = json!({ "S": "x".repeat(room + 1) });
    assert!(client.call(Operation::PutItem, json!({ "Item": item })).is_err());
}

#[test]
fn a_projection_names_what_is_read() {
    let mut client = Client::default();
    client.put(1, "text");
    let frame = json!({ "frame": { "S": "text" } });
    let read = json!({ "Key": key_of(1), "ProjectionExpression": "frame, epoch" });
    assert_eq!(client.call(Operation::GetItem, read).unwrap()["Item"], frame);
    let query = json!({
        "KeyConditionExpression": "session_id = :s",
        "ExpressionAttributeValues": { ":s": { "S": "bob" } },
        "ProjectionExpression": "frame",
    });
    assert_eq!(client.call(Operation::Query, query).unwrap()["Items"], json!([frame]));
}

#[test]
fn what_does_not_fit_the_schema_or_is_unknown_is_refused() {
    let mut client = Client::default();
    let mut larger = key_of(1);
    larger["frame"] = json!({ "S": "" });
    for input in [
        json!({}),
        json!({ "Key": larger }),
        json!({ "Key": { HASH: { "S": "bob" } } }),
        json!({ "Key": { HASH: { "S": "" }, RANGE: { "N": "1" } } }),
        json!({ "Key": { HASH: { "S": "bob" }, RANGE: { "S": "1" } } }),
        json!({ "Key": key_of(1), "AttributesToGet": ["frame"] }),
        json!({ "Key": key_of(1), "ProjectionExpression": "frame, frame" }),
    ] {
        assert!(client.call(Operation::GetItem, input.clone()).is_err(), "{input}");
    }
    for returned in ["ALL_NEW", "UPDATED_NEW", "all_old"] {
        assert!(
            client.call(Operation::PutItem, json!({ "Item": key_of(1), "ReturnValues": returned })).is_err()
        );
    }
    assert_eq!(client.call(Operation::Scan, json!({})).unwrap_err().kind, UNKNOWN);
}

#[test]
fn time_passes_for_one_session() {
    let messages = Messages::default();
    let item = |session: &str, seconds: u64| {
        json!({
            HASH: { "S": session }, RANGE: { "N": "1" }, "frame": { "S": "text" },
            "written_at": { "N": (seconds * 1000).to_string() }, "expires_at": { "N": seconds.to_string() },
        })
    };
    for session in ["bob", "eve"] {
        messages.put(&item(session, 100));
    }
    messages.age("bob", Duration::from_secs(40));
    assert_eq!(messages.items("bob"), [item("bob", 60)]);
    assert_eq!(messages.items("eve"), [item("eve", 100)]);
    messages.delete("bob", 1);
    assert!(messages.items("bob").is_empty());
}

/// Sends a request to DynamoDB and returns the answer as it comes; empty if the connection is cut.
async fn post(world: &World, operation: &str, input: Value) -> String {
    world.signatures.uncheck();
    let address = world.table_url().replace("http://", "");
    let body = input.to_string();
    let target = format!("x-amz-target: DynamoDB_20120810.{operation}");
    let length = format!("content-length: {}", body.len());
    let request =
        format!("POST / HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n{target}\r\n{length}\r\n\r\n{body}");
    let answer = spawn_blocking(move || {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer);
        answer
    });
    answer.await.unwrap()
}

#[tokio::test]
async fn each_table_answers_for_itself() {
    let world = World::start().await.with_history();
    world.table.put("c=", Row::aged("bob", 1));
    world.messages.put(&key_of(1));
    let read = json!({ "TableName": MESSAGES, "Key": key_of(1) });
    assert!(post(&world, "GetItem", read).await.ends_with(&json!({ "Item": key_of(1) }).to_string()));
    let row = json!({ "TableName": TABLE, "Key": { "connection_id": { "S": "c=" } } });
    assert!(post(&world, "GetItem", row).await.contains("connected_at"));
    let subscription = json!({ "TableName": SUBSCRIPTIONS, "Key": { "session_id": { "S": "bob" }, "connection_id": { "S": "c=" } } });
    assert!(post(&world, "GetItem", subscription).await.ends_with("{}"));
    let other = json!({ "TableName": "other" });
    assert!(post(&world, "GetItem", other).await.contains("ResourceNotFoundException"));
    let calls = [world.messages.calls(), world.table.calls(), world.subscriptions.calls()];
    assert_eq!(calls.map(|calls| calls.len()), [1, 2, 1]);
}

#[tokio::test]
async fn a_world_tells_functions_only_of_what_is_on() {
    let features = ["MESSAGES_TABLE", "HISTORY_SECONDS", "SUBSCRIPTIONS_TABLE"];
    let told = |world: &World| world.environment().iter().filter(|(name, _)| features.contains(name)).count();
    let world = World::start().await;
    assert_eq!(told(&world), 0);
    let world = world.with_history();
    assert_eq!(told(&world), 2);
    assert_eq!(told(&world.with_subscriptions()), 3);
}

#[tokio::test]
async fn a_script_decides_by_what_a_call_says() {
    let world = World::start().await;
    world.messages.script(|call, count| match (call.operation, count) {
        (Operation::PutItem, 0) => Answer::CutUnread,
        (Operation::PutItem, 1) => Answer::CutRead,
        _ if call.input["Key"][RANGE]["N"] == "2" => Answer::Error(400, "ThrottlingException"),
        _ => Answer::Serve,
    });
    let put = json!({ "TableName": MESSAGES, "Item": key_of(1) });
    assert_eq!(post(&world, "PutItem", put.clone()).await, "");
    assert!(world.messages.items("bob").is_empty(), "nothing was done");
    assert_eq!(post(&world, "PutItem", put).await, "");
    assert_eq!(world.messages.items("bob"), [key_of(1)], "only the answer was lost");
    let read = |offset| json!({ "TableName": MESSAGES, "Key": key_of(offset) });
    assert!(post(&world, "GetItem", read(2)).await.contains("ThrottlingException"));
    assert!(post(&world, "GetItem", read(1)).await.starts_with("HTTP/1.1 200"));
    let unread: Vec<bool> = world.messages.calls().iter().map(|call| call.input.is_null()).collect();
    assert_eq!(unread, [true, false, false, false]);
}
