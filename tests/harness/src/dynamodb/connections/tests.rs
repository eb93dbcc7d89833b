//! The tables of connections and of subscriptions by their API.

use super::*;

/// One of the tables, and calls of it.
struct Client(State);

impl Client {
    fn of(name: &'static str) -> Self {
        let Table { state, .. } = Table::new(name);
        Self(state.into_inner().unwrap())
    }

    fn call(&mut self, operation: Operation, input: &Value) -> Result<Value, Refusal> {
        match operation {
            Operation::Query => self.0.query(input, None),
            Operation::Scan => self.0.scan(input, None),
            Operation::BatchWriteItem => self.0.batch(input).map(|output| output.to_string()),
            _ => self.0.item(operation, input).map(|output| output.to_string()),
        }
        .map(|output| serde_json::from_str(&output).unwrap())
    }

    /// The connections that a query finds, and where its page ended.
    fn query(&mut self, more: &Value) -> Result<(Vec<String>, Value), Refusal> {
        let mut input = json!({
            "KeyConditionExpression": "session_id = :session",
            "ExpressionAttributeValues": { ":session": { "S": "bob" } },
        });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let output = self.call(Operation::Query, &input)?;
        let names = output["Items"].as_array().unwrap().iter();
        let names: Vec<String> =
            names.map(|item| item[CONNECTION]["S"].as_str().unwrap().to_owned()).collect();
        assert_eq!(output["Count"], names.len());
        Ok((names, output["LastEvaluatedKey"].clone()))
    }

    fn refusal(&mut self, operation: Operation, input: &Value) -> Refusal {
        self.call(operation, input).unwrap_err()
    }
}

const CONDITIONAL: &str = "ConditionalCheckFailedException";

fn row(session: &str) -> Row {
    Row {
        session: session.to_owned(),
        connected_at: Some(5),
        expires_at: Some(100),
        subscriptions: BTreeSet::new(),
    }
}

fn connection(name: &str) -> Value {
    json!({ CONNECTION: { "S": name } })
}

fn subscription(session: &str, name: &str) -> Value {
    json!({ SESSION: { "S": session }, CONNECTION: { "S": name } })
}

fn addition(names: &[&str], room: u64) -> Value {
    json!({
        "Key": connection("c="),
        "UpdateExpression": "ADD subscriptions :new",
        "ConditionExpression": "attribute_exists(connection_id) AND (attribute_not_exists(expires_at) OR expires_at > :now) \
            AND (attribute_not_exists(subscriptions) OR size(subscriptions) <= :room)",
        "ExpressionAttributeValues": {
            ":new": { "SS": names }, ":now": { "N": "99" }, ":room": { "N": room.to_string() },
        },
        "ReturnValues": "ALL_NEW",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    })
}

#[test]
fn a_connections_set_grows_within_its_room_and_shrinks() {
    let mut client = Client::of(TABLE);
    assert_eq!(client.refusal(Operation::UpdateItem, &addition(&["a"], 1)).kind, CONDITIONAL, "no row");
    client.0.put("c=".into(), row("bob"));
    let output = client.call(Operation::UpdateItem, &addition(&["b", "a"], 0)).unwrap();
    assert_eq!(output["Attributes"]["subscriptions"], json!({ "SS": ["a", "b"] }));
    let refusal = client.refusal(Operation::UpdateItem, &addition(&["c"], 1));
    assert_eq!(
        (refusal.kind, refusal.item),
        (CONDITIONAL, client.0.rows.values().next().map(|row| row.item("c=")))
    );
    client.call(Operation::UpdateItem, &addition(&["c"], 2)).unwrap();

    let removal = |names: &[&str]| {
        json!({
            "Key": connection("c="),
            "UpdateExpression": "DELETE subscriptions :names",
            "ConditionExpression": "attribute_exists(connection_id)",
            "ExpressionAttributeValues": { ":names": { "SS": names } },
        })
    };
    client.call(Operation::UpdateItem, &removal(&["b", "x"])).unwrap();
    let read = json!({ "Key": connection("c="), "ConsistentRead": true });
    let item = client.call(Operation::GetItem, &read.clone()).unwrap();
    assert_eq!(item["Item"]["subscriptions"], json!({ "SS": ["a", "c"] }));
    client.call(Operation::UpdateItem, &removal(&["c", "a"])).unwrap();
    let item = client.call(Operation::GetItem, &read).unwrap();
    assert_eq!(item["Item"].as_object().unwrap().len(), 4, "an empty set is not there");

    client.0.put("c=".into(), Row { expires_at: Some(99), ..row("bob") });
    assert_eq!(client.refusal(Operation::UpdateItem, &addition(&["a"], 1)).kind, CONDITIONAL, "expired");
}

#[test]
fn a_row_is_deleted_only_with_the_set_that_was_seen() {
    let mut client = Client::of(TABLE);
    let subscriptions = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
    client.0.put("c=".into(), Row { subscriptions, ..row("bob") });
    let none = json!({
        "Key": connection("c="),
        "ConditionExpression": "attribute_not_exists(subscriptions)",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    });
    let refusal = client.refusal(Operation::DeleteItem, &none.clone());
    assert_eq!(refusal.item.unwrap()["subscriptions"], json!({ "SS": ["a", "b"] }));
    let seen = |names: &[&str]| {
        json!({
            "Key": connection("c="),
            "ConditionExpression": "attribute_not_exists(connection_id) OR subscriptions = :seen",
            "ExpressionAttributeValues": { ":seen": { "SS": names } },
        })
    };
    assert_eq!(client.refusal(Operation::DeleteItem, &seen(&["a"])).kind, CONDITIONAL);
    client.call(Operation::DeleteItem, &seen(&["b", "a"])).unwrap();
    assert!(client.0.rows.is_empty() && client.0.sessions.is_empty());
    client.call(Operation::DeleteItem, &seen(&["a"])).unwrap();
    client.call(Operation::DeleteItem, &none).unwrap();
}

#[test]
fn an_update_without_a_condition_makes_a_row_unless_it_only_removes() {
    let mut client = Client::of(TABLE);
    let update = |action: &str| {
        json!({
            "Key": connection("c="),
            "UpdateExpression": format!("{action} subscriptions :names"),
            "ExpressionAttributeValues": { ":names": { "SS": ["a"] } },
        })
    };
    client.call(Operation::UpdateItem, &update("DELETE")).unwrap();
    assert!(client.0.rows.is_empty());
    client.call(Operation::UpdateItem, &update("ADD")).unwrap();
    let invented = &client.0.rows[&(String::new(), "c=".to_owned())];
    assert_eq!((invented.session.as_str(), invented.subscriptions.len()), ("", 1));
    let all = json!({ "IndexName": INDEX, "Select": "COUNT" });
    assert_eq!(client.call(Operation::Scan, &all).unwrap()["ScannedCount"], 0, "it is not in the index");
}

#[test]
fn a_connection_is_of_its_last_session_and_may_subscribe_to_several() {
    let (table, subscriptions) = (Table::new(TABLE), Table::new(SUBSCRIPTIONS));
    for session in ["bob", "alice"] {
        table.put("c=", row(session));
        subscriptions.put("c=", row(session));
    }
    assert_eq!(table.row("c="), Some(row("alice")));
    assert_eq!((table.sessions("c=").len(), subscriptions.sessions("c=").len()), (1, 2));
    subscriptions.age("c=", Duration::from_millis(3));
    assert_eq!(subscriptions.row("c=").unwrap().connected_at, Some(2));
    subscriptions.delete("c=");
    assert!(subscriptions.connections().is_empty() && subscriptions.state().rows.is_empty());
}

#[test]
fn subscriptions_are_queried_page_by_page_and_connections_only_by_their_index() {
    for (name, consistent, index) in [(TABLE, false, json!(INDEX)), (SUBSCRIPTIONS, true, json!(null))] {
        let mut client = Client::of(name);
        for (session, connection) in [("bob", "a="), ("bob", "b="), ("bobby", "c="), ("alice", "d=")] {
            client.0.put(connection.into(), row(session));
        }
        let with = |more: Value| {
            let mut input = json!({ "ConsistentRead": consistent, "IndexName": index });
            input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            if input["IndexName"].is_null() {
                input.as_object_mut().unwrap().remove("IndexName");
            }
            input
        };
        let both = (vec!["a=".to_owned(), "b=".to_owned()], json!(null));
        assert_eq!(client.query(&with(json!({}))).unwrap(), both);
        let first = (vec!["a=".to_owned()], subscription("bob", "a="));
        assert_eq!(client.query(&with(json!({ "Limit": 1 }))).unwrap(), first);
        let next = json!({ "ExclusiveStartKey": first.1, "ProjectionExpression": "connection_id" });
        assert_eq!(client.query(&with(next)).unwrap(), (vec!["b=".to_owned()], json!(null)));
        for more in [
            json!({ "Limit": 0 }),
            json!({ "ExclusiveStartKey": subscription("bobby", "c=") }),
            json!({ "ExclusiveStartKey": connection("a=") }),
            json!({ "ProjectionExpression": "connection_id, subscriptions" }),
            json!({ "ExpressionAttributeValues": { ":session": { "S": "bob" }, ":now": { "N": "1" } } }),
            json!({ "KeyConditionExpression": "session_id > :session" }),
            json!({ "KeyConditionExpression": "connection_id = :session" }),
            json!({ "FilterExpression": "session_id = :session" }),
        ] {
            assert!(client.query(&with(more.clone())).is_err(), "{name} {more}");
        }
        let wrong = json!({ "IndexName": if index.is_null() { json!(INDEX) } else { json!("other") } });
        assert!(client.query(&with(wrong)).is_err(), "{name}");
    }
    let consistent = json!({ "ConsistentRead": true, "IndexName": INDEX });
    assert!(Client::of(TABLE).query(&consistent).is_err(), "an index is never read consistently");
}

#[test]
fn a_batch_is_done_but_for_what_the_script_leaves() {
    let mut client = Client::of(SUBSCRIPTIONS);
    let put = |session: &str| {
        let item = Value::from(row(session).item("c="));
        json!({ "PutRequest": { "Item": item } })
    };
    let deletion = |session: &str| json!({ "DeleteRequest": { "Key": subscription(session, "c=") } });
    let batch = |requests: &[Value]| json!({ "RequestItems": { SUBSCRIPTIONS: requests } });
    let sessions = |client: &Client| client.0.sessions.get("c=").cloned().unwrap_or_default();
    let names: Vec<String> = (0..26).map(|number| format!("s{number:02}")).collect();
    let puts: Vec<Value> = names.iter().map(|name| put(name)).collect();

    let done = json!({ "UnprocessedItems": {} });
    assert_eq!(client.call(Operation::BatchWriteItem, &batch(&puts[..25])).unwrap(), done);
    assert_eq!(sessions(&client), names[..25].iter().cloned().collect());
    assert_eq!(client.0.rows[&("s03".to_owned(), "c=".to_owned())], row("s03"));
    client.0.batch_script = Some(Box::new(|_, before| if before == 0 { 2 } else { 0 }));
    client.0.calls.counts.insert(Operation::BatchWriteItem, 1);
    let deletions: Vec<Value> = names[..4].iter().map(|name| deletion(name)).collect();
    let output = client.call(Operation::BatchWriteItem, &batch(&deletions)).unwrap();
    assert_eq!(output, json!({ "UnprocessedItems": { SUBSCRIPTIONS: deletions[2..] } }));
    assert_eq!(sessions(&client), names[2..25].iter().cloned().collect());

    let mut both = put("s00");
    both["DeleteRequest"] = deletion("s00")["DeleteRequest"].clone();
    for requests in [
        &puts[..],
        &[],
        &[put("s00"), put("s00")],
        &[put("s00"), deletion("s00")],
        &[both],
        &[json!({})],
        &[json!({ "PutRequest": { "Item": connection("c=") } })],
        &[json!({ "DeleteRequest": { "Key": row("s00").item("c=") } })],
    ] {
        let before = sessions(&client);
        assert!(client.call(Operation::BatchWriteItem, &batch(requests)).is_err(), "{requests:?}");
        assert_eq!(sessions(&client), before);
    }
    let mut more = batch(&puts[..1]);
    more["RequestItems"]["other"] = json!([]);
    assert!(client.call(Operation::BatchWriteItem, &more).is_err(), "another table");
}

#[test]
fn a_subscription_is_read_put_and_deleted_by_its_whole_key() {
    let mut client = Client::of(SUBSCRIPTIONS);
    client.call(Operation::PutItem, &json!({ "Item": row("bob").item("c=") })).unwrap();
    let read = |key: Value| json!({ "Key": key, "ConsistentRead": true });
    let item = client.call(Operation::GetItem, &read(subscription("bob", "c="))).unwrap();
    assert_eq!(item["Item"], Value::from(row("bob").item("c=")));
    assert!(client.call(Operation::GetItem, &read(connection("c="))).is_err());
    let prune = |cutoff: &str| {
        json!({
            "Key": subscription("bob", "c="),
            "ConditionExpression": "connected_at < :cutoff",
            "ExpressionAttributeValues": { ":cutoff": { "N": cutoff } },
        })
    };
    assert_eq!(client.refusal(Operation::DeleteItem, &prune("5")).kind, CONDITIONAL);
    client.call(Operation::DeleteItem, &prune("6")).unwrap();
    assert_eq!(client.refusal(Operation::DeleteItem, &prune("6")).kind, CONDITIONAL, "it is gone");

    for unknown in [json!({ "L": [] }), json!({ "S": "x" })] {
        let mut item = row("bob").item("c=");
        item.insert("colour".into(), unknown);
        assert!(client.call(Operation::PutItem, &json!({ "Item": item })).is_err());
    }
}
