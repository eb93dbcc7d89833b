//! The `sendMessage` route, and what a backend invokes: wiring.

mod handler;

use std::process::ExitCode;

use hub::function::serve_handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    serve_handler(module_path!(), handler::Handler::new, handler::Handler::handle).await
}
