//! The part that all tables share: a client that counts throttles, names, attributes, errors and retries.

use std::{collections::HashMap, error::Error as StdError, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    config::{Builder, SharedInterceptor},
    error::{ProvideErrorMetadata, SdkError},
    operation::{delete_item::DeleteItemError, update_item::UpdateItemError},
    types::AttributeValue,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::retry::{ReconnectMode, RetryConfig};
use tokio::time::sleep;

use crate::{
    config::{ConfigError, Variables},
    failure::Failure,
    throttling::{CountThrottled, THROTTLES},
};

/// An item: its attributes by name.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// The attempts that [`with_retries`] makes, as many as the SDK makes at other calls.
pub(crate) const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The name or ARN of a table or an index that a variable holds.
pub(crate) fn name(variables: &Variables, name: &'static str) -> Result<Option<String>, ConfigError> {
    let Some(value) = variables.get(name) else { return Ok(None) };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-:/".contains(c);
    if value.len() >= 3 && value.chars().all(allowed) {
        return Ok(Some(value));
    }
    let problem = format!("is {value:?}: a DynamoDB name has 3 or more of the characters A-Z a-z 0-9 _ . -");
    Err(ConfigError::new(name, problem))
}

/// A client that counts each attempt that is throttled.
pub(crate) fn client(mut conf: Builder) -> Client {
    // Permanent, so that the SDK does not look up for each hook whether the interceptor is disabled.
    conf.push_interceptor(SharedInterceptor::permanent(CountThrottled));
    Client::from_conf(conf.build())
}

/// The settings of a call that the SDK attempts once.
pub(crate) fn single_attempt() -> Builder {
    Builder::default()
        .retry_config(RetryConfig::disabled().with_reconnect_mode(ReconnectMode::ReuseAllConnections))
}

/// Makes a call that the SDK attempts once, and repeats it after transient errors, with full jitter between the
/// attempts. An answer may be lost after the call took effect: the call must be able to detect that.
pub(crate) async fn with_retries<T, E, F>(call: impl Fn() -> F) -> Result<T, SdkError<E, HttpResponse>>
where
    E: ProvideErrorMetadata,
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
{
    for attempt in 1..ATTEMPTS {
        // Boxed, because the SDK's futures are large.
        match Box::pin(call()).await {
            Err(error) if is_transient(&error) => {}
            result => return result,
        }
        pause(attempt).await;
    }
    Box::pin(call()).await
}

/// Waits after the attempt with this number, from 1.
pub(crate) async fn pause(attempt: u32) {
    sleep((FIRST_PAUSE * 2_u32.pow(attempt - 1)).mul_f64(fastrand::f64())).await;
}

fn is_transient<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    match error {
        SdkError::ServiceError(answer) => {
            answer.raw().status().is_server_error()
                || answer.err().code().is_some_and(|code| THROTTLES.contains(&code))
        }
        SdkError::ConstructionFailure(_) => false,
        _ => true,
    }
}

/// The item that made a conditional update fail, empty if there was none; `None` for any other error.
pub(crate) fn refused_update(error: &SdkError<UpdateItemError, HttpResponse>) -> Option<Item> {
    match error.as_service_error()? {
        UpdateItemError::ConditionalCheckFailedException(refusal) => {
            Some(refusal.item.clone().unwrap_or_default())
        }
        _ => None,
    }
}

/// The same for a conditional delete.
pub(crate) fn refused_delete(error: &SdkError<DeleteItemError, HttpResponse>) -> Option<Item> {
    match error.as_service_error()? {
        DeleteItemError::ConditionalCheckFailedException(refusal) => {
            Some(refusal.item.clone().unwrap_or_default())
        }
        _ => None,
    }
}

/// The failure of a call to the table of `what`, such as "connections".
pub(crate) fn failed<E>(action: &'static str, what: &'static str, source: E) -> Failure
where
    E: StdError + Send + Sync + 'static,
{
    Failure::Table { action, what, source: Box::new(source) }
}

pub(crate) fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

/// The members of a set of strings; none if there is no set.
pub(crate) fn members<'a>(item: &'a Item, name: &str) -> &'a [String] {
    item.get(name).and_then(|value| value.as_ss().ok()).map_or(&[], Vec::as_slice)
}

pub(crate) fn number(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// A string attribute.
pub(crate) fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// A string set attribute, which must not be empty.
pub(crate) fn ss<'a>(members: impl IntoIterator<Item = &'a str>) -> AttributeValue {
    AttributeValue::Ss(members.into_iter().map(str::to_owned).collect())
}

/// A number attribute.
pub(crate) fn n(number: impl ToString + Copy) -> AttributeValue {
    AttributeValue::N(number.to_string())
}
