//! The part that every function's `main` shares: logging, the loop over events, and the exit code.

use std::{fmt::Debug, process::ExitCode};

use aws_config::SdkConfig;
use lambda_runtime::{Context, Diagnostic, LambdaEvent, run, service_fn};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    aws,
    config::Variables,
    failure::{Failure, guard},
    metrics::{self, HANDLER_ERRORS},
    telemetry,
};

/// Prepares a handler, and has it answer events until Lambda ends the process. `crate_name` is the function's, for its
/// log. Logs when the handler is ready. A failure before that is logged and counted, and stops the function.
pub async fn serve<H, T, E>(
    crate_name: &'static str,
    prepare: impl Future<Output = anyhow::Result<H>>,
) -> ExitCode
where
    H: AsyncFn(LambdaEvent<Box<RawValue>>) -> Result<T, E>,
    T: Serialize,
    E: From<Failure> + Into<Diagnostic> + Debug,
{
    telemetry::init(crate_name);
    // Boxed, because the SDK's futures are large.
    let handle = match Box::pin(prepare).await {
        Ok(handle) => handle,
        Err(error) => return stopped("startup", &error).await,
    };
    telemetry::started(|name| std::env::var(name).ok());
    let answer = async |event| guard(handle(event)).await;
    match Box::pin(run(service_fn(answer))).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => stopped("runtime", &anyhow::Error::from_boxed(error)).await,
    }
}

/// The `main` of a function whose handler needs its variables, the SDK, and of an event the payload and the context.
pub async fn serve_handler<H, T, E>(
    crate_name: &'static str,
    new: impl FnOnce(&Variables, &SdkConfig) -> anyhow::Result<H>,
    handle: impl AsyncFn(&H, &RawValue, &Context) -> Result<T, E>,
) -> ExitCode
where
    T: Serialize,
    E: From<Failure> + Into<Diagnostic> + Debug,
{
    serve(crate_name, async {
        let variables = Variables::of_process();
        let handler = new(&variables, &aws::sdk_config(&variables)?)?;
        Ok(async move |event: LambdaEvent<Box<RawValue>>| {
            handle(&handler, &event.payload, &event.context).await
        })
    })
    .await
}

/// Logs why a function stops, and counts it.
async fn stopped(cause: &str, error: &anyhow::Error) -> ExitCode {
    metrics::collected(async {
        metrics::count(HANDLER_ERRORS);
        tracing::error!(cause, error = format!("{error:#}"), "stopped");
    })
    .await;
    ExitCode::FAILURE
}
