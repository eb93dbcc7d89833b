//! A function that panics when its event says so, wired as the real ones are: no input makes those panic.

use std::process::ExitCode;

use hub::{failure::Failure, function::serve};
use lambda_runtime::LambdaEvent;
use serde_json::{Value, value::RawValue};
use tokio::task::yield_now;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    serve(module_path!(), async {
        Ok(async |event: LambdaEvent<Box<RawValue>>| handle(&event.payload).await)
    })
    .await
}

#[allow(clippy::panic, clippy::indexing_slicing, reason = "it is what this function is for")]
async fn handle(payload: &RawValue) -> Result<Value, Failure> {
    let event: Value =
        serde_json::from_str(payload.get()).map_err(|error| Failure::Event(error.to_string()))?;
    let text = event.as_str().unwrap_or_default();
    match text {
        "panic" => panic!("a plain text"),
        "panic formatted" => panic!("it quotes\n{text}"),
        "panic later" => {
            yield_now().await;
            Ok(Vec::<Value>::new()[text.len()].take())
        }
        _ => Ok(event),
    }
}
