//! What a million messages cost at AWS's list prices, with the durations that were measured.

use crate::report::{Point, markdown};

/// Dollars for a million, us-east-1, without free tiers; `docs/performance.md` says where they are from.
const GATEWAY_MESSAGE: f64 = 1.00;
const LAMBDA_REQUEST: f64 = 0.20;
const LAMBDA_GB_SECOND: f64 = 16.6667;
const READ_UNIT: f64 = 0.125;
/// A gigabyte of logs: a message writes about one kilobyte, Lambda's own lines included.
const LOG_GB: f64 = 0.50;
const APPSYNC_OPERATION: f64 = 1.00;
const IOT_MESSAGE: f64 = 1.00;

/// The default size of send-message.
const MEMORY_MB: u32 = 512;
/// A message's time apart from its posts: two reads of the table, each 5 to 10 ms, and the first answers.
const BASE_SECONDS: f64 = 0.03;
/// An item of the index, and what half a read unit covers, since the index is read eventually consistently.
const ROW_BYTES: f64 = 120.0;
const HALF_UNIT_BYTES: f64 = 4096.0;

/// A line for each number of recipients. `python_post` is how long the proof of concept takes for one, in seconds.
pub(crate) fn table(points: &[Point], concurrency: usize, python_post: Option<f64>) -> Option<String> {
    let measured = points.iter().find(|point| {
        (point.latency_ms, point.memory_mb, point.concurrency) == (10, MEMORY_MB, concurrency)
    })?;
    let post = measured.wall.as_secs_f64() / measured.posts();
    let gb = f64::from(MEMORY_MB) / 1024.0;
    let lambda = |seconds: f64| LAMBDA_REQUEST + seconds * gb * LAMBDA_GB_SECOND;
    let head = [
        "recipients of each",
        "API Gateway",
        "Lambda",
        "DynamoDB",
        "logs",
        "**the hub**",
        "AppSync Events",
        "IoT Core",
        "Lambda, if it were the Python proof of concept",
    ];
    let row = |recipients: u32| {
        let count = f64::from(recipients);
        let gateway = (count + 2.0) * GATEWAY_MESSAGE;
        let compute = lambda(BASE_SECONDS + count * post);
        let reads = (1.0 + 0.5 * (count * ROW_BYTES / HALF_UNIT_BYTES).ceil()) * READ_UNIT;
        let python = python_post.map_or(String::new(), |post| dollars(lambda(BASE_SECONDS + count * post)));
        vec![
            recipients.to_string(),
            dollars(gateway),
            dollars(compute),
            dollars(reads),
            dollars(LOG_GB),
            format!("**{}**", dollars(gateway + compute + reads + LOG_GB)),
            dollars((count + 1.0) * APPSYNC_OPERATION),
            dollars((count + 1.0) * IOT_MESSAGE),
            python,
        ]
    };
    Some(markdown(head.map(String::from).to_vec(), [1, 10, 100, 1_000].map(row).to_vec()))
}

fn dollars(amount: f64) -> String {
    if amount < 100.0 { format!("${amount:.2}") } else { format!("${amount:.0}") }
}
