//! The results: as tables, as JSON, and compared with the targets.

use std::{process::Command, time::Duration};

use serde_json::{Value, json};

/// The unit of a figure.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Count,
    Seconds,
    Bytes,
}

/// An upper limit for a figure of the hub.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtMost(f64),
    OfFloor(f64),
    OfPython(f64),
}

/// The values of the hub, the floor, Python and Node.
pub(crate) type Values = [Option<f64>; 4];

/// One line of the table.
pub(crate) struct Figure {
    pub(crate) key: String,
    pub(crate) label: String,
    pub(crate) unit: Unit,
    pub(crate) values: Values,
    targets: Vec<Target>,
}

impl Figure {
    pub(crate) fn new(key: &str, label: &str, unit: Unit, values: Values) -> Self {
        Self { key: key.into(), label: label.into(), unit, values, targets: Vec::new() }
    }

    pub(crate) fn target(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }

    /// The hub's value divided by `of`.
    fn ratio(&self, of: Option<f64>) -> Option<f64> {
        Some(self.values[0]? / of?)
    }

    /// A target in words, and whether it is met, if that is known.
    fn verdict(&self, target: Target) -> (String, Option<bool>) {
        let [hub, floor, python, _] = self.values;
        let met = |limit: Option<f64>| Some(hub? <= limit?);
        match target {
            Target::AtMost(limit) => (format!("≤ {}", self.unit.text(limit)), met(Some(limit))),
            Target::OfFloor(factor) => {
                (format!("≤ {factor} × floor"), met(floor.map(|floor| floor * factor)))
            }
            Target::OfPython(factor) => {
                (format!("≤ 1/{:.0} of Python", 1.0 / factor), met(python.map(|python| python * factor)))
            }
        }
    }

    fn row(&self) -> Vec<String> {
        let [hub, floor, python, node] =
            self.values.map(|value| value.map_or(String::new(), |value| self.unit.text(value)));
        let [_, of_floor, of_python, of_node] = self.values.map(|of| {
            self.ratio(of).map_or(String::new(), |ratio| match 1.0 / ratio {
                times if times >= 2.0 => format!("1/{times:.0}"),
                _ => format!("{ratio:.2} ×"),
            })
        });
        let targets = self.targets.iter().map(|target| {
            let (text, met) = self.verdict(*target);
            match met {
                Some(true) => format!("{text}: met"),
                Some(false) => format!("{text}: **not met**"),
                None => text,
            }
        });
        let targets = targets.collect::<Vec<_>>().join(", ");
        vec![self.label.clone(), hub, floor, of_floor, python, of_python, node, of_node, targets]
    }

    pub(crate) fn json(&self) -> Value {
        let targets = self.targets.iter().map(|target| {
            let (text, met) = self.verdict(*target);
            json!({ "target": text, "met": met })
        });
        let [hub, floor, python, node] = self.values;
        json!({
            "key": self.key,
            "label": self.label,
            "unit": self.unit.word(),
            "hub": hub,
            "floor": floor,
            "python": python,
            "node": node,
            "of_floor": self.ratio(floor),
            "of_python": self.ratio(python),
            "of_node": self.ratio(node),
            "targets": targets.collect::<Vec<_>>(),
        })
    }
}

impl Unit {
    fn word(self) -> &'static str {
        match self {
            Self::Count => "instructions",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
        }
    }

    /// The value with a readable unit.
    pub(crate) fn text(self, value: f64) -> String {
        match self {
            Self::Count if value >= 1e6 => format!("{:.2} M", value / 1e6),
            Self::Count => format!("{:.0} k", value / 1e3),
            Self::Bytes => format!("{:.2} MB", value / 1e6),
            Self::Seconds if value >= 1.0 => format!("{value:.3} s"),
            Self::Seconds if value >= 1e-3 => format!("{:.2} ms", value * 1e3),
            Self::Seconds => format!("{:.1} µs", value * 1e6),
        }
    }
}

/// A fan-out at one concurrency, with one share of a processor.
pub(crate) struct Point {
    pub(crate) latency_ms: u64,
    pub(crate) memory_mb: u32,
    pub(crate) concurrency: usize,
    pub(crate) posts: usize,
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

impl Point {
    pub(crate) fn posts(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
        let posts = self.posts as f64;
        posts
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "latency_ms": self.latency_ms,
            "memory_mb": self.memory_mb,
            "concurrency": self.concurrency,
            "posts": self.posts,
            "wall_seconds": self.wall.as_secs_f64(),
            "cpu_seconds": self.cpu.as_secs_f64(),
        })
    }
}

/// The keys and the labels of the figures that the page begins with, as a table and as a drawing.
pub(crate) const HEADLINE: [(&str, &str); 5] = [
    ("post_cpu", "CPU per post"),
    ("answer_cpu", "CPU of a cold start, to its first answer"),
    ("memory_1000", "Peak memory, 1,000 connections"),
    ("memory_100000", "Peak memory, 100,000 connections"),
    ("fan_out", "10,000 posts of 10 ms each"),
];

/// The figures that the page begins with, as a table in Markdown.
pub(crate) fn headline(figures: &[Figure]) -> String {
    let rows = HEADLINE.iter().filter_map(|(key, label)| {
        let figure = figures.iter().find(|figure| figure.key == *key)?;
        let cells = figure.values.map(|value| value.map_or(String::new(), |value| figure.unit.text(value)));
        Some([vec![(*label).to_owned()], cells.to_vec()].concat())
    });
    markdown(["", "hub", "floor", "Python", "Node"].map(String::from).to_vec(), rows.collect())
}

/// The figures as a table in Markdown.
pub(crate) fn table(figures: &[Figure]) -> String {
    let head = ["", "hub", "floor", "hub ÷ floor", "Python", "hub ÷ Python", "Node", "hub ÷ Node", "target"];
    markdown(head.map(String::from).to_vec(), figures.iter().map(Figure::row).collect())
}

/// Posts per second and processor time per post: one row per memory size, one column per concurrency.
pub(crate) fn concurrency_table(points: &[Point]) -> String {
    let mut columns: Vec<usize> = points.iter().map(|point| point.concurrency).collect();
    columns.sort_unstable();
    columns.dedup();
    let mut head = vec!["a post takes".to_owned(), "memory".to_owned()];
    head.extend(columns.iter().map(usize::to_string));
    let rows =
        points.chunk_by(|one, next| (one.latency_ms, one.memory_mb) == (next.latency_ms, next.memory_mb));
    let rows = rows.filter_map(|row| {
        let first = row.first()?;
        let mut cells = vec![format!("{} ms", first.latency_ms), format!("{} MB", first.memory_mb)];
        cells.extend(row.iter().map(|point| {
            let rate = point.posts() / point.wall.as_secs_f64();
            format!("{rate:.0}/s · {:.0} µs", point.cpu.as_secs_f64() / point.posts() * 1e6)
        }));
        Some(cells)
    });
    markdown(head, rows.collect())
}

/// A Markdown table whose columns are aligned.
pub(crate) fn markdown(head: Vec<String>, rows: Vec<Vec<String>>) -> String {
    let rule = vec!["---".to_owned(); head.len()];
    let lines: Vec<Vec<String>> = [head, rule].into_iter().chain(rows).collect();
    let width = |column: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let render = |line: &Vec<String>| {
        let cells = line.iter().enumerate().map(|(column, cell)| {
            let fill = if cell == "---" { '-' } else { ' ' };
            let padding = fill.to_string().repeat(width(column).saturating_sub(cell.chars().count()));
            format!(" {cell}{padding} |")
        });
        format!("|{}\n", cells.collect::<String>())
    };
    lines.iter().map(render).collect()
}

/// The date and the machine of the measurement.
pub(crate) fn circumstances() -> String {
    let date = Command::new("date").args(["-u", "+%F"]).output();
    let date =
        date.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{date}, {cores} × {model}, Linux {}", std::env::consts::ARCH)
}
