//! The function authorizer, which admits or denies handshakes: wiring.

mod bearer;
mod config;
mod handler;
mod jwk;
mod keys;
mod unique_keys;
mod verify;

use std::process::ExitCode;

use hub::{config::Variables, deadline::Deadline, function::serve};
use lambda_runtime::LambdaEvent;
use serde_json::value::RawValue;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    serve(module_path!(), async {
        let authorizer = handler::Authorizer::new(&Variables::of_process())?;
        // Before the first handshake, while Lambda still provides a whole processor. Without keys the function starts
        // all the same: the issuer may answer later.
        authorizer.prepare().await;
        Ok(async move |event: LambdaEvent<Box<RawValue>>| {
            let deadline = Deadline::of_route(event.context.deadline());
            authorizer.handle(&event.payload, deadline).await
        })
    })
    .await
}
