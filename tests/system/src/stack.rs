//! What lies behind the sockets, seen with an administrator's eyes: the table, the functions and their logs.

mod functions;
mod tables;

use std::{
    collections::HashMap,
    env, process,
    sync::atomic::{AtomicU32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_sdk_dynamodb::types::AttributeValue;
use tokio::sync::OnceCell;

pub(crate) use self::functions::Answer;

pub(crate) type Row = HashMap<String, AttributeValue>;

/// The environment of a running stack; without one a test fails, since passing would prove nothing.
pub(crate) fn required(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set, so there is no stack to test: run scripts/test.sh, or scripts/local.sh up and then eval \"$(scripts/local.sh env)\"")
    })
}

/// A name that no other test, and no earlier run on the same stack, has used.
pub(crate) fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{name}-{:x}-{:x}-{count}", now_ms(), process::id())
}

pub(crate) fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock should be past 1970").as_millis()
}

pub(crate) struct Stack {
    table: String,
    subscriptions: OnceCell<String>,
    dynamodb: aws_sdk_dynamodb::Client,
    lambda: aws_sdk_lambda::Client,
    logs: aws_sdk_cloudwatchlogs::Client,
}

impl Stack {
    pub(crate) async fn new() -> Self {
        let table = required("TABLE_NAME");
        let config = aws_config::load_from_env().await;
        Self {
            table,
            subscriptions: OnceCell::new(),
            dynamodb: aws_sdk_dynamodb::Client::new(&config),
            lambda: aws_sdk_lambda::Client::new(&config),
            logs: aws_sdk_cloudwatchlogs::Client::new(&config),
        }
    }
}

pub(crate) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

pub(crate) fn number(value: u128) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
