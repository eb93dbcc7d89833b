//! Answers of workers that are malformed or do not add up: then the planner posts the chunk itself.

use harness::{Answer, Reaction};
use serde_json::{Value, json};

use super::{SPLIT, answer, counts_chunks, each_was_posted_to, hub_of, sends};
use crate::support::{counted, line};

/// Answers that are none, or do not account for each of a chunk's connections once.
fn bad() -> Vec<String> {
    let changes = [
        json!({ "delivered": SPLIT + 1 }),
        json!({ "delivered": SPLIT - 1 }),
        json!({ "delivered": 0 }),
        json!({ "delivered": -1 }),
        json!({ "delivered": SPLIT as f64 + 0.5 }),
        json!({ "delivered": SPLIT.to_string() }),
        json!({ "delivered": null }),
        json!({ "gone": 1 }),
        json!({ "failed": u64::MAX }),
        json!({ "delivered": u64::MAX, "gone": u64::MAX, "failed": 2 + SPLIT }),
        json!({ "left": [3] }),
        json!({ "delivered": SPLIT - 1, "left": [SPLIT] }),
        json!({ "delivered": SPLIT - 1, "left": [-1] }),
        json!({ "delivered": SPLIT - 1, "left": ["3"] }),
        json!({ "delivered": SPLIT - 1, "left": 1 }),
        json!({ "delivered": SPLIT - 2, "left": [3, 3] }),
        json!({ "delivered": SPLIT - 2, "left": [5, 3] }),
        json!({ "left": null }),
        json!({ "delivery_failures": 1 }),
    ];
    let good = answer(&json!({}));
    let without = |key: &str| {
        let mut answer: Value = serde_json::from_str(&good).expect("JSON");
        answer.as_object_mut().expect("an object").remove(key);
        answer.to_string()
    };
    let texts = ["", " ", "null", "true", "200", "[]", "{}", "\"\"", "ok", "\u{0}", "{\"delivered\":200"];
    let large = format!("{good}{}", " ".repeat(7 << 20));
    let changed = changes.iter().map(answer);
    changed
        .chain(texts.map(ToOwned::to_owned))
        .chain([without("delivered"), without("left"), large, good.clone() + &good])
        .collect()
}

#[tokio::test]
async fn an_answer_that_is_none_or_does_not_add_up_is_not_believed() {
    let hub = hub_of(1).await;
    let texts = bad();
    for (message, text) in (1..).zip(&texts) {
        let reaction = Reaction::Text(text.clone());
        hub.world.lambda.script(move |_, _| reaction.clone());
        sends(&hub, [2 * SPLIT, 0, 0]).await;
        let shown: String = text.chars().take(300).collect();
        assert!(hub.posts().values().all(|posts| *posts == (message, message)), "believed: {shown}");
    }
    let log = hub.log();
    let failed: Vec<_> = log.iter().filter(|line| line["message"] == "chunks failed").collect();
    assert_eq!(failed.len(), texts.len());
    assert!(failed.iter().all(|line| line["error"].as_str().is_some_and(|error| error.len() < 600)));
}

#[tokio::test]
async fn an_answer_with_unknown_keys_is_believed() {
    let hub = hub_of(1).await;
    hub.world.lambda.script(|_, _| {
        Reaction::Changed(|answer| {
            answer["mood"] = json!({ "good": [true, 1, null] });
            answer["delivery_failures"]["last_cause"] = json!("none");
        })
    });
    sends(&hub, [2 * SPLIT, 0, 0]).await;
    each_was_posted_to(&hub, (1, 1), (1, 1));
    counts_chunks(hub, 1, 0).await;
}

#[tokio::test]
async fn an_answer_is_added_to_the_counts_and_the_planner_posts_to_those_that_are_left() {
    let hub = hub_of(2).await;
    hub.world.lambda.script(|_, before| match before {
        0 => Reaction::Text(answer(&json!({
            "delivered": 150, "gone": 30, "failed": 18, "left": [7, 9], "retries": 5, "throttled": 4, "pruned": 3,
            "delivery_failures": { "count": 18, "first_cause": "the first" },
            "prune_failures": { "count": 2, "first_cause": "another" },
        }))),
        _ => Answer::Serve.into(),
    });
    sends(&hub, [552, 30, 18]).await;
    let log = hub.log();
    let sent = line(&log, "sent");
    let counts = ["delivered", "gone", "failed", "retries", "throttled", "pruned", "chunks"];
    assert_eq!(counts.map(|count| sent[count].as_u64().expect("a count")), [552, 30, 18, 7, 4, 3, 2]);
    for (message, count, error) in [("deliveries failed", 18, "the first"), ("prunes failed", 2, "another")] {
        let trouble = line(&log, message);
        assert_eq!((&trouble["count"], &trouble["error"]), (&json!(count), &json!(error)));
    }
    let metrics = ["Delivered", "Gone", "Failed", "Retries", "Throttled", "Pruned", "FanoutSize"];
    assert_eq!(metrics.map(|metric| counted(&log, metric)), [552.0, 30.0, 18.0, 7.0, 4.0, 3.0, 600.0]);
}
