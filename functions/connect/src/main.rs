//! The `$connect` route: wiring.

mod handler;

use std::process::ExitCode;

use hub::{aws, config::Config, deadline::Deadline, failure::guard, registry::Registry, telemetry};
use lambda_runtime::{LambdaEvent, run, service_fn};
use serde_json::value::RawValue;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    telemetry::init();
    telemetry::exit_code(serve().await)
}

async fn serve() -> anyhow::Result<()> {
    let config = Config::from_env()?;
    let registry = Registry::new(&aws::sdk_config(&config).await?, &config);
    let answer = async |event: LambdaEvent<Box<RawValue>>| {
        let deadline = Deadline::new(event.context.deadline(), false);
        guard(handler::handle(&registry, config.require_grant, &event.payload, deadline)).await
    };
    run(service_fn(answer)).await.map_err(anyhow::Error::from_boxed)
}
