//! Looks for bytes that break the frame parser or the event edge.
#![no_main]

#[path = "../../functions/hub/tests/edge/mod.rs"]
mod edge;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| edge::check(bytes));
