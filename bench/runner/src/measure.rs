//! The measurements of time and memory. The programs take turns within one run, so that a busy machine affects all of
//! them.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use harness::{Answer, World};

use tokio::sync::Semaphore;

use crate::{
    cgroup::Quota,
    program::{self, CROWD, ONE, Process, Program, Setting},
    report::{Figure, Point, Target, Unit},
};

/// The posts of a fan-out whose processor time is measured.
const TIMED: usize = 2_000;
/// The shortest time in which `@connections` answers a post.
pub(crate) const POST: Duration = Duration::from_millis(10);
/// The time in which DynamoDB answers a call.
pub(crate) const TABLE_CALL: Duration = Duration::from_millis(5);

/// The programs to measure, and the settings of a run.
pub(crate) struct Bench {
    /// The folder of the functions.
    pub(crate) functions: PathBuf,
    /// This project's send-message, followed by the floor, the program in Python and the one in Node.js unless only the
    /// guard runs.
    pub(crate) programs: Vec<Program>,
    /// The folder for results and certificates.
    pub(crate) out: PathBuf,
    /// The trust anchors. The world's certificate and key are in the same folder.
    pub(crate) trusted: PathBuf,
    /// `FANOUT_CONCURRENCY`.
    pub(crate) concurrency: usize,
    /// How often times are measured. The lowest is the result.
    pub(crate) rounds: usize,
    /// By a figure's key: a count of instructions that is low enough to stop counting.
    pub(crate) limits: BTreeMap<String, f64>,
}

impl Bench {
    pub(crate) fn setting(&self) -> Setting<'_> {
        Setting { concurrency: self.concurrency, callgrind: None, trusted: &self.trusted }
    }

    pub(crate) async fn world(&self, crowd: usize) -> World {
        program::world(self.trusted.parent().expect("it is in a folder"), crowd).await
    }

    pub(crate) fn other(&self, name: &'static str) -> Program {
        Program::new(name, self.functions.join(name).join("bootstrap"))
    }

    /// Wall time and processor time of a start and of a post.
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

    /// How long a sender waits for the receipt of a message to one connection, without and with the other tables, if
    /// DynamoDB and the gateway are as fast as on AWS.
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

    /// The peak memory of a process that delivers one message to so many connections.
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

    /// The time of a fan-out that waits for the gateway and not for the processor.
    pub(crate) async fn fan_out(&self) -> Vec<Figure> {
        const CROWD_SIZE: usize = 10_000;
        let mut least = [f64::INFINITY; 4];
        for round in 1..=3 {
            eprintln!("fan-out, round {round} of 3");
            for (index, program) in self.programs.iter().enumerate() {
                // 10,000 posts one after another would take two minutes: a tenth of them is measured and multiplied.
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

    /// The least of five times, in seconds, for a message to `crowd` connections with the processor of 1,769 MB; `None`
    /// if no control group can be made.
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

    /// The sizes of the functions' zips.
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

    /// Fan-outs at several concurrencies, with the share of a processor that Lambda gives at several memory sizes.
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

/// Makes the gateway accept every frame after `latency`. It does not use tokio's timer, which has a resolution of a
/// millisecond: all posts of one millisecond would be answered together, so that the processor would be idle and
/// overloaded in turn.
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

/// Starts a program, and measures the time to its first answer.
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

/// A number with thousands separators.
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
