//! A recipient in trouble does not hold back the receipt of all others, and a throttled account makes none suspect.

use std::time::{Duration, Instant};

use harness::Answer;

use crate::support::{AMPLE, Hub, IMPATIENT, frame, index, name, totals};

const THROTTLE: Answer = Answer::Error(429, "LimitExceededException");

#[tokio::test]
async fn one_of_ten_in_trouble_costs_five_seconds_once_and_then_one_attempt() {
    for trouble in [THROTTLE, Answer::Bare(500), Answer::CutRead] {
        let hub = Hub::new().await;
        hub.crowd("room", 10);
        hub.world.gateway.script(
            move |connection, _| if index(connection) == 4 { trouble.clone() } else { Answer::Serve },
        );
        let outcome = hub.send(&["room"], AMPLE).await;
        assert_eq!(totals(&frame(&outcome)), [9, 0, 1]);
        assert!((5.0..8.0).contains(&outcome.took.as_secs_f64()), "{:?}", outcome.took);
        let before = hub.posts_to(&name("room", 4)).len();
        let outcome = hub.send(&["room"], AMPLE).await;
        assert_eq!(totals(&frame(&outcome)), [9, 0, 1]);
        assert!(outcome.took < Duration::from_secs(1), "{:?}", outcome.took);
        assert_eq!(hub.posts_to(&name("room", 4)).len() - before, 1);

        // It is well again, and has all its attempts.
        hub.world.gateway.script(|_, _| Answer::Serve);
        assert_eq!(totals(&frame(&hub.send(&["room"], AMPLE).await)), [10, 0, 0]);
        hub.world.gateway.script({
            let mut first = true;
            move |connection, _| match index(connection) == 4 && std::mem::take(&mut first) {
                true => THROTTLE,
                false => Answer::Serve,
            }
        });
        assert_eq!(totals(&frame(&hub.send(&["room"], AMPLE).await)), [10, 0, 0]);
    }
}

#[tokio::test]
async fn a_recipient_alone_that_is_throttled_for_seven_seconds_is_delivered_to() {
    let hub = Hub::new().await;
    hub.crowd("room", 1);
    let until = Instant::now() + Duration::from_secs(7);
    hub.world.gateway.script(move |_, _| if Instant::now() < until { THROTTLE } else { Answer::Serve });
    assert_eq!(totals(&frame(&hub.send(&["room"], AMPLE).await)), [1, 0, 0]);
}

#[tokio::test]
async fn a_recipient_alone_is_suspect_the_second_time_in_a_row() {
    let mut hub = Hub::new().await;
    hub.restart(&[IMPATIENT]).await;
    hub.crowd("room", 1);
    hub.world.gateway.script(|_, _| THROTTLE);
    for (least, most) in [(3.0, 5.0), (3.0, 5.0), (0.0, 1.0)] {
        let outcome = hub.send(&["room"], AMPLE).await;
        assert_eq!(totals(&frame(&outcome)), [0, 0, 1]);
        assert!((least..most).contains(&outcome.took.as_secs_f64()), "{:?}", outcome.took);
    }
}

#[tokio::test]
async fn a_throttled_account_makes_no_recipient_suspect() {
    let mut hub = Hub::new().await;
    hub.restart(&[IMPATIENT]).await;
    hub.crowd("room", 10);
    hub.world.gateway.script(|_, _| THROTTLE);
    for _ in 0..2 {
        let outcome = hub.send(&["room"], AMPLE).await;
        assert_eq!(totals(&frame(&outcome)), [0, 0, 10]);
        assert!((3.0..5.0).contains(&outcome.took.as_secs_f64()), "{:?}", outcome.took);
    }
    let mut refusals = 20;
    hub.world.gateway.script(move |_, _| {
        refusals -= 1;
        if refusals > 0 { THROTTLE } else { Answer::Serve }
    });
    assert_eq!(totals(&frame(&hub.send(&["room"], AMPLE).await)), [10, 0, 0]);
}

#[tokio::test]
async fn a_suspect_still_gets_the_second_look_at_a_410() {
    let mut hub = Hub::new().await;
    hub.restart(&[IMPATIENT]).await;
    hub.crowd("room", 2);
    hub.world.gateway.script(|connection, _| if index(connection) == 0 { THROTTLE } else { Answer::Serve });
    assert_eq!(totals(&frame(&hub.send(&["room"], AMPLE).await)), [1, 0, 1]);
    hub.world
        .gateway
        .script(|connection, _| if index(connection) == 0 { Answer::Bare(410) } else { Answer::Serve });
    assert_eq!(totals(&frame(&hub.send(&["room"], AMPLE).await)), [1, 1, 0]);
    assert!(!hub.has_row(&name("room", 0)));
}

#[tokio::test]
async fn a_recipient_for_which_the_time_ran_out_is_not_suspect() {
    let hub = Hub::new().await;
    hub.crowd("room", 2);
    hub.world.gateway.script(|connection, _| if index(connection) == 0 { THROTTLE } else { Answer::Serve });
    assert_eq!(totals(&frame(&hub.send(&["room"], Duration::from_secs(2)).await)), [1, 0, 1]);
    let mut first = true;
    hub.world.gateway.script(move |connection, _| {
        match index(connection) == 0 && std::mem::take(&mut first) {
            true => THROTTLE,
            false => Answer::Serve,
        }
    });
    assert_eq!(totals(&frame(&hub.send(&["room"], AMPLE).await)), [2, 0, 0]);
}
