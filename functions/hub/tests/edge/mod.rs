//! The properties of the parsers that must hold for any bytes. The fuzz target checks the same ones.

use hub::{
    event::{Admission, Connect, Disconnect, SocketFrame},
    failure::Failure,
    protocol::{Code, Message},
};
use serde_json::value::RawValue;

/// Parses the bytes as each kind of input of the functions.
///
/// # Panics
///
/// A parser panics, or returns an error that is not one of its own.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let check_message = |text: &str| {
        let (of_client, of_backend) = (Message::parse_frame(text), Message::parse_request(text));
        assert!(of_client.is_err() || of_backend.is_ok(), "a backend may send whatever a client may");
        for parsed in [of_client, of_backend] {
            match parsed {
                Ok(message) => {
                    assert!(
                        text.contains(message.content.get()),
                        "what is delivered is a slice of the frame"
                    );
                }
                Err(refusal) => {
                    assert!(matches!(refusal.code, Code::BadRequest | Code::TooManySessions), "{refusal:?}");
                }
            }
        }
    };
    check_message(text);

    let Ok(payload) = serde_json::from_str::<Box<RawValue>>(text) else { return };
    let failures =
        [Admission::parse(&payload).err(), Connect::parse(&payload).err(), Disconnect::parse(&payload).err()];
    assert!(failures.iter().flatten().all(|failure| matches!(failure, Failure::Event(_))));
    match SocketFrame::parse(&payload) {
        Ok(SocketFrame { text: Some(text), .. }) => check_message(&text),
        Ok(_) => {}
        Err(failure) => assert!(matches!(failure, Failure::Event(_))),
    }
}
