//! The programs that are measured, and their running processes.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use harness::{Ending, Function, Outcome, Row, World, granted, over_socket};
use serde_json::{Value, json};

/// The sender's connection, in its own session.
const SENDER: &str = "sender=";
/// A session with one connection, for the first message of a process.
pub(crate) const ONE: &str = "one";
/// A session with all other connections.
pub(crate) const CROWD: &str = "crowd";

/// The longest timeout of a Lambda function.
const LONGEST: Duration = Duration::from_secs(900);

/// A program that does what send-message does.
pub(crate) struct Program {
    /// Its column in the table.
    pub(crate) name: &'static str,
    /// The executable and its arguments.
    pub(crate) command: Vec<PathBuf>,
    /// Its environment variables besides Lambda's.
    pub(crate) variables: Vec<(String, PathBuf)>,
    /// Whether it makes several posts at once.
    pub(crate) concurrent: bool,
}

/// How a process is run.
#[derive(Clone, Copy)]
pub(crate) struct Setting<'a> {
    /// `FANOUT_CONCURRENCY`.
    pub(crate) concurrency: usize,
    /// Counts instructions into this file.
    pub(crate) callgrind: Option<&'a Path>,
    /// The trust anchors: the world's, and as many more as on AWS.
    pub(crate) trusted: &'a Path,
}

impl Setting<'_> {
    /// The variables for any program.
    pub(crate) fn environment(&self) -> [(&'static str, PathBuf); 4] {
        let concurrency = self.concurrency.to_string().into();
        let trusted = |name| (name, self.trusted.to_owned());
        let [sdk, openssl, node] = ["AWS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"].map(trusted);
        [("FANOUT_CONCURRENCY", concurrency), sdk, openssl, node]
    }
}

/// A running program.
pub(crate) struct Process<'a> {
    function: Function,
    world: &'a World,
    name: &'static str,
    /// When it was started.
    pub(crate) started: Instant,
}

impl Program {
    /// An executable without arguments.
    pub(crate) fn new(name: &'static str, executable: PathBuf) -> Self {
        Self { name, command: vec![executable], variables: Vec::new(), concurrent: true }
    }

    /// The Python proof of concept in `app`.
    pub(crate) fn python(interpreter: PathBuf, app: &Path) -> Self {
        let arguments = ["-m", "awslambdaric", "app.send_message"].map(PathBuf::from);
        let mut variables =
            ["PYTHONPATH", "LAMBDA_TASK_ROOT"].map(|name| (name.into(), app.to_owned())).to_vec();
        // boto3 reads only this one; Lambda sets both.
        variables.push(("AWS_DEFAULT_REGION".into(), "eu-west-1".into()));
        Self {
            name: "python",
            command: [interpreter].into_iter().chain(arguments).collect(),
            variables,
            concurrent: false,
        }
    }

    /// The program in Node.js, from a folder with its packages.
    pub(crate) fn node(folder: &Path) -> Self {
        let command = vec!["node".into(), folder.join("app.mjs")];
        Self { name: "node", command, variables: Vec::new(), concurrent: true }
    }

    /// Starts the program in `world`.
    pub(crate) async fn start<'a>(&self, world: &'a World, setting: Setting<'_>) -> Process<'a> {
        let (mut executable, arguments) = self.command.split_first().expect("a command is not empty");
        let nice = PathBuf::from("/usr/bin/nice");
        if setting.callgrind.is_some() {
            executable = &nice;
        }
        let adjust = |command: &mut Command| {
            if let Some(file) = setting.callgrind {
                // With the highest priority, if that is allowed: callgrind is so slow that the program's timeouts may
                // pass.
                command.args(["-n", "-20", "/usr/bin/valgrind", "--quiet", "--tool=callgrind"]);
                command.arg(format!("--callgrind-out-file={}", file.display())).arg(&self.command[0]);
            }
            command.args(arguments).envs(self.variables.iter().cloned());
            command.envs(setting.environment());
        };
        let started = Instant::now();
        let function = Function::start_with(executable, world, adjust).await;
        Process { function, world, name: self.name, started }
    }
}

/// A world where [`CROWD`] has `crowd` connections, over TLS with the certificates of `folder`.
pub(crate) async fn world(folder: &Path, crowd: usize) -> World {
    let world = World::start_over_tls(folder).await;
    world.signatures.uncheck();
    // As many rows as DynamoDB's pages of 1 MB have.
    world.table.page_rows(10_000);
    world.table.put(SENDER, Row::aged("senders", 60));
    world.table.put("Q3xWdcTzDoECHtA=", Row::aged(ONE, 60));
    for index in 0..crowd {
        world.table.put(&format!("Q3xWd{index:010}="), Row::aged(CROWD, 60));
    }
    world
}

impl Process<'_> {
    /// Waits until the process has asked for its first event.
    pub(crate) async fn idle(&self) {
        tokio::select! {
            () = self.function.idle() => {}
            status = self.function.exited() => panic!("{} ended by itself: {status}", self.name),
        }
    }

    /// Sends a message with a grant, as in a hub with `auth`, to a session with `recipients` connections. Checks that
    /// each got it once.
    pub(crate) async fn send(&self, session: &str, recipients: usize) -> Outcome {
        self.try_send(session, recipients).await.unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// The same, but a process that is slowed down may run out of time.
    pub(crate) async fn try_send(&self, session: &str, recipients: usize) -> Result<Outcome, String> {
        self.invoke(granted(SENDER, "senders", &frame(session)), recipients).await
    }

    /// Has publish send a message to a session, with the longest timeout.
    pub(crate) async fn publish(&self, session: &str) -> Outcome {
        let message = json!({ "sessions": [session], "message": { "text": "Hello, hub" }, "id": "m-1" });
        let outcome = self.function.invoke(message.to_string(), LONGEST).await;
        self.idle().await;
        outcome
    }

    /// Invokes the program with an event, and checks the number of posts.
    pub(crate) async fn invoke(&self, payload: String, posts: usize) -> Result<Outcome, String> {
        let before = self.world.gateway.posts().len();
        let outcome = self.function.invoke(payload, LONGEST).await;
        self.idle().await;
        let made = self.world.gateway.posts().len() - before;
        if made == posts && matches!(outcome.ending, Ending::Response(_)) {
            return Ok(outcome);
        }
        Err(format!(
            "{made} posts instead of {posts}: the program is wrong or the machine too busy: {outcome:?}"
        ))
    }

    /// The processor time that the process has used.
    pub(crate) fn cpu(&self) -> Duration {
        self.function.cpu_time()
    }

    /// Its peak memory, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.function.peak_memory()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.function.pid()
    }

    /// Ends the process so that callgrind writes its file.
    pub(crate) async fn terminate(self) -> ExitStatus {
        self.function.terminate().await
    }
}

/// A message to a session, without a grant. The hub then reads the sender's session from its row; the other programs do
/// not.
pub(crate) fn ungranted(session: &str) -> String {
    over_socket(SENDER, &frame(session))
}

fn frame(session: &str) -> String {
    json!({ "action": "sendMessage", "sessions": [session], "message": { "text": "Hello, hub" }, "id": "m-1" })
        .to_string()
}

/// One of the project's sample events.
pub(crate) fn event(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../events/{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
