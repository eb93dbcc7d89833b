//! Looks for bytes that break the parsers of frames and events.
#![no_main]

#[path = "../../functions/hub/tests/edge/mod.rs"]
mod edge;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| edge::check(bytes));
