//! The function publish, which a backend invokes to send a message: wiring.

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
