//! A message travels as it is: the hub carries JSON that it need not understand.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{client::Client, stack::unique};

#[derive(Deserialize)]
struct Delivery<'a> {
    id: String,
    #[serde(borrow)]
    message: &'a RawValue,
}

#[tokio::test]
async fn a_message_arrives_byte_for_byte() {
    let (mut alice, mut bob) = (Client::new("alice").await, Client::new("bob").await);
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let many_digits = format!("0.{}1", "0".repeat(400));
    for message in [
        r#""""#,
        "null",
        "true",
        "{}",
        "[]",
        r#""👩‍🚀 🇳🇿 𝔘 שלום \u202e עולם é é""#,
        r#""\u0000 \u001f \ud83d\ude80 \/ / \" \\ \b\f\n\r\t""#,
        // Half of a pair, which no Rust string can hold.
        r#""\ud83d""#,
        // Separators that once broke JavaScript, and a byte-order mark.
        "\"\u{2028}\u{2029}\u{feff}\u{7f}\"",
        "9007199254740993",
        "123456789012345678901234567890",
        "1e400",
        "-0",
        "1.0",
        "1E+2",
        &many_digits,
        "{ \"b\" : 1 ,\t\"a\":[ 1 ,2 ],\r\n\"b\" :  \"twice\" }",
        &deep,
    ] {
        let id = unique("id");
        alice
            .send_text(&format!(
                r#"{{"message": {message} ,"id":"{id}","sessions":["{}"],"action":"sendMessage"}}"#,
                bob.session
            ))
            .await;
        assert_eq!(alice.receive().await["delivered"], 1, "{message}");
        let frame = bob.receive_text().await;
        let delivery: Delivery = serde_json::from_str(&frame).expect("a delivery is JSON");
        assert_eq!(delivery.message.get(), message);
        assert_eq!(delivery.id, id);
    }
}
