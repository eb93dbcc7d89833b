//! The cost of a million messages at AWS's list prices, with the measured durations.

use crate::{
    measure::grouped,
    report::{Point, markdown},
    scale::{ACCOUNTS, DEFAULT_MB, Estimate, default_rate, number},
};

/// Dollars per million in us-east-1, without free tiers. `docs/costs.md` names the sources.
const GATEWAY_MESSAGE: f64 = 1.00;
const LAMBDA_REQUEST: f64 = 0.20;
const LAMBDA_GB_SECOND: f64 = 16.6667;
const READ_UNIT: f64 = 0.125;
/// Dollars per gigabyte of logs: a message writes about one kilobyte, including Lambda's own lines.
const LOG_GB: f64 = 0.50;
const APPSYNC_OPERATION: f64 = 1.00;
const IOT_MESSAGE: f64 = 1.00;

/// The default size of send-message.
const MEMORY_MB: u32 = 512;
/// The time of a message besides its posts: two reads of the table, each 5 to 10 ms, and the first answers.
const BASE_SECONDS: f64 = 0.03;
/// The bytes of an item of the index, and those that half a read unit covers, since the index is read eventually
/// consistently.
const ROW_BYTES: f64 = 120.0;
const HALF_UNIT_BYTES: f64 = 4096.0;

/// A line for each number of recipients. `python_post` is the time of a post in Python, in seconds.
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

/// One message from a backend to a very large session, calculated: a line for each number of recipients, without and
/// with workers, if one function makes `post_rate` posts per second.
pub(crate) fn large(post_rate: f64) -> String {
    const MILLION: f64 = 1e6;
    let head = [
        "recipients",
        "workers",
        "time",
        "API Gateway",
        "publish",
        "deliver",
        "invocations",
        "reads",
        "logs",
        "**sum**",
    ];
    let rate = default_rate(ACCOUNTS[0]);
    let row = |(recipients, workers): (usize, usize)| {
        let Estimate { seconds, worker_seconds, chunks } =
            Estimate::new(recipients, workers, rate, post_rate);
        let lambda = |seconds: f64| seconds * f64::from(DEFAULT_MB) / 1024.0 * LAMBDA_GB_SECOND;
        let invocations = number(1 + chunks);
        let units = 0.5 * (number(recipients) * ROW_BYTES / HALF_UNIT_BYTES).ceil();
        let parts = [
            number(recipients) * GATEWAY_MESSAGE,
            lambda(seconds),
            lambda(worker_seconds),
            invocations * LAMBDA_REQUEST,
            units * READ_UNIT,
            // Some 1 KB for each invocation.
            invocations * LOG_GB,
        ]
        .map(|million| million / MILLION);
        let mut row = vec![
            grouped(recipients),
            if workers == 0 { "none".into() } else { workers.to_string() },
            format!("{seconds:.1} s"),
        ];
        row.extend(parts.map(|part| format!("${part:.5}")));
        row.push(format!("**${:.5}**", parts.iter().sum::<f64>()));
        row
    };
    let sizes = [10_000, 100_000, 1_000_000];
    let rows = sizes.iter().flat_map(|size| [(*size, 0), (*size, 4)]).map(row);
    markdown(head.map(String::from).to_vec(), rows.collect())
}

fn dollars(amount: f64) -> String {
    if amount < 100.0 { format!("${amount:.2}") } else { format!("${amount:.0}") }
}
