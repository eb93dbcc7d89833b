//! The `$connect` route: wiring.

mod handler;

use std::process::ExitCode;

use hub::{aws, config::Variables, deadline::Deadline, function::serve, registry::Registry};
use lambda_runtime::LambdaEvent;
use serde_json::value::RawValue;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    serve(module_path!(), async {
        let variables = Variables::of_process();
        let connect =
            handler::Connecting::new(&variables, Registry::new(&variables, &aws::sdk_config(&variables)?)?)?;
        Ok(async move |event: LambdaEvent<Box<RawValue>>| {
            let deadline = Deadline::of_route(event.context.deadline());
            connect.handle(&event.payload, deadline).await
        })
    })
    .await
}
