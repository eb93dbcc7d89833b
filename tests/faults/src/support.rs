//! The send-message function in a world, and what its answers and log lines say.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use harness::{Function, Gateway, Operation, Outcome, Output, Post, Row, World, over_socket};
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{sleep, sleep_until, timeout},
};

use crate::recorder::Recorder;

/// The sender's connection and session.
pub(crate) const SENDER: &str = "sender=";
pub(crate) const SENDERS_SESSION: &str = "senders";
/// The id of every message that [`Hub::send`] sends.
pub(crate) const ID: &str = "m-1";
/// The setting that gives up on a recipient in trouble after a second.
pub(crate) const IMPATIENT: (&str, &str) = ("STRAGGLER_SECONDS", "1");
/// More than a good answer ever takes, even on a machine that is busy with something else.
pub(crate) const AMPLE: Duration = Duration::from_secs(25);

/// Writes down what was posted, once for all recipients, when the test is over.
struct Posts(Arc<Gateway>);

impl Drop for Posts {
    fn drop(&mut self) {
        let recorder = Recorder::new("socket");
        let posts = self.0.posts();
        let frames: HashSet<_> =
            posts.iter().map(|post| &*post.frame).filter(|frame| !frame.is_empty()).collect();
        frames.into_iter().for_each(|frame| recorder.record("hub", &String::from_utf8_lossy(frame)));
    }
}

/// How long this process, and so the world, ever had to wait for the processor.
pub(crate) struct Pauses {
    longest: Arc<Mutex<Duration>>,
    watching: JoinHandle<()>,
}

impl Pauses {
    fn start() -> Self {
        let longest = Arc::<Mutex<Duration>>::default();
        let seen = longest.clone();
        let watching = tokio::spawn(async move {
            loop {
                let due = Instant::now() + Duration::from_millis(20);
                sleep_until(due.into()).await;
                let mut longest = seen.lock().expect("nothing panics with the lock");
                *longest = due.elapsed().max(*longest);
            }
        });
        Self { longest, watching }
    }

    pub(crate) fn longest(&self) -> Duration {
        *self.longest.lock().expect("nothing panics with the lock")
    }
}

impl Drop for Pauses {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// The send-message function, a world for it, and a sender who is connected.
pub(crate) struct Hub {
    pub(crate) world: World,
    pub(crate) function: Function,
    pub(crate) pauses: Pauses,
    _posts: Posts,
}

impl Hub {
    pub(crate) async fn new() -> Self {
        Self::start(World::start().await).await
    }

    pub(crate) async fn with_history() -> Self {
        Self::start(World::start().await.with_history().with_subscriptions()).await
    }

    pub(crate) async fn with_subscriptions() -> Self {
        Self::start(World::start().await.with_subscriptions()).await
    }

    pub(crate) async fn start(world: World) -> Self {
        world.table.put(SENDER, Row::aged(SENDERS_SESSION, 60));
        let function = Function::start("send-message", &world).await;
        let posts = Posts(world.gateway.clone());
        Self { world, function, pauses: Pauses::start(), _posts: posts }
    }

    /// Starts the function anew, with other settings.
    pub(crate) async fn restart(&mut self, settings: &[(&str, &str)]) {
        self.function = Function::with_settings("send-message", &self.world, settings).await;
    }

    /// Connects `count` connections a minute ago, and names them.
    pub(crate) fn crowd(&self, session: &str, count: usize) -> Vec<String> {
        let names: Vec<String> = (0..count).map(|index| name(session, index)).collect();
        for connection in &names {
            self.world.table.put(connection, Row::aged(session, 60));
        }
        names
    }

    /// Connects `count` connections of another session, subscribes them to `session`, and names them.
    pub(crate) fn subscribers(&self, session: &str, count: usize) -> Vec<String> {
        let names: Vec<String> = (0..count).map(|index| name(&format!("at-{session}"), index)).collect();
        for connection in &names {
            let subscriptions = BTreeSet::from([session.to_owned()]);
            self.world.table.put(connection, Row { subscriptions, ..Row::aged("elsewhere", 60) });
            self.world.subscriptions.put(connection, Row::aged(session, 60));
        }
        names
    }

    /// Sends over the sender's socket to `sessions`, with what is left to Lambda's own deadline.
    pub(crate) async fn send(&self, sessions: &[&str], budget: Duration) -> Outcome {
        let frame = json!({ "action": "sendMessage", "sessions": sessions, "message": "hello", "id": ID });
        self.function.invoke(over_socket(SENDER, &frame.to_string()), budget).await
    }

    /// How often each connection was posted to, and how often the gateway took the frame.
    pub(crate) fn posts(&self) -> HashMap<String, (u32, u32)> {
        let mut counts: HashMap<String, (u32, u32)> = HashMap::new();
        for post in self.world.gateway.posts() {
            let count = counts.entry(post.connection.to_string()).or_default();
            count.0 += 1;
            count.1 += u32::from(post.taken);
        }
        counts
    }

    pub(crate) fn posts_to(&self, connection: &str) -> Vec<Post> {
        self.world.gateway.posts().into_iter().filter(|post| &*post.connection == connection).collect()
    }

    /// The connections that were asked to be deleted from the table, as often as they were.
    pub(crate) fn deletions(&self) -> Vec<String> {
        let calls = self.world.table.calls();
        let deletions = calls.iter().filter(|call| call.operation == Operation::DeleteItem);
        let mut connections: Vec<String> = deletions.filter_map(harness::Call::connection).collect();
        connections.sort_unstable();
        connections
    }

    pub(crate) fn has_row(&self, connection: &str) -> bool {
        self.world.table.row(connection).is_some()
    }

    /// Ends the function and returns its log lines.
    pub(crate) fn log(self) -> Vec<Value> {
        log(&self.function.finish())
    }
}

/// The connection's name at `index` of a session's crowd. API Gateway's names end in `=` too.
pub(crate) fn name(session: &str, index: usize) -> String {
    format!("{session}-{index:06}=")
}

/// What [`name`] made a name of; the largest number for a connection of no crowd.
pub(crate) fn index(name: &str) -> usize {
    let digits = name.trim_end_matches('=').rsplit('-').next().unwrap_or_default();
    digits.parse().unwrap_or(usize::MAX)
}

/// The frame that a socket's sender gets back.
pub(crate) fn frame(outcome: &Outcome) -> Value {
    let answer = outcome.response();
    assert_eq!(answer["statusCode"], 200, "{answer}");
    let text = answer["body"].as_str().expect("the body should be text");
    Recorder::new("socket").record("hub", text);
    serde_json::from_str(text).expect("and JSON")
}

/// A receipt's `[delivered, gone, failed]`, which its sessions must add up to.
pub(crate) fn totals(receipt: &Value) -> [u64; 3] {
    assert_eq!(receipt["type"], "receipt", "{receipt}");
    let counts = |of: &Value| ["delivered", "gone", "failed"].map(|end| of[end].as_u64().expect("a count"));
    let mut sum = [0; 3];
    for session in receipt["sessions"].as_array().expect("a list") {
        for (total, count) in sum.iter_mut().zip(counts(session)) {
            *total += count;
        }
    }
    assert_eq!(counts(receipt), sum, "{receipt}");
    sum
}

/// What the functions say. A line with other words is a library's.
const WORDS: [&str; 25] = [
    "admitted",
    "clock corrected",
    "connected",
    "counted",
    "delivered",
    "deliveries failed",
    "disconnected",
    "explained",
    "failed",
    "chunks failed",
    "hello",
    "history",
    "keys not refreshed",
    "not closed",
    "panicked",
    "prunes failed",
    "refused",
    "sender notified",
    "sent",
    "sessions not served",
    "started",
    "stopped",
    "subscribed",
    "subscriptions not undone",
    "unsubscribed",
];

/// The log lines of a function that logs JSON and nothing else: an invocation has one line for each kind of trouble at
/// most, and the libraries have none.
pub(crate) fn log(output: &Output) -> Vec<Value> {
    assert_eq!(output.stderr, [""; 0], "the log should go to standard output");
    let parse = |line: &String| match serde_json::from_str(line) {
        Ok(value @ Value::Object(_)) => value,
        _ => panic!("a log line should be one JSON object: {line:?}"),
    };
    let lines: Vec<Value> = output.stdout.iter().map(parse).collect();
    let mut said = HashSet::new();
    for line in lines.iter().filter(|line| !line["_aws"].is_object()) {
        let message = line["message"].as_str().unwrap_or_default();
        assert!(WORDS.contains(&message), "a library logs: {line}");
        let invocation = line["span"]["requestId"].as_str().unwrap_or_default();
        assert!(said.insert((invocation, message)), "said twice of one invocation: {line}");
    }
    lines
}

/// The log of a function that must not start.
pub(crate) async fn stopped(function: Function) -> Vec<Value> {
    let status = timeout(AMPLE, function.exited()).await.expect("it should not start");
    assert!(!status.success(), "{status}");
    log(&function.finish())
}

/// The one log line with this message.
pub(crate) fn line<'a>(log: &'a [Value], message: &str) -> &'a Value {
    let mut lines = log.iter().filter(|line| line["message"] == message);
    match (lines.next(), lines.next()) {
        (Some(line), None) => line,
        _ => panic!("one line should say {message:?}: {log:#?}"),
    }
}

/// What CloudWatch would make of a count, over all invocations.
pub(crate) fn counted(log: &[Value], metric: &str) -> f64 {
    let definition = json!({ "Name": metric, "Unit": "Count" });
    let defines = |line: &&Value| {
        let metrics = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array();
        metrics.is_some_and(|metrics| metrics.contains(&definition))
    };
    log.iter().filter(defines).map(|line| line[metric].as_f64().expect("a number")).sum()
}

/// A small generator of random numbers (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// One of the numbers below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    /// True once in so many times.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// The row of a connection that connected a minute ago with a token that ends in `left` seconds.
pub(crate) fn ending_in(session: &str, left: i64) -> Row {
    Row { expires_at: Some(now_ms() / 1000 + left), ..Row::aged(session, 60) }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("the clock should be past 1970");
    now.as_millis().try_into().expect("and before the year 292,000,000")
}

/// Waits until `condition` holds, and not for ever: a test of a broken function should fail, not hang.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(AMPLE, waiting).await.expect("what is waited for should happen");
}

/// Long enough for what must not happen to happen.
pub(crate) async fn a_moment() {
    sleep(Duration::from_millis(50)).await;
}

/// Runs so many models at once, since they mostly wait, each with a seed of its own. A model returns how often each event has
/// happened that it is about; none may have happened never.
pub(crate) async fn run_models<const EVENTS: usize, Model>(count: u64, model: impl Fn(u64) -> Model)
where
    Model: Future<Output = [u64; EVENTS]> + Send + 'static,
{
    let seed = u64::try_from(now_ms()).expect("after 1970");
    let models: Vec<_> = (seed..seed + count).map(|seed| (seed, tokio::spawn(model(seed)))).collect();
    let mut times = [0; EVENTS];
    for (seed, model) in models {
        let events = model.await.unwrap_or_else(|error| panic!("the seed was {seed}: {error}"));
        times.iter_mut().zip(events).for_each(|(times, events)| *times += events);
    }
    assert!(times.iter().all(|times| *times > 0), "{times:?}");
}
