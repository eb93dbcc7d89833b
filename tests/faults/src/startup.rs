//! A function that starts says which release it is; a setting that is missing or malformed stops it, and the log names it.

use harness::{Function, RELEASE, World, executable};

use crate::support::{AMPLE, Turn, line, log};

/// Starts `function` with `variable` set to `value`, or unset, and returns whether it stopped in the way it should.
async fn stops(function: &str, variable: &str, value: Option<&str>) {
    let world = World::start().await;
    let started = Function::start_with(&executable(function), &world, |command| {
        match value {
            Some(value) => command.env(variable, value),
            None => command.env_remove(variable),
        };
    })
    .await;
    let status = started.exited().await;
    assert!(!status.success(), "{function} with {variable}={value:?} ended with {status}");
    let log = log(&started.finish());
    assert!(log.iter().all(|line| line["message"] != "started"), "{log:#?}");
    let line = line(&log, "stopped");
    assert_eq!(line["level"], "ERROR");
    assert!(line["error"].as_str().is_some_and(|error| error.contains(variable)), "{line}");
}

#[tokio::test]
async fn a_start_is_one_line_that_names_the_release() {
    let _turn = Turn::together();
    for function in ["census", "connect", "disconnect", "send-message"] {
        for release in [Some(RELEASE), None] {
            let world = World::start().await;
            let running = Function::start_with(&executable(function), &world, |command| {
                if release.is_none() {
                    command.env_remove("RELEASE");
                }
            })
            .await;
            // Whatever the function makes of them: a start is one for all events.
            for _ in 0..2 {
                running.invoke("{}", AMPLE).await;
            }
            let log = log(&running.finish());
            let started = line(&log, "started");
            assert_eq!((&log[0], &started["level"]), (started, &"INFO".into()), "{function}");
            assert_eq!(started.get("release"), release.map(Into::into).as_ref(), "{function}");
        }
    }
}

#[tokio::test]
async fn a_bad_setting_stops_every_function_with_a_line_that_names_it() {
    let _turn = Turn::together();
    for function in ["census", "connect", "disconnect", "send-message"] {
        for (variable, value) in [
            ("TABLE_NAME", None),
            ("TABLE_NAME", Some("")),
            ("TABLE_NAME", Some("a table")),
            ("SESSION_INDEX", Some("!")),
            ("CONNECTION_TTL_SECONDS", Some("2h")),
            ("FANOUT_CONCURRENCY", Some("0")),
            ("MAX_MESSAGE_BYTES", Some("131073")),
            ("WEBSOCKET_ENDPOINT", Some("wss://example.com/live")),
        ] {
            stops(function, variable, value).await;
        }
    }
}

#[tokio::test]
async fn a_region_that_is_nowhere_to_be_found_stops_a_function_too() {
    let _turn = Turn::together();
    let world = World::start().await;
    let started = Function::start_with(&executable("send-message"), &world, |command| {
        command.env_remove("AWS_REGION").env_remove("AWS_ENDPOINT_URL").env_remove("WEBSOCKET_ENDPOINT");
    })
    .await;
    assert!(!started.exited().await.success());
    assert!(
        line(&log(&started.finish()), "stopped")["error"].as_str().is_some_and(|e| e.contains("AWS_REGION"))
    );
}
