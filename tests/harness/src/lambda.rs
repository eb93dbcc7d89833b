//! Lambda's Invoke API: hands a payload to one of a function's real processes, or does what the script says instead.

use std::{
    process::Command,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use hyper::{
    Method, Request,
    body::{Bytes, Incoming},
    header::HeaderValue,
    http::request::Parts,
};
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    function::{Ending, Function, Outcome, Output, executable},
    http::{Answer, Cut, Reply, error, reply},
    signature::Signatures,
};

/// The function that recipients are handed to, by its alias.
pub const DELIVER: &str = "arn:aws:lambda:eu-west-1:123456789012:function:hub-deliver:live";
/// Where it is invoked.
const PATH: &str = "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Ahub-deliver%3Alive/invocations";
/// The largest payload of an Invoke that is waited for, in bytes.
const LARGEST: usize = 6 * 1024 * 1024;
/// The time that an invocation has, unless a test says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How one Invoke is answered.
#[derive(Debug, Clone)]
pub enum Reaction {
    /// As any service's call: to serve it is to have a process do it and to give its answer.
    Plain(Answer),
    /// It is not done, and the function is said to have failed.
    Failure,
    /// It is done, and the function is still said to have failed.
    FailureAfterwards,
    /// It is done, and the answer given after a pause.
    Late(Duration),
    /// It is done twice, one time after the other, and the second answer given.
    Twice,
    /// It is done, and meanwhile the call is answered like this, which serves nothing itself.
    Beside(Answer),
    /// It is not done, and this is the answer.
    Text(String),
    /// It is done, and the answer changed.
    Changed(fn(&mut Value)),
}

impl From<Answer> for Reaction {
    fn from(answer: Answer) -> Self {
        Self::Plain(answer)
    }
}

/// One Invoke, as it arrived.
#[derive(Debug, Clone)]
pub struct Invoke {
    /// Its payload.
    pub chunk: Value,
    /// When it had arrived.
    pub at: Instant,
    /// When it was answered, or cut; nothing where it has not been, or the caller hung up first.
    pub ended: Option<Instant>,
    /// How often a process did it, and how that ended.
    pub work: Vec<Outcome>,
}

impl Invoke {
    /// The connections of the chunk.
    #[must_use]
    pub fn connections(&self) -> Vec<&str> {
        let connections = self.chunk["connections"].as_array();
        connections.into_iter().flatten().filter_map(|connection| connection[0].as_str()).collect()
    }
}

type Script = Box<dyn FnMut(&Value, u32) -> Reaction + Send>;
type Adjust = Arc<dyn Fn(&mut Command) + Send + Sync>;
type Watch = Arc<dyn Fn(&Arc<Function>) + Send + Sync>;

/// The function `deliver` behind its alias, with as many processes as are at work at once.
pub struct Lambda {
    signatures: Arc<Signatures>,
    state: Mutex<State>,
}

struct State {
    environment: Vec<(&'static str, String)>,
    adjust: Adjust,
    watch: Watch,
    timeout: Duration,
    script: Option<Script>,
    invokes: Vec<Invoke>,
    idle: Vec<Arc<Function>>,
    at_work: Vec<Arc<Function>>,
    /// What processes wrote that are no more.
    outputs: Vec<Output>,
}

impl Lambda {
    pub(crate) fn new(signatures: Arc<Signatures>) -> Self {
        let state = State {
            environment: Vec::new(),
            adjust: Arc::new(|_| ()),
            watch: Arc::new(|_| ()),
            timeout: TIMEOUT,
            script: None,
            invokes: Vec::new(),
            idle: Vec::new(),
            at_work: Vec::new(),
            outputs: Vec::new(),
        };
        Self { signatures, state: state.into() }
    }

    pub(crate) fn set_environment(&self, environment: Vec<(&'static str, String)>) {
        self.state().environment = environment;
    }

    /// Answers each Invoke as `script` says, given the chunk and how many came before. Without a script every one is done.
    pub fn script<R: Into<Reaction>>(&self, mut script: impl FnMut(&Value, u32) -> R + Send + 'static) {
        self.state().script = Some(Box::new(move |chunk, before| script(chunk, before).into()));
    }

    /// Changes the environment of processes that are started from now on.
    pub fn adjust(&self, adjust: impl Fn(&mut Command) + Send + Sync + 'static) {
        self.state().adjust = Arc::new(adjust);
    }

    /// Shows each process that is started from now on, before it is given anything to do.
    pub fn on_start(&self, watch: impl Fn(&Arc<Function>) + Send + Sync + 'static) {
        self.state().watch = Arc::new(watch);
    }

    /// Gives each invocation that much time from now on.
    pub fn set_timeout(&self, timeout: Duration) {
        self.state().timeout = timeout;
    }

    /// Every Invoke so far, in the order of arrival.
    #[must_use]
    pub fn invokes(&self) -> Vec<Invoke> {
        self.state().invokes.clone()
    }

    /// Kills every process that is at work.
    pub fn kill(&self) {
        let at_work = self.state().at_work.clone();
        at_work.iter().for_each(|process| process.kill());
    }

    /// How many processes are at work.
    #[must_use]
    pub fn at_work(&self) -> usize {
        self.state().at_work.len()
    }

    /// The most memory that any process at rest ever had in use, in bytes; nothing where there is none.
    #[must_use]
    pub fn peak_memory(&self) -> Option<u64> {
        self.state().idle.iter().map(|process| process.peak_memory()).max()
    }

    /// Ends every process once none is at work, and returns what each wrote.
    ///
    /// # Panics
    ///
    /// If one is still at work when its time must be over.
    pub async fn finish(&self) -> Vec<Output> {
        let patience = self.state().timeout + Duration::from_secs(5);
        let resting = async {
            while self.at_work() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(patience, resting).await.expect("no invocation should take longer than its time");
        let mut state = self.state();
        let processes = std::mem::take(&mut state.idle);
        let mut outputs = std::mem::take(&mut state.outputs);
        outputs.extend(processes.into_iter().filter_map(Arc::into_inner).map(Function::finish));
        outputs
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a script should not panic")
    }

    pub(crate) async fn call(self: &Arc<Self>, request: Request<Incoming>) -> Result<Reply, Cut> {
        let at = Instant::now();
        let (head, body) = request.into_parts();
        let payload = Answer::Serve.read(body).await?;
        let chunk = serde_json::from_slice(&payload).unwrap_or_default();
        let refusal = self.refusal(&head, &payload);
        let (number, reaction) = self.state().begin(Invoke { chunk, at, ended: None, work: Vec::new() });
        let reply = match refusal {
            Some(refusal) => Ok(refusal),
            None => self.react(reaction, number, payload).await,
        };
        self.state().invokes[number].ended = Some(Instant::now());
        reply
    }

    fn refusal(&self, head: &Parts, payload: &[u8]) -> Option<Reply> {
        if (&head.method, head.uri.path()) != (&Method::POST, PATH) {
            return Some(error(404, "ResourceNotFoundException"));
        }
        // The alias says which version, and what is waited for needs no word.
        let is = |name: &str, value: &str| head.headers.get(name).is_some_and(|given| given == value);
        let is_plain = head.uri.query().is_none() && is("content-type", "application/octet-stream");
        if !is_plain || head.headers.contains_key("x-amz-invocation-type") {
            return Some(error(400, "InvalidParameterValueException"));
        }
        if payload.len() > LARGEST {
            return Some(error(413, "RequestTooLargeException"));
        }
        self.signatures.refusal(head, payload, "lambda")
    }

    async fn react(
        self: &Arc<Self>,
        reaction: Reaction,
        number: usize,
        payload: Bytes,
    ) -> Result<Reply, Cut> {
        let ending = async || self.work(number, payload.clone()).await.expect("a process can be waited for");
        match reaction {
            Reaction::Plain(answer) => answer.reply_after(async { answered(ending().await) }).await,
            Reaction::Failure => Ok(failed("Unhandled", "scripted")),
            Reaction::FailureAfterwards => {
                ending().await;
                Ok(failed("Unhandled", "scripted"))
            }
            Reaction::Late(pause) => {
                let ending = ending().await;
                sleep(pause).await;
                Ok(answered(ending))
            }
            Reaction::Twice => {
                ending().await;
                Ok(answered(ending().await))
            }
            Reaction::Beside(answer) => {
                drop(self.work(number, payload));
                answer.reply(|| reply(200, Bytes::new())).await
            }
            Reaction::Text(text) => Ok(reply(200, text)),
            Reaction::Changed(change) => Ok(answered(match ending().await {
                Ending::Response(mut answer) => {
                    change(&mut answer);
                    Ending::Response(answer)
                }
                other => other,
            })),
        }
    }

    /// Has a process do it, to the end, whether anybody waits for that or not.
    fn work(self: &Arc<Self>, number: usize, payload: Bytes) -> JoinHandle<Ending> {
        let lambda = self.clone();
        tokio::spawn(async move {
            let process = lambda.process().await;
            let time = lambda.state().timeout;
            let outcome = process.invoke(payload, time).await;
            let ending = outcome.ending.clone();
            lambda.state().end(number, outcome, process);
            ending
        })
    }

    /// A process at rest, or else a new one; from now on it is at work.
    async fn process(&self) -> Arc<Function> {
        let (environment, adjust, watch) = {
            let mut state = self.state();
            while let Some(process) = state.idle.pop() {
                if process.status().is_none() {
                    state.at_work.push(process.clone());
                    return process;
                }
                state.bury(process);
            }
            (state.environment.clone(), state.adjust.clone(), state.watch.clone())
        };
        let process =
            Function::start_in(environment, &executable("deliver"), |command| adjust(command)).await;
        let process = Arc::new(process);
        watch(&process);
        self.state().at_work.push(process.clone());
        process
    }
}

impl State {
    fn begin(&mut self, invoke: Invoke) -> (usize, Reaction) {
        let number = self.invokes.len();
        let before = u32::try_from(number).expect("not that many");
        let reaction = self.script.as_mut().map(|script| script(&invoke.chunk, before));
        self.invokes.push(invoke);
        (number, reaction.unwrap_or(Reaction::Plain(Answer::Serve)))
    }

    fn end(&mut self, number: usize, outcome: Outcome, process: Arc<Function>) {
        self.at_work.retain(|other| !Arc::ptr_eq(other, &process));
        match outcome.ending {
            Ending::Response(_) | Ending::Error(_) => self.idle.push(process),
            Ending::TimedOut | Ending::Exited(_) => self.bury(process),
        }
        self.invokes[number].work.push(outcome);
    }

    /// Keeps what a process wrote that is not used any more.
    fn bury(&mut self, process: Arc<Function>) {
        self.outputs.extend(Arc::into_inner(process).map(Function::finish));
    }
}

/// What the caller gets of how an invocation ended.
fn answered(ending: Ending) -> Reply {
    match ending {
        Ending::Response(answer) => reply(200, answer.to_string()),
        Ending::Error(error) => function_error(&error),
        Ending::TimedOut => failed("Sandbox.Timedout", "Task timed out"),
        Ending::Exited(status) => failed("Runtime.ExitError", &format!("Runtime exited: {status}")),
    }
}

fn failed(kind: &str, message: &str) -> Reply {
    function_error(&json!({ "errorType": kind, "errorMessage": message }))
}

fn function_error(error: &Value) -> Reply {
    let mut reply = reply(200, error.to_string());
    reply.headers_mut().insert("x-amz-function-error", HeaderValue::from_static("Unhandled"));
    reply
}
