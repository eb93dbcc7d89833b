//! Figures for CloudWatch, which finds them in the log: its embedded metric format, one line an invocation.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    env,
    io::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value, json};

const NAMESPACE: &str = "WebSocketHub";
/// The only dimension: a metric is paid for once for each value of it.
const DIMENSION: &str = "FunctionName";

/// What is counted, under these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Handshakes that ended in a stored connection.
    ConnectionsOpened,
    /// Handshakes refused for what they asked.
    ConnectionsRefused,
    /// Connections whose end was told.
    ConnectionsClosed,
    /// Handshakes that the authorizer admitted.
    HandshakesAdmitted,
    /// Handshakes that it turned away.
    HandshakesRefused,
    /// Messages that were sent, whatever became of them.
    Messages,
    /// Messages refused for what they asked.
    MessagesRefused,
    /// Recipients that a message reached.
    Delivered,
    /// Recipients whose socket no longer existed.
    Gone,
    /// Recipients given up.
    Failed,
    /// Posts that the gateway answered with 429.
    Throttled,
    /// Posts beyond each recipient's first.
    Retries,
    /// Stale rows deleted.
    Pruned,
    /// Recipients of a message.
    FanoutSize,
    /// Milliseconds from the first read to the last answer.
    FanoutDuration,
    /// Connections that were open when they were counted.
    OpenConnections,
    /// Attempts at a DynamoDB call that DynamoDB throttled, whatever became of the call.
    TableThrottled,
    /// Invocations that ended in a failure of the hub's own.
    HandlerErrors,
}

impl Metric {
    fn unit(self) -> &'static str {
        if self == Self::FanoutDuration { "Milliseconds" } else { "Count" }
    }
}

type Figures = BTreeMap<Metric, f64>;

tokio::task_local! {
    static FIGURES: RefCell<Figures>;
}

/// Adds to a figure of the invocation that is being handled.
pub fn add(metric: Metric, value: f64) {
    // Outside of an invocation, in a unit test say, nobody counts.
    let _ = FIGURES.try_with(|figures| *figures.borrow_mut().entry(metric).or_default() += value);
}

/// Adds one to a count.
pub fn count(metric: Metric) {
    add(metric, 1.0);
}

/// Handles an invocation and writes what was counted meanwhile to standard output.
pub(crate) async fn collected<T>(handling: impl Future<Output = T>) -> T {
    let collecting = async {
        let result = handling.await;
        let line = FIGURES.with(|figures| line(&figures.take(), SystemTime::now()));
        if let Some(line) = line {
            // As with any log line, nothing can be done about one that cannot be written.
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
    let name = |metric: &Metric| format!("{metric:?}");
    let metrics: Vec<_> =
        figures.keys().map(|metric| json!({ "Name": name(metric), "Unit": metric.unit() })).collect();
    let mut root: Map<String, Value> =
        figures.iter().map(|(metric, value)| (name(metric), json!(value))).collect();
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

    #[tokio::test]
    async fn an_invocations_figures_are_its_own_and_add_up() {
        let counted = || FIGURES.with(|figures| figures.borrow().clone());
        let first = collected(async {
            count(Metric::Messages);
            add(Metric::Delivered, 2.0);
            add(Metric::Delivered, 3.0);
            counted()
        });
        assert_eq!(first.await, Figures::from([(Metric::Messages, 1.0), (Metric::Delivered, 5.0)]));
        assert_eq!(collected(async { counted() }).await, Figures::new());
        count(Metric::Messages);
    }

    #[test]
    fn a_line_is_what_cloudwatch_looks_for() {
        let figures = Figures::from([(Metric::Delivered, 3.0), (Metric::FanoutDuration, 1.5)]);
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
