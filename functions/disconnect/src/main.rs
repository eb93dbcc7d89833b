//! The `$disconnect` route: wiring.

mod handler;

use std::process::ExitCode;

use hub::{
    aws, config::Variables, deadline::Deadline, function::serve, registry::Registry,
    subscriptions::Subscriptions,
};
use lambda_runtime::LambdaEvent;
use serde_json::value::RawValue;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    serve(module_path!(), async {
        let variables = Variables::of_process();
        let sdk = aws::sdk_config(&variables)?;
        let registry = Registry::new(&variables, &sdk)?;
        let subscriptions = Subscriptions::new(&variables, &sdk)?;
        Ok(async move |event: LambdaEvent<Box<RawValue>>| {
            let deadline = Deadline::of_route(event.context.deadline());
            handler::handle(&registry, subscriptions.as_ref(), &event.payload, deadline).await
        })
    })
    .await
}
