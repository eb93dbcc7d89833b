//! Logging: one JSON object per line, at the level and in the format that Lambda's own variables set.

use std::{io::Write, time::Instant};

use tracing::{Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer, Registry, filter::Targets, fmt::MakeWriter, layer::SubscriberExt};

use crate::{
    failure::{Failure, chain},
    metrics::{self, HANDLER_ERRORS},
    protocol::Code,
};

/// Starts logging the lines of the hub and of the function's own crate to standard output, which Lambda forwards to
/// CloudWatch. Panics are logged in the same way.
pub(crate) fn init(crate_name: &'static str) {
    let (level, format) = settings(|name: &str| std::env::var(name).ok());
    // A second call, as in a test, keeps the first subscriber.
    let _ = tracing::subscriber::set_global_default(subscriber(
        targets(level, crate_name),
        format,
        std::io::stdout,
    ));
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        // Only a literal from the source: a formatted text may quote a message.
        let text = panic.payload().downcast_ref::<&str>().copied();
        tracing::error!(cause = "panic", location, text, "panicked");
    }));
}

/// Logs that a function is ready for events, with its `RELEASE` if Terraform has set one.
pub(crate) fn started(lookup: impl Fn(&str) -> Option<String>) {
    let release = lookup("RELEASE").filter(|release| !release.is_empty());
    tracing::info!(release, "started");
}

/// Logs and counts a failure, with its cause chain. `connection_id` is empty if none is known.
pub fn failed(route: &str, connection_id: &str, failure: &Failure, started: Instant) {
    metrics::count(HANDLER_ERRORS);
    tracing::error!(
        route,
        connection_id,
        cause = failure.cause(),
        error = chain(failure),
        duration_ms = millis_since(started),
        "failed"
    );
}

/// Logs that a frame was refused. `connection_id` is empty if none is known. The refusal's text is left out: it may
/// quote the caller.
pub fn refused(route: &str, connection_id: &str, code: Code, started: Instant) {
    let duration_ms = millis_since(started);
    tracing::info!(route, connection_id, code = code.as_str(), duration_ms, "refused");
}

/// Milliseconds since `started`, to two decimals.
#[must_use]
pub fn millis_since(started: Instant) -> f64 {
    (started.elapsed().as_secs_f64() * 100_000.0).round() / 100.0
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Text,
}

/// Reads `AWS_LAMBDA_LOG_LEVEL` (default INFO) and `AWS_LAMBDA_LOG_FORMAT` (`Text`, or else JSON).
fn settings(lookup: impl Fn(&str) -> Option<String>) -> (Level, Format) {
    let level = match lookup("AWS_LAMBDA_LOG_LEVEL").unwrap_or_default().to_uppercase().as_str() {
        "TRACE" => Level::TRACE,
        "DEBUG" => Level::DEBUG,
        "WARN" => Level::WARN,
        "ERROR" | "FATAL" => Level::ERROR,
        _ => Level::INFO,
    };
    let text = lookup("AWS_LAMBDA_LOG_FORMAT").is_some_and(|format| format.eq_ignore_ascii_case("text"));
    (level, if text { Format::Text } else { Format::Json })
}

fn subscriber<W>(targets: Targets, format: Format, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a, Writer: Write> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_target(false);
    let layer = match format {
        Format::Text => layer.with_ansi(false).boxed(),
        Format::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
    };
    Registry::default().with(layer.with_filter(targets))
}

/// The level applies to the hub's own lines. Lines of libraries below WARN are dropped at every level: at TRACE, the
/// runtime logs whole payloads and the SDK whole requests, and no message may reach the log. The runtime's span is kept
/// for its request id.
fn targets(level: Level, crate_name: &'static str) -> Targets {
    Targets::new()
        .with_default(LevelFilter::from_level(level.min(Level::WARN)))
        .with_target("lambda_runtime::layers::trace", Level::INFO)
        // It would log errors and panics a second time, in a form that is hard to read.
        .with_target("lambda_runtime::layers::panic", LevelFilter::OFF)
        .with_targets(["hub", crate_name].map(|target| (target, level)))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(variables: &[(&str, &str)], emit: impl FnOnce()) -> Vec<String> {
        let sink = Sink::default();
        let writer = sink.clone();
        let (level, format) = settings(|name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        });
        tracing::subscriber::with_default(
            subscriber(targets(level, "connect"), format, move || writer.clone()),
            emit,
        );
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_is_one_json_object_with_the_request_id() {
        let lines = logged(&[], || {
            let span =
                tracing::info_span!(target: "lambda_runtime::layers::trace", "invoke", requestId = "r-1");
            let _entered = span.enter();
            tracing::info!(session_id = "a", "connected");
        });
        let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!(
            (&line["level"], &line["message"], &line["session_id"], &line["span"]["requestId"]),
            (&"INFO".into(), &"connected".into(), &"a".into(), &"r-1".into())
        );
        assert!(line["timestamp"].is_string());
    }

    #[test]
    fn the_line_of_a_start_names_the_release_where_there_is_one() {
        for (set, named) in [(Some("v1.2-3-gabc"), Some("v1.2-3-gabc")), (Some(""), None), (None, None)] {
            let lines = logged(&[], || started(|name| set.filter(|_| name == "RELEASE").map(str::to_owned)));
            let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
            assert_eq!(
                (lines.len(), &line["level"], &line["message"]),
                (1, &"INFO".into(), &"started".into())
            );
            assert_eq!(line.get("release"), named.map(Into::into).as_ref());
        }
    }

    #[test]
    fn the_level_is_lambdas_and_the_libraries_stay_quiet_even_at_trace() {
        let emit = || {
            tracing::trace!("the hub's");
            tracing::trace!(target: "connect::handler", "the function's");
            tracing::trace!(target: "lambda_runtime::layers::api_response", body = "secret");
            tracing::debug!(target: "aws_smithy_runtime::client", "secret");
            tracing::warn!(target: "aws_config", "theirs");
        };
        let traced = logged(&[("AWS_LAMBDA_LOG_LEVEL", "TRACE")], emit);
        assert_eq!(traced.len(), 3, "{traced:?}");
        assert!(!traced.concat().contains("secret"));
        assert_eq!(logged(&[("AWS_LAMBDA_LOG_LEVEL", "ERROR")], emit).len(), 0);
        assert_eq!(logged(&[], emit).len(), 1);
    }

    #[test]
    fn forged_lines_stay_inside_their_field_in_either_format() {
        let forged = "x\n{\"level\":\"ERROR\"}\u{1b}[31m";
        for variables in [&[][..], &[("AWS_LAMBDA_LOG_FORMAT", "Text")]] {
            let lines = logged(variables, || tracing::info!(id = forged, reason = ?forged, "sent"));
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(!lines[0].contains('\u{1b}'), "{lines:?}");
        }
    }
}
