//! Memory stays flat however large a session is.

use std::time::Duration;

use harness::{Function, Row};
use serde_json::json;

use crate::support::{Hub, name, totals};

const ALLOWED: u64 = 6 << 20;

/// The most memory that a new process had in use while it sent one message to `crowd` connections.
async fn peak(crowd: usize) -> u64 {
    let hub = Hub::alone().await;
    for index in 0..crowd {
        hub.world.table.put(&name("stadium", index), Row::aged("stadium", 60));
    }
    let payload = json!({ "sessions": ["stadium"], "message": "x".repeat(1_000) }).to_string();
    let publish = Function::start("publish", &hub.world).await;
    let outcome = publish.invoke(payload, Duration::from_secs(300)).await;
    assert_eq!(totals(outcome.response()), [crowd as u64, 0, 0]);
    publish.peak_memory()
}

#[tokio::test]
async fn a_hundred_thousand_connections_take_no_more_memory_than_a_thousand() {
    let few = peak(1_000).await;
    let many = peak(100_000).await;
    assert!(many <= few + ALLOWED, "{few} bytes for 1,000 connections, {many} for 100,000");
}
