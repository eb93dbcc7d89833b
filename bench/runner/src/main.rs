//! Measures this project's functions, the floor, and the programs in Python and Node.js. `scripts/bench.sh` builds all
//! of them and runs this.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for a terminal, which should stop where the unexpected happens"
)]

mod cgroup;
mod chart;
mod cost;
mod instructions;
mod measure;
mod program;
mod report;
mod scale;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::json;

use crate::{
    measure::Bench,
    program::Program,
    report::{Figure, Point},
    scale::Sample,
};

/// The growth of instruction counts at which the guard fails.
const SLACK: f64 = 1.2;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut options = Options::read();
    let bench = options.bench();
    if let Some(baseline) = options.take("check") {
        return guard(bench, Path::new(&baseline), options.take("accept").is_some()).await;
    }

    let only = options.take("only");
    let recipients = options.take("recipients").map_or(100_000, |text| number(&text));
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only.split(',').any(|word| word == part));
    let mut figures = Vec::new();
    if wanted("instructions") {
        figures.extend(bench.instructions().await);
    }
    if wanted("times") {
        figures.extend(bench.times().await);
    }
    if wanted("tables") {
        figures.extend(bench.tables().await);
    }
    if wanted("memory") {
        figures.extend(bench.memory().await);
    }
    if wanted("fan-out") {
        figures.extend(bench.fan_out().await);
    }
    if wanted("size") {
        figures.extend(bench.sizes());
    }
    // It takes as long as everything else together.
    let samples = if only.is_some() && wanted("scale") { bench.scale(recipients).await } else { Vec::new() };
    let points = if wanted("concurrency") { bench.concurrency().await } else { Vec::new() };

    let when = report::circumstances();
    let json = json!({
        "measured": when,
        "fanout_concurrency": bench.concurrency,
        "figures": figures.iter().map(Figure::json).collect::<Vec<_>>(),
        "concurrency": points.iter().map(Point::json).collect::<Vec<_>>(),
        "scale": samples.iter().map(Sample::json).collect::<Vec<_>>(),
    });
    let results = bench.out.join("results.json");
    fs::write(&results, format!("{json:#}\n")).expect("the results' folder can be written");

    let measured = |table: String| format!("Measured {when}.\n\n{table}");
    let mut parts = Vec::new();
    if !figures.is_empty() {
        if only.is_none() {
            parts.push(("headline", measured(report::headline(&figures))));
        }
        parts.push(("table", measured(report::table(&figures))));
    }
    if !points.is_empty() {
        parts.push(("concurrency", measured(report::concurrency_table(&points))));
    }
    let fan_out = figures.iter().find(|figure| figure.key == "fan_out");
    let python_post = fan_out.and_then(|figure| Some(figure.values[2]? / 10_000.0));
    if let Some(table) = cost::table(&points, bench.concurrency, python_post) {
        parts.push(("cost", measured(table)));
    }
    if !samples.is_empty() {
        let post_rate = post_rate();
        let computed = |table: String| {
            format!(
                "Arithmetic, not measured, where one function posts {post_rate:.0} times per second.\n\n{table}"
            )
        };
        parts.push(("scale", measured(scale::tables::free_table(&samples))));
        parts.push(("scale-quota", measured(scale::tables::account_table(&samples))));
        parts.push(("scale-arithmetic", computed(scale::tables::estimates(post_rate))));
        parts.push(("scale-cost", computed(cost::large(post_rate))));
    }
    for (_, text) in &parts {
        println!("{text}");
    }
    eprintln!("as JSON: {}", results.display());
    if let Some(docs) = options.take("docs").map(PathBuf::from) {
        let pages = ["performance.md", "costs.md"].map(|page| docs.join(page));
        for (name, text) in &parts {
            write_part(&pages, name, text);
        }
        let images = docs.join("images");
        let mut drawings = Vec::new();
        if !figures.is_empty() {
            drawings.push(("performance.svg", chart::draw(&figures, &when)));
        }
        drawings.extend(chart::draw_scale(&samples, &when).map(|drawing| ("scale.svg", drawing)));
        for (name, drawing) in drawings {
            fs::write(images.join(name), drawing).expect("the drawing can be written");
        }
    }
    ExitCode::SUCCESS
}

/// Counts instructions, and compares them with the accepted baseline.
async fn guard(mut bench: Bench, baseline: &Path, accept: bool) -> ExitCode {
    if !accept {
        let accepted: BTreeMap<String, f64> =
            serde_json::from_str(&read(&baseline.to_string_lossy())).expect("the baseline is JSON");
        bench.limits = accepted.into_iter().map(|(key, count)| (key, count * SLACK)).collect();
    }
    let figures = bench.instructions().await;
    let counts = figures.iter().filter_map(|figure| Some((figure.key.clone(), figure.values[0]?.round())));
    let counts: BTreeMap<String, f64> = counts.collect();
    if accept {
        fs::write(baseline, format!("{:#}\n", json!(counts))).expect("the baseline can be written");
        return ExitCode::SUCCESS;
    }
    let mut good = true;
    for (key, limit) in &bench.limits {
        let now = counts.get(key).copied().unwrap_or(f64::INFINITY);
        let is_ok = now <= *limit;
        let verdict = if is_ok { "ok" } else { "TOO MANY" };
        good &= is_ok;
        println!("{verdict:<9} {key:<26} {now:>12.0}, accepted {:>12.0}", limit / SLACK);
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Replaces the part between the two marks of this name, in the page that has them.
fn write_part(pages: &[PathBuf], name: &str, text: &str) {
    let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let found = pages.iter().find_map(|page| {
        let whole = read(&page.to_string_lossy());
        let (before, rest) = whole.split_once(&open)?;
        let (_, after) = rest.split_once(&close)?;
        Some((page, format!("{before}{open}\n{text}\n{close}{after}")))
    });
    let (page, whole) = found.unwrap_or_else(|| panic!("no page has the lines {open} and {close}"));
    fs::write(page, whole).expect("the page can be written");
}

/// The posts per second of one function of the default size, from the page's table of concurrency.
fn post_rate() -> f64 {
    let page = read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/performance.md"));
    let row = page.lines().find(|line| line.starts_with("| 10 ms") && line.contains("| 512 MB"));
    let cell = row.and_then(|row| row.split('|').nth(6)?.trim().split_once("/s")?.0.parse().ok());
    cell.expect("the page has the table of concurrency")
}

fn number(text: &str) -> usize {
    text.parse().expect("a number is given")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn variable(text: &str) -> Option<(String, PathBuf)> {
    text.split_once('=').map(|(name, value)| (name.to_owned(), value.into()))
}

/// `--name value` pairs, as `scripts/bench.sh` gives them.
struct Options(BTreeMap<String, String>);

impl Options {
    fn read() -> Self {
        let words: Vec<String> = env::args().skip(1).collect();
        let pairs = words.chunks(2).map(|pair| match pair {
            [name, value] if name.starts_with("--") => {
                (name.trim_start_matches("--").to_owned(), value.clone())
            }
            _ => panic!("{pair:?} is not an option with its value: run scripts/bench.sh, see its --help"),
        });
        Self(pairs.collect())
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn need(&mut self, name: &str) -> String {
        self.take(name).unwrap_or_else(|| panic!("--{name} is missing: run scripts/bench.sh, see its --help"))
    }

    fn bench(&mut self) -> Bench {
        let functions = PathBuf::from(self.need("functions"));
        let mut hub = Program::new("send-message", functions.join("send-message/bootstrap"));
        hub.variables.extend(self.take("env").as_deref().and_then(variable));
        let mut programs = vec![hub];
        if let Some(floor) = self.take("floor") {
            let app = PathBuf::from(self.need("app"));
            programs.push(Program::new("floor", floor.into()));
            programs.push(Program::python(self.need("python").into(), &app));
            programs.push(Program::node(self.need("node").as_ref()));
        }
        Bench {
            functions,
            programs,
            trusted: self.need("trusted").into(),
            out: self.need("out").into(),
            concurrency: number(&self.need("concurrency")),
            rounds: self.take("rounds").map_or(1, |text| number(&text)),
            limits: BTreeMap::new(),
        }
    }
}
