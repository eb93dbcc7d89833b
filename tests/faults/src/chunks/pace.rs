//! Other clients share the account's quota: all functions that post one message together keep within a rate.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use harness::{Answer, Reaction, World};
use tokio::time::sleep;

use super::{ROOM, SPLIT, THROTTLE, WORKERS, logs, sends};
use crate::support::{Hub, frame, index, totals};

const RATE: usize = 500;
const SECOND: Duration = Duration::from_secs(1);

async fn paced(workers: usize, rate: usize, chunks: usize) -> Hub {
    let hub = Hub::start(World::start().await.with_workers(SPLIT, workers, rate)).await;
    hub.crowd(ROOM, SPLIT * (1 + chunks));
    hub
}

/// More than a rate that may arrive in a second: posts that were under way at the first chunk, and those that are under way
/// for longer than the ones behind them.
fn slack(rate: usize) -> usize {
    8 + rate / 10
}

/// The most posts in any second after the first chunk, and how many there were a second in all.
fn busiest(hub: &Hub) -> (usize, f64) {
    let from = hub.world.lambda.invokes()[0].at;
    let at: Vec<Instant> =
        hub.world.gateway.posts().iter().map(|post| post.at).filter(|at| *at >= from).collect();
    let within = |(index, first): (usize, &Instant)| at[index..].partition_point(|at| *at - *first < SECOND);
    let span = *at.last().expect("posts") - at[0];
    (at.iter().enumerate().map(within).max().expect("posts"), at.len() as f64 / span.as_secs_f64())
}

#[tokio::test]
async fn no_second_has_more_posts_than_the_rate() {
    let hub = paced(WORKERS, RATE, 7).await;
    sends(&hub, [1_600, 0, 0]).await;
    let (busiest, average) = busiest(&hub);
    assert!(busiest <= RATE + slack(RATE), "{busiest} in a second");
    let share = RATE / (WORKERS + 1);
    assert!(average > 2.0 * share as f64, "{average} a second: workers are for speed");
    assert!(hub.world.lambda.invokes().iter().all(|invoke| invoke.chunk["rate"] == share));
    logs(hub).await;
}

#[tokio::test]
async fn retries_are_posts_too() {
    let hub = paced(WORKERS, RATE, 4).await;
    hub.world.gateway.script(|connection, before| match (index(connection) % 3, before) {
        (0, 0 | 1) => THROTTLE,
        (1, 0) => Answer::Bare(500),
        _ => Answer::Serve,
    });
    sends(&hub, [1_000, 0, 0]).await;
    let (busiest, _) = busiest(&hub);
    assert!(busiest <= RATE + slack(RATE), "{busiest} in a second");
    logs(hub).await;
}

#[tokio::test]
async fn chunks_that_come_back_are_posted_within_the_rate_and_as_fast_as_it_allows() {
    for (reaction, is_lost) in [
        (Reaction::Failure, false),
        (Answer::Error(429, "TooManyRequestsException").into(), false),
        // Both of them post it.
        (Reaction::Beside(Answer::CutUnread.after(SECOND / 5)), true),
        (Reaction::Beside(Answer::Bare(500).after(SECOND / 5)), true),
    ] {
        let hub = paced(1, RATE, 3).await;
        let what = format!("{reaction:?}");
        hub.world.lambda.script(move |_, _| reaction.clone());
        sends(&hub, [800, 0, 0]).await;
        let (busiest, average) = busiest(&hub);
        assert!(busiest <= RATE + slack(RATE), "{busiest} in a second: {what}");
        let least = if is_lost { RATE / 3 } else { RATE * 2 / 3 };
        assert!(average > least as f64, "{average} a second: {what}");
        logs(hub).await;
    }
}

#[tokio::test]
async fn a_rate_that_is_not_divisible_is_shared_out_downwards_and_the_planner_has_the_rest() {
    let hub = paced(2, RATE, 3).await;
    sends(&hub, [800, 0, 0]).await;
    assert!(hub.world.lambda.invokes().iter().all(|invoke| invoke.chunk["rate"] == RATE / 3));
    let (busiest, _) = busiest(&hub);
    assert!(busiest <= RATE + slack(RATE), "{busiest}");
    logs(hub).await;
}

/// At its share a worker would take longer than there is.
#[tokio::test]
async fn a_chunk_that_a_worker_could_not_post_in_time_is_not_handed_out() {
    for (rate, chunks) in [(100, 0), (400, 1)] {
        let hub = paced(1, rate, 1).await;
        let outcome = hub.send(&[ROOM], 5 * SECOND).await;
        assert_eq!(totals(&frame(&outcome)), [400, 0, 0], "{rate}");
        assert_eq!(hub.world.lambda.invokes().len(), chunks, "{rate}");
        logs(hub).await;
    }
}

/// Sends to a room while a fifth of a quota's rate is used by clients that connect, and returns how many posts and how many
/// handshakes were refused.
async fn refused(rate: usize) -> (usize, usize) {
    const QUOTA: u32 = 500;
    let hub = paced(WORKERS, rate, 8).await;
    hub.world.gateway.quota(QUOTA.into(), (QUOTA / 2).into());
    let refused = Cell::new(0);
    let connecting = async {
        loop {
            sleep(SECOND / (QUOTA / 5)).await;
            refused.set(refused.get() + usize::from(!hub.world.gateway.handshake()));
        }
    };
    tokio::select! {
        () = sends(&hub, [9 * SPLIT, 0, 0]) => {}
        () = connecting => {}
    }
    let posts = hub.world.gateway.posts().iter().filter(|post| !post.taken).count();
    logs(hub).await;
    (posts, refused.get())
}

#[tokio::test]
async fn with_a_rate_neither_posts_nor_handshakes_meet_the_quota_and_without_one_both_do() {
    assert_eq!(refused(400).await, (0, 0));
    let (posts, handshakes) = refused(0).await;
    assert!(posts > 0 && handshakes > 0, "{posts} {handshakes}");
}
