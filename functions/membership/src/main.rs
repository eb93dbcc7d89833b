//! The routes `subscribe`, `unsubscribe` and `hello`: wiring.

mod handler;
mod request;
mod subscribing;

use std::process::ExitCode;

use hub::function::serve_handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    serve_handler(module_path!(), handler::Handler::new, handler::Handler::handle).await
}
