//! What the hub promises while AWS fails, hangs, throttles or loses answers: a test for each promise, with the real
//! executables that `scripts/build.sh --arch host --profile local` builds, in the harness.
//!
//! .config/nextest.toml names the tests that need the machine alone, since they measure time.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets the unexpected should stop there and then, and so should its helpers"
)]

#[path = "../../recorder.rs"]
mod recorder;
mod support;

mod chunks;
mod connecting;
mod deadline;
mod delivery;
mod expiry;
mod freeze;
mod gone;
mod history;
mod identity;
mod logs;
mod memory;
mod panics;
mod posts;
mod publish;
mod races;
mod receipts;
mod startup;
mod stragglers;
mod subscriptions;
mod table;
