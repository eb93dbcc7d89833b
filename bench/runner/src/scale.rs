//! One message to a very large session, posted by one function and by several: time, processor time and memory.

pub(crate) mod tables;

use std::{
    convert::Infallible,
    fs,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use harness::{Answer, Ending, Function, Gateway, World};
use serde_json::{Value, json};
use tokio::time::interval;

use crate::{
    cgroup::Quota,
    measure::{Bench, POST, TABLE_CALL, slow_gateway},
    program::{CROWD, ONE},
};

/// The default of `FANOUT_SPLIT`.
pub(crate) const SPLIT: usize = 4_000;
/// A split below a small account's burst.
const LOW_SPLIT: usize = 1_000;
/// The connections of a chunk.
pub(crate) const CHUNK: usize = 2_000;
/// Lambda's smallest size, so that one machine can run many functions.
pub(crate) const SMALL_MB: u32 = 128;
/// The default size.
pub(crate) const DEFAULT_MB: u32 = 512;
/// The quota of an account on API Gateway in requests per second, in most regions and in some. Its burst is half of
/// that.
pub(crate) const ACCOUNTS: [usize; 2] = [10_000, 2_500];
/// The longer of the two times of a post in the page's table of concurrency.
const SLOW_POST: Duration = Duration::from_millis(50);
/// How often measurements that only the machine limits are repeated. The lowest is the result.
const ROUNDS: usize = 3;
/// Clients that connect meanwhile, per second.
const HANDSHAKES: u32 = 50;

/// A message to a large session, and the limits of its posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) recipients: usize,
    /// The time in which `@connections` answers a post.
    pub(crate) post: Duration,
    /// The memory size of each function.
    pub(crate) memory_mb: u32,
    /// `FANOUT_SPLIT`.
    split: usize,
    /// `FANOUT_WORKERS`; 0 if nothing is handed over.
    pub(crate) workers: usize,
    /// `FANOUT_RATE`; 0 is no limit.
    pub(crate) rate: usize,
    /// The account's quota on API Gateway, if there is one. Clients then connect meanwhile.
    pub(crate) account: Option<usize>,
}

/// The result.
pub(crate) struct Sample {
    pub(crate) case: Case,
    wall: Duration,
    /// The processor time of the planner, and of all workers.
    cpu: [Duration; 2],
    /// The peak memory of the planner, and of any worker.
    peaks: [Option<u64>; 2],
    chunks: usize,
    /// Posts that the account's quota refused.
    refused: usize,
    handshakes: Handshakes,
    failed: u64,
    /// How busy the machine was, from 0 to 1.
    busy: f64,
}

/// A process, and the quota that limits it to its share of a processor.
type Held = (Arc<Function>, Quota);

/// Clients that connected while the message was posted.
#[derive(Default, Clone, Copy)]
struct Handshakes {
    asked: u32,
    refused: u32,
}

/// The default of `FANOUT_RATE` in such an account.
pub(crate) fn default_rate(account: usize) -> usize {
    account * 4 / 5
}

impl Bench {
    /// A message to so many connections, one to ten times as many and one to a tenth, with and without workers and a
    /// rate limit.
    pub(crate) async fn scale(&self, recipients: usize) -> Vec<Sample> {
        let free = |workers| Case {
            recipients,
            post: POST,
            memory_mb: SMALL_MB,
            split: SPLIT,
            workers,
            rate: 0,
            account: None,
        };
        let mut samples: Vec<Sample> = Vec::new();
        for _ in 0..ROUNDS {
            for workers in [0, 1, 2, 4, 8, 16] {
                let sample = self.large(free(workers)).await;
                match samples.iter_mut().find(|known| known.case == sample.case) {
                    Some(known) if known.wall <= sample.wall => {}
                    Some(known) => *known = sample,
                    None => samples.push(sample),
                }
            }
        }
        for workers in [8, 16] {
            samples.push(self.large(Case { recipients: 10 * recipients, ..free(workers) }).await);
        }

        let [account, small_account] = ACCOUNTS;
        let within = |workers, rate, account| {
            let account = Some(account);
            Case { memory_mb: DEFAULT_MB, rate, account, ..free(workers) }
        };
        let rate = default_rate(account);
        let cases = [(0, 0), (4, 0), (8, 0), (1, rate), (2, rate), (4, rate), (8, rate)];
        let mut cases = cases.map(|(workers, rate)| within(workers, rate, account)).to_vec();
        let usual = [within(0, 0, account), within(4, rate, account)];
        cases.extend(usual.map(|case| Case { recipients: recipients / 10, ..case }));
        cases.extend(usual.map(|case| Case { post: SLOW_POST, ..case }));
        cases.push(within(0, 0, small_account));
        let small = within(4, default_rate(small_account), small_account);
        cases.extend([small, Case { split: LOW_SPLIT, ..small }]);
        for case in cases {
            samples.push(self.large(case).await);
        }
        samples
    }

    async fn large(&self, case: Case) -> Sample {
        let Case { recipients, post, memory_mb, split, workers, rate, account } = case;
        let mut world = self.world(recipients).await;
        if workers > 0 {
            world = world.with_workers(split, workers, rate);
        }
        slow_gateway(&world, post);
        world.table.script(|_, _| Answer::Serve.after(TABLE_CALL));
        let others = self.workers(&world, memory_mb);

        let own = share(memory_mb);
        let publish = self.other("publish").start(&world, self.setting()).await;
        publish.publish(ONE).await;
        own.hold(publish.pid()).expect("a process of ours can be moved");
        if let Some(account) = account {
            world.gateway.quota(number(account), number(account / 2));
        }
        let (before, own_before) = (publish.cpu(), own_cpu());
        let mut handshakes = Handshakes::default();
        let outcome = tokio::select! {
            outcome = publish.publish(CROWD) => outcome,
            never = handshakes.come(&world.gateway) => match never {},
        };
        let own_cpu = own_cpu() - own_before;
        let Ending::Response(receipt) = &outcome.ending else { panic!("no receipt: {outcome:?}") };
        let count = |name: &str| receipt[name].as_u64().unwrap_or_default();
        let (delivered, failed) = (count("delivered"), count("failed"));
        let is_whole = delivered + failed == recipients as u64 && (account.is_some() || failed == 0);
        assert!(is_whole, "the receipt does not add up: {receipt}");

        let (mut cpu, mut largest) = (Duration::ZERO, None);
        for (function, _) in others.lock().expect("nothing panics with the lock").iter() {
            cpu += function.cpu_time();
            largest = largest.max(Some(function.peak_memory()));
            // Its control group can only be removed afterwards.
            function.kill();
        }
        let cpu = [publish.cpu() - before, cpu];
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let all: Duration = cpu.iter().sum::<Duration>() + own_cpu;
        let sample = Sample {
            case,
            wall: outcome.took,
            cpu,
            peaks: [Some(publish.peak_memory()), largest],
            chunks: world.lambda.invokes().len(),
            refused: world.gateway.posts().iter().filter(|post| !post.taken).count(),
            handshakes,
            failed,
            busy: all.as_secs_f64() / outcome.took.as_secs_f64() / number(processors),
        };
        eprintln!("{}", sample.json());
        sample
    }

    /// The workers that will be invoked, each limited to the share of a processor of its size.
    fn workers(&self, world: &World, memory_mb: u32) -> Arc<Mutex<Vec<Held>>> {
        let environment = self.setting().environment();
        world.lambda.adjust(move |command| {
            command.envs(environment.clone());
        });
        let started = Arc::new(Mutex::new(Vec::new()));
        let functions = started.clone();
        world.lambda.on_start(move |function| {
            let share = share(memory_mb);
            share.hold(function.pid()).expect("a process of ours can be moved");
            started.lock().expect("nothing panics with the lock").push((function.clone(), share));
        });
        functions
    }
}

fn share(memory_mb: u32) -> Quota {
    Quota::of_memory(memory_mb).expect("a control group can be made, which takes root")
}

impl Handshakes {
    async fn come(&mut self, gateway: &Gateway) -> Infallible {
        let mut next = interval(Duration::from_secs(1) / HANDSHAKES);
        loop {
            next.tick().await;
            self.asked += 1;
            self.refused += u32::from(!gateway.handshake());
        }
    }
}

/// The processor time of this program, which plays the part of AWS. `/proc/stat` would not do: it is sampled, and
/// misses functions that run only for a moment in each period of their control group.
fn own_cpu() -> Duration {
    let threads = fs::read_dir("/proc/self/task").expect("Linux has this folder");
    let used = threads.filter_map(|thread| {
        let schedstat = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        schedstat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(used.sum())
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
pub(crate) fn number(count: impl TryInto<u64>) -> f64 {
    count.try_into().unwrap_or_default() as f64
}

/// The calculated time of a message, in seconds, if one function makes `post_rate` posts per second.
pub(crate) struct Estimate {
    pub(crate) seconds: f64,
    /// The time of all workers together.
    pub(crate) worker_seconds: f64,
    pub(crate) chunks: usize,
}

impl Estimate {
    pub(crate) fn new(recipients: usize, workers: usize, rate: usize, post_rate: f64) -> Self {
        let beyond = recipients.saturating_sub(SPLIT);
        let chunks = if workers == 0 { 0 } else { beyond / CHUNK };
        if chunks == 0 {
            return Self { seconds: number(recipients) / post_rate, worker_seconds: 0.0, chunks };
        }
        let paced = if rate == 0 { post_rate } else { post_rate.min(number(rate / (workers + 1))) };
        let rounds = chunks.div_ceil(workers);
        // The planner posts recipients that fill no chunk meanwhile.
        let seconds = number(SPLIT) / post_rate + number(rounds * CHUNK) / paced;
        Self { seconds, worker_seconds: number(chunks * CHUNK) / paced, chunks }
    }
}

impl Sample {
    fn cpu(&self) -> Duration {
        self.cpu.iter().sum()
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.wall.as_secs_f64()
    }

    /// The planner's processor time for each recipient that it handed over; `None` if it handed over none.
    fn chunk_cpu(&self) -> Option<f64> {
        let handed = number(self.chunks * CHUNK.min(self.case.split));
        let others = self.cpu[1].as_secs_f64();
        let own = (number(self.case.recipients) - handed) * others / handed;
        Some((self.cpu[0].as_secs_f64() - own) / handed).filter(|_| self.chunks > 0)
    }

    pub(crate) fn json(&self) -> Value {
        let Case { recipients, post, memory_mb, split, workers, rate, account } = self.case;
        let [own_cpu, worker_cpu] = self.cpu.map(|cpu| cpu.as_secs_f64());
        json!({
            "recipients": recipients,
            "post_ms": post.as_millis(),
            "memory_mb": memory_mb,
            "split": split,
            "workers": workers,
            "rate": rate,
            "account_quota": account,
            "wall_seconds": self.seconds(),
            "publish_cpu_seconds": own_cpu,
            "deliver_cpu_seconds": worker_cpu,
            "publish_peak_bytes": self.peaks[0],
            "deliver_peak_bytes": self.peaks[1],
            "chunk_cpu_seconds": self.chunk_cpu(),
            "chunks": self.chunks,
            "posts_refused": self.refused,
            "handshakes": self.handshakes.asked,
            "handshakes_refused": self.handshakes.refused,
            "failed": self.failed,
            "machine_busy": self.busy,
        })
    }
}
