//! The hub's functions and their logs.

use std::{
    collections::HashMap,
    fs,
    panic::{AssertUnwindSafe, resume_unwind},
    process::Command,
};

use aws_sdk_lambda::{
    client::Waiters,
    primitives::Blob,
    types::{Environment, FunctionCode, FunctionConfiguration},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures::FutureExt;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Stack, required, unique};
use crate::{
    client::{PATIENCE, eventually},
    recorder::Recorder,
};

/// What a direct invocation answered.
pub(crate) struct Answer {
    pub(crate) payload: Value,
    /// Lambda's own word for a function that failed.
    pub(crate) function_error: Option<String>,
}

impl Stack {
    /// A deployed function of those that read the table of connections, such as `connect`.
    async fn function(&self, route: &str) -> FunctionConfiguration {
        let functions = self
            .lambda
            .list_functions()
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await
            .expect("Lambda should list its functions");
        functions
            .into_iter()
            .find(|function| {
                function.function_name().is_some_and(|name| name.ends_with(&format!("-{route}")))
                    && variables(function).get("TABLE_NAME") == Some(&self.table)
            })
            .unwrap_or_else(|| panic!("no function {route} with the table {}", self.table))
    }

    pub(crate) async fn name_of(&self, route: &str) -> String {
        self.function(route).await.function_name.expect("a function has a name")
    }

    /// A variable of a function's environment.
    pub(crate) async fn variable(&self, route: &str, name: &str) -> String {
        variables(&self.function(route).await)
            .remove(name)
            .unwrap_or_else(|| panic!("{route} has no variable {name}"))
    }

    /// Invokes a function directly, as a backend does.
    pub(crate) async fn invoke(&self, name: &str, event: &Value) -> Answer {
        let answer = self
            .lambda
            .invoke()
            .function_name(name)
            .payload(Blob::new(event.to_string()))
            .send()
            .await
            .expect("Lambda should answer");
        let payload: Value =
            serde_json::from_slice(answer.payload().expect("an answer has a payload").as_ref())
                .expect("a payload is JSON");
        if name.contains("-publish") {
            let recorder = Recorder::new("publish");
            recorder.record("client", &event.to_string());
            recorder.record("hub", &payload.to_string());
        }
        Answer { payload, function_error: answer.function_error }
    }

    /// Runs `test` with the name of a copy that has the code of `route`, the role of `role_of` and changed variables:
    /// what a test breaks there is broken for no other.
    pub(crate) async fn with_copy(
        &self,
        route: &str,
        role_of: &str,
        changes: &[(&str, &str)],
        test: impl AsyncFnOnce(&str),
    ) {
        let original = self.function(route).await;
        let role = self.function(role_of).await.role.expect("a function has a role");
        let name = unique(&format!("copy-of-{route}"));
        let mut variables = variables(&original);
        variables.extend(changes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        self.lambda
            .create_function()
            .function_name(&name)
            .role(role)
            .runtime(original.runtime.expect("a function from a zip has a runtime"))
            .handler(original.handler.expect("a function from a zip has a handler"))
            .set_timeout(original.timeout)
            .set_memory_size(original.memory_size)
            .set_architectures(original.architectures)
            .environment(Environment::builder().set_variables(Some(variables)).build())
            .code(
                FunctionCode::builder()
                    .zip_file(self.code_of(&original.function_name.expect("a function has a name")).await)
                    .build(),
            )
            .send()
            .await
            .expect("Lambda should create the copy");
        self.lambda
            .wait_until_function_active_v2()
            .function_name(&name)
            .wait(PATIENCE)
            .await
            .expect("the copy should become active");

        let tidy = async {
            self.lambda
                .delete_function()
                .function_name(&name)
                .send()
                .await
                .expect("Lambda should delete the copy");
            // There is no group where the copy has never logged, and that is as good.
            let _ = self.logs.delete_log_group().log_group_name(format!("/aws/lambda/{name}")).send().await;
        };
        // Boxed, because they are large.
        finally(Box::pin(test(&name)), Box::pin(tidy)).await;
    }

    /// Runs `test` while Lambda has no room for any invocation of `route`.
    pub(crate) async fn without_room(&self, route: &str, test: impl Future<Output = ()>) {
        let name = self.name_of(route).await;
        self.lambda
            .put_function_concurrency()
            .function_name(&name)
            .reserved_concurrent_executions(0)
            .send()
            .await
            .expect("Lambda should take the limit");
        let tidy = async {
            self.lambda
                .delete_function_concurrency()
                .function_name(&name)
                .send()
                .await
                .expect("Lambda should drop the limit");
        };
        finally(test, tidy).await;
    }

    /// Kills every process that runs the code of `route`, and says how many there were. The local stack has it in a folder
    /// that is named by its hash.
    pub(crate) async fn kill(&self, route: &str) -> usize {
        let hash = self.function(route).await.code_sha256.expect("a function has code");
        let hash = BASE64_STANDARD.decode(hash).expect("a hash is in base64");
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let endpoint = required("AWS_ENDPOINT_URL");
        let port = endpoint.rsplit(':').next().expect("a local stack's URL has a port");
        let program = format!("-{port}/{hash}/bootstrap\0");
        let processes = fs::read_dir("/proc").expect("there should be a list of processes");
        let pids: Vec<String> = processes
            .filter_map(|process| {
                let process = process.ok()?;
                let command = fs::read_to_string(process.path().join("cmdline")).ok()?;
                command.ends_with(&program).then(|| process.file_name().into_string().ok())?
            })
            .collect();
        // One may have ended by itself meanwhile.
        let _ = Command::new("kill").arg("-KILL").args(&pids).output().expect("there should be kill");
        pids.len()
    }

    async fn code_of(&self, name: &str) -> Blob {
        let function =
            self.lambda.get_function().function_name(name).send().await.expect("Lambda should answer");
        let url = function.code().and_then(|code| code.location()).expect("a function has code").to_owned();
        let (host, path) = url
            .strip_prefix("http://")
            .and_then(|url| url.split_once('/'))
            .expect("a local stack's URL is http");
        let mut socket = TcpStream::connect(host).await.expect("the code should be at hand");
        socket
            .write_all(format!("GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes())
            .await
            .expect("the code should be at hand");
        let mut response = Vec::new();
        socket.read_to_end(&mut response).await.expect("the code should arrive whole");
        let body = response.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("HTTP has a header") + 4;
        Blob::new(response.split_off(body))
    }

    /// The lines in a function's log group that hold `text`.
    pub(crate) async fn log_lines(&self, name: &str, text: &str) -> Vec<String> {
        let pages = self
            .logs
            .filter_log_events()
            .log_group_name(format!("/aws/lambda/{name}"))
            .filter_pattern(format!("\"{text}\""))
            .into_paginator()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await
            .expect("the function should have a log group");
        pages
            .into_iter()
            .flat_map(|page| page.events.unwrap_or_default())
            .filter_map(|event| event.message)
            // The local stack also returns lines that hold the words apart, in any case.
            .filter(|line| line.contains(text))
            .collect()
    }

    /// Waits until that many lines hold `text`, since a log may be late, and returns them.
    pub(crate) async fn wait_for_log_lines(&self, name: &str, text: &str, count: usize) -> Vec<String> {
        eventually(&format!("{count} lines with {text} in the log of {name}"), async || {
            Some(self.log_lines(name, text).await).filter(|lines| lines.len() >= count)
        })
        .await
    }
}

/// Runs `test`, and then `tidy` even where it fails.
async fn finally(test: impl Future<Output = ()>, tidy: impl Future<Output = ()>) {
    let outcome = AssertUnwindSafe(test).catch_unwind().await;
    tidy.await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

fn variables(function: &FunctionConfiguration) -> HashMap<String, String> {
    function.environment().and_then(|environment| environment.variables()).cloned().unwrap_or_default()
}
