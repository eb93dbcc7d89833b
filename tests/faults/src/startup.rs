//! A setting that is missing or malformed stops a function at its start, and the log names it.

use harness::{Function, World, executable};

use crate::support::{Turn, line, log};

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
    let line = line(&log, "stopped");
    assert_eq!(line["level"], "ERROR");
    assert!(line["error"].as_str().is_some_and(|error| error.contains(variable)), "{line}");
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
