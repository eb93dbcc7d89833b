//! A connection whose token has ended receives nothing more and is closed; the census counts those that are there.

use std::time::{Duration, Instant};

use harness::{Answer, Function, Row, granted};

use crate::support::{AMPLE, Hub, SENDER, counted, ending_in, frame, line, log, name, now_ms, totals};

/// A function of a hub that asks for tokens.
async fn guarded(function: &str, hub: &Hub) -> Function {
    Function::with_settings(function, &hub.world, &[("REQUIRE_GRANT", "true")]).await
}

const TO_ROOM: &str = r#"{"sessions":["room"],"message":1}"#;

#[tokio::test]
async fn a_token_that_ends_while_its_recipient_waits_ends_the_waiting() {
    let hub = Hub::new().await;
    hub.crowd("room", 3);
    let late = name("room", 1);
    hub.world.table.put(&late, ending_in("room", 2));
    let (of_late, began) = (late.clone(), Instant::now());
    hub.world.gateway.script(move |connection, _| match connection == of_late {
        true if began.elapsed() < Duration::from_secs(4) => Answer::Error(429, "LimitExceededException"),
        _ => Answer::Serve,
    });
    let function = guarded("publish", &hub).await;
    let outcome = function.invoke(TO_ROOM, AMPLE).await;
    assert_eq!(totals(outcome.response()), [2, 0, 0], "it is no recipient any more");
    assert!(hub.posts_to(&late).iter().all(|post| post.at - began < Duration::from_secs(3)));
    assert_eq!(hub.world.gateway.closings(), [late]);
}

#[tokio::test]
async fn connections_whose_token_has_ended_are_closed_and_stale_ones_pruned() {
    let hub = Hub::new().await;
    hub.crowd("room", 2);
    for over in ["over=", "stale=", "broken=", SENDER] {
        hub.world.table.put(over, ending_in("room", -1));
    }
    // The gateway ends every socket after two hours.
    hub.world.table.put("old=", Row { expires_at: Some(now_ms() / 1000 - 1), ..Row::aged("room", 7_201) });
    hub.world.gateway.close_script(|connection| match connection {
        "stale=" => Answer::Error(410, "GoneException"),
        "broken=" => Answer::Error(403, "ForbiddenException"),
        _ => Answer::Serve,
    });
    let function = guarded("send-message", &hub).await;
    let outcome = function.invoke(granted(SENDER, "room", TO_ROOM), AMPLE).await;
    assert_eq!(totals(&frame(&outcome)), [2, 0, 0]);
    let mut closed = hub.world.gateway.closings();
    closed.sort();
    assert_eq!(closed, ["broken=", "over=", "stale="], "each once, and not the sender's own");
    assert_eq!(hub.deletions(), ["stale="]);
    let log = log(&function.finish());
    assert_eq!(line(&log, "sent")["closed"], 1);
    assert_eq!(line(&log, "not closed")["count"], 1);
}

#[tokio::test]
async fn without_tokens_expired_rows_are_left_to_the_table() {
    let hub = Hub::new().await;
    hub.world.table.put("over=", ending_in("room", -1));
    assert_eq!(totals(&frame(&hub.send(&["room"], AMPLE).await)), [0, 0, 0]);
    assert_eq!((hub.world.gateway.closings().len(), hub.deletions().len()), (0, 0));
}

#[tokio::test]
async fn a_message_closes_at_most_a_hundred_connections_and_one_that_hangs_holds_up_no_other() {
    let hub = Hub::new().await;
    for index in 0..150 {
        hub.world.table.put(&name("room", index), ending_in("room", -1));
    }
    hub.world.table.put("well=", Row::aged("room", 60));
    let first = name("room", 0);
    hub.world
        .gateway
        .close_script(move |connection| if connection == first { Answer::Hang } else { Answer::Serve });
    let function = guarded("publish", &hub).await;
    let outcome = function.invoke(TO_ROOM, AMPLE).await;
    assert_eq!(totals(outcome.response()), [1, 0, 0]);
    assert!(outcome.took < Duration::from_secs(4), "{:?}", outcome.took);
    assert_eq!(hub.world.gateway.closings().len(), 100);
}

#[tokio::test]
async fn the_census_counts_every_page_and_nothing_that_has_expired() {
    let hub = Hub::new().await;
    hub.crowd("room", 250);
    hub.crowd("hall", 50);
    for index in 0..20 {
        hub.world.table.put(&name("gone", index), ending_in("gone", -1));
    }
    hub.world.table.page_rows(40);
    let census = Function::start("census", &hub.world).await;
    let outcome = census.invoke("{}", AMPLE).await;
    assert_eq!(outcome.response()["open_connections"], 301, "with the sender's");
    assert_eq!(counted(&log(&census.finish()), "OpenConnections"), 301.0);
}
