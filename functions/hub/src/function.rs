//! What the `main` of every function has in common: its log, its loop, and how it ends.

use std::process::ExitCode;

use lambda_runtime::{LambdaEvent, run, service_fn};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    failure::{Failure, guard},
    telemetry,
};

/// Prepares a handler and has it answer events until Lambda ends the process. Once it is prepared, a log line says so;
/// what fails before stops the function with another.
pub async fn serve<H, T>(prepare: impl Future<Output = anyhow::Result<H>>) -> ExitCode
where
    H: AsyncFn(LambdaEvent<Box<RawValue>>) -> Result<T, Failure>,
    T: Serialize,
{
    telemetry::init();
    // Boxed, because the SDK's futures are large.
    let serving = Box::pin(async {
        let handle = prepare.await?;
        telemetry::started(|name| std::env::var(name).ok());
        let answer = async |event| guard(handle(event)).await;
        run(service_fn(answer)).await.map_err(anyhow::Error::from_boxed)
    });
    telemetry::exit_code(serving.await)
}
