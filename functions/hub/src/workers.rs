//! The function `deliver`, to which a large fan-out hands some of its recipients, by synchronous invocation.

use anyhow::Context;
use http::Response;
use hyper::body::Bytes;

use crate::{
    aws,
    chunk::{Chunk, Outcome},
    config::{ConfigError, Variables},
    endpoint,
    signed::{self, Payload, Service},
    tls,
};

/// The most connections in one chunk: some 100 KB, and a second's work or so.
const LARGEST_CHUNK: usize = 2_000;
/// Two lists of places in a chunk, and two texts.
const LARGEST_ANSWER: usize = 256 * 1024;

/// When a fan-out hands out recipients, and to whom.
pub struct Workers {
    lambda: Service,
    path: String,
    /// Recipients that the fan-out posts to itself, before it hands out any.
    pub(crate) split: usize,
    /// Chunks under way at once.
    pub(crate) at_once: usize,
    /// The most posts per second of each function that has a part in a fan-out; 0 is any number.
    pub(crate) rate: u32,
}

/// Why a chunk is back.
#[derive(Debug)]
pub(crate) struct Returned {
    pub(crate) cause: String,
    /// Whether the function may be at it all the same.
    pub(crate) may_run: bool,
}

impl Workers {
    /// Reads `DELIVER_FUNCTION`, the name or the ARN of deliver's alias, `FANOUT_SPLIT`, `FANOUT_WORKERS` and `FANOUT_RATE`.
    /// `None` where nothing is handed out.
    ///
    /// # Errors
    ///
    /// A variable is malformed, or the certificates to trust cannot be read.
    pub fn new(variables: &Variables) -> anyhow::Result<Option<Self>> {
        let split = variables.number("FANOUT_SPLIT", 4_000, &(0..=1_000_000))?;
        let at_once = variables.number("FANOUT_WORKERS", 4, &(1..=100))?;
        let rate = variables.number("FANOUT_RATE", 8_000, &(0..=1_000_000))?;
        let posters = u32::try_from(at_once)? + 1;
        if (1..posters).contains(&rate) {
            let problem = format!(
                "is {rate}: it must be 0, for no bound, or at least FANOUT_WORKERS + 1, which is {posters}"
            );
            return Err(ConfigError::new("FANOUT_RATE", problem).into());
        }
        let Some(function) = variables.get("DELIVER_FUNCTION").filter(|_| split > 0) else { return Ok(None) };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:".contains(&byte);
        if !function.bytes().all(is_name) {
            let problem =
                format!("is {function:?}: it must be the name or the ARN of a function or its alias");
            return Err(ConfigError::new("DELIVER_FUNCTION", problem).into());
        }
        let url = endpoint::of_lambda(variables)?;
        let tls = tls::config(&[Some(url.clone())], variables)?;
        let uri: http::Uri = url.parse().with_context(|| format!("{url} is no URL"))?;
        let lambda = Service::new("lambda", &uri, tls, variables.region()?, aws::credentials(variables)?)?;
        let base = uri.path().trim_end_matches('/');
        let path = format!("{base}/2015-03-31/functions/{}/invocations", signed::segment(&function));
        Ok(Some(Self { lambda, path, split, at_once, rate: rate / posters }))
    }

    /// How many connections a chunk has.
    pub(crate) fn chunk_size(&self) -> usize {
        self.split.min(LARGEST_CHUNK)
    }

    /// Has another function deliver a chunk of so many recipients.
    ///
    /// # Errors
    ///
    /// No answer that accounts for each of them.
    pub(crate) async fn deliver(&self, chunk: &Chunk<'_>, recipients: usize) -> Result<Outcome, Returned> {
        let ended = |cause| Returned { cause, may_run: false };
        let payload = serde_json::to_vec(chunk).map_err(|error| ended(error.to_string()))?;
        let answer = self.lambda.post(&self.path, &Payload::new(payload), LARGEST_ANSWER).await;
        let answer = answer.map_err(|error| match error {
            signed::Error::Unsent(cause) => ended(cause),
            signed::Error::Lost(cause) => Returned { cause, may_run: true },
        })?;
        let may_run = answer.status().is_server_error();
        outcome(&answer, recipients).map_err(|cause| Returned { cause, may_run })
    }
}

fn outcome(answer: &Response<Bytes>, recipients: usize) -> Result<Outcome, String> {
    if !answer.status().is_success() {
        return Err(signed::cause(answer));
    }
    if answer.headers().contains_key("x-amz-function-error") {
        let text: String = String::from_utf8_lossy(answer.body()).chars().take(300).collect();
        return Err(format!("the function failed: {text}"));
    }
    let outcome: Outcome = serde_json::from_slice(answer.body())
        .map_err(|error| format!("the function's answer is not one of this release's: {error}"))?;
    if outcome.is_of(recipients) { Ok(outcome) } else { Err("the function's answer does not add up".into()) }
}
