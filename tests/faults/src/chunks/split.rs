//! What is handed out: full chunks beyond the split, and nothing else.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use harness::{Answer, Function, Post, Reaction, Row, World};
use serde_json::{Value, json};

use super::{
    ROOM, SPLIT, TO_ROOM, WORKERS, check_chunks, counts_chunks, handed_out, hands_out, hub, is_busy, logs,
    saying, sends,
};
use crate::support::{AMPLE, Hub, SENDER, SENDERS_SESSION, ending_in, frame, index, log, name, totals};

#[tokio::test]
async fn full_chunks_beyond_the_split_are_handed_out_and_what_fills_none_is_not() {
    for (recipients, chunks) in
        [(0, 0), (1, 0), (200, 0), (201, 0), (399, 0), (400, 1), (401, 1), (599, 1), (600, 2), (1_500, 6)]
    {
        let hub = hub().await;
        let crowd = hub.crowd(ROOM, recipients);
        sends(&hub, [recipients, 0, 0]).await;
        let posts = hub.posts();
        assert_eq!(posts.len(), recipients);
        assert!(crowd.iter().all(|connection| posts[connection] == (1, 1)), "{recipients}");
        let count = hands_out(&hub, chunks..=chunks);
        for invoke in &handed_out(&hub) {
            let chunk = &invoke.chunk;
            assert_eq!(
                [&chunk["session"], &chunk["kind"], &chunk["sender"], &chunk["rate"]],
                [&json!(ROOM), &json!("connection"), &json!(SENDER), &json!(0)]
            );
            assert_eq!(chunk["budget_ms"], 10_000, "no chunk takes longer");
            let row = hub.world.table.row(invoke.connections()[0]).expect("a row");
            assert_eq!(chunk["connections"][0][1], json!(row.connected_at));
            assert_eq!(chunk["connections"][0][2], json!(row.expires_at));
        }
        counts_chunks(hub, count, 0).await;
    }
}

#[tokio::test]
async fn a_chunk_has_two_thousand_connections_at_most_and_as_many_as_the_split_at_most() {
    for (split, recipients, sizes) in
        [(2_001, 4_001, vec![2_000]), (2_001, 4_000, vec![]), (1, 4, vec![1; 3])]
    {
        let world = World::start().await.with_workers(split, WORKERS, 0);
        let hub = Hub::start(world).await;
        hub.crowd(ROOM, recipients);
        sends(&hub, [recipients, 0, 0]).await;
        let invokes = hub.world.lambda.invokes();
        let handed_out: Vec<_> = invokes.iter().map(|invoke| invoke.connections().len()).collect();
        assert_eq!(handed_out, sizes, "{split}");
        logs(hub).await;
    }
}

#[tokio::test]
async fn without_a_function_or_with_a_split_of_0_nothing_is_handed_out() {
    let mut hub = Hub::start(World::start().await.with_workers(0, WORKERS, 0)).await;
    hub.crowd(ROOM, 1_000);
    sends(&hub, [1_000, 0, 0]).await;
    assert_eq!(hub.world.lambda.invokes().len(), 0);
    hub.world = World::start().await;
    hub.crowd(ROOM, 1_000);
    hub.world.table.put(SENDER, Row::aged(SENDERS_SESSION, 60));
    hub.restart(&[("FANOUT_SPLIT", "1"), ("AWS_ENDPOINT_URL_LAMBDA", &hub.world.lambda_url())]).await;
    sends(&hub, [1_000, 0, 0]).await;
    assert_eq!(hub.world.lambda.invokes().len(), 0);
    hub.log();
}

/// All that a message of so many recipients, some of them subscribers, asks of a world, and what comes back: without the
/// times, and in an order of its own.
async fn asked(world: World, function: &str, own: usize, subscribers: usize) -> [Vec<String>; 4] {
    let mut hub = Hub::start(world).await;
    hub.function = Function::start(function, &hub.world).await;
    hub.crowd(ROOM, own);
    hub.subscribers(ROOM, subscribers);
    hub.world.gateway.script(|connection, before| match (index(connection) % 50, before) {
        (0, _) => Answer::Bare(410),
        (1, 0) => super::THROTTLE,
        _ => Answer::Serve,
    });
    let event = if function == "publish" { TO_ROOM.to_owned() } else { saying(&json!("hello"), &[ROOM]) };
    let outcome = hub.function.invoke(event, AMPLE).await;
    let without_times = |text: String| {
        let (from, to) = (text.find(r#""sent_at":""#), text.find(r#"Z""#));
        match (from, to) {
            (Some(from), Some(to)) => format!("{}{}", &text[..from], &text[to..]),
            _ => text,
        }
    };
    let posts = hub.world.gateway.posts().into_iter().map(|post| {
        format!("{} {}", post.connection, without_times(String::from_utf8_lossy(&post.frame).into_owned()))
    });
    let calls = hub.world.table.calls().into_iter().chain(hub.world.subscriptions.calls());
    let calls = calls.map(|call| {
        // Of deletions: rows that are younger than this are left.
        let mut input = call.input;
        if let Some(values) = input["ExpressionAttributeValues"].as_object_mut() {
            values.retain(|_, value| value.get("N").is_none());
        }
        input.sort_all_objects();
        format!("{:?} {input}", call.operation)
    });
    let answer = vec![outcome.response().to_string()];
    assert_eq!(hub.world.lambda.invokes().len(), 0);
    let (mut posts, mut calls): (Vec<_>, Vec<_>) = (posts.collect(), calls.collect());
    posts.sort();
    calls.sort();
    // The keys of each line, and of each metric.
    let keys = |line: Value| {
        let keys: Vec<_> = line.as_object().expect("a line is an object").keys().cloned().collect();
        keys.join(" ")
    };
    [posts, calls, answer, hub.log().into_iter().map(keys).collect()]
}

#[tokio::test]
async fn what_fills_no_chunk_is_delivered_as_if_there_were_no_workers_byte_for_byte_and_call_for_call() {
    for function in ["send-message", "publish"] {
        for (own, subscribers) in [(0, 0), (1, 0), (120, 80), (200, 0), (201, 0), (250, 149)] {
            let world = async || World::start().await.with_subscriptions();
            let without = asked(world().await, function, own, subscribers).await;
            let with_workers = world().await.with_workers(SPLIT, WORKERS, 1_000_000);
            let with = asked(with_workers, function, own, subscribers).await;
            assert_eq!(with, without, "{function} to {own} and {subscribers}");
        }
    }
}

#[tokio::test]
async fn each_session_and_each_kind_has_chunks_of_its_own_and_counts_of_its_own() {
    let hub = Hub::start(super::world().await.with_subscriptions()).await;
    let sizes = [("hall", 700, 450), (ROOM, 30, 900), ("yard", 150, 150), ("nobody", 0, 0)];
    for (session, own, subscribers) in sizes {
        hub.crowd(session, own);
        hub.subscribers(session, subscribers);
    }
    let is_gone = |connection: &str| index(connection).is_multiple_of(7);
    hub.world.gateway.script(move |connection, _| match is_gone(connection) {
        true => Answer::Bare(410),
        false => Answer::Serve,
    });
    let sessions = sizes.map(|(session, ..)| session);
    let receipt = frame(&hub.send(&sessions, AMPLE).await);
    totals(&receipt);
    for ((session, own, subscribers), counted) in
        sizes.into_iter().zip(receipt["sessions"].as_array().expect("a list"))
    {
        let gone = own.div_ceil(7) + subscribers.div_ceil(7);
        let expected =
            json!({ "session": session, "delivered": own + subscribers - gone, "gone": gone, "failed": 0 });
        assert_eq!(counted, &expected);
    }
    let handed_out = handed_out(&hub);
    let mut kinds: BTreeMap<(String, String), usize> = BTreeMap::new();
    for invoke in &handed_out {
        let text = |key: &str| invoke.chunk[key].as_str().expect("a text").to_owned();
        *kinds.entry((text("session"), text("kind"))).or_default() += SPLIT;
    }
    let is_busy = is_busy(&hub);
    // The planner keeps the first ones of any kind, and of the rest less than a chunk of each kind.
    for (session, own, subscribers) in sizes {
        for (kind, count) in [("connection", own), ("subscription", subscribers)] {
            let handed_out = kinds.get(&(session.to_owned(), kind.to_owned())).copied().unwrap_or_default();
            assert!(handed_out <= count && (count - handed_out < 2 * SPLIT || is_busy), "{kinds:?}");
        }
    }
    let kept: usize =
        sizes.iter().map(|(_, own, subscribers)| own + subscribers).sum::<usize>() - SPLIT * handed_out.len();
    assert!(kept >= SPLIT && (kept < 9 * SPLIT || is_busy), "{kept} were kept");
    // A subscriber that is gone loses both rows, whichever function posts to it.
    let left = |session: &str, count: usize, prefix: &str| {
        let names = (0..count).map(|index| name(&format!("{prefix}{session}"), index));
        names.filter(|connection| hub.has_row(connection)).collect::<HashSet<_>>()
    };
    for (session, own, subscribers) in sizes {
        for (prefix, count) in [("", own), ("at-", subscribers)] {
            let left = left(session, count, prefix);
            assert_eq!(left.len(), count - count.div_ceil(7), "{prefix}{session}");
            assert!(left.iter().all(|connection| !is_gone(connection)));
        }
    }
    let subscribed =
        sizes.iter().map(|(.., subscribers)| subscribers - subscribers.div_ceil(7)).sum::<usize>();
    assert_eq!(hub.world.subscriptions.connections().len(), subscribed);
    counts_chunks(hub, handed_out.len(), 0).await;
}

#[tokio::test]
async fn a_connection_in_two_sessions_gets_one_delivery_for_each() {
    let hub = Hub::start(super::world().await.with_subscriptions()).await;
    let crowd = hub.crowd(ROOM, 700);
    for connection in &crowd {
        hub.world.subscriptions.put(connection, Row::aged("hall", 60));
    }
    let receipt = frame(&hub.send(&[ROOM, "hall"], AMPLE).await);
    assert_eq!(totals(&receipt), [1_400, 0, 0]);
    let heard: HashSet<(String, String)> = hub
        .world
        .gateway
        .posts()
        .iter()
        .map(|post| {
            let frame: Value = serde_json::from_slice(&post.frame).expect("JSON");
            (post.connection.to_string(), frame["session"].as_str().expect("a text").to_owned())
        })
        .collect();
    assert_eq!((heard.len(), hub.world.gateway.posts().len()), (1_400, 1_400));
    let count = hands_out(&hub, 5..=6);
    check_chunks(&hub.world, &hub.world.lambda.invokes(), SPLIT);
    counts_chunks(hub, count, 0).await;
}

#[tokio::test]
async fn rows_that_have_expired_fill_neither_the_split_nor_a_chunk() {
    for (live, chunks) in [(399_usize, 0), (400, 1)] {
        let hub = hub().await;
        for index in 0..live + 150 {
            let over = index.is_multiple_of(3) && index < 450;
            let row = if over { ending_in(ROOM, -5) } else { Row::aged(ROOM, 60) };
            hub.world.table.put(&name(ROOM, index), row);
        }
        sends(&hub, [live, 0, 0]).await;
        let count = hands_out(&hub, chunks..=chunks);
        check_chunks(&hub.world, &hub.world.lambda.invokes(), SPLIT);
        assert!(hub.world.gateway.closings().is_empty());
        for post in hub.world.gateway.posts() {
            let place = index(&post.connection);
            assert!(!place.is_multiple_of(3) || place >= 450, "{place} has expired");
        }
        counts_chunks(hub, count, 0).await;
    }
}

#[tokio::test]
async fn with_history_every_frame_has_its_position_and_is_the_same_for_all() {
    let world = super::world().await.with_history().with_subscriptions();
    let hub = Hub::start(world).await;
    hub.crowd(ROOM, 700);
    hub.crowd("hall", 500);
    hub.subscribers(ROOM, 500);
    for offset in 1..=2 {
        let (before, invokes) = (hub.world.gateway.posts().len(), hub.world.lambda.invokes().len());
        let receipt = frame(&hub.send(&[ROOM, "hall"], AMPLE).await);
        assert_eq!(totals(&receipt), [1_700, 0, 0]);
        let handed_out = hub.world.lambda.invokes().split_off(invokes);
        check_chunks(&hub.world, &handed_out, SPLIT);
        assert!(!handed_out.is_empty());
        for (place, (session, recipients)) in [(ROOM, 1_200), ("hall", 500)].into_iter().enumerate() {
            let counted = &receipt["sessions"][place];
            assert_eq!((&counted["session"], &counted["offset"]), (&json!(session), &json!(offset)));
            let posts = &hub.world.gateway.posts()[before..];
            let with_session = |post: &&Post| {
                let frame: Value = serde_json::from_slice(&post.frame).expect("JSON");
                frame["session"] == session
            };
            let of_session: Vec<_> = posts.iter().filter(with_session).collect();
            assert_eq!(of_session.len(), recipients);
            assert!(of_session.iter().all(|post| post.frame == of_session[0].frame));
            let frame: Value = serde_json::from_slice(&of_session[0].frame).expect("JSON");
            assert_eq!((&frame["epoch"], &frame["offset"]), (&counted["epoch"], &json!(offset)));
        }
    }
    logs(hub).await;
}

#[tokio::test]
async fn a_worker_posts_the_very_bytes_that_the_planner_does() {
    for message in [
        json!("\u{0}\n\"\\/ \u{2028}\u{7f} é 🎈 \u{1b}[31m"),
        json!({ "a": [1, 2.50, 1e300, null, "\\u0000"], "": {} }),
        json!("x".repeat(32_000)),
    ] {
        let hub = super::hub_of(1).await;
        let outcome = hub.function.invoke(saying(&message, &[ROOM]), AMPLE).await;
        assert_eq!(totals(&frame(&outcome)), [400, 0, 0]);
        let posts = hub.world.gateway.posts();
        assert!(posts.iter().all(|post| post.frame == posts[0].frame));
        let frame: Value = serde_json::from_slice(&posts[0].frame).expect("JSON");
        assert_eq!(frame["message"], message);
        counts_chunks(hub, 1, 0).await;
    }
}

#[tokio::test]
async fn publish_hands_out_too_with_no_sender_and_lambdas_own_deadline() {
    let hub = super::hub_of(2).await;
    let publish = Function::start("publish", &hub.world).await;
    let outcome = publish.invoke(TO_ROOM, Duration::from_secs(120)).await;
    assert_eq!(totals(outcome.response()), [600, 0, 0]);
    let handed_out = handed_out(&hub);
    assert_eq!(handed_out.len(), 2);
    for invoke in handed_out {
        assert_eq!(invoke.chunk["sender"], Value::Null);
        assert_eq!(invoke.chunk["budget_ms"], 10_000, "though there are two minutes");
    }
    log(&publish.finish());
    logs(hub).await;
}

#[tokio::test]
async fn no_more_chunks_are_under_way_than_there_may_be_workers() {
    for workers in [1, 3] {
        let world = World::start().await.with_workers(SPLIT, workers, 0);
        let hub = Hub::start(world).await;
        hub.crowd(ROOM, 1_600);
        hub.world.lambda.script(|_, _| Reaction::Late(Duration::from_millis(200)));
        sends(&hub, [1_600, 0, 0]).await;
        let count = hands_out(&hub, 7..=7);
        let handed_out = handed_out(&hub);
        let under_way = handed_out.iter().map(|one| {
            handed_out
                .iter()
                .filter(|other| other.at <= one.at && other.ended.is_none_or(|end| end > one.at))
                .count()
        });
        assert_eq!(under_way.max(), Some(workers), "and as many as may be");
        assert!(hub.posts().values().all(|posts| *posts == (1, 1)));
        counts_chunks(hub, count, 0).await;
    }
}

#[tokio::test]
async fn the_next_message_of_the_same_process_hands_out_again() {
    let hub = super::hub_of(2).await;
    for message in 1..=3 {
        sends(&hub, [600, 0, 0]).await;
        // Its id is the same.
        assert_eq!(hub.world.lambda.invokes().len(), 2 * message);
    }
    let hands = hub.posts();
    assert!(hands.values().all(|posts| *posts == (3, 3)));
    logs(hub).await;
}
