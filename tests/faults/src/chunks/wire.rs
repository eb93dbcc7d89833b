//! The way to Lambda: its connections in a freeze, its clock, and the servers that the planner trusts.

use std::time::Duration;

use harness::{Function, Row, World};
use serde_json::json;

use super::{ROOM, SPLIT, TO_ROOM, WORKERS, counts_chunks, each_was_posted_to, hub_of, logs, sends};
use crate::{
    posts::{authority, certificates},
    support::{AMPLE, Hub, line, log, name, totals},
};

/// Sends twice with a freeze between in which `lose` happens to all connections.
async fn survives(lose: impl Fn(&Hub)) {
    let hub = hub_of(3).await;
    sends(&hub, [4 * SPLIT, 0, 0]).await;
    hub.function.freeze().await;
    lose(&hub);
    hub.function.thaw();
    sends(&hub, [4 * SPLIT, 0, 0]).await;
    assert!(hub.posts().values().all(|(_, taken)| *taken == 2), "nobody gets it twice");
    logs(hub).await;
}

#[tokio::test]
async fn a_freeze_in_which_every_connection_is_closed_costs_no_chunk() {
    survives(|hub| hub.world.close_connections()).await;
}

#[tokio::test]
async fn a_freeze_in_which_every_connection_is_forgotten_without_a_word_costs_no_chunk() {
    survives(|hub| hub.world.silence_connections()).await;
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_corrected_once_for_posts_and_invokes() {
    for ahead in [-600, 600] {
        let hub = hub_of(2).await;
        hub.world.signatures.set_clock_ahead(ahead);
        for _ in 0..2 {
            sends(&hub, [3 * SPLIT, 0, 0]).await;
        }
        each_was_posted_to(&hub, (2, 2), (2, 2));
        let (planner, workers) = logs(hub).await;
        assert!(planner.iter().all(|line| line["message"] != "chunks failed"), "{planner:#?}");
        assert_eq!(workers.len(), 2);
        for log in workers {
            let corrected = line(&log, "clock corrected")["seconds_ahead"].as_i64().expect("a number");
            assert!((ahead - 2..=ahead + 2).contains(&corrected), "{corrected}");
        }
    }
}

#[tokio::test]
async fn invokes_go_over_tls_and_only_to_a_server_that_is_trusted() {
    let (known, unknown) = (certificates("known-lambda"), certificates("unknown-lambda"));
    let encrypted = World::start_over_tls(&known).await.with_workers(SPLIT, WORKERS, 0);
    let trusted = authority(&known);
    let of_workers = trusted.clone();
    encrypted.lambda.adjust(move |command| {
        command.env("AWS_CA_BUNDLE", &of_workers);
    });
    for index in 0..3 * SPLIT {
        encrypted.table.put(&name(ROOM, index), Row::aged(ROOM, 60));
    }
    let start = async |lambda: String| {
        Function::with_settings(
            "publish",
            &encrypted,
            &[("AWS_CA_BUNDLE", &trusted), ("AWS_ENDPOINT_URL_LAMBDA", &lambda)],
        )
        .await
    };
    let function = start(encrypted.lambda_url()).await;
    for _ in 0..2 {
        assert_eq!(totals(function.invoke(TO_ROOM, AMPLE).await.response()), [600, 0, 0]);
    }
    assert_eq!(encrypted.lambda.invokes().len(), 4);
    assert!(encrypted.lambda.invokes().iter().all(|invoke| invoke.work.len() == 1));
    log(&function.finish());

    let stranger = World::start_over_tls(&unknown).await;
    for elsewhere in [stranger.lambda_url(), "http://127.0.0.1:1".into(), "http://nowhere.invalid".into()] {
        let function = start(elsewhere.clone()).await;
        let outcome = function.invoke(TO_ROOM, AMPLE).await;
        assert_eq!(totals(outcome.response()), [600, 0, 0], "{elsewhere}");
        assert!(outcome.took < Duration::from_secs(5), "{elsewhere}: {:?}", outcome.took);
        let log = log(&function.finish());
        assert_eq!(line(&log, "chunks failed")["level"], json!("WARN"), "{elsewhere}");
    }
    assert_eq!((encrypted.lambda.invokes().len(), stranger.lambda.invokes().len()), (4, 0));
    encrypted.lambda.finish().await.iter().for_each(|output| drop(log(output)));
}

#[tokio::test]
async fn where_there_is_no_such_function_the_planner_posts_all_itself() {
    let mut hub = hub_of(2).await;
    hub.restart(&[("DELIVER_FUNCTION", "another")]).await;
    sends(&hub, [3 * SPLIT, 0, 0]).await;
    each_was_posted_to(&hub, (1, 1), (1, 1));
    counts_chunks(hub, 2, 2).await;
}

/// Nothing was sent, so nothing is at work: each chunk has another attempt at its own.
#[tokio::test]
async fn a_lambda_that_cannot_be_reached_costs_no_place() {
    let mut hub = Hub::start(World::start().await.with_workers(SPLIT, 1, 0)).await;
    hub.crowd(ROOM, 4 * SPLIT);
    hub.restart(&[("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:1")]).await;
    sends(&hub, [4 * SPLIT, 0, 0]).await;
    each_was_posted_to(&hub, (1, 1), (1, 1));
    counts_chunks(hub, 3, 3).await;
}
