//! What the whole system promises, asked of a running stack over real sockets: `scripts/test.sh` brings one up.
//!
//! Each test uses sessions of its own, so that tests run side by side and on a stack that is in use. Those that cannot are in
//! a group in .config/nextest.toml.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets the unexpected should stop there and then, and so should its helpers"
)]

mod client;
mod frames;
#[path = "../../recorder.rs"]
mod recorder;
mod stack;

mod auth;
mod backend;
mod connecting;
mod errors;
mod events;
mod fan_out;
mod history;
mod limits;
mod load;
mod logs;
mod messages;
mod payloads;
mod permissions;
mod rows;
mod subscriptions;
