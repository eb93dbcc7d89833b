//! The census, which a schedule asks for: wiring.

mod handler;

use std::process::ExitCode;

use hub::{aws, config::Config, deadline::Deadline, function::serve, registry::Registry};
use lambda_runtime::LambdaEvent;
use serde_json::value::RawValue;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    serve(async {
        let config = Config::from_env()?;
        let registry = Registry::new(&aws::sdk_config(&config)?, &config);
        Ok(async move |event: LambdaEvent<Box<RawValue>>| {
            let deadline = Deadline::new(event.context.deadline(), false);
            handler::handle(&registry, deadline).await
        })
    })
    .await
}
