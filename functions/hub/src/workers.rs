//! Invokes the function deliver, to which a large fan-out hands over some of its recipients.

use std::{sync::LazyLock, time::Duration};

use anyhow::Context;
use http::Response;
use hyper::body::Bytes;
use serde::Deserialize;
use tokio::time::timeout;

use crate::{
    aws,
    chunk::{Chunk, ChunkReport},
    config::{ConfigError, Variables},
    endpoint,
    fanout::settings::Split,
    signing::{self, Payload, Service},
    tls,
};

/// In bytes: a list of indices in a chunk, and two texts.
const LARGEST_ANSWER: usize = 256 * 1024;
/// How long after the end of its budget a worker's answer may come.
pub(crate) const ANSWER_PATIENCE: Duration = Duration::from_secs(1);

/// The workers of a fan-out, and when it uses them.
pub struct Workers {
    /// Built when the first chunk is handed over: reading certificates slows down a start, and most messages need no
    /// workers.
    lambda: LazyLock<anyhow::Result<Service>, Box<dyn FnOnce() -> anyhow::Result<Service> + Send>>,
    path: String,
    pub(crate) split: Split,
}

/// Why a chunk came back undelivered.
#[derive(Debug)]
pub(crate) struct ChunkError {
    pub(crate) cause: String,
    /// Whether the worker may be posting all the same.
    pub(crate) may_still_run: bool,
}

impl Workers {
    /// Reads `DELIVER_FUNCTION`, the name or the ARN of deliver's alias, and when to use it. `None` if the settings allow
    /// no workers.
    ///
    /// # Errors
    ///
    /// A variable is malformed.
    pub fn new(variables: &Variables) -> anyhow::Result<Option<Self>> {
        let split = Split::new(variables)?;
        let Some(function) = variables.get("DELIVER_FUNCTION").filter(|_| split.own > 0) else {
            return Ok(None);
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:".contains(&byte);
        if !function.bytes().all(is_name) {
            let problem =
                format!("is {function:?}: it must be the name or the ARN of a function or of its alias");
            return Err(ConfigError::new("DELIVER_FUNCTION", problem).into());
        }
        let url = endpoint::of_lambda(variables)?;
        let uri: http::Uri = url.parse().with_context(|| {
            format!("AWS_ENDPOINT_URL_LAMBDA or AWS_ENDPOINT_URL is {url:?}, which is not a URL")
        })?;
        let base = uri.path().trim_end_matches('/');
        let path = format!("{base}/2015-03-31/functions/{}/invocations", signing::segment(&function));
        let (region, credentials) = (variables.region()?, aws::credentials(variables)?);
        let variables = variables.clone();
        let lambda = move || {
            let tls = tls::config(&[Some(uri.to_string())], &variables)?;
            // A new connection for each chunk: one that died while idle would use up the whole chunk's time.
            Service::new("lambda", &uri, tls, Duration::ZERO, region, credentials)
        };
        Ok(Some(Self { lambda: LazyLock::new(Box::new(lambda)), path, split }))
    }

    /// Has a worker deliver a chunk of so many recipients.
    ///
    /// # Errors
    ///
    /// There is no answer that accounts for each of them.
    pub(crate) async fn deliver(
        &self,
        chunk: &Chunk<'_>,
        recipients: usize,
    ) -> Result<ChunkReport, ChunkError> {
        let ended = |cause: String| ChunkError { cause, may_still_run: false };
        let lambda = self.lambda.as_ref().map_err(|error| ended(format!("{error:#}")))?;
        let payload = serde_json::to_vec(chunk).map_err(|error| ended(error.to_string()))?;
        let payload = Payload::new(payload);
        let answering = lambda.post(&self.path, &payload, LARGEST_ANSWER);
        let patience = chunk.budget() + ANSWER_PATIENCE;
        let answer = timeout(patience, answering)
            .await
            .map_err(|_| ended(format!("no answer within {patience:?}")))?;
        let answer = answer.map_err(|error| match error {
            signing::Error::Unsent(cause) => ended(cause),
            signing::Error::Lost { cause, was_sent } => ChunkError { cause, may_still_run: was_sent },
        })?;
        let may_still_run = answer.status().is_server_error();
        chunk_report(&answer, recipients).map_err(|cause| ChunkError { cause, may_still_run })
    }
}

fn chunk_report(answer: &Response<Bytes>, recipients: usize) -> Result<ChunkReport, String> {
    if !answer.status().is_success() {
        return Err(signing::cause(answer));
    }
    // Neither the function's own text nor serde's is used: both may quote the message.
    if answer.headers().contains_key("x-amz-function-error") {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct FunctionError {
            error_type: String,
        }
        let error = serde_json::from_slice(answer.body());
        let kind = error.map_or_else(|_| String::new(), |FunctionError { error_type }| error_type);
        let kind: String = kind.chars().filter(char::is_ascii_graphic).take(100).collect();
        return Err(format!("deliver failed ({kind}): its own log says why"));
    }
    let report: ChunkReport = serde_json::from_slice(answer.body()).map_err(|error| {
        format!("the answer of deliver is not one that this release knows, at column {}", error.column())
    })?;
    if report.accounts_for(recipients) {
        Ok(report)
    } else {
        Err("the counts in the answer of deliver do not add up".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALIAS: &str = "arn:aws:lambda:eu-west-1:123456789012:function:hub-deliver:live";

    fn workers(variables: &[(&str, &str)]) -> anyhow::Result<Option<Workers>> {
        let always =
            [("AWS_REGION", "eu-west-1"), ("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")];
        Workers::new(&Variables::of(&[&always, variables].concat()))
    }

    #[test]
    fn nothing_is_handed_over_without_a_function_or_a_split() {
        assert!(workers(&[]).unwrap().is_none());
        assert!(workers(&[("DELIVER_FUNCTION", "")]).unwrap().is_none());
        assert!(workers(&[("DELIVER_FUNCTION", ALIAS), ("FANOUT_SPLIT", "0")]).unwrap().is_none());
    }

    #[test]
    fn the_function_is_part_of_the_path() {
        let found = workers(&[("DELIVER_FUNCTION", ALIAS)]).unwrap().unwrap();
        let path = "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Ahub-deliver%3Alive/invocations";
        assert_eq!(found.path, path);
        let settings =
            [("DELIVER_FUNCTION", "hub-deliver:live"), ("AWS_ENDPOINT_URL", "http://127.0.0.1:1/base/")];
        let found = workers(&settings).unwrap().unwrap();
        assert_eq!(found.path, "/base/2015-03-31/functions/hub-deliver%3Alive/invocations");
    }

    #[test]
    fn each_bad_value_is_refused_by_name() {
        for (name, value) in [
            ("FANOUT_RATE", "4"),
            ("DELIVER_FUNCTION", "hub/deliver"),
            ("AWS_ENDPOINT_URL_LAMBDA", "lambda.eu-west-1.amazonaws.com"),
        ] {
            let settings = match name {
                "DELIVER_FUNCTION" => vec![(name, value)],
                _ => vec![("DELIVER_FUNCTION", ALIAS), (name, value)],
            };
            let error = workers(&settings).err().map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(error.contains(name), "{name}={value}: {error}");
        }
    }

    #[test]
    fn only_an_answer_that_adds_up_is_accepted() {
        let answer = |status: u16, headers: &[(&str, &str)], body: &str| {
            let builder =
                headers.iter().fold(Response::builder().status(status), |builder, (name, value)| {
                    builder.header(*name, *value)
                });
            chunk_report(&builder.body(Bytes::copy_from_slice(body.as_bytes())).unwrap(), 3)
        };
        let good = r#"{"delivered":1,"gone":1,"failed":0,"left":[2],"retries":0,"throttled":0,
            "pruned":1,"delivery_failures":{"count":0,"first_cause":null},"prune_failures":{"count":0,"first_cause":null},"new":1}"#;
        assert_eq!(answer(200, &[], good).unwrap().left, [2]);
        for (status, headers, body, expected) in [
            (200, vec![], "{}", "not one that this release knows"),
            (200, vec![], "", "not one that this release knows"),
            (200, vec![], &*good.replace("[2]", "[]"), "do not add up"),
            (200, vec![], &*good.replace("[2]", "[3]"), "do not add up"),
            (200, vec![("x-amz-function-error", "Unhandled")], good, "deliver failed ("),
            (
                429,
                vec![("x-amzn-errortype", "TooManyRequestsException")],
                r#"{"Message":"Rate exceeded"}"#,
                "429 Too Many Requests (TooManyRequestsException): Rate exceeded",
            ),
            (404, vec![], "", "404 Not Found"),
        ] {
            let error = answer(status, &headers, body).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
