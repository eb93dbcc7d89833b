//! The measurements. Each compares programs within one run, taking turns, so that a busy machine is busy for all.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use harness::{Answer, World};

use tokio::sync::Semaphore;

use crate::{
    cgroup::Quota,
    program::{self, CROWD, ONE, Process, Program, Setting, event, ungranted},
    report::{Figure, Point, Target, Unit},
};

/// The functions beside send-message, which nothing is compared with. The authorizer is not among them: without an
/// issuer of tokens it does not start.
const OTHERS: [&str; 3] = ["connect", "disconnect", "publish"];
/// Posts whose instructions are counted, beyond the first.
const COUNTED: usize = 1_000;
/// Posts of a fan-out whose processor time is taken.
const TIMED: usize = 2_000;
/// How often the instructions of a start are counted, for the least of it.
const COUNTS: u32 = 3;
/// How often they are counted at most, where one count fails or is above its limit.
const MOST_COUNTS: u32 = 8;
/// How long `@connections` takes for a post at best.
pub(crate) const POST: Duration = Duration::from_millis(10);

/// How long DynamoDB takes for a call.
pub(crate) const TABLE_CALL: Duration = Duration::from_millis(5);

/// What is measured, and where what comes of it lies.
pub(crate) struct Bench {
    /// The functions' folders.
    pub(crate) functions: PathBuf,
    /// This project's send-message, then, unless it is only guarded, the floor, the Python proof of concept and the same
    /// in Node.js.
    pub(crate) programs: Vec<Program>,
    /// The folder for results and certificates.
    pub(crate) out: PathBuf,
    /// The authorities to trust, beside the certificate and key of the world.
    pub(crate) trusted: PathBuf,
    /// `FANOUT_CONCURRENCY`.
    pub(crate) concurrency: usize,
    /// How often what is measured in time is repeated, for the least of it.
    pub(crate) rounds: usize,
    /// By a figure's key: instructions that are few enough, so that they are not counted again.
    pub(crate) limits: BTreeMap<String, f64>,
}

impl Bench {
    pub(crate) fn setting(&self) -> Setting<'_> {
        Setting { concurrency: self.concurrency, callgrind: None, trusted: &self.trusted }
    }

    pub(crate) async fn world(&self, crowd: usize) -> World {
        program::world(self.trusted.parent().expect("it is in a folder"), crowd).await
    }

    /// Counts the instructions of a whole process that hands `event` to `handle`.
    async fn count(&self, program: &Program, label: &str, job: Job) -> f64 {
        let mut world = self.world(if matches!(job, Job::Fanout) { COUNTED + 1 } else { 0 }).await;
        world = match job {
            Job::Kept => world.with_history(),
            Job::Subscribed => world.with_subscriptions(),
            _ => world,
        };
        let file = self.out.join(format!("callgrind/{}-{label}.out", program.name));
        let setting = Setting { callgrind: Some(&file), ..self.setting() };
        let key = if matches!(job, Job::Sample) { program.name } else { label };
        let limit = self.limits.get(&format!("instructions_{key}"));
        let (mut problem, mut least, mut counts) = (String::new(), f64::INFINITY, 0);
        // Under callgrind all is some 50 times slower, and the hub's timeouts are not: on a busy machine it connects or asks
        // again, which is counted too. Among a thousand posts that does not matter.
        for _ in 0..MOST_COUNTS {
            let process = program.start(&world, setting).await;
            let done = match job {
                Job::First | Job::Kept | Job::Subscribed => process.try_send(ONE, 1).await,
                Job::Ungranted => process.invoke(ungranted(ONE), 1).await,
                Job::Fanout => process.try_send(CROWD, COUNTED + 1).await,
                Job::Sample => process.invoke(event(program.name).to_string(), 0).await,
            };
            process.terminate().await;
            match done {
                Ok(_) => (least, counts) = (least.min(total(&file)), counts + 1),
                Err(error) => problem = error,
            }
            let is_enough = limit.map_or(counts == COUNTS, |limit| least <= *limit);
            if is_enough || (counts > 0 && matches!(job, Job::Fanout)) {
                break;
            }
        }
        assert!(least.is_finite(), "{problem}");
        least
    }

    /// Instructions, by callgrind.
    pub(crate) async fn instructions(&self) -> Vec<Figure> {
        fs::create_dir_all(self.out.join("callgrind")).expect("the results' folder can be written");
        let (mut start, mut post) = ([None; 4], [None; 4]);
        // Not Python's: an interpreter under callgrind takes minutes, and says nothing that its time does not.
        for (index, program) in self.programs.iter().enumerate().take(2) {
            eprintln!("instructions of {}", program.name);
            let first = self.count(program, "start", Job::First).await;
            let fan_out = self.count(program, "fan-out", Job::Fanout).await;
            start[index] = Some(first);
            #[allow(clippy::cast_precision_loss, reason = "a small number")]
            let counted = COUNTED as f64;
            post[index] = Some((fan_out - first) / counted);
        }
        let mut figures = vec![
            Figure::new("instructions_start", "instructions, start and first message", Unit::Count, start)
                .target(Target::OfFloor(1.4)),
            Figure::new("instructions_post", "instructions per further post", Unit::Count, post)
                .target(Target::OfFloor(1.3)),
        ];
        for (index, (name, label, job)) in [
            ("ungranted", "instructions of that without a grant: the sender's row is read", Job::Ungranted),
            ("history", "instructions of that with history: the message is written first", Job::Kept),
            (
                "subscriptions",
                "instructions of that with subscriptions: two tables are read",
                Job::Subscribed,
            ),
        ]
        .into_iter()
        .enumerate()
        {
            let count = self.count(&self.programs[0], name, job).await;
            let values = [Some(count), None, None, None];
            let key = format!("instructions_{name}");
            figures.insert(index + 1, Figure::new(&key, label, Unit::Count, values));
        }
        for name in OTHERS {
            let program = self.other(name);
            let count = self.count(&program, "start", Job::Sample).await;
            let label = format!("instructions, {name}: start and first event");
            figures.push(Figure::new(
                &format!("instructions_{name}"),
                &label,
                Unit::Count,
                [Some(count), None, None, None],
            ));
        }
        figures
    }

    pub(crate) fn other(&self, name: &'static str) -> Program {
        Program::new(name, self.functions.join(name).join("bootstrap"))
    }

    /// Time and processor time of a start and of a post.
    pub(crate) async fn times(&self) -> Vec<Figure> {
        let world = self.world(TIMED).await;
        let mut least = [[f64::INFINITY; 4]; 5];
        let mut keep = |figure: usize, program: usize, value: Duration| {
            let cell = &mut least[figure][program];
            *cell = cell.min(value.as_secs_f64());
        };
        for round in 1..=self.rounds {
            eprintln!("times, round {round} of {}", self.rounds);
            for (index, program) in self.programs.iter().enumerate() {
                let process = program.start(&world, self.setting()).await;
                process.idle().await;
                keep(0, index, process.started.elapsed());
                keep(1, index, process.cpu());
                drop(process);

                let process =
                    first_answer(program, &world, self.setting(), |wall| keep(2, index, wall)).await;
                let start = process.cpu();
                keep(3, index, start);
                process.send(CROWD, TIMED).await;
                #[allow(clippy::cast_possible_truncation, reason = "2,000 posts")]
                keep(4, index, (process.cpu() - start) / TIMED as u32);
            }
        }
        let [ready, ready_cpu, answer, answer_cpu, post] =
            least.map(|row| row.map(|value| value.is_finite().then_some(value)));
        vec![
            Figure::new("post_cpu", "CPU per post", Unit::Seconds, post)
                .target(Target::OfFloor(1.3))
                .target(Target::OfPython(1.0 / 15.0)),
            Figure::new("ready", "start to first request", Unit::Seconds, ready),
            Figure::new("ready_cpu", "CPU of that", Unit::Seconds, ready_cpu),
            Figure::new("answer", "start and first answer", Unit::Seconds, answer)
                .target(Target::OfFloor(1.4)),
            Figure::new("answer_cpu", "CPU of that", Unit::Seconds, answer_cpu),
        ]
    }

    /// How long a sender waits for the receipt of a message to one connection, without and with the other tables, where
    /// DynamoDB and the gateway take the time that they do on AWS.
    pub(crate) async fn tables(&self) -> Vec<Figure> {
        let mut figures = Vec::new();
        for (key, label, history, subscriptions) in [
            (
                "message",
                "a message to one; DynamoDB answers after 5 ms, the gateway after 10 ms",
                false,
                false,
            ),
            ("message_subscriptions", "the same with subscriptions", false, true),
            ("message_history", "the same with history", true, false),
            ("message_both", "the same with both", true, true),
        ] {
            eprintln!("{label}");
            let mut world = self.world(0).await;
            if history {
                world = world.with_history();
            }
            if subscriptions {
                world = world.with_subscriptions();
            }
            world.table.script(|_, _| Answer::Serve.after(TABLE_CALL));
            world.messages.script(|_, _| Answer::Serve.after(TABLE_CALL));
            world.subscriptions.script(|_, _| Answer::Serve.after(TABLE_CALL));
            slow_gateway(&world, POST);
            let process = self.programs[0].start(&world, self.setting()).await;
            let mut least = f64::INFINITY;
            for _ in 0..=10 * self.rounds {
                least = least.min(process.send(ONE, 1).await.took.as_secs_f64());
            }
            figures.push(Figure::new(key, label, Unit::Seconds, [Some(least), None, None, None]));
        }
        figures
    }

    /// Peak memory of a process that delivers one message to that many connections.
    pub(crate) async fn memory(&self) -> Vec<Figure> {
        let mut figures = Vec::new();
        let mut at_1000 = f64::NAN;
        for recipients in [1, 1_000, 100_000] {
            let mut peaks = [None; 4];
            for (peak, program) in peaks.iter_mut().zip(&self.programs) {
                eprintln!("memory of {} at {recipients} connections", program.name);
                let world = self.world(recipients).await;
                let process = program.start(&world, self.setting()).await;
                process.send(CROWD, recipients).await;
                #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
                let bytes = process.peak_memory() as f64;
                *peak = Some(bytes);
            }
            let label = format!("peak memory at {} connections", grouped(recipients));
            let figure = Figure::new(&format!("memory_{recipients}"), &label, Unit::Bytes, peaks);
            figures.push(match recipients {
                1_000 => {
                    at_1000 = peaks[0].unwrap_or(f64::NAN);
                    figure.target(Target::AtMost(12e6))
                }
                100_000 => figure.target(Target::AtMost(at_1000 + 4e6)),
                _ => figure,
            });
        }
        figures
    }

    /// How long a fan-out takes when the gateway, and not the processor, is what it waits for.
    pub(crate) async fn fan_out(&self) -> Vec<Figure> {
        const CROWD_SIZE: usize = 10_000;
        let mut least = [f64::INFINITY; 4];
        for round in 1..=3 {
            eprintln!("fan-out, round {round} of 3");
            for (index, program) in self.programs.iter().enumerate() {
                // One post after another, 10,000 would take two minutes: a tenth of them takes a tenth of it.
                let scale = if program.concurrent { 1 } else { 10 };
                let world = self.world(CROWD_SIZE / scale).await;
                slow_gateway(&world, POST);
                let process = program.start(&world, self.setting()).await;
                process.idle().await;
                let outcome = process.send(CROWD, CROWD_SIZE / scale).await;
                #[allow(clippy::cast_precision_loss, reason = "1 or 10")]
                let wall = outcome.took.as_secs_f64() * scale as f64;
                least[index] = least[index].min(wall);
            }
        }
        let one_processor = self.one_processor(CROWD_SIZE).await;
        #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
        let ideal = (CROWD_SIZE as f64 / self.concurrency as f64) * POST.as_secs_f64();
        let label = format!("10,000 posts of 10 ms, {} at once (at best {ideal:.3} s)", self.concurrency);
        vec![
            Figure::new("fan_out", &label, Unit::Seconds, least.map(Some))
                .target(Target::AtMost(1.15 * ideal)),
            Figure::new(
                "one_processor",
                "the same with one processor (1,769 MB), 256 at once",
                Unit::Seconds,
                [one_processor, None, None, None],
            )
            .target(Target::AtMost(1.0)),
        ]
    }

    /// Seconds for a message to `crowd` connections with the processor that Lambda gives at 1,769 MB, of five the least;
    /// `None` where no control group can be made.
    async fn one_processor(&self, crowd: usize) -> Option<f64> {
        let world = self.world(crowd).await;
        slow_gateway(&world, POST);
        let mut least = None;
        for round in 1..=5 {
            eprintln!("one processor, round {round} of 5");
            let quota =
                Quota::of_memory(1769).inspect_err(|error| eprintln!("no control group: {error}")).ok()?;
            let process =
                self.programs[0].start(&world, Setting { concurrency: 256, ..self.setting() }).await;
            process.send(ONE, 1).await;
            quota.hold(process.pid()).expect("a process of ours can be moved");
            let took = process.send(CROWD, crowd).await.took.as_secs_f64();
            least = Some(least.map_or(took, |least: f64| least.min(took)));
        }
        least
    }

    /// The functions' zips.
    pub(crate) fn sizes(&self) -> Vec<Figure> {
        let folders = fs::read_dir(&self.functions).expect("the functions' folder can be read");
        let size = |folder: fs::DirEntry| {
            let name = folder.file_name().into_string().ok()?;
            #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
            let size = fs::metadata(folder.path().join("bootstrap.zip")).ok()?.len() as f64;
            let values = [Some(size), None, None, None];
            let figure = Figure::new(&format!("zip_{name}"), &format!("zip of {name}"), Unit::Bytes, values);
            Some(figure.target(Target::AtMost(2.2e6)))
        };
        let mut figures: Vec<Figure> = folders.filter_map(|folder| size(folder.ok()?)).collect();
        figures.sort_by(|one, other| one.key.cmp(&other.key));
        figures
    }

    /// Fan-outs at several concurrencies, on the share of a processor that Lambda gives at several memory sizes.
    pub(crate) async fn concurrency(&self) -> Vec<Point> {
        const CROWD_SIZE: usize = 2_000;
        let mut points = Vec::new();
        for latency_ms in [10, 50] {
            let world = self.world(CROWD_SIZE).await;
            slow_gateway(&world, Duration::from_millis(latency_ms));
            for memory_mb in [128, 256, 512, 1024, 1769] {
                for concurrency in [8, 16, 32, 64, 128, 256] {
                    eprintln!("fan-out at {memory_mb} MB, {concurrency} at once, {latency_ms} ms a post");
                    let quota = match Quota::of_memory(memory_mb) {
                        Ok(quota) => quota,
                        Err(error) => {
                            eprintln!("no control group can be made, so memory sizes are left out: {error}");
                            return points;
                        }
                    };
                    let process =
                        self.programs[0].start(&world, Setting { concurrency, ..self.setting() }).await;
                    process.send(ONE, 1).await;
                    quota.hold(process.pid()).expect("a process of ours can be moved");
                    let before = process.cpu();
                    let outcome = process.send(CROWD, CROWD_SIZE).await;
                    let cpu = process.cpu() - before;
                    points.push(Point {
                        latency_ms,
                        memory_mb,
                        concurrency,
                        posts: CROWD_SIZE,
                        wall: outcome.took,
                        cpu,
                    });
                }
            }
        }
        points
    }
}

/// A gateway that takes every frame, and this long for it. Not with tokio's timer, which counts whole milliseconds: all
/// posts of a millisecond would be answered together, and the processor would idle and be overrun by turns.
pub(crate) fn slow_gateway(world: &World, latency: Duration) {
    let (waiting, queue) = mpsc::channel::<(Instant, Arc<Semaphore>)>();
    thread::spawn(move || {
        for (due, gate) in queue {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            gate.add_permits(1);
        }
    });
    world.gateway.script(move |_, _| {
        let gate = Arc::new(Semaphore::new(0));
        let _ = waiting.send((Instant::now() + latency, gate.clone()));
        Answer::Serve.once(&gate)
    });
}

/// What a process does whose instructions are counted.
#[derive(Clone, Copy)]
enum Job {
    /// A message to one connection.
    First,
    /// The same without a grant.
    Ungranted,
    /// The same as the first, in a hub with history.
    Kept,
    /// The same as the first, in a hub with subscriptions.
    Subscribed,
    /// A message to many.
    Fanout,
    /// The function's own sample event.
    Sample,
}

/// Starts a program whose first event waits for it, as at a cold start.
async fn first_answer<'a>(
    program: &Program,
    world: &'a World,
    setting: Setting<'_>,
    keep: impl FnOnce(Duration),
) -> Process<'a> {
    let process = program.start(world, setting).await;
    let outcome = process.send(ONE, 1).await;
    keep(outcome.began + outcome.took - process.started);
    process
}

/// The sum that callgrind wrote.
fn total(file: &Path) -> f64 {
    let text = fs::read_to_string(file).expect("callgrind writes its file when the process ends");
    let total =
        text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    total.and_then(|number| number.trim().parse().ok()).expect("callgrind's file has a total")
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
