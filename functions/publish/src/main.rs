//! The function publish, which a backend invokes to send a message: wiring.

mod handler;

use std::process::ExitCode;

use hub::function::serve_handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    serve_handler(module_path!(), handler::Handler::new, handler::Handler::handle).await
}
