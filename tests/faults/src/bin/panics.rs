//! A function that panics when its event says so, wired as the real ones are: no input makes those panic.

use std::process::ExitCode;

use hub::{
    failure::{Failure, guard},
    telemetry,
};
use lambda_runtime::{LambdaEvent, run, service_fn};
use serde_json::Value;
use tokio::task::yield_now;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    telemetry::init();
    telemetry::exit_code(serve().await)
}

async fn serve() -> anyhow::Result<()> {
    let answer = async |event: LambdaEvent<Value>| guard(handle(event.payload)).await;
    run(service_fn(answer)).await.map_err(anyhow::Error::from_boxed)
}

#[allow(clippy::panic, clippy::indexing_slicing, reason = "it is what this function is for")]
async fn handle(event: Value) -> Result<Value, Failure> {
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
