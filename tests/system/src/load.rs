//! Sockets that come and go while messages flow: nothing is lost, and nothing doubled. Every other one that stays is in a
//! session of its own and subscribed.
//!
//! `scripts/test.sh --long load` runs the long form; `--nocapture` shows the table of either.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use futures::{
    StreamExt,
    future::{join, join_all},
    stream,
};
use serde_json::{Value, json};

use crate::{
    client::{Client, PATIENCE},
    stack::unique,
};

/// What one run puts on the stack.
struct Load {
    /// Sockets that stay from the first message to the last.
    residents: usize,
    /// Sockets that come and go all the time.
    visitors: usize,
    sessions: usize,
    speakers: usize,
    duration: Duration,
}

/// Each connect and each disconnect runs a function, and the local stack has a process for each that runs.
const AT_ONCE: usize = 40;
/// The message after which a resident leaves.
const END: &str = "end";

/// How often each message id was heard.
type Heard = HashMap<String, u32>;

async fn join_session(session: &str, is_subscribed: bool) -> Client {
    if !is_subscribed {
        return Client::in_session(session).await;
    }
    let mut client = Client::new("subscriber").await;
    let answer = client.ask(json!({"action": "subscribe", "sessions": [session]})).await;
    assert_eq!(answer["type"], "subscribed", "{answer}");
    client
}

async fn reside(client: &mut Client) -> Heard {
    let mut heard = Heard::new();
    loop {
        let frame = client.receive().await;
        if frame["message"] == END {
            return heard;
        }
        *heard.entry(id(&frame)).or_default() += 1;
    }
}

/// Comes, answers for itself, hears a message or two, and goes; again and again.
async fn visit(session: &str, over: &AtomicBool) -> (u64, u64) {
    let (mut visits, mut doubled) = (0, 0);
    while !over.load(Ordering::Relaxed) {
        let mut client = Client::in_session(session).await;
        let mut heard = Heard::new();
        let mut frame = client.ask(json!({ "action": "ping" })).await;
        while frame["type"] == "message" {
            *heard.entry(id(&frame)).or_default() += 1;
            frame = client.receive().await;
        }
        assert_eq!(frame["type"], "pong");
        client.leave().await;
        visits += 1;
        doubled += heard.values().filter(|count| **count > 1).count() as u64;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    (visits, doubled)
}

/// Sends to two sessions at a time, all in turn, and keeps the receipts.
async fn speak(first: usize, sessions: &[String], duration: Duration) -> Vec<Value> {
    let mut client = Client::new("speaker").await;
    let (began, mut receipts) = (Instant::now(), Vec::new());
    for turn in first.. {
        if began.elapsed() > duration {
            break;
        }
        let to = [&sessions[turn % sessions.len()], &sessions[(turn * 7 + 1) % sessions.len()]];
        receipts.push(client.publish(&to.map(String::as_str), json!(turn)).await);
    }
    client.leave().await;
    receipts
}

fn id(frame: &Value) -> String {
    frame["id"].as_str().expect("a message has an id").to_owned()
}

async fn run(load: Load) {
    let names: Vec<String> = (0..load.sessions).map(|_| unique("load")).collect();
    let mut residents: Vec<(usize, Client)> = stream::iter(0..load.residents)
        .map(|n| {
            let names = &names;
            // Half of those in each session.
            let is_subscribed = (n / names.len()) % 2 == 1;
            async move { (n % names.len(), join_session(&names[n % names.len()], is_subscribed).await) }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut at_home = vec![0; names.len()];
    for (session, client) in &mut residents {
        at_home[*session] += 1;
        // Its session may be the last of all to be spoken to.
        client.patience = load.duration + PATIENCE;
    }

    let over = AtomicBool::new(false);
    let talking = async {
        let speakers =
            (0..load.speakers).map(|n| speak(n * names.len() / load.speakers, &names, load.duration));
        let receipts = join_all(speakers).await.concat();
        over.store(true, Ordering::Relaxed);
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        Client::new("speaker").await.publish(&all, json!(END)).await;
        receipts
    };
    let visiting = join_all((0..load.visitors).map(|n| visit(&names[n % names.len()], &over)));
    let residing = join_all(residents.iter_mut().map(|(_, client)| reside(client)));
    let ((receipts, visits), heard) = join(join(talking, visiting), residing).await;

    let places: HashMap<&str, usize> = names.iter().enumerate().map(|(n, name)| (name.as_str(), n)).collect();
    let (mut delivered, mut gone, mut lost, mut doubled) = (0, 0, 0, 0);
    for receipt in &receipts {
        assert_eq!((&receipt["type"], &receipt["failed"]), (&json!("receipt"), &json!(0)), "{receipt}");
        let id = id(receipt);
        for part in receipt["sessions"].as_array().expect("a list") {
            let place = places[part["session"].as_str().expect("a name")];
            let count = part["delivered"].as_u64().expect("a count");
            assert!(
                count >= at_home[place],
                "{count} delivered, and {} were there: {receipt}",
                at_home[place]
            );
            delivered += count;
            gone += part["gone"].as_u64().expect("a count");
            for ((session, _), heard) in residents.iter().zip(&heard) {
                match heard.get(&id) {
                    _ if *session != place => {}
                    None => lost += 1,
                    Some(1) => {}
                    Some(_) => doubled += 1,
                }
            }
        }
    }
    let known: u64 = heard.iter().map(|heard| heard.len() as u64).sum();
    let owed: u64 = receipts
        .iter()
        .flat_map(|receipt| receipt["sessions"].as_array().expect("a list"))
        .map(|part| at_home[places[part["session"].as_str().expect("a name")]])
        .sum();
    let visitors: u64 = visits.iter().map(|(count, _)| count).sum();
    report(&[
        ("sockets that stayed", load.residents as u64),
        ("visits", visitors),
        ("sessions", load.sessions as u64),
        ("messages", receipts.len() as u64),
        ("delivered", delivered),
        ("gone", gone),
        ("lost", lost),
        ("doubled", doubled),
    ]);
    assert_eq!((lost, doubled), (0, 0));
    assert_eq!(known, owed, "a resident heard what was not meant for its session");
    assert_eq!(visits.iter().map(|(_, doubled)| doubled).sum::<u64>(), 0);
    assert!(visitors >= load.visitors as u64 && receipts.len() >= load.speakers);

    stream::iter(residents).for_each_concurrent(AT_ONCE, |(_, client)| client.leave()).await;
}

#[allow(clippy::print_stdout, reason = "the report is what this program is run for")]
fn report(rows: &[(&str, u64)]) {
    rows.iter().for_each(|(name, count)| println!("{name:<20} {count:>9}"));
}

#[tokio::test]
async fn sockets_come_and_go_and_nothing_is_lost_or_doubled() {
    let duration = Duration::from_secs(10);
    run(Load { residents: 100, visitors: 4, sessions: 10, speakers: 4, duration }).await;
}

#[tokio::test]
#[ignore = "takes three minutes: run it with scripts/test.sh --long"]
async fn two_thousand_sockets_over_fifty_sessions_lose_and_double_nothing() {
    let duration = Duration::from_secs(120);
    run(Load { residents: 1_980, visitors: 20, sessions: 50, speakers: 4, duration }).await;
}
