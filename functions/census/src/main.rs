//! The function census, which a schedule invokes: wiring.

mod handler;

use std::process::ExitCode;

use hub::{aws, config::Variables, deadline::Deadline, function::serve, registry::Registry};
use lambda_runtime::LambdaEvent;
use serde_json::value::RawValue;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    serve(module_path!(), async {
        let variables = Variables::of_process();
        let registry = Registry::new(&variables, &aws::sdk_config(&variables)?)?.with_index(&variables)?;
        Ok(async move |event: LambdaEvent<Box<RawValue>>| {
            let deadline = Deadline::of_invocation(event.context.deadline());
            handler::handle(&registry, deadline).await
        })
    })
    .await
}
