//! Subscriptions: never more than allowed, complete from the answer on, and nothing left behind, whatever fails or races.

mod answers;
mod disconnecting;
mod fanout;
mod hello;
mod limit;
mod model;
mod order;
mod pruning;
mod steps;
mod tokens;
mod unsubscribing;

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use harness::{Answer, Call, Function, Operation, Outcome, Row, Table, World, over_socket};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{
    connecting::{DISCONNECT, event},
    support::{AMPLE, Hub, frame, log, now_ms},
};

/// The connection that subscribes, and its own session.
const ALICE: &str = "alice=";
const OWN: &str = "alice";
/// A session that others are subscribed to.
const ROOM: &str = "room";
const ID: &str = "s-1";
/// The most sessions that a connection may be subscribed to.
const MOST: usize = 100;
const THROTTLE: Answer = Answer::Error(400, "ProvisionedThroughputExceededException");

type Names = BTreeSet<String>;

/// A hub, its membership function, and a connection of one minute.
struct Members {
    hub: Hub,
    membership: Function,
}

impl Members {
    async fn start() -> Self {
        Self::of(Hub::with_subscriptions().await).await
    }

    async fn with_history() -> Self {
        Self::of(Hub::with_history().await).await
    }

    async fn of(hub: Hub) -> Self {
        hub.world.table.put(ALICE, Row::aged(OWN, 60));
        let membership = Function::start("membership", &hub.world).await;
        Self { hub, membership }
    }

    fn world(&self) -> &World {
        &self.hub.world
    }

    async fn ask(&self, action: &str, sessions: &[String]) -> Value {
        frame(&ask(&self.membership, ALICE, action, sessions).await)
    }

    /// Subscribes to sessions, which must succeed.
    async fn subscribe(&self, sessions: &[String]) -> Value {
        let answer = self.ask("subscribe", sessions).await;
        assert_eq!((kind(&answer), &answer["id"]), ("subscribed", &json!(ID)), "{answer}");
        answer
    }

    /// The set on the connection's row, and the sessions of its rows.
    fn subscriptions(&self) -> [Names; 2] {
        subscriptions(self.world(), ALICE)
    }

    /// Ends the functions and returns the log lines of membership.
    fn log(self) -> Vec<Value> {
        log(&self.hub.function.finish());
        log(&self.membership.finish())
    }
}

/// Asks in the name of a connection.
async fn ask(function: &Function, connection: &str, action: &str, sessions: &[String]) -> Outcome {
    function.invoke(over_socket(connection, &asked(action, sessions)), AMPLE).await
}

fn asked(action: &str, sessions: &[String]) -> String {
    json!({ "action": action, "sessions": sessions, "id": ID }).to_string()
}

/// An error's code, or the type of any other answer.
fn kind(answer: &Value) -> &str {
    let kind = answer["code"].as_str().or_else(|| answer["type"].as_str());
    kind.unwrap_or_else(|| panic!("an answer should have a type: {answer}"))
}

fn names(range: Range<usize>) -> Vec<String> {
    range.map(|number| format!("room-{number:03}")).collect()
}

fn set(names: &[String]) -> Names {
    names.iter().cloned().collect()
}

/// The set on a connection's row, empty where there is no row, and the sessions of its rows in the table of subscriptions.
fn subscriptions(world: &World, connection: &str) -> [Names; 2] {
    let row = world.table.row(connection);
    [row.map(|row| row.subscriptions).unwrap_or_default(), world.subscriptions.sessions(connection)]
}

/// Subscribes a connection without asking the hub.
fn lay(world: &World, connection: &str, sessions: &[String]) {
    let row = world.table.row(connection).expect("a connection should be there before it subscribes");
    for session in sessions {
        world.subscriptions.put(connection, Row { session: session.clone(), ..row.clone() });
    }
    let subscriptions = row.subscriptions.iter().chain(sessions).cloned().collect();
    world.table.put(connection, Row { subscriptions, ..row });
}

async fn disconnect(function: &Function, connection: &str) -> Outcome {
    function.invoke(event(DISCONNECT, connection, "", now_ms()), AMPLE).await
}

fn calls(table: &Table, which: impl Fn(&Call) -> bool) -> usize {
    table.calls().iter().filter(|call| which(call)).count()
}

/// The sessions that a connection's deliveries named.
fn heard(hub: &Hub, connection: &str) -> Vec<String> {
    let session = |frame: &[u8]| serde_json::from_slice::<Value>(frame).expect("JSON")["session"].clone();
    let posts = hub.posts_to(connection);
    posts.iter().map(|post| session(&post.frame).as_str().expect("a session").to_owned()).collect()
}

fn queries(table: &Table) -> usize {
    counts(table, Operation::Query)
}

fn counts(table: &Table, operation: Operation) -> usize {
    calls(table, |call| call.operation == operation)
}

/// Whether a call is a batch that writes rows.
fn puts(call: &Call) -> bool {
    !call.input.pointer("/RequestItems/subscriptions/0/PutRequest").unwrap_or(&Value::Null).is_null()
}

/// Holds such calls back until the test gives a permit for each.
fn hold(table: &Table, which: impl Fn(&Call) -> bool + Send + 'static) -> Arc<Semaphore> {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    table.call_script(move |call, _| if which(call) { Answer::Serve.once(&held) } else { Answer::Serve });
    gate
}

/// Serves everything again.
fn repair(world: &World) {
    world.table.call_script(|_, _| Answer::Serve);
    world.subscriptions.call_script(|_, _| Answer::Serve);
    world.subscriptions.batch_script(|_, _| 0);
    world.messages.script(|_, _| Answer::Serve);
}
