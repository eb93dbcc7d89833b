//! Workers that die, at any moment: each recipient has the message, and is counted once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use harness::{Answer, Ending};

use super::{SPLIT, counts_chunks, handed_out, hub_of, is_handed_out, logs, sends};
use crate::support::{Hub, line};

/// Kills the workers once so many posts of theirs have arrived; the last of these is answered like this.
fn kill_after(hub: &Hub, posts: usize, last: Answer) -> Arc<AtomicUsize> {
    let arrived = Arc::new(AtomicUsize::new(0));
    let (lambda, counted) = (hub.world.lambda.clone(), arrived.clone());
    hub.world.gateway.script(move |connection, _| {
        if !is_handed_out(connection) || counted.fetch_add(1, Ordering::Relaxed) + 1 != posts {
            return Answer::Serve;
        }
        lambda.kill();
        last.clone()
    });
    arrived
}

#[tokio::test]
async fn a_worker_that_is_killed_before_between_or_after_its_posts_costs_no_recipient() {
    for (posts, last) in [
        (1, Answer::CutUnread),
        (1, Answer::Serve),
        (100, Answer::Serve),
        (199, Answer::CutRead),
        (200, Answer::Serve),
    ] {
        let hub = hub_of(1).await;
        let arrived = kill_after(&hub, posts, last);
        sends(&hub, [2 * SPLIT, 0, 0]).await;
        let [invoke] = &handed_out(&hub)[..] else { panic!("one chunk") };
        assert!(matches!(invoke.work[0].ending, Ending::Exited(_)), "{:?}", invoke.work);
        let of_room = hub.posts();
        assert!(of_room.values().all(|(posts, taken)| (1..=2).contains(posts) && *taken > 0), "{of_room:?}");
        let (least, most) = (SPLIT + posts, SPLIT + posts + 64);
        let arrived = arrived.load(Ordering::Relaxed);
        assert!((least..=most).contains(&arrived), "{arrived} after {posts}");
        counts_chunks(hub, 1, 1).await;
    }
}

#[tokio::test]
async fn workers_that_are_killed_together_cost_no_recipient_and_new_ones_take_the_next_message() {
    let hub = hub_of(3).await;
    kill_after(&hub, 150, Answer::Serve);
    sends(&hub, [4 * SPLIT, 0, 0]).await;
    hub.world.gateway.script(|_, _| Answer::Serve);
    let before = hub.posts();
    sends(&hub, [4 * SPLIT, 0, 0]).await;
    for (connection, (posts, _)) in hub.posts() {
        assert_eq!(posts - before[&connection].0, 1, "{connection}");
    }
    let (planner, _) = logs(hub).await;
    let returned = line(&planner, "chunks failed")["count"].as_u64();
    assert!(returned.is_some_and(|returned| (1..=3).contains(&returned)), "{returned:?}");
}
