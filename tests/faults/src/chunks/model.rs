//! Whatever becomes of Invokes, workers and posts, in whatever order: each recipient is posted to and has its place in the
//! receipt.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use harness::{Answer, Ending, Function, Invoke, Reaction, Row, World};
use serde_json::{Value, json};

use super::{THROTTLE, check_chunks};
use crate::support::{AMPLE, IMPATIENT, Random, ending_in, log, name, run_models, totals};

const MODELS: u64 = 4;
const ROUNDS: usize = 8;
const KINDS: [&str; 2] = ["own", "at"];
/// Of a round in which an Invoke may hang.
const SHORT: Duration = Duration::from_secs(3);

/// What the gateway makes of a connection, for every function that posts to it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Well,
    Flaky(u32),
    Gone,
    Refused,
    Stuck,
}

impl Fate {
    fn of(seed: u64, connection: &str) -> Self {
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        match Random(connection.bytes().fold(seed, hash)).below(400) {
            0..40 => Self::Gone,
            40..100 => Self::Flaky(1),
            100..120 => Self::Flaky(2),
            120..130 => Self::Refused,
            130 => Self::Stuck,
            _ => Self::Well,
        }
    }

    fn answer(self, before: u32, random: &mut Random) -> Answer {
        match self {
            Self::Flaky(times) if before < times => match random.below(5) {
                0 => Answer::CutUnread,
                1 => Answer::CutRead,
                2 => Answer::Bare(500),
                // Where it is asked about twice, it is alive.
                3 if times == 1 => Answer::Error(410, "GoneException"),
                _ => THROTTLE,
            },
            Self::Gone => Answer::Bare(410),
            Self::Refused => Answer::Error(413, "PayloadTooLargeException"),
            Self::Stuck => THROTTLE,
            _ if random.one_in(50) => Answer::Serve.after(Duration::from_millis(random.below(50))),
            _ => Answer::Serve,
        }
    }
}

/// A hub whose messages are handed out, and what its rounds have shown.
struct Model {
    world: World,
    publish: Function,
    seed: u64,
    random: Random,
    split: usize,
    workers: usize,
    /// How many chunks were handed out, came back, and were done without trouble, and how many workers died: none of them may
    /// be never.
    events: [usize; 4],
}

/// The recipients of a session.
#[derive(Default)]
struct Session {
    live: Vec<String>,
    expired: Vec<String>,
}

impl Model {
    async fn start(seed: u64) -> Self {
        let mut random = Random(seed);
        let mut one_of = |numbers: &[usize]| numbers[number(&mut random, numbers.len())];
        let (split, workers, rate) = (one_of(&[20, 50, 90]), one_of(&[1, 2, 4]), one_of(&[0, 4_000]));
        let world = World::start().await.with_subscriptions().with_workers(split, workers, rate);
        let publish = Function::with_settings("publish", &world, &[IMPATIENT]).await;
        let (lambda, mut posts) = (world.lambda.clone(), Random(random.below(u64::MAX)));
        world.gateway.script(move |connection, before| {
            if posts.one_in(600) {
                lambda.kill();
            }
            Fate::of(seed, connection).answer(before, &mut posts)
        });
        Self { world, publish, seed, random, split, workers, events: [0; 4] }
    }

    /// From now on Invokes are answered at random.
    fn break_invokes(&mut self, hangs: bool) {
        let mut random = Random(self.random.below(u64::MAX));
        self.world.lambda.script(move |_, _| {
            let pause = Duration::from_millis(random.below(300));
            match random.below(30) {
                0 | 1 => Answer::Error(429, "TooManyRequestsException").after(pause).into(),
                2 => Answer::Error(403, "AccessDeniedException").into(),
                3 => Answer::Error(500, "ServiceException").after(pause).into(),
                4 => Answer::CutUnread.after(pause).into(),
                5 => Answer::CutRead.into(),
                6 => Reaction::Failure,
                7 => Reaction::FailureAfterwards,
                8 => Reaction::Twice,
                9 => Reaction::Beside(Answer::CutUnread.after(pause)),
                10 => Reaction::Beside(Answer::Bare(503).after(pause)),
                11 => Reaction::Text("{}".into()),
                12 => Reaction::Changed(|answer| answer["gone"] = json!(1_000)),
                13 => Answer::Serve.after(pause).into(),
                14 => Reaction::Late(pause),
                15 if hangs => Answer::Hang.into(),
                16 if hangs => Reaction::Late(SHORT),
                _ => Answer::Serve.into(),
            }
        });
    }

    /// Sends to sessions of the round's own.
    async fn round(&mut self, round: usize) {
        let hangs = self.random.one_in(4);
        self.break_invokes(hangs);
        let mut sessions: BTreeMap<String, Session> = BTreeMap::new();
        for place in 0..1 + number(&mut self.random, 3) {
            let name = format!("{round}-{place}");
            let session = self.crowd(&name);
            sessions.insert(name, session);
        }
        let names: Vec<_> = sessions.keys().collect();
        let payload = json!({ "sessions": names, "message": round, "id": format!("m-{round}") }).to_string();
        let before = self.world.lambda.invokes().len();
        let budget = if hangs { SHORT } else { AMPLE };
        let outcome = self.publish.invoke(payload, budget).await;
        assert!(outcome.took < budget, "the answer took {:?}", outcome.took);
        let receipt = outcome.response();
        totals(receipt);
        let invokes = self.world.lambda.invokes().split_off(before);
        check_chunks(&self.world, &invokes, self.split);
        self.check_under_way(&invokes);
        for (counted, (name, session)) in
            receipt["sessions"].as_array().expect("a list").iter().zip(&sessions)
        {
            assert_eq!(counted["session"], **name);
            self.check(counted, session, hangs);
        }
        self.events[0] += invokes.len();
    }

    /// Connects own connections and subscribers of a session, some of which have expired.
    fn crowd(&mut self, session: &str) -> Session {
        let mut crowd = Session::default();
        for kind in KINDS {
            for index in 0..number(&mut self.random, 300) {
                let connection = name(&format!("{kind}-{session}"), index);
                let has_expired = self.random.one_in(20);
                let row = if has_expired { ending_in(session, -5) } else { Row::aged(session, 60) };
                if kind == "own" {
                    self.world.table.put(&connection, row);
                } else {
                    self.world.table.put(&connection, Row::aged("elsewhere", 60));
                    self.world.subscriptions.put(&connection, row);
                }
                if has_expired { &mut crowd.expired } else { &mut crowd.live }.push(connection);
            }
        }
        crowd
    }

    fn check_under_way(&self, invokes: &[Invoke]) {
        for one in invokes {
            let is_under_way =
                |other: &&Invoke| other.at <= one.at && other.ended.is_none_or(|end| end > one.at);
            let under_way = invokes.iter().filter(is_under_way).count();
            assert!(under_way <= self.workers, "{under_way} at once");
        }
    }

    /// Holds a session's counts, and its posts, against what was to become of its recipients.
    fn check(&self, counted: &Value, session: &Session, hangs: bool) {
        let mut fates = HashMap::from([("delivered", 0_u64), ("gone", 0), ("failed", 0)]);
        for connection in &session.live {
            let end = match Fate::of(self.seed, connection) {
                Fate::Well | Fate::Flaky(_) => "delivered",
                Fate::Gone => "gone",
                Fate::Refused | Fate::Stuck => "failed",
            };
            *fates.get_mut(end).expect("one of them") += 1;
        }
        let count = |end: &str| counted[end].as_u64().expect("a count");
        let total: u64 = fates.keys().map(|end| count(end)).sum();
        if hangs {
            let all = session.live.len() as u64;
            assert!(total == all || total < all && counted["complete"] == false, "{counted} of {all}");
            assert!(
                count("delivered") <= fates["delivered"] && count("gone") <= fates["gone"],
                "{counted} {fates:?}"
            );
        } else {
            assert!(counted["complete"].is_null(), "{counted}");
            assert!(fates.iter().all(|(end, expected)| count(end) == *expected), "{counted}, not {fates:?}");
        }
        let posts = self.posts();
        if !hangs {
            let unposted: Vec<_> = session.live.iter().filter(|one| !posts.contains_key(&***one)).collect();
            assert!(unposted.is_empty(), "not posted to: {unposted:?}");
        }
        for connection in &session.live {
            let fate = Fate::of(self.seed, connection);
            let taken = posts.get(&**connection).copied().unwrap_or_default();
            assert!(
                hangs || (taken > 0) == matches!(fate, Fate::Well | Fate::Flaky(_)),
                "{fate:?} {connection} was taken {taken} times"
            );
            let is_there = self.world.table.row(connection).is_some();
            assert!(is_there || fate == Fate::Gone, "the row of {fate:?} {connection} was deleted");
        }
        let expired: Vec<_> = session.expired.iter().filter(|one| posts.contains_key(&***one)).collect();
        assert!(expired.is_empty(), "posted to though their time was over: {expired:?}");
    }

    /// How often the gateway took the frame of each connection that was posted to.
    fn posts(&self) -> HashMap<String, u32> {
        let mut posts = HashMap::new();
        for post in self.world.gateway.posts() {
            *posts.entry(post.connection.to_string()).or_default() += u32::from(post.taken);
        }
        posts
    }
}

fn number(random: &mut Random, below: usize) -> usize {
    usize::try_from(random.below(below as u64)).expect("few")
}

async fn run(seed: u64) -> [u64; 4] {
    let mut model = Model::start(seed).await;
    for round in 0..ROUNDS {
        model.round(round).await;
    }
    for invoke in model.world.lambda.invokes() {
        let endings = invoke.work.iter().map(|outcome| &outcome.ending);
        model.events[3] += endings.filter(|ending| matches!(ending, Ending::Exited(_))).count();
    }
    model.world.lambda.finish().await.iter().for_each(|output| drop(log(output)));
    for line in log(&model.publish.finish()) {
        let count = |value: &Value| usize::try_from(value.as_u64().unwrap_or_default()).expect("few");
        if line["message"] == "chunks failed" {
            model.events[1] += count(&line["count"]);
        } else if line["message"] == "sent" {
            model.events[2] += count(&line["chunks"]);
        }
    }
    let [handed_out, returned, logged, died] = model.events;
    assert_eq!(handed_out, logged, "each Invoke is one chunk");
    [handed_out, returned, handed_out - returned, died].map(|times| times as u64)
}

#[tokio::test]
async fn whatever_fails_each_recipient_is_posted_to_and_counted_once() {
    run_models(MODELS, run).await;
}
