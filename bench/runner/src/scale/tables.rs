//! The page's tables: what was measured, and what follows by arithmetic.

use super::{ACCOUNTS, Estimate, Handshakes, Sample, default_rate, number};
use crate::{
    measure::grouped,
    report::{Unit, markdown},
};

/// The measurements that only the machine limits.
pub(crate) fn free_table(samples: &[Sample]) -> String {
    let head = [
        "connections",
        "workers",
        "time",
        "posts per second",
        "of one function",
        "CPU per post",
        "memory of publish",
        "largest of deliver",
        "machine",
    ];
    let alone = samples.iter().find(|sample| sample.case.workers == 0);
    let rate = |sample: &Sample| number(sample.case.recipients) / sample.seconds();
    let memory = |peak: Option<u64>| peak.map_or(String::new(), |peak| Unit::Bytes.text(number(peak)));
    let row = |sample: &Sample| {
        let case = sample.case;
        let post = sample.cpu().as_secs_f64() / number(case.recipients);
        vec![
            grouped(case.recipients),
            or_none(case.workers),
            format!("{:.1} s", sample.seconds()),
            format!("{:.0}", rate(sample)),
            alone.map_or(String::new(), |alone| format!("{:.1} ×", rate(sample) / rate(alone))),
            Unit::Seconds.text(post),
            memory(sample.peaks[0]),
            memory(sample.peaks[1]),
            format!("{:.0} % busy", sample.busy * 100.0),
        ]
    };
    let free = samples.iter().filter(|sample| sample.case.account.is_none());
    markdown(head.map(String::from).to_vec(), free.map(row).collect())
}

/// The measurements that an account's quota limits.
pub(crate) fn account_table(samples: &[Sample]) -> String {
    let head = [
        "quota",
        "connections",
        "a post takes",
        "`split`",
        "workers",
        "`rate`",
        "time",
        "posts refused",
        "handshakes refused",
        "failed",
        "machine",
    ];
    let row = |sample: &Sample| {
        let case = sample.case;
        let Handshakes { asked, refused } = sample.handshakes;
        vec![
            case.account.map_or(String::new(), grouped),
            grouped(case.recipients),
            format!("{} ms", case.post.as_millis()),
            or_none(if case.workers == 0 { 0 } else { case.split }),
            or_none(case.workers),
            or_none(case.rate),
            format!("{:.1} s", sample.seconds()),
            grouped(sample.refused),
            format!("{} of {}", grouped(refused as usize), grouped(asked as usize)),
            sample.failed.to_string(),
            format!("{:.0} % busy", sample.busy * 100.0),
        ]
    };
    let bound = samples.iter().filter(|sample| sample.case.account.is_some());
    markdown(head.map(String::from).to_vec(), bound.map(row).collect())
}

fn or_none(number: usize) -> String {
    if number == 0 { "none".into() } else { grouped(number) }
}

/// The calculated times of messages, if one function makes `post_rate` posts per second.
pub(crate) fn estimates(post_rate: f64) -> String {
    let sizes = [10_000, 100_000, 1_000_000];
    let mut head = ["quota", "`rate`", "workers"].map(String::from).to_vec();
    head.extend(sizes.map(|size| format!("{} connections", grouped(size))));
    let row = |(account, rate, workers): (usize, usize, usize)| {
        let mut row = vec![grouped(account), or_none(rate), or_none(workers)];
        let post_rate = post_rate.min(number(account));
        let estimate = |size| Estimate::new(size, workers, rate, post_rate);
        row.extend(sizes.map(|size| format!("{:.1} s", estimate(size).seconds)));
        row
    };
    let [most, some] = ACCOUNTS;
    let raised = 10 * most;
    let rows = [
        (most, 0, 0),
        (most, default_rate(most), 4),
        (some, 0, 0),
        (some, default_rate(some), 4),
        (raised, default_rate(raised), 30),
    ];
    markdown(head, rows.map(row).to_vec())
}
