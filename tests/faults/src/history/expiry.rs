//! Messages expire in the order of their numbers, are swept in any order, and an answer is complete only where that is proven.

use std::time::Duration;

use harness::{Function, Operation, World};
use serde_json::{Value, json};

use super::{
    EPOCH, HOUR, ROOM, Slot, append, ask, attribute, calls, clear, client, last, lay, named, number, numbers,
    offsets, read_after, summary,
};
use crate::support::{AMPLE, Hub, frame};

/// A publish function that keeps messages for so long.
async fn keeping(world: &World, seconds: i64) -> Function {
    Function::with_settings("publish", world, &[("HISTORY_SECONDS", &seconds.to_string())]).await
}

/// Publishes to the room, and returns when that message expires and when the head is kept for.
async fn published(world: &World, function: &Function) -> i64 {
    let request = json!({ "sessions": [ROOM], "message": 1 }).to_string();
    let outcome = function.invoke(request, AMPLE).await;
    let offset = outcome.response()["sessions"][0]["offset"].as_u64().expect("an offset");
    let items = world.messages.items(ROOM);
    let index = usize::try_from(offset).expect("a small number");
    let expires_at = number(&items[index], "expires_at");
    assert_eq!(number(&items[0], "keep_until"), expires_at, "the head knows what the last one has");
    expires_at
}

#[tokio::test]
async fn however_the_time_that_messages_are_kept_changes_none_expires_before_an_older_one() {
    let world = World::start().await.with_history().with_subscriptions();
    let long = keeping(&world, 24 * HOUR).await;
    let short = keeping(&world, 300).await;
    let now = crate::support::now_ms() / 1000;
    let first = published(&world, &long).await;
    assert!((now + 24 * HOUR..now + 24 * HOUR + 20).contains(&first));
    // Lowered: for two messages, so that the second finds what the first left.
    assert_eq!([published(&world, &short).await, published(&world, &short).await], [first; 2]);
    // Raised again.
    let raised = published(&world, &long).await;
    assert!((first..first + 20).contains(&raised));
    // The old time has gone by, and the new one applies.
    world.messages.age(ROOM, Duration::from_secs(24 * 3600 - 100));
    let now = crate::support::now_ms() / 1000;
    let lowered = published(&world, &short).await;
    assert!((now + 300..now + 320).contains(&lowered));
    let raised = published(&world, &long).await;
    assert!((now + 24 * HOUR..now + 24 * HOUR + 20).contains(&raised));
    let expiries: Vec<i64> =
        world.messages.items(ROOM).iter().skip(1).map(|item| number(item, "expires_at")).collect();
    assert!(expiries.len() == 6 && expiries.is_sorted(), "{expiries:?}");
}

#[tokio::test]
async fn a_head_that_begins_with_a_readers_question_lives_for_thirty_days() {
    let world = World::start().await.with_history();
    client(&world).position(&named(ROOM)).await.expect("a position");
    let left = number(&world.messages.items(ROOM)[0], "expires_at") - crate::support::now_ms() / 1000;
    assert!((30 * 24 * HOUR - 20..=30 * 24 * HOUR).contains(&left), "{left}");
}

#[tokio::test]
async fn a_number_whose_answer_was_lost_keeps_to_the_order_too() {
    use harness::{Answer, Operation};
    let world = World::start().await.with_history();
    let long = keeping(&world, 24 * HOUR).await;
    let short = keeping(&world, 300).await;
    let first = published(&world, &long).await;
    // What is refused is no loss; what is done then is.
    world.messages.script(|call, count| match (call.operation, count) {
        (Operation::UpdateItem, 2 | 3) => Answer::CutRead,
        _ => Answer::Serve,
    });
    assert_eq!((published(&world, &short).await, last(&world, ROOM)), (first, 2));
}

#[tokio::test]
async fn the_head_outlives_the_last_message_by_thirty_days() {
    let world = World::start().await.with_history();
    let function = keeping(&world, 300).await;
    published(&world, &function).await;
    world.messages.age(ROOM, Duration::from_secs(29 * 24 * 3600));
    published(&world, &function).await;
    let left = number(&world.messages.items(ROOM)[0], "expires_at") - crate::support::now_ms() / 1000;
    assert!((30 * 24 * HOUR - 20..=30 * 24 * HOUR).contains(&left), "{left}");
    assert_eq!(last(&world, ROOM), 2);
}

/// What stands at each number, in every way in which expiry does not go down, for `count` numbers.
fn layouts(count: usize) -> Vec<Vec<Slot>> {
    const LIVES: [i64; 3] = [-100, 30, HOUR];
    let mut layouts = vec![(vec![], 0)];
    for _ in 0..count {
        layouts = layouts
            .into_iter()
            .flat_map(|(slots, least): (Vec<Slot>, usize)| {
                (least..LIVES.len()).flat_map(move |life| {
                    let slots = slots.clone();
                    let what = LIVES[life];
                    [Slot::Message(what), Slot::Void(what), Slot::Foreign(what), Slot::Nothing].map(|slot| {
                        let mut slots = slots.clone();
                        slots.push(slot);
                        (slots, life)
                    })
                })
            })
            .collect();
    }
    let mut layouts: Vec<_> = layouts.into_iter().map(|(slots, _)| slots).collect();
    layouts.sort_by_key(|slots| format!("{slots:?}"));
    layouts.dedup();
    layouts
}

/// What is to be answered by the contract's words: the messages, `more`, `complete`, and the numbers that are void from
/// then on.
fn expected(slots: &[Slot], after: usize, limit: usize, is_young: bool) -> (Vec<u64>, bool, bool, Vec<u64>) {
    let at = |number: usize| number.checked_sub(1).and_then(|index| slots.get(index)).copied();
    let is_live = |number: &usize| matches!(at(*number), Some(Slot::Message(life)) if life > 0);
    let is_missing = |number: &usize| matches!(at(*number), Some(Slot::Nothing | Slot::Foreign(_)));
    // What stands before it, or before the holes before it, has more than a minute to live.
    let is_hole = |number: &usize| {
        let before = (after.max(1)..*number).rev().find(|number| !is_missing(number)).and_then(at);
        is_missing(number) && matches!(before, Some(Slot::Message(life) | Slot::Void(life)) if life > 60)
    };
    // A void was old when it was made, and so is what stands before it.
    let next = |number: usize| (number + 1..=slots.len()).find(|next| !is_missing(next)).and_then(at);
    let is_old = |number: usize| !is_young || matches!(next(number), Some(Slot::Void(_)));
    let young = (after + 1..=slots.len()).find(|number| is_hole(number) && !is_old(*number));
    let live: Vec<usize> = (after + 1..young.unwrap_or(slots.len() + 1)).filter(is_live).collect();
    let more = young.is_some() || live.len() > limit;
    let returned = &live[..live.len().min(limit)];
    let end = if more { returned.last().copied().unwrap_or(after) } else { slots.len() };
    let is_proven =
        |number| is_live(&number) || matches!(at(number), Some(Slot::Void(_))) || is_hole(&number);
    let complete = (after + 1..=end).all(is_proven);
    let sealed = (after + 1..=end).filter(is_hole).map(|number| number as u64).collect();
    (returned.iter().map(|number| *number as u64).collect(), more, complete, sealed)
}

#[tokio::test]
async fn whatever_is_left_an_answer_has_what_is_live_and_is_complete_exactly_where_that_is_proven() {
    const NUMBERS: usize = 4;
    const SHARE: usize = 7;
    let world = World::start().await.with_history();
    let history = client(&world);
    // All would take a minute: other ones are skipped each time.
    let first = usize::try_from(crate::support::now_ms()).expect("after 1970") % SHARE;
    for (round, slots) in layouts(NUMBERS).into_iter().enumerate().skip(first).step_by(SHARE) {
        world.messages.page_items(round % 4 + 1);
        let after = round % (NUMBERS + 1);
        let limit = [1, 2, NUMBERS][round % 3];
        // The young are of the future, so that the test may be slow.
        for age in [5000, -5000] {
            lay(&world.messages, ROOM, &slots, age);
            let reading = read_after(&history, ROOM, EPOCH, after as u64, limit).await;
            let (messages, more, complete, sealed) = expected(&slots, after, limit, age < 0);
            let what = format!("{slots:?}, {age} ms old, {limit} after {after}");
            assert_eq!((offsets(&reading), reading.more), (messages, more), "{what}");
            assert_eq!(reading.complete, Some(complete), "{what}");
            let written = numbers(&world, ROOM);
            let is_void = |number: &u64| written.contains(&(*number, None));
            assert!(sealed.iter().all(is_void), "{what}: {written:?}");
            clear(&world.messages, ROOM);
        }
    }
}

#[tokio::test]
async fn a_reader_at_the_last_expired_message_misses_nothing_where_the_next_is_there() {
    use Slot::{Message, Nothing};
    let world = World::start().await.with_history();
    let history = client(&world);
    for (session, slots, complete) in [
        ("swept", [Nothing, Nothing, Message(HOUR)], true),
        ("left", [Message(-9), Message(-9), Message(HOUR)], true),
        ("out of order", [Nothing, Message(-9), Message(HOUR)], true),
        ("one too few", [Message(-9), Nothing, Nothing], false),
    ] {
        let session = session.replace(' ', "-");
        lay(&world.messages, &session, &slots, 5000);
        let reading = read_after(&history, &session, EPOCH, 2, 100).await;
        let live = if slots[2] == Nothing { vec![] } else { vec![3] };
        assert_eq!((offsets(&reading), reading.complete), (live, Some(complete)), "{session}");
        let reading = read_after(&history, &session, EPOCH, 1, 100).await;
        assert_eq!(reading.complete, Some(false), "{session}");
    }
}

#[tokio::test]
async fn after_a_restored_backup_without_heads_a_new_epoch_begins_and_overwrites_what_is_left() {
    let hub = Hub::with_history().await;
    let send = async || frame(&hub.send(&[ROOM], AMPLE).await)["sessions"][0].clone();
    let old = [send().await, send().await, send().await].map(|entry| entry["epoch"].clone());
    assert!(old[0] == old[1] && old[1] == old[2]);
    let reader = Function::start("history", &hub.world).await;
    hub.crowd(ROOM, 1);
    hub.world.messages.delete(ROOM, 0);

    // Asked before anything is sent: all of it counts as missing.
    let stands = ask(&reader, json!({})).await;
    assert_eq!(stands["offset"], 0);
    assert_ne!(stands["epoch"], old[0]);
    assert_eq!(summary(&ask(&reader, json!({ "last": 100 })).await), (vec![], false, None));
    let sent = send().await;
    assert_eq!((&sent["epoch"], &sent["offset"]), (&stands["epoch"], &json!(1)));
    assert_eq!(attribute(&hub.world.messages.items(ROOM)[1], "epoch"), stands["epoch"]);

    // A position of the old epoch is none here.
    let after = |epoch: &Value, offset| json!({ "epoch": epoch, "after": offset });
    let answer = ask(&reader, after(&old[0], 1)).await;
    assert_eq!((summary(&answer), &answer["epoch"]), ((vec![1], false, Some(false)), &stands["epoch"]));
    assert_eq!(summary(&ask(&reader, after(&stands["epoch"], 0)).await), (vec![1], false, Some(true)));

    // What is left at a number that was taken since is a hole, and is sealed.
    let mut head = hub.world.messages.items(ROOM)[0].clone();
    head["last"] = json!({ "N": "3" });
    hub.world.messages.put(&head);
    append(&client(&hub.world), ROOM).await;
    hub.world.messages.age(ROOM, super::SECOND);
    assert_eq!(summary(&ask(&reader, json!({ "last": 100 })).await), (vec![1, 4], false, None));
    assert_eq!(summary(&ask(&reader, after(&stands["epoch"], 1)).await), (vec![4], false, Some(true)));
    let written = numbers(&hub.world, ROOM);
    assert!(written.len() == 4 && written[1].1.is_none() && written[2].1.is_none(), "{written:?}");
}

#[tokio::test]
async fn a_backlog_that_has_expired_and_is_not_swept_yet_is_passed_over_in_few_steps() {
    let world = World::start().await.with_history();
    let history = client(&world);
    let mut slots = vec![Slot::Message(-100); 3000];
    (slots[1000], slots[2000], slots[2999]) = (Slot::Foreign(HOUR), Slot::Nothing, Slot::Foreign(-100));
    slots.extend([Slot::Message(HOUR), Slot::Void(HOUR), Slot::Message(HOUR)]);
    lay(&world.messages, ROOM, &slots, 5000);
    let reading = read_after(&history, ROOM, EPOCH, 5, 100).await;
    let expected = (vec![3001, 3003], false, Some(false));
    assert_eq!((offsets(&reading), reading.more, reading.complete), expected);
    let queries = calls(&world, |call| call.operation == Operation::Query);
    assert!(queries < 20, "{queries}");
}
