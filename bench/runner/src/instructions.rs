//! Counts instructions with callgrind: of starts, of single messages, and of a post in a fan-out.

use std::{fs, path::Path};

use crate::{
    measure::Bench,
    program::{CROWD, ONE, Program, Setting, event, ungranted},
    report::{Figure, Target, Unit},
};

/// The other functions, which are not compared with other programs. The authorizer is left out, since it does not start
/// without an issuer.
const OTHERS: [&str; 3] = ["connect", "disconnect", "publish"];
/// The posts whose instructions are counted, besides the first.
const COUNTED: usize = 1_000;
/// How often a start is counted. The lowest count is the result.
const COUNTS: u32 = 3;
/// How often it is counted at most, if counts fail or are above the limit.
const MOST_COUNTS: u32 = 8;

/// The work of a process whose instructions are counted.
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

impl Bench {
    /// Counts the instructions of a whole process that does this work.
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
        // Programs run some 50 times slower under callgrind, but their timeouts stay the same. On a busy machine, the
        // hub may repeat connections and calls, which are counted too. Among a thousand posts that does not matter.
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

    /// The instructions of the hub and the floor.
    pub(crate) async fn instructions(&self) -> Vec<Figure> {
        fs::create_dir_all(self.out.join("callgrind")).expect("the results' folder can be written");
        let (mut start, mut post) = ([None; 4], [None; 4]);
        // Python and Node are left out: an interpreter under callgrind takes minutes and shows no more than its time
        // does.
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
}

/// The total in a file of callgrind.
fn total(file: &Path) -> f64 {
    let text = fs::read_to_string(file).expect("callgrind writes its file when the process ends");
    let total =
        text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    total.and_then(|number| number.trim().parse().ok()).expect("callgrind's file has a total")
}
