//! A function that starts says which release it is; a setting that is missing or malformed stops it, and the log names it.

use harness::{Function, RELEASE, World, executable};

use crate::support::{AMPLE, counted, line, log, stopped};

/// Checks that `function` does not start with `variable` set to `value`, or unset, and says so as it should.
pub(crate) async fn stops(function: &str, world: &World, variable: &str, value: Option<&str>) {
    let started = Function::start_with(&executable(function), world, |command| {
        match value {
            Some(value) => command.env(variable, value),
            None => command.env_remove(variable),
        };
    })
    .await;
    let log = stopped(started).await;
    assert!(log.iter().all(|line| line["message"] != "started"), "{log:#?}");
    let line = line(&log, "stopped");
    assert_eq!((&line["level"], &line["cause"]), (&"ERROR".into(), &"startup".into()));
    assert_eq!(counted(&log, "HandlerErrors"), 1.0, "an alarm goes off");
    assert!(
        line["error"].as_str().is_some_and(|error| error.contains(variable)),
        "{function} {value:?}: {line}"
    );
}

#[tokio::test]
async fn a_start_is_one_line_that_names_the_release() {
    for function in ALL {
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

/// Those that an environment without an issuer of tokens can start.
const ALL: &[&str] = &["census", "connect", "deliver", "disconnect", "publish", "send-message"];
const SENDERS: &[&str] = &["publish", "send-message"];
const POSTERS: &[&str] = &["deliver", "publish", "send-message"];

/// Bad values of each setting, and the functions that use it.
const BAD: [(&str, Option<&str>, &[&str]); 24] = [
    ("TABLE_NAME", None, ALL),
    ("TABLE_NAME", Some(""), ALL),
    ("TABLE_NAME", Some("a table"), ALL),
    ("AWS_ENDPOINT_URL_DYNAMODB", Some("localhost:1"), ALL),
    ("SESSION_INDEX", Some("!"), &["census", "publish", "send-message"]),
    ("CONNECTION_TTL_SECONDS", Some("2h"), &["connect"]),
    ("REQUIRE_GRANT", Some("yes"), &["connect", "publish", "send-message"]),
    ("FANOUT_CONCURRENCY", Some("513"), POSTERS),
    ("STRAGGLER_SECONDS", Some("0"), SENDERS),
    ("MAX_MESSAGE_BYTES", Some("131073"), SENDERS),
    ("WEBSOCKET_ENDPOINT", Some("wss://example.com/live"), POSTERS),
    ("DELIVER_FUNCTION", Some("hub deliver"), SENDERS),
    ("DELIVER_FUNCTION", Some("https://example.com/"), SENDERS),
    ("FANOUT_SPLIT", Some("-1"), SENDERS),
    ("FANOUT_SPLIT", Some("1000001"), SENDERS),
    ("FANOUT_SPLIT", Some("many"), SENDERS),
    ("FANOUT_WORKERS", Some("0"), SENDERS),
    ("FANOUT_WORKERS", Some("101"), SENDERS),
    ("FANOUT_RATE", Some("-1"), SENDERS),
    ("FANOUT_RATE", Some("1"), SENDERS),
    ("FANOUT_RATE", Some("4"), SENDERS),
    ("FANOUT_RATE", Some("8000/s"), SENDERS),
    ("AWS_ENDPOINT_URL_LAMBDA", Some("localhost:1"), SENDERS),
    ("AWS_ACCESS_KEY_ID", None, ALL),
];

#[tokio::test]
async fn a_bad_setting_stops_the_functions_that_use_it_with_a_line_that_names_it() {
    let world = World::start().await.with_workers(4_000, 4, 8_000);
    for (variable, value, functions) in BAD {
        for function in functions {
            stops(function, &world, variable, value).await;
        }
    }
}

#[tokio::test]
async fn a_function_does_not_stop_for_a_setting_that_it_does_not_use() {
    let world = World::start().await;
    for function in ALL {
        let running = Function::start_with(&executable(function), &world, |command| {
            let foreign = BAD.iter().filter(|(.., functions)| !functions.contains(function));
            command.envs(foreign.filter_map(|(variable, value, _)| Some((variable, (*value)?))));
        })
        .await;
        running.idle().await;
        let log = log(&running.finish());
        assert_eq!(line(&log, "started")["level"], "INFO", "{function}");
    }
}

#[tokio::test]
async fn another_kind_of_endpoint_is_refused_where_the_address_of_posts_is_not_given() {
    let world = World::start().await;
    let start = async |endpoint: bool| {
        Function::start_with(&executable("send-message"), &world, |command| {
            command.env("AWS_USE_FIPS_ENDPOINT", "true").env_remove("AWS_ENDPOINT_URL");
            if !endpoint {
                command.env_remove("WEBSOCKET_ENDPOINT");
            }
        })
        .await
    };
    let refused = start(false).await;
    let error = line(&stopped(refused).await, "stopped")["error"].to_string();
    assert!(error.contains("AWS_USE_FIPS_ENDPOINT") && error.contains("WEBSOCKET_ENDPOINT"), "{error}");
    start(true).await.idle().await;
}

#[tokio::test]
async fn another_kind_of_endpoint_is_refused_where_the_address_of_lambda_is_needed_and_not_given() {
    for kind in ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"] {
        for function in SENDERS {
            for (workers, endpoint, starts) in [
                (true, None, false),
                (true, Some("AWS_ENDPOINT_URL_LAMBDA"), true),
                (true, Some("AWS_ENDPOINT_URL"), true),
                (false, None, true),
            ] {
                let world = World::start().await.with_workers(4_000, 4, 8_000);
                let started = Function::start_with(&executable(function), &world, |command| {
                    command
                        .env_remove("AWS_ENDPOINT_URL")
                        .env_remove("AWS_ENDPOINT_URL_LAMBDA")
                        .env(kind, "true");
                    if let Some(endpoint) = endpoint {
                        command.env(endpoint, world.lambda_url());
                    }
                    if !workers {
                        command.env_remove("DELIVER_FUNCTION");
                    }
                })
                .await;
                if starts {
                    started.idle().await;
                    continue;
                }
                let error = line(&stopped(started).await, "stopped")["error"].to_string();
                assert!(error.contains(kind) && error.contains("AWS_ENDPOINT_URL_LAMBDA"), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn the_least_and_the_largest_settings_of_workers_are_taken() {
    for function in SENDERS {
        for (split, workers, rate) in [(0, 1, 0), (1, 1, 2), (1_000_000, 100, 101)] {
            let world = World::start().await.with_workers(split, workers, rate);
            Function::start(function, &world).await.idle().await;
        }
    }
}

#[tokio::test]
async fn publish_and_deliver_do_not_start_without_an_address_to_post_to() {
    let world = World::start().await;
    for function in ["publish", "deliver"] {
        let started = Function::start_with(&executable(function), &world, |command| {
            let url = world.table_url();
            command
                .env("AWS_ENDPOINT_URL_DYNAMODB", url)
                .env_remove("AWS_ENDPOINT_URL")
                .env_remove("WEBSOCKET_ENDPOINT");
        })
        .await;
        let error = line(&stopped(started).await, "stopped")["error"].to_string();
        assert!(error.contains("WEBSOCKET_ENDPOINT"), "{error}");
    }
}

#[tokio::test]
async fn a_region_that_is_nowhere_to_be_found_stops_a_function_too() {
    let world = World::start().await;
    let started = Function::start_with(&executable("send-message"), &world, |command| {
        command.env_remove("AWS_REGION").env_remove("AWS_ENDPOINT_URL").env_remove("WEBSOCKET_ENDPOINT");
    })
    .await;
    assert!(
        line(&stopped(started).await, "stopped")["error"].as_str().is_some_and(|e| e.contains("AWS_REGION"))
    );
}
