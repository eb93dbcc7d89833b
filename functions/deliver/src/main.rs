//! The function deliver, which send-message and publish invoke for a message to many recipients: wiring.

mod handler;

use std::process::ExitCode;

use hub::function::serve_handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    serve_handler(module_path!(), handler::Handler::new, handler::Handler::handle).await
}
