//! Counts the attempts that DynamoDB throttles: if the SDK's next attempt succeeds, nothing else shows them.

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::FinalizerInterceptorContextRef},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;
use serde::Deserialize;

use crate::metrics::{self, Metric};

/// Attempts at a DynamoDB call, or at a part of one, that DynamoDB throttled, whether or not the call succeeded.
pub(crate) const TABLE_THROTTLED: Metric = Metric::count("TableThrottled");

/// DynamoDB's error types for requests beyond the capacity of a table, a partition, an index or the account.
pub(crate) const THROTTLES: [&str; 3] =
    ["ProvisionedThroughputExceededException", "RequestLimitExceeded", "ThrottlingException"];

/// Counts each throttled attempt of its client as `TableThrottled`.
#[derive(Debug)]
pub(crate) struct CountThrottled;

impl Intercept for CountThrottled {
    fn name(&self) -> &'static str {
        "CountThrottled"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let error = context.response().filter(|response| !response.status().is_success());
        if error.and_then(|response| response.body().bytes()).is_some_and(is_throttle) {
            metrics::count(TABLE_THROTTLED);
        }
        Ok(())
    }
}

/// Whether an error's body names a throttle: `{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException",…}`.
fn is_throttle(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "__type")]
        kind: String,
    }
    let body = serde_json::from_slice::<Body>(body);
    body.is_ok_and(|body| THROTTLES.contains(&body.kind.rsplit('#').next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_is_recognised_by_its_name_in_any_namespace() {
        for (body, expected) in [
            (r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}"#, true),
            (r#"{"__type":"com.amazonaws.dynamodb.v20120810#RequestLimitExceeded","message":"x"}"#, true),
            (r#"{"__type":"com.amazon.coral.availability#ThrottlingException","Message":"x"}"#, true),
            (r#"{"message":"x","__type":"ThrottlingException"}"#, true),
            (r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"}"#, false),
            (r##"{"__type":"x#InternalServerError","message":"#ThrottlingException"}"##, false),
            (r#"{"message":"ThrottlingException"}"#, false),
            ("", false),
        ] {
            assert_eq!(is_throttle(body.as_bytes()), expected, "{body}");
        }
    }
}
