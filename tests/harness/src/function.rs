//! A function's process and the Lambda Runtime API that it gets its events from.

use std::{
    collections::HashMap,
    env, fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant, SystemTime},
};

use hyper::{
    Method, Request,
    body::{Bytes, Incoming},
};
use serde_json::Value;
use tokio::{
    sync::{Mutex as AsyncMutex, mpsc, oneshot, watch},
    time::{sleep, timeout_at},
};

use crate::{
    World,
    http::{Answer, Cut, Reply, Server, reply},
};

/// The executable of one of the project's functions, below `HUB_FUNCTIONS_DIR`.
///
/// # Panics
///
/// If there is none, with the command that builds it.
#[must_use]
pub fn executable(function: &str) -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/lambda-local");
    let folder = env::var_os("HUB_FUNCTIONS_DIR").map_or_else(default, PathBuf::from);
    let path = folder.join(function).join("bootstrap");
    assert!(
        path.is_file(),
        "there is no {}: build the functions with `scripts/build.sh --arch host --profile local`",
        path.display()
    );
    path
}

/// The release that every function is told it is.
pub const RELEASE: &str = "v1.2.3-4-gabc";

/// How an invocation ended.
#[derive(Debug, Clone)]
pub enum Ending {
    /// The function's answer.
    Response(Value),
    /// A function error: `errorType` and `errorMessage`.
    Error(Value),
    /// Nothing within the time that the invocation had: Lambda would have killed the process.
    TimedOut,
    /// The process ended instead.
    Exited(ExitStatus),
}

/// How an invocation went.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// When the function got the event.
    pub began: Instant,
    /// From then to the answer.
    pub took: Duration,
}

impl Outcome {
    /// The function's answer.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn response(&self) -> &Value {
        let Ending::Response(value) = &self.ending else { panic!("an answer was expected, not {self:?}") };
        value
    }

    /// The function error.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn error(&self) -> &Value {
        let Ending::Error(value) = &self.ending else { panic!("an error was expected, not {self:?}") };
        value
    }
}

/// What a process wrote, a line each.
#[derive(Debug, Clone)]
pub struct Output {
    /// Lines on standard output.
    pub stdout: Vec<String>,
    /// Lines on standard error.
    pub stderr: Vec<String>,
}

struct Event {
    payload: Bytes,
    budget: Duration,
    began: oneshot::Sender<Instant>,
    ended: oneshot::Sender<Ending>,
}

struct Runtime {
    queue: AsyncMutex<mpsc::UnboundedReceiver<Event>>,
    under_way: Mutex<HashMap<String, oneshot::Sender<Ending>>>,
    idle: watch::Sender<bool>,
}

impl Runtime {
    async fn call(&self, request: Request<Incoming>) -> Result<Reply, Cut> {
        let path = request.uri().path().to_owned();
        let path: Vec<&str> = path.trim_start_matches("/2018-06-01/runtime/").split('/').collect();
        if (request.method(), &*path) == (&Method::GET, &["invocation", "next"]) {
            return self.next().await;
        }
        let body = Answer::Serve.read(request.into_body()).await?;
        let body = || serde_json::from_slice(&body).unwrap_or_default();
        let (id, ending) = match *path {
            ["invocation", id, "response"] => (id, Ending::Response(body())),
            ["invocation", id, "error"] => (id, Ending::Error(body())),
            _ => return Ok(reply(404, Bytes::new())),
        };
        if let Some(ended) = self.under_way.lock().expect("nothing panics with the lock").remove(id) {
            let _ = ended.send(ending);
        }
        Ok(reply(202, Bytes::new()))
    }

    async fn next(&self) -> Result<Reply, Cut> {
        self.idle.send_replace(true);
        let event = self.queue.lock().await.recv().await.ok_or("the test is over")?;
        self.idle.send_replace(false);
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let id = format!("{:032x}", now.as_nanos());
        let deadline = (now + event.budget).as_millis().to_string();
        let mut reply = reply(200, event.payload);
        for (name, value) in [
            ("content-type", "application/json"),
            ("lambda-runtime-aws-request-id", id.as_str()),
            ("lambda-runtime-deadline-ms", &deadline),
            ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-west-1:000000000000:function:hub"),
        ] {
            reply.headers_mut().insert(name, value.parse().expect("these are plain text"));
        }
        self.under_way.lock().expect("nothing panics with the lock").insert(id, event.ended);
        let _ = event.began.send(Instant::now());
        Ok(reply)
    }
}

/// A running function, killed when it is dropped.
pub struct Function {
    child: Mutex<Child>,
    pid: u32,
    events: mpsc::UnboundedSender<Event>,
    idle: watch::Receiver<bool>,
    readers: [Option<thread::JoinHandle<Vec<String>>>; 2],
    _runtime: Server,
}

impl Function {
    /// Starts one of the project's functions in `world`.
    pub async fn start(function: &str, world: &World) -> Self {
        Self::start_with(&executable(function), world, |_| ()).await
    }

    /// The same with more settings, or other ones, than the world gives its functions.
    pub async fn with_settings(function: &str, world: &World, settings: &[(&str, &str)]) -> Self {
        Self::start_with(&executable(function), world, |command| {
            command.envs(settings.iter().copied());
        })
        .await
    }

    /// Starts any executable that speaks Lambda's Runtime API. `adjust` may change the environment, in which
    /// there is nothing but what Lambda and this project's Terraform would set.
    pub async fn start_with(executable: &Path, world: &World, adjust: impl FnOnce(&mut Command)) -> Self {
        Self::start_in(world.environment(), executable, adjust).await
    }

    /// The same with the environment that a world gives its functions.
    pub(crate) async fn start_in(
        environment: Vec<(&'static str, String)>,
        executable: &Path,
        adjust: impl FnOnce(&mut Command),
    ) -> Self {
        let (events, queue) = mpsc::unbounded_channel();
        let (idle, watch) = watch::channel(false);
        let runtime = Arc::new(Runtime { queue: queue.into(), under_way: Mutex::default(), idle });
        let server = Server::start(None, move |request| {
            let runtime = runtime.clone();
            async move { runtime.call(request).await }
        })
        .await;

        let mut command = Command::new(executable);
        command
            .env_clear()
            .envs([
                ("AWS_LAMBDA_FUNCTION_NAME", "hub"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
                ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
                ("RELEASE", RELEASE),
            ])
            .envs(environment)
            .env("AWS_LAMBDA_RUNTIME_API", server.address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        adjust(&mut command);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", executable.display()));
        let readers = [lines(child.stdout.take()), lines(child.stderr.take())].map(Some);
        Self { pid: child.id(), child: child.into(), events, idle: watch, readers, _runtime: server }
    }

    /// Hands the function an event and `budget` to answer it in.
    pub async fn invoke(&self, payload: impl Into<Bytes>, budget: Duration) -> Outcome {
        let (began, has_begun) = oneshot::channel();
        let (ended, has_ended) = oneshot::channel();
        self.events
            .send(Event { payload: payload.into(), budget, began, ended })
            .expect("the server should live as long as this");
        let invocation = async {
            let began = has_begun.await.expect("an event should reach the function before it is dropped");
            let ending = match timeout_at((began + budget).into(), has_ended).await {
                Ok(ending) => ending.expect("an event should not be dropped"),
                Err(_) => Ending::TimedOut,
            };
            Outcome { ending, began, took: began.elapsed() }
        };
        let now = Instant::now();
        tokio::select! {
            outcome = invocation => outcome,
            status = self.exited() => {
                Outcome { ending: Ending::Exited(status), began: now, took: now.elapsed() }
            }
        }
    }

    /// Waits until the process ends by itself.
    pub async fn exited(&self) -> ExitStatus {
        loop {
            if let Some(status) = self.status() {
                return status;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// How the process ended, if it has.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        let status = self.child.lock().expect("nothing panics with the lock").try_wait();
        status.expect("a child should be there to wait for")
    }

    /// Waits until the function has asked for the next event.
    pub async fn idle(&self) {
        self.idle.clone().wait_for(|idle| *idle).await.expect("the server should live as long as this");
    }

    /// Stops the process as Lambda does between two events: once it has asked for the next one.
    pub async fn freeze(&self) {
        self.idle().await;
        self.signal("STOP");
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Asks the process to end, so that a tool it runs in can write its report, and waits until it has.
    pub async fn terminate(&self) -> ExitStatus {
        self.signal("TERM");
        self.exited().await
    }

    fn signal(&self, signal: &str) {
        let kill = format!("kill -s {signal} {}", self.pid);
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.is_ok_and(|status| status.success()), "`{kill}` failed");
    }

    /// The process's id, for other measurements.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The most memory that the process ever had in use, in bytes.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        let status = self.proc("status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
        peak.and_then(|kib| kib.trim().parse::<u64>().ok()).expect("Linux should report VmHWM") * 1024
    }

    /// The processor time that the process's threads have used.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        let threads =
            fs::read_dir(format!("/proc/{}/task", self.pid)).expect("the process should be running");
        let used = threads.filter_map(|thread| {
            let schedstat = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            schedstat.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(used.sum())
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid)).expect("the process should be running")
    }

    /// Kills the process and returns everything that it wrote.
    #[must_use]
    pub fn finish(mut self) -> Output {
        self.kill();
        let [stdout, stderr] = self.readers.each_mut().map(|reader| {
            let reader = reader.take().expect("`finish` should be the only one to take it");
            reader.join().expect("a reader should not panic")
        });
        Output { stdout, stderr }
    }

    /// Ends the process at once, whatever it is at.
    pub fn kill(&self) {
        let mut child = self.child.lock().expect("nothing panics with the lock");
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        self.kill();
    }
}

fn lines(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<String>> {
    let pipe = BufReader::new(pipe.expect("the pipe was asked for"));
    let text = |line: Result<Vec<u8>, _>| line.ok().map(|line| String::from_utf8_lossy(&line).into_owned());
    thread::spawn(move || pipe.split(b'\n').map_while(text).collect())
}
