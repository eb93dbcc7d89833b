//! Whatever happens in whatever order: no answer has what was not written, or says that it is complete where something is
//! missing, and a reader who follows gets every message once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use harness::{Answer, World};
use hub::{
    history::{History, Range, Reading},
    protocol::Position,
};
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{ROOM, THROTTLE, attribute, client_keeping, named, number, offset, offsets};
use crate::support::{Random, now_ms, run_models};

const MODELS: u64 = 8;
const ROUNDS: u64 = 16;

type At = (String, u64);

/// The table, and everything that is known to be true of it.
struct Model {
    world: World,
    /// Two releases, which keep messages for different times.
    histories: [History; 2],
    random: Random,
    /// Whether time passes, so that messages expire.
    expires: bool,
    sent: u64,
    /// Every message that ever stood in the table.
    ever: BTreeMap<At, String>,
    /// Numbers that an answer has said to be without a message for ever.
    empty: BTreeSet<At>,
    /// Where the reader stands who follows, and what it has got.
    position: Position,
    followed: BTreeSet<At>,
    /// Numbers without a message of which it was told that something may be lost: a slow sender may come after that.
    lost: BTreeSet<At>,
    /// How often numbers were sealed, senders killed, and answers incomplete: none of them may be never.
    events: [u64; 3],
}

/// What was known before a question was asked.
struct Before {
    /// What had expired.
    expired: BTreeSet<At>,
    /// Every message that had been written.
    written: BTreeSet<At>,
}

/// What happened at once.
enum Event {
    Appended(Position, String),
    Killed,
    Failed,
    Read(Range, bool, Box<Reading>),
}

impl Model {
    async fn start(seed: u64, expires: bool) -> Self {
        let world = World::start().await.with_history();
        let kept = if expires { [300, 900] } else { [86_400, 90_000] };
        let histories = kept.map(|seconds| client_keeping(&world, seconds));
        let position = super::append(&histories[0], ROOM).await;
        let position = Position { offset: 0, ..position };
        Self {
            world,
            histories,
            random: Random(seed),
            expires,
            sent: 1,
            ever: BTreeMap::new(),
            empty: BTreeSet::new(),
            position,
            followed: BTreeSet::new(),
            lost: BTreeSet::new(),
            events: [0; 3],
        }
    }

    /// From now on calls fail at random.
    fn break_calls(&mut self) {
        let mut random = Random(self.random.below(u64::MAX));
        self.world.messages.script(move |_, _| match random.below(40) {
            0 | 1 => Answer::CutRead,
            2 => Answer::CutUnread,
            3 => Answer::Error(500, "InternalServerError"),
            4 => THROTTLE,
            5..=8 => Answer::Serve.after(Duration::from_millis(random.below(12))),
            9 => Answer::CutRead.after(Duration::from_millis(random.below(12))),
            _ => Answer::Serve,
        });
    }

    async fn round(&mut self) {
        let page = self.one_of([2, 5, 20, 1000]);
        self.world.messages.page_items(page);
        let mut events = JoinSet::new();
        for _ in 0..self.random.below(4) {
            let history = self.histories[usize::from(self.random.one_in(2))].clone();
            self.sent += 1;
            let id = self.sent;
            let life = Duration::from_micros(if self.random.one_in(4) {
                self.random.below(8_000)
            } else {
                u64::MAX
            });
            events.spawn(async move {
                // The number in the id is the message's own, and no offset.
                let text = |position: &Position| {
                    let Position { epoch, offset } = position;
                    format!(r#"{{"id":{id},"epoch":"{epoch}","offset":{offset}}}"#)
                };
                match timeout(life, history.append(&named(ROOM), text, || ())).await {
                    Ok(Ok(position)) => Event::Appended(position.clone(), text(&position)),
                    Ok(Err(_)) => Event::Failed,
                    Err(_) => Event::Killed,
                }
            });
        }
        let offset = (self.position.offset + 5).saturating_sub(self.random.below(25));
        let position = Position { offset, ..self.position.clone() };
        let [follows, limit, count] = [(); 3].map(|()| self.one_of([1, 2, 5, 100]));
        let follows = (Range::After(self.position.clone(), follows), true);
        let (after, last) = (Range::After(position, limit), Range::Last(count));
        for (range, follows) in [follows, (after, false), (last, false)] {
            let history = self.histories[0].clone();
            let pause = Duration::from_micros(self.random.below(6_000));
            events.spawn(async move {
                sleep(pause).await;
                match history.read(&named(ROOM), &range).await {
                    Ok(reading) => Event::Read(range, follows, Box::new(reading)),
                    Err(_) => Event::Failed,
                }
            });
        }
        let before = self.before();
        if self.random.one_in(2) {
            sleep(Duration::from_micros(self.random.below(6_000))).await;
            self.world.messages.age(ROOM, super::SECOND);
        }
        let events = events.join_all().await;
        self.observe();
        for event in events {
            match event {
                Event::Appended(Position { epoch, offset }, text) => {
                    assert_eq!(self.ever.get(&(epoch, offset)), Some(&text), "said to be written");
                }
                Event::Killed => self.events[1] += 1,
                Event::Failed => {}
                Event::Read(range, follows, reading) => self.check(&range, follows, &reading, &before),
            }
        }
    }

    fn one_of(&mut self, numbers: [usize; 4]) -> usize {
        numbers[usize::try_from(self.random.below(4)).expect("few")]
    }

    fn before(&self) -> Before {
        let expired = if self.expires { self.expired() } else { BTreeSet::new() };
        Before { expired, written: self.ever.keys().cloned().collect() }
    }

    /// The numbers of what has expired.
    fn expired(&self) -> BTreeSet<At> {
        let items = self.world.messages.items(ROOM);
        let now = now_ms() / 1000;
        let expired = items.iter().skip(1).filter(|item| number(item, "expires_at") <= now);
        expired.map(at).collect()
    }

    /// Keeps what stands in the table, and holds it against what was said before.
    fn observe(&mut self) {
        for item in self.world.messages.items(ROOM) {
            let Some(text) = item["frame"]["S"].as_str() else { continue };
            let known = self.ever.entry(at(&item)).or_insert_with(|| text.to_owned());
            assert_eq!(known, text, "a message was overwritten");
        }
        let late = self.empty.iter().find(|at| self.ever.contains_key(at));
        assert_eq!(late, None, "an answer was complete without it");
    }

    /// Holds an answer against what is known, and was known `before`: what had expired must not be in it.
    fn check(&mut self, range: &Range, follows: bool, reading: &Reading, before: &Before) {
        self.events[0] += reading.sealed;
        let epoch = reading.position.epoch.clone();
        let from = match range {
            Range::After(from, limit) => {
                assert!(reading.messages.len() <= *limit, "{range:?} {reading:?}");
                if from.epoch == epoch && from.offset <= reading.position.offset { from.offset } else { 0 }
            }
            _ => 0,
        };
        let offsets = offsets(reading);
        assert!(offsets.is_sorted_by(|one, next| one < next), "{offsets:?}");
        assert!(
            offsets.iter().all(|offset| (from + 1..=reading.position.offset).contains(offset)),
            "{reading:?}"
        );
        for (offset, frame) in offsets.iter().zip(&reading.messages) {
            let at = (epoch.clone(), *offset);
            assert_eq!(self.ever.get(&at).map(String::as_str), Some(frame.get()), "not written so");
            assert!(!before.expired.contains(&at), "{at:?} had expired");
        }
        let reached =
            if reading.more { offsets.last().copied().unwrap_or(from) } else { reading.position.offset };
        match reading.complete {
            Some(true) => {
                let between = (from + 1..=reached).filter(|offset| !offsets.contains(offset));
                let between: Vec<At> = between.map(|offset| (epoch.clone(), offset)).collect();
                let missing: Vec<_> = between.iter().filter(|at| self.ever.contains_key(at)).collect();
                assert!(missing.is_empty(), "complete without {missing:?}: {range:?} {reading:?}");
                self.empty.extend(between);
            }
            Some(false) => self.events[2] += 1,
            None => {}
        }
        if !self.expires
            && let Range::After(Position { offset, .. }, _) = range
        {
            let is_position = *offset <= reading.position.offset;
            // Only up to a position that an answer has proven does every number stand, or is sealed. Any other may be a hole,
            // and then nothing proves that the next one is only that.
            if follows || !is_position {
                let expected = Some(is_position);
                assert_eq!(reading.complete, expected, "nothing can be lost: {range:?} {reading:?}");
            }
        }
        if follows {
            for offset in &offsets {
                assert!(self.followed.insert((epoch.clone(), *offset)), "{offset} came twice");
            }
            if reading.complete == Some(false) {
                let passed = (from + 1..=reached).map(|offset| (epoch.clone(), offset));
                self.lost.extend(passed.filter(|at| !before.written.contains(at)));
            }
            self.position = Position { epoch, offset: reached };
        }
    }

    /// Between two rounds time goes by, and what has expired is swept in any order.
    fn pass_time(&mut self) {
        let seconds = if self.random.one_in(3) { 40 + self.random.below(200) } else { self.random.below(2) };
        self.world.messages.age(ROOM, Duration::from_secs(seconds));
        for (_, number) in self.expired() {
            if self.random.one_in(3) {
                self.world.messages.delete(ROOM, number);
            }
        }
        // As after a backup was restored.
        if self.random.one_in(40) {
            self.world.messages.delete(ROOM, 0);
        }
    }

    /// Follows to the end once nothing fails any more.
    async fn settle(&mut self) {
        self.world.messages.script(|_, _| Answer::Serve);
        self.world.messages.age(ROOM, super::SECOND);
        loop {
            let range = Range::After(self.position.clone(), 3);
            let before = self.before();
            let reading = self.histories[0].read(&named(ROOM), &range).await.expect("an answer");
            self.observe();
            self.check(&range, true, &reading, &before);
            if !reading.more {
                break;
            }
        }
    }

    fn check_end(&self) {
        let id = |text: &String| serde_json::from_str::<Value>(text).expect("JSON")["id"].to_string();
        let ids: BTreeSet<String> = self.ever.values().map(id).collect();
        assert_eq!(ids.len(), self.ever.len(), "a message has two numbers");
        if !self.expires {
            assert!(self.followed.iter().eq(self.ever.keys()), "every message, once");
        }
        let expired = self.expired();
        for item in self.world.messages.items(ROOM).iter().filter(|item| !item["frame"].is_null()) {
            let is_live = attribute(item, "epoch") == self.position.epoch && !expired.contains(&at(item));
            let is_known = self.followed.contains(&at(item)) || self.lost.contains(&at(item));
            assert!(!is_live || is_known, "{item} was passed over");
        }
    }
}

fn at(item: &Value) -> At {
    (attribute(item, "epoch").to_owned(), offset(item))
}

async fn run(seed: u64, expires: bool) -> [u64; 3] {
    let mut model = Model::start(seed, expires).await;
    model.break_calls();
    for _ in 0..ROUNDS {
        model.round().await;
        if expires {
            model.pass_time();
        }
    }
    model.settle().await;
    model.check_end();
    model.events
}

#[tokio::test]
async fn whatever_fails_a_reader_who_follows_gets_every_message_once() {
    run_models(MODELS, |seed| run(seed, false)).await;
}

#[tokio::test]
async fn whatever_fails_and_expires_no_answer_is_complete_where_a_message_is_missing() {
    run_models(MODELS, |seed| run(seed, true)).await;
}
