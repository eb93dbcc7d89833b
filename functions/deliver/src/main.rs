//! The function deliver, which send-message and publish invoke for a message to many recipients: wiring.

mod handler;

use std::process::ExitCode;

use hub::{aws, config::Variables, function::serve};
use lambda_runtime::LambdaEvent;
use serde_json::value::RawValue;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    serve(module_path!(), async {
        let variables = Variables::of_process();
        let handler = handler::Handler::new(&variables, &aws::sdk_config(&variables)?)?;
        Ok(async move |event: LambdaEvent<Box<RawValue>>| {
            handler.handle(&event.payload, &event.context).await
        })
    })
    .await
}
