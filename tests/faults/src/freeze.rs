//! Between two events Lambda freezes a function, and the connections that it had open die.

use std::time::Duration;

use tokio::time::sleep;

use crate::support::{AMPLE, Hub, frame, totals};

/// Sends twice to a crowd larger than the fan-out is wide, so that every call has a connection to lose, with a
/// freeze between them in which `lose` happens.
async fn survives(lose: impl Fn(&Hub)) {
    let hub = Hub::new().await;
    hub.crowd("room", 300);
    for _ in 0..2 {
        assert_eq!(totals(&frame(&hub.send(&["room"], AMPLE).await)), [300, 0, 0]);
        hub.function.freeze().await;
        lose(&hub);
        hub.function.thaw();
    }
    assert_eq!(totals(&frame(&hub.send(&["room"], AMPLE).await)), [300, 0, 0]);
    assert!(hub.posts().values().all(|(_, taken)| *taken == 3), "nobody gets it twice");
}

#[tokio::test]
async fn a_freeze_in_which_every_connection_is_closed_costs_no_recipient() {
    survives(|hub| hub.world.close_connections()).await;
}

#[tokio::test]
async fn a_freeze_in_which_every_connection_is_forgotten_without_a_word_costs_no_recipient() {
    survives(|hub| hub.world.silence_connections()).await;
}

#[tokio::test]
#[ignore = "takes half a minute: run it with scripts/test.sh --long"]
async fn dozens_of_connections_that_died_in_a_long_freeze_do_not_use_up_the_time_of_one_recipient() {
    let hub = Hub::new().await;
    hub.crowd("room", 300);
    hub.crowd("single", 1);
    assert_eq!(totals(&frame(&hub.send(&["room"], AMPLE).await)), [300, 0, 0]);
    hub.function.freeze().await;
    hub.world.silence_connections();
    sleep(Duration::from_secs(21)).await;
    hub.function.thaw();
    let outcome = hub.send(&["single"], Duration::from_secs(5)).await;
    assert_eq!(totals(&frame(&outcome)), [1, 0, 0]);
}
