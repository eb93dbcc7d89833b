//! What the hub promises when AWS does its worst, a test for each promise: the real executables, as
//! `scripts/build.sh --arch host --profile local` leaves them, in the harness's scripted surroundings.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets the unexpected should stop there and then, and so should its helpers"
)]

#[path = "../../recorder.rs"]
mod recorder;
mod support;

mod connecting;
mod deadline;
mod delivery;
mod expiry;
mod freeze;
mod gone;
mod handing;
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
