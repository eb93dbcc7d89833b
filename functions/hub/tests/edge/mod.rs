//! What must hold for any bytes at all; the fuzz target asks the same.

use hub::{
    event::{Admission, Connect, Disconnect, Publish},
    failure::Failure,
    protocol::{Code, Send},
};
use serde_json::value::RawValue;

/// Parses the bytes as each kind of input that the functions take.
///
/// # Panics
///
/// If a parser does, or answers with an error that is not one of its own.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let verdict = |text: &str| match Send::parse(text) {
        Ok(send) => {
            assert!(text.contains(send.message.get()), "the message is a slice of the frame");
            None
        }
        Err(refusal) => {
            assert!(matches!(refusal.code, Code::BadRequest | Code::TooManySessions), "{refusal:?}");
            Some(refusal)
        }
    };
    assert_eq!(verdict(text), verdict(text), "equal input gets an equal verdict");

    let Ok(payload) = serde_json::from_str::<Box<RawValue>>(text) else { return };
    let failures =
        [Admission::parse(&payload).err(), Connect::parse(&payload).err(), Disconnect::parse(&payload).err()];
    assert!(failures.iter().flatten().all(|failure| matches!(failure, Failure::Event(_))));
    match Publish::parse(&payload) {
        Ok(Publish::Socket { frame: Some(frame), .. }) => drop(verdict(&frame)),
        Ok(_) => {}
        Err(failure) => assert!(matches!(failure, Failure::Event(_))),
    }
}
