//! Draws the most important figures as SVGs that are readable on light and dark pages.

use std::fmt::Write;

use crate::{
    measure::grouped,
    report::{Figure, HEADLINE},
    scale::{ACCOUNTS, DEFAULT_MB, SMALL_MB, Sample, default_rate, number},
};

const PROGRAMS: [(&str, &str); 4] =
    [("hub", "this hub"), ("floor", "floor"), ("python", "Python"), ("node", "Node.js")];
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600}.note{fill:#59636e}\
    path{fill:none;stroke:#8c959f;stroke-width:1.5}.grid{stroke:#d1d9e0;stroke-width:1}.dashed{stroke-dasharray:5 4}\
    .hub{fill:#0969da}.floor{fill:#8c959f}.python{fill:#bc4c00}.node{fill:#1a7f37}\
    @media(prefers-color-scheme:dark){text{fill:#f0f6fc}.grid{stroke:#3d444d}.note{fill:#9198a1}.hub{fill:#4493f8}.floor{fill:#656c76}\
    .python{fill:#f0883e}.node{fill:#3fb950}}";
const WIDTH: f64 = 720.0;
const LEFT: f64 = 70.0;
const LONGEST: f64 = 540.0;
const BAR: f64 = 16.0;

/// A group of bars for each figure, each group with its own scale. Figures that were not measured are left out.
pub(crate) fn draw(figures: &[Figure], when: &str) -> String {
    let mut body = String::new();
    let mut y = 8.0;
    for (key, title) in HEADLINE {
        let Some(figure) = figures.iter().find(|figure| figure.key == key) else { continue };
        y += 18.0;
        text(&mut body, "title", 0.0, y, title);
        y += 7.0;
        let largest = figure.values.iter().flatten().copied().fold(0.0, f64::max);
        for ((class, name), value) in PROGRAMS.iter().zip(figure.values) {
            let Some(value) = value else { continue };
            let length = (value / largest * LONGEST).max(1.0);
            text(&mut body, "note", 0.0, y + 12.5, name);
            let _ = write!(
                body,
                r#"<rect class="{class}" x="{LEFT}" y="{y}" width="{length:.1}" height="{BAR}" rx="2"/>"#
            );
            text(&mut body, "", LEFT + length + 6.0, y + 12.5, &figure.unit.text(value));
            y += BAR + 3.0;
        }
        y += 6.0;
    }
    y += 14.0;
    text(&mut body, "note", 0.0, y, &format!("scripts/bench.sh, {when}. Shorter is better."));
    picture(y + 8.0, "The hub, the floor, Python and Node.js, measured side by side", &body)
}

/// The time of one message against the number of functions that post it: measured without and with a rate limit, and
/// the lines of the quota and the limit. Both scales are logarithmic, so that proportional scaling is a straight line.
pub(crate) fn draw_scale(samples: &[Sample], when: &str) -> Option<String> {
    const TOP: f64 = 40.0;
    const BOTTOM: f64 = 340.0;
    const SECONDS: [f64; 5] = [5.0, 10.0, 20.0, 40.0, 80.0];
    const WORKERS: [usize; 6] = [0, 1, 2, 4, 8, 16];
    let first = samples.first()?.case;
    let (recipients, quota) = (first.recipients, ACCOUNTS[0]);
    let (left, right) = (LEFT, LEFT + LONGEST + 60.0);
    // Zero workers are drawn where half a worker would be.
    let x = |workers: f64| left + 30.0 + (workers.max(0.5).log2() + 1.0) / 5.0 * (right - left - 80.0);
    let y = |seconds: f64| BOTTOM - (seconds / SECONDS[0]).log2() / 4.0 * (BOTTOM - TOP);

    let mut body = String::new();
    let title = format!("Seconds for one message to {} connections", grouped(recipients));
    text(&mut body, "title", 0.0, 18.0, &title);
    for seconds in SECONDS {
        path(&mut body, "grid", &[(left, y(seconds)), (right, y(seconds))]);
        text(&mut body, "note", 0.0, y(seconds) + 4.5, &format!("{seconds:.0} s"));
    }
    text(&mut body, "note", 0.0, BOTTOM + 24.0, "workers");
    for workers in WORKERS {
        let name = if workers == 0 { "none".into() } else { workers.to_string() };
        text(&mut body, "note", x(number(workers)) - 4.0, BOTTOM + 24.0, &name);
    }

    let bound = default_rate(quota);
    let least = number(recipients) / number(quota);
    path(&mut body, "dashed", &[(left, y(least)), (right, y(least))]);
    let shared = |workers: f64| number(recipients) / number(bound) * (workers + 1.0) / workers;
    let steps = (0..=40).map(|step| 2_f64.powf(f64::from(step) / 10.0));
    let line: Vec<(f64, f64)> = steps.map(|workers| (x(workers), y(shared(workers)))).collect();
    path(&mut body, "", &line);

    for sample in samples.iter().filter(|sample| sample.case.recipients == recipients) {
        let case = sample.case;
        let class = match case.account {
            None => "hub",
            Some(account) if account == quota && case.post == first.post && case.rate == bound => "node",
            Some(_) => continue,
        };
        let (at, seconds) = (x(number(case.workers)), sample.seconds());
        let _ = write!(body, r#"<circle class="{class}" cx="{at:.1}" cy="{:.1}" r="5"/>"#, y(seconds));
        text(&mut body, "", at + 9.0, y(seconds) - 6.0, &format!("{seconds:.1}"));
    }

    let mut line = BOTTOM + 54.0;
    let (quota, bound) = (grouped(quota), grouped(bound));
    for (class, what) in [
        ("hub", format!("measured, functions of {SMALL_MB} MB, no bound")),
        (
            "node",
            format!("measured, functions of {DEFAULT_MB} MB, a rate of {bound}: 80 % of a quota of {quota}"),
        ),
        ("", "that rate × workers ÷ (workers + 1)".to_owned()),
        ("dashed", format!("that quota, in which no message takes less than {least:.0} s")),
    ] {
        if matches!(class, "hub" | "node") {
            let _ = write!(body, r#"<circle class="{class}" cx="{left}" cy="{:.1}" r="5"/>"#, line - 4.0);
        } else {
            path(&mut body, class, &[(left - 12.0, line - 4.0), (left + 12.0, line - 4.0)]);
        }
        text(&mut body, "", left + 22.0, line, &what);
        line += 20.0;
    }
    line += 8.0;
    text(&mut body, "note", 0.0, line, "A post takes 10 ms. Both scales are logarithmic. Lower is better.");
    text(&mut body, "note", 0.0, line + 19.0, &format!("scripts/bench.sh --only scale, {when}."));
    Some(picture(line + 27.0, "Seconds for one message against the number of workers", &body))
}

fn picture(height: f64, title: &str, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\"><title>{title}</title><style>{STYLE}</style>{body}</svg>\n"
    )
}

fn path(body: &mut String, class: &str, points: &[(f64, f64)]) {
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
    let _ = writeln!(body, r#"<path class="{class}" d="M{}"/>"#, points.join("L"));
}

fn text(body: &mut String, class: &str, x: f64, y: f64, text: &str) {
    let _ = writeln!(body, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
}
