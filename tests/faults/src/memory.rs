//! Memory stays flat however large a session is.

use std::time::Duration;

use harness::{Function, Row, World};
use serde_json::json;

use crate::support::{Hub, name, totals};

const STADIUM: &str = "stadium";
/// In bytes.
const ALLOWED: u64 = 6 << 20;

/// The most memory that a new process had in use while it sent one message to so many connections and subscribers, and that
/// those had that it handed some of them to.
async fn peak(world: World, connections: usize, subscribers: usize) -> (u64, Option<u64>) {
    let hub = Hub::start(world).await;
    // Their checks would take most of the processor.
    hub.world.signatures.uncheck();
    hub.crowd(STADIUM, connections);
    for index in 0..subscribers {
        hub.world.subscriptions.put(&name("elsewhere", index), Row::aged(STADIUM, 60));
    }
    let payload = json!({ "sessions": [STADIUM], "message": "x".repeat(1_000) }).to_string();
    let publish = Function::start("publish", &hub.world).await;
    let outcome = publish.invoke(payload, Duration::from_secs(300)).await;
    assert_eq!(totals(outcome.response()), [(connections + subscribers) as u64, 0, 0]);
    (publish.peak_memory(), hub.world.lambda.peak_memory())
}

#[tokio::test]
async fn a_hundred_thousand_connections_take_no_more_memory_than_a_thousand() {
    let (few, _) = peak(World::start().await, 1_000, 0).await;
    let (many, _) = peak(World::start().await, 100_000, 0).await;
    assert!(many <= few + ALLOWED, "{few} bytes for 1,000 connections, {many} for 100,000");
}

#[tokio::test]
async fn fifty_thousand_subscribers_take_no_more_memory_than_a_thousand_recipients() {
    let world = async || World::start().await.with_subscriptions();
    let (few, _) = peak(world().await, 500, 500).await;
    for (connections, subscribers) in [(0, 50_000), (25_000, 25_000)] {
        let (many, _) = peak(world().await, connections, subscribers).await;
        assert!(many <= few + ALLOWED, "{few} bytes for 1,000, {many} for {connections} and {subscribers}");
    }
}

#[tokio::test]
async fn a_hundred_thousand_that_are_handed_out_take_no_more_memory_either_here_or_there() {
    let world = async || World::start().await.with_workers(4_000, 4, 0);
    let (few, none) = peak(world().await, 1_000, 0).await;
    // What a worker needs for one chunk, and the planner for one that it hands over.
    let (_, once) = peak(world().await, 6_000, 0).await;
    let (many, often) = peak(world().await, 100_000, 0).await;
    assert!(many <= few + ALLOWED, "{few} bytes for 1,000 connections, {many} for 100,000");
    let (Some(once), Some(often), None) = (once, often, none) else { panic!("workers where there are many") };
    assert!(often <= once + ALLOWED, "a worker took {once} bytes for a chunk, and {often} for many");
}
