//! Whatever fails, in whatever order: no row is outside the set, and what is in both is what was answered.

use std::{collections::BTreeMap, time::Duration};

use harness::{Answer, Ending, Function, Row, World};
use tokio::{task::JoinSet, time::sleep};

use super::{MOST, Names, THROTTLE, ask, disconnect, kind, names, repair, set, subscriptions};
use crate::support::{Random, frame, log, name, run_models};

const MODELS: u64 = 4;
const ROUNDS: u64 = 40;
/// The frames of a connection that are under way at once, and the names of each: none is in two of them.
const FRAMES: usize = 3;
const POOL: usize = 50;

/// A hub, and what its answers have said.
struct Model {
    world: World,
    processes: Vec<std::sync::Arc<Function>>,
    ending: Function,
    random: Random,
    connection: String,
    connections: usize,
    /// Whether the connection is subscribed to a session; nothing where an answer left that open.
    told: BTreeMap<String, Option<bool>>,
    /// How often it was subscribed, refused for its number, and not connected, and how often something failed: none of them
    /// may be never.
    events: [u64; 4],
}

impl Model {
    async fn start(seed: u64) -> Self {
        let world = World::start().await.with_subscriptions();
        let mut processes = Vec::new();
        for _ in 0..FRAMES {
            processes.push(Function::start("membership", &world).await.into());
        }
        let ending = Function::start("disconnect", &world).await;
        let (random, told, events) = (Random(seed), BTreeMap::new(), [0; 4]);
        let mut model = Self {
            world,
            processes,
            ending,
            random,
            connection: String::new(),
            connections: 0,
            told,
            events,
        };
        model.connect();
        model
    }

    fn connect(&mut self) {
        self.connection = name("model", self.connections);
        self.connections += 1;
        self.world.table.put(&self.connection, Row::aged("model", 60));
        self.told.clear();
    }

    /// From now on calls fail at random; where a connection ends, not so often that a removal of its rows fails for good.
    fn break_calls(&mut self, ends: bool) {
        for table in [&self.world.table, &self.world.subscriptions] {
            let [mut calls, mut rests] = [(); 2].map(|()| Random(self.random.below(u64::MAX)));
            let often =
                if ends { 200 } else { [12, 40, 200][usize::try_from(self.random.below(3)).expect("few")] };
            table.call_script(move |_, _| match calls.below(often) {
                0 | 1 => Answer::CutRead,
                2 => Answer::CutUnread,
                3 => Answer::Error(500, "InternalServerError"),
                4 => THROTTLE,
                5..=8 => Answer::Serve.after(Duration::from_millis(calls.below(12))),
                9 => Answer::CutRead.after(Duration::from_millis(calls.below(12))),
                _ => Answer::Serve,
            });
            table.batch_script(move |_, _| {
                let rest = usize::try_from(rests.below(30)).expect("few");
                if rest < if ends { 3 } else { 20 } { rest } else { 0 }
            });
        }
    }

    async fn round(&mut self) {
        let ends = self.random.one_in(4);
        self.break_calls(ends);
        let mut asking = JoinSet::new();
        for (index, process) in self.processes.iter().cloned().enumerate() {
            let mut number = |below: usize| usize::try_from(self.random.below(below as u64)).expect("few");
            let first = number(POOL);
            let sessions = names(index * POOL + first..index * POOL + POOL.min(first + 1 + number(POOL)));
            let action = if number(3) == 0 { "unsubscribe" } else { "subscribe" };
            let (connection, pause) = (self.connection.clone(), Duration::from_micros(number(6_000) as u64));
            asking.spawn(async move {
                sleep(pause).await;
                (action, frame(&ask(&process, &connection, action, &sessions).await), sessions)
            });
        }
        let pause = Duration::from_micros(self.random.below(20_000));
        let mut failed = false;
        if ends {
            sleep(pause).await;
            failed = !matches!(disconnect(&self.ending, &self.connection).await.ending, Ending::Response(_));
        }
        for (action, answer, sessions) in asking.join_all().await {
            let tell = |is: &mut Option<bool>| match (action, kind(&answer)) {
                ("subscribe", "subscribed") => *is = Some(true),
                ("unsubscribe", "unsubscribed") => *is = Some(false),
                // What was subscribed to before stays so.
                ("subscribe", "internal") if *is == Some(true) => {}
                (_, "internal") => *is = None,
                ("subscribe", "too_many_subscriptions") => {}
                (_, "not_connected") if ends => {}
                (_, other) => panic!("{other}"),
            };
            sessions.iter().for_each(|session| tell(self.told.entry(session.clone()).or_insert(Some(false))));
            failed |= kind(&answer) == "internal";
            match kind(&answer) {
                "subscribed" => self.events[0] += 1,
                "too_many_subscriptions" => self.events[1] += 1,
                "not_connected" => self.events[2] += 1,
                _ => {}
            }
        }
        self.events[3] += u64::from(failed);
        self.check(ends, failed);
        if ends {
            self.connect();
        }
    }

    fn check(&self, has_ended: bool, failed: bool) {
        let [all, rows] = subscriptions(&self.world, &self.connection);
        let row = self.world.table.row(&self.connection);
        if has_ended {
            assert!(failed || (row.is_none() && rows.is_empty()), "left behind: {row:?} {rows:?}");
            assert!(row.is_none_or(|row| row.session == "model"), "invented");
            return;
        }
        assert!(rows.is_subset(&all), "outside the set: {:?}", &rows - &all);
        assert!(all.len() <= MOST, "{}", all.len());
        let those = |expected| {
            let told = self.told.iter().filter(move |(_, is)| **is == Some(expected));
            told.map(|(session, _)| session.clone()).collect::<Names>()
        };
        assert_eq!(&those(true) - &rows, set(&[]), "subscribed, but without a row");
        assert_eq!(&those(false) & &all, set(&[]), "not subscribed, but in the set");
    }
}

async fn run(seed: u64) -> [u64; 4] {
    let mut model = Model::start(seed).await;
    for _ in 0..ROUNDS {
        model.round().await;
    }
    // In the end every name can be left, whatever was left open.
    repair(&model.world);
    for index in 0..FRAMES {
        let sessions = names(index * POOL..index * POOL + POOL);
        let answer = frame(&ask(&model.processes[0], &model.connection, "unsubscribe", &sessions).await);
        assert_eq!(kind(&answer), "unsubscribed");
    }
    assert_eq!(subscriptions(&model.world, &model.connection), [(); 2].map(|()| set(&[])));
    for process in model.processes {
        log(&std::sync::Arc::into_inner(process).expect("no frame is under way").finish());
    }
    log(&model.ending.finish());
    model.events
}

#[tokio::test]
async fn whatever_fails_no_row_is_outside_the_set_and_both_are_what_was_answered() {
    run_models(MODELS, run).await;
}
