//! What each result of an attempt or a chunk adds to the counts, and how a fan-out ends.

use std::{sync::Arc, time::Duration};

use tokio::time::advance;

use super::*;
use crate::{
    protocol::{SessionCounts, SessionId},
    signing::Payload,
};

const SECOND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);

fn report() -> Report {
    let sessions = vec![SessionCounts::new(SessionId::parse("room").unwrap())];
    Report { sessions, ..Report::default() }
}

fn recipient(name: &str) -> Recipient {
    Recipient { connection_id: name.into(), connected_at: None, expires_at: None, is_subscribed: false }
}

fn attempt(name: &str, attempts: u32) -> Delivery {
    let frame = Arc::new(Payload::new(Vec::new()));
    Delivery { attempts, ..Delivery::new(0, frame, recipient(name), false) }
}

/// Begins a recipient's first attempt a second after the fan-out's start. Returns when.
async fn begin_after_a_second(progress: &mut Progress<'_>) -> Instant {
    advance(SECOND).await;
    let begun = Instant::now();
    progress.begin(true, begun);
    begun
}

fn chunk(delivered: u64, gone: u64, failed: u64, left: Vec<usize>) -> ChunkReport {
    ChunkReport { counts: Counts { delivered, gone, failed }, left, ..ChunkReport::default() }
}

#[tokio::test(start_paused = true)]
async fn a_chunk_adds_to_every_count_and_returns_the_recipients_that_its_worker_left() {
    let (mut report, recent_failures) = (report(), RecentFailures::default());
    let mut progress = Progress::new(&mut report, &recent_failures);
    let names = ["a", "b", "c", "d"].map(recipient).to_vec();
    for _ in 0..2 {
        let chunk = ChunkReport { retries: 5, throttled: 6, pruned: 7, ..chunk(2, 3, 4, vec![1, 3]) };
        let left = progress.settle_chunk(0, names.clone(), chunk);
        assert_eq!(left, ["b", "d"].map(recipient));
        progress.hand_over();
    }
    assert_eq!(progress.recipients, 22);
    assert_eq!(report.sessions[0].counts, Counts { delivered: 4, gone: 6, failed: 8 });
    assert_eq!((report.chunks, report.retries, report.throttled, report.pruned), (2, 10, 12, 14));
}

#[tokio::test(start_paused = true)]
async fn only_a_chunk_without_failures_clears_its_recipients_of_suspicion() {
    let (mut report, recent_failures) = (report(), RecentFailures::default());
    let mut progress = Progress::new(&mut report, &recent_failures);
    ["a", "b"].iter().for_each(|name| recent_failures.gave_up_on(name, false));
    let names = ["a", "b"].map(recipient).to_vec();
    progress.settle_chunk(0, names.clone(), chunk(0, 0, 1, vec![1]));
    assert!(recent_failures.suspects("a"), "it may be the one that failed");
    progress.settle_chunk(0, names, chunk(1, 0, 0, vec![1]));
    assert!(!recent_failures.suspects("a") && recent_failures.suspects("b"), "b has not been delivered to");
}

#[tokio::test(start_paused = true)]
async fn the_last_recipients_are_given_less_time_once_a_chunk_shows_that_posts_arrive() {
    let recent_failures = RecentFailures::default();
    for (delivered, gone) in [(1, 0), (0, 1), (1, 1), (0, 0)] {
        let mut report = report();
        let mut progress = Progress::new(&mut report, &recent_failures);
        let begun = begin_after_a_second(&mut progress).await;
        advance(SECOND).await;
        progress.settle_chunk(0, Vec::new(), chunk(delivered, gone, 1, Vec::new()));
        progress.settle_chunk(0, Vec::new(), chunk(0, 0, 1, Vec::new()));
        let is_answered = delivered + gone > 0;
        let end = if is_answered { Instant::now() + PATIENCE } else { begun + 3 * PATIENCE };
        assert_eq!(progress.patience.ends_at(Some(PATIENCE)), end, "{delivered} {gone}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_recipients_are_given_less_time_once_a_200_or_a_410_shows_that_posts_arrive() {
    let recent_failures = RecentFailures::default();
    let failed = AttemptResult::Failed("no".into());
    for (result, patience) in [
        (AttemptResult::Delivered, SECOND + PATIENCE),
        // A first 410 settles nothing.
        (AttemptResult::PerhapsGone, PATIENCE),
        (failed, 3 * PATIENCE),
    ] {
        let mut report = report();
        let mut progress = Progress::new(&mut report, &recent_failures);
        let begun = begin_after_a_second(&mut progress).await;
        advance(SECOND).await;
        progress.settle(attempt("a", 1), result);
        assert_eq!(progress.patience.ends_at(Some(PATIENCE)), begun + patience);
    }
}

#[tokio::test(start_paused = true)]
async fn a_410_is_asked_about_again_after_its_pause_and_a_failure_after_a_backoff() {
    let (mut report, recent_failures) = (report(), RecentFailures::default());
    let mut progress = Progress::new(&mut report, &recent_failures);
    let now = Instant::now();
    let (due, delivery) = progress.settle(attempt("a", 1), AttemptResult::PerhapsGone).unwrap();
    assert!(due == now + GONE_PAUSE && delivery.was_gone);
    for throttled in [true, false] {
        let retry = AttemptResult::Retry { throttled, cause: "busy".into() };
        let (due, _) = progress.settle(attempt("a", 8), retry).unwrap();
        assert!(due > now && due <= now + Duration::from_secs(3), "{:?}", due - now);
    }
    assert_eq!((report.retries, report.throttled), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_recipient_that_was_given_up_is_suspect_at_once_beside_others_and_alone_the_second_time() {
    for (recipients, delivered, gave_up, messages, is_suspect) in [
        (2, 1, true, 1, true),
        (2, 1, false, 2, false),
        // Alone, it may be the gateway that fails.
        (1, 0, true, 1, false),
        (1, 0, true, 2, true),
        (1, 0, false, 2, false),
        // A throttled account.
        (2, 0, true, 2, false),
    ] {
        let recent_failures = RecentFailures::default();
        for _ in 0..messages {
            let mut report = report();
            let mut progress = Progress::new(&mut report, &recent_failures);
            (0..recipients).for_each(|_| progress.begin(true, Instant::now()));
            for _ in 0..delivered {
                assert!(progress.settle(attempt("other", 1), AttemptResult::Delivered).is_none());
            }
            progress.fail_rest(vec![attempt("stuck", 3)], gave_up);
            assert_eq!(report.sessions[0].counts, Counts { delivered, gone: 0, failed: 1 });
        }
        let what = format!("{recipients} recipients, {delivered} delivered, {gave_up}, {messages}");
        assert_eq!(recent_failures.suspects("stuck"), is_suspect, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_complete_once_all_of_it_was_read() {
    for (is_read, is_complete) in [(false, false), (true, true)] {
        let (mut report, recent_failures) = (report(), RecentFailures::default());
        let mut progress = Progress::new(&mut report, &recent_failures);
        if is_read {
            progress.end(0, Ok(()));
        }
        assert_eq!(progress.reads(), !is_read);
        progress.fail_rest(Vec::new(), false);
        assert_eq!(report.sessions[0].complete, is_complete);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fan_out_fails_if_no_page_was_read_or_if_every_post_was_forbidden() {
    for (pages, forbidden, delivered, unsettled, cause) in [
        (0, 0, 0, 0, Some("out_of_time")),
        (1, 0, 0, 0, None),
        // The time ran out before its first attempt.
        (1, 0, 0, 1, None),
        (1, 0, 1, 0, None),
        (1, 1, 0, 0, Some("forbidden")),
        (1, 2, 0, 0, Some("forbidden")),
        (1, 1, 1, 0, None),
    ] {
        let (mut report, recent_failures) = (report(), RecentFailures::default());
        let mut progress = Progress::new(&mut report, &recent_failures);
        (0..pages).for_each(|_| progress.page());
        for index in 0..forbidden + delivered {
            let is_forbidden = index < forbidden;
            let result =
                if is_forbidden { AttemptResult::Forbidden("no".into()) } else { AttemptResult::Delivered };
            progress.begin(true, Instant::now());
            assert!(progress.settle(attempt("a", 1), result).is_none());
        }
        progress.fail_rest((0..unsettled).map(|_| attempt("b", 0)).collect(), false);
        let failure = progress.finish().err();
        let what = format!("{pages} {forbidden} {delivered} {unsettled}");
        assert_eq!(failure.map(|failure| failure.cause()), cause, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_could_not_be_read_is_incomplete_and_the_failure_if_it_is_the_only_one() {
    let (mut report, recent_failures) = (report(), RecentFailures::default());
    let mut progress = Progress::new(&mut report, &recent_failures);
    progress.end(0, Err(Failure::other("table", "no")));
    assert_eq!(progress.finish().err().map(|failure| failure.cause()), Some("table"));
    assert!(!report.sessions[0].complete);
    assert_eq!(report.session_failures.count, 1);
}
