//! Metrics for CloudWatch, in its embedded metric format: one log line per invocation.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    env,
    io::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value, json};

const NAMESPACE: &str = "WebSocketHub";
/// The only dimension: AWS charges for a metric once for each value of it.
const DIMENSION: &str = "FunctionName";

/// A metric. Each module defines those that it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metric {
    name: &'static str,
    unit: &'static str,
}

impl Metric {
    /// A count.
    #[must_use]
    pub const fn count(name: &'static str) -> Self {
        Self { name, unit: "Count" }
    }

    /// A duration in milliseconds.
    #[must_use]
    pub const fn milliseconds(name: &'static str) -> Self {
        Self { name, unit: "Milliseconds" }
    }
}

/// Invocations and starts that ended in a failure of the hub.
pub const HANDLER_ERRORS: Metric = Metric::count("HandlerErrors");

type Figures = BTreeMap<Metric, f64>;

tokio::task_local! {
    static FIGURES: RefCell<Figures>;
}

/// Adds to a metric of the current invocation.
pub fn add(metric: Metric, value: f64) {
    // Outside of an invocation, as in a unit test, nothing is counted.
    let _ = FIGURES.try_with(|figures| *figures.borrow_mut().entry(metric).or_default() += value);
}

/// Adds one to a count.
pub fn count(metric: Metric) {
    add(metric, 1.0);
}

/// Awaits `handling`, and writes the metrics that were counted meanwhile to standard output.
pub(crate) async fn collected<T>(handling: impl Future<Output = T>) -> T {
    let collecting = async {
        let result = handling.await;
        let line = FIGURES.with(|figures| line(&figures.take(), SystemTime::now()));
        if let Some(line) = line {
            // Nothing can be done about a log line that cannot be written.
            let _ = io::stdout().write_all(line.as_bytes());
        }
        result
    };
    FIGURES.scope(RefCell::default(), collecting).await
}

fn line(figures: &Figures, now: SystemTime) -> Option<String> {
    if figures.is_empty() {
        return None;
    }
    let millis = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let metrics: Vec<_> =
        figures.keys().map(|metric| json!({ "Name": metric.name, "Unit": metric.unit })).collect();
    let mut root: Map<String, Value> =
        figures.iter().map(|(metric, value)| (metric.name.to_owned(), json!(value))).collect();
    let function = env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    root.insert(DIMENSION.into(), function.into());
    let directive = json!({ "Namespace": NAMESPACE, "Dimensions": [[DIMENSION]], "Metrics": metrics });
    root.insert(
        "_aws".into(),
        json!({ "Timestamp": u64::try_from(millis).unwrap_or_default(), "CloudWatchMetrics": [directive] }),
    );
    Some(format!("{}\n", Value::Object(root)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MESSAGES: Metric = Metric::count("Messages");
    const DELIVERED: Metric = Metric::count("Delivered");

    #[tokio::test]
    async fn each_invocation_has_metrics_of_its_own() {
        let counted = || FIGURES.with(|figures| figures.borrow().clone());
        let first = collected(async {
            count(MESSAGES);
            add(DELIVERED, 2.0);
            add(DELIVERED, 3.0);
            counted()
        });
        assert_eq!(first.await, Figures::from([(MESSAGES, 1.0), (DELIVERED, 5.0)]));
        assert_eq!(collected(async { counted() }).await, Figures::new());
        count(MESSAGES);
    }

    #[test]
    fn a_line_has_the_embedded_metric_format() {
        let figures = Figures::from([(DELIVERED, 3.0), (Metric::milliseconds("FanoutDuration"), 1.5)]);
        let line = line(&figures, UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)).unwrap();
        assert_eq!(line.matches('\n').count(), 1, "one line");
        let function = env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
        let expected = json!({
            "_aws": {
                "Timestamp": 1_700_000_000_123_u64,
                "CloudWatchMetrics": [{
                    "Namespace": "WebSocketHub",
                    "Dimensions": [["FunctionName"]],
                    "Metrics": [
                        { "Name": "Delivered", "Unit": "Count" },
                        { "Name": "FanoutDuration", "Unit": "Milliseconds" },
                    ],
                }],
            },
            "FunctionName": function, "Delivered": 3.0, "FanoutDuration": 1.5,
        });
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);
        assert_eq!(super::line(&Figures::new(), UNIX_EPOCH), None);
    }
}
