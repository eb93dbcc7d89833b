//! The authorizer of `$connect`: wiring.

mod config;
mod handler;
mod keys;
mod tls;
mod token;
mod verify;

use std::process::ExitCode;

use hub::{deadline::Deadline, failure::guard, telemetry};
use lambda_runtime::{LambdaEvent, run, service_fn};
use serde_json::value::RawValue;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    telemetry::init();
    telemetry::exit_code(serve().await)
}

async fn serve() -> anyhow::Result<()> {
    let authorizer = handler::Authorizer::new(config::Config::from_env()?)?;
    // Before the first handshake, while Lambda still lends a whole processor. Without the keys it goes on: the
    // issuer may be back when somebody knocks.
    authorizer.prepare().await;
    let answer = async |event: LambdaEvent<Box<RawValue>>| {
        let deadline = Deadline::new(event.context.deadline(), false);
        guard(authorizer.handle(&event.payload, deadline)).await
    };
    run(service_fn(answer)).await.map_err(anyhow::Error::from_boxed)
}
