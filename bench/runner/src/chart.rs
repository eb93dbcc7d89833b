//! The figures that matter most, as bars in an SVG that reads on light and dark pages.

use std::fmt::Write;

use crate::report::Figure;

const SHOWN: [(&str, &str); 5] = [
    ("post_cpu", "CPU per post"),
    ("answer_cpu", "CPU of a cold start, to its first answer"),
    ("memory_1000", "Peak memory, 1,000 connections"),
    ("memory_100000", "Peak memory, 100,000 connections"),
    ("fan_out", "10,000 posts of 10 ms each"),
];
const PROGRAMS: [(&str, &str); 4] =
    [("hub", "this hub"), ("floor", "floor"), ("python", "Python"), ("node", "Node.js")];
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600}.note{fill:#59636e}\
    .hub{fill:#0969da}.floor{fill:#8c959f}.python{fill:#bc4c00}.node{fill:#1a7f37}\
    @media(prefers-color-scheme:dark){text{fill:#f0f6fc}.note{fill:#9198a1}.hub{fill:#4493f8}.floor{fill:#656c76}\
    .python{fill:#f0883e}.node{fill:#3fb950}}";
const WIDTH: f64 = 720.0;
const LEFT: f64 = 70.0;
const LONGEST: f64 = 540.0;
const BAR: f64 = 16.0;

/// A group of bars a figure, each group on a scale of its own. Figures that were not measured are left out.
pub(crate) fn draw(figures: &[Figure], when: &str) -> String {
    let mut body = String::new();
    let mut y = 8.0;
    for (key, title) in SHOWN {
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
    let height = y + 8.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\"><title>The hub, the floor, Python and Node.js, measured side by side</title><style>{STYLE}</style>{body}</svg>\n"
    )
}

fn text(body: &mut String, class: &str, x: f64, y: f64, text: &str) {
    let _ = writeln!(body, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
}
