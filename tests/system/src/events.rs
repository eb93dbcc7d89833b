//! The sample events are answered as their table says.

use std::{collections::BTreeSet, fs, path::PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::stack::{Answer, Stack};

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../events"))
}

/// A sample event, by its file's name without `.json`.
pub(crate) fn event(name: &str) -> Value {
    let file = folder().join(format!("{name}.json"));
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The function that an event is for, by the event's name.
fn function_of(name: &str) -> &'static str {
    if ["hello", "subscribe", "unsubscribe"].iter().any(|route| name.starts_with(route)) {
        return "membership";
    }
    ["authorizer", "census", "connect", "deliver", "disconnect", "history", "publish", "send-message"]
        .into_iter()
        .find(|function| name.starts_with(function))
        .unwrap_or_else(|| panic!("{name} is no function's"))
}

/// The table of `events/README.md`: each event and its answer, in an order in which they make sense.
pub(crate) fn table() -> Vec<(String, String)> {
    let readme = fs::read_to_string(folder().join("README.md")).expect("the events should have a README.md");
    readme
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|');
            let name = cells.next()?.trim().strip_suffix(".json`")?;
            Some((name.to_owned(), cells.nth(1)?.trim().trim_matches('`').to_owned()))
        })
        .collect()
}

#[tokio::test]
async fn every_sample_event_is_answered_as_its_table_says() {
    let table = table();
    let listed: BTreeSet<_> = table.iter().map(|(name, _)| name.clone()).collect();
    let files: BTreeSet<_> = fs::read_dir(folder())
        .expect("there should be sample events")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".json").map(str::to_owned))
        .collect();
    assert_eq!(listed, files, "the table and the folder should name the same events");

    let stack = Stack::new().await;
    for (name, expected) in &table {
        let function = function_of(name);
        if function == "authorizer" {
            continue; // Not on this stack: auth.rs has them.
        }
        let Answer { payload, function_error } =
            stack.invoke(&stack.name_of(function).await, &event(name)).await;
        assert_eq!(function_error.is_some(), payload["errorType"].is_string(), "{name}: {payload}");
        assert_eq!(summary(&payload).as_ref(), Some(expected), "{name}: {payload}");
    }
}

/// The code of an error, the type of a function error, or the type of another frame; where there is no frame the status, or what was counted.
fn summary(answer: &Value) -> Option<String> {
    // The other keys stay unread: a message may hold a number that no `Value` can.
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Words {
        code: Option<String>,
        error_type: Option<String>,
        r#type: Option<String>,
    }
    let frame = answer["body"].as_str().and_then(|body| serde_json::from_str(body).ok());
    let Words { code, error_type, r#type } =
        frame.or_else(|| Words::deserialize(answer).ok()).unwrap_or_default();
    let status = answer["statusCode"].as_u64().map(|status| status.to_string());
    let count = ["open_connections", "delivered"].into_iter().find(|count| answer[count].is_u64());
    code.or(error_type).or(r#type).or(status).or(count.map(str::to_owned))
}
