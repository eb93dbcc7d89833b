//! Tokens that are too large or malformed.

use super::*;

#[tokio::test]
async fn a_token_of_any_size_is_checked_quickly() {
    let setup = Setup::new().await;
    let claims: String = (0..1_000_000).map(|n| format!("\"c{n}\":{n},")).collect();
    let million =
        format!("{}.{}.", base64(header().to_string()), base64(format!("{{{claims}\"aud\":\"hub\"}}")));
    let started = std::time::Instant::now();
    assert_eq!(setup.verify(&million).await, Err("token_too_large"));
    assert!(started.elapsed().as_millis() < 100, "{:?}", started.elapsed());
    assert_eq!(setup.server.asked(Server::KEYS), 0, "it is not worth a question");

    let padded = |bytes: usize| {
        let short = RSA.token(&header(), &setup.with("pad", json!("")));
        RSA.token(&header(), &setup.with("pad", json!("x".repeat((bytes - short.len()) * 3 / 4 - 3))))
    };
    let largest = padded(MAX_TOKEN_BYTES);
    assert!((MAX_TOKEN_BYTES - 8..=MAX_TOKEN_BYTES).contains(&largest.len()), "{}", largest.len());
    setup.verify(&largest).await.unwrap();
    assert_eq!(setup.verify(&padded(MAX_TOKEN_BYTES + 16)).await, Err("token_too_large"));
    for (bytes, why) in [(MAX_TOKEN_BYTES, "malformed_token"), (MAX_TOKEN_BYTES + 1, "token_too_large")] {
        assert_eq!(Token::parse(&"a".repeat(bytes)).unwrap_err(), why);
    }
}

#[tokio::test]
async fn claims_that_are_hard_to_parse_are_refused() {
    let setup = Setup::new().await;
    let text = |claims: &str| {
        let message = format!("{}.{}", base64(header().to_string()), base64(claims));
        format!("{message}.{}", base64(RSA.sign("RS256", &message)))
    };
    let deep = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
    let good = setup.claims().to_string();
    for claims in [
        String::new(),
        "null".into(),
        "[]".into(),
        "{".into(),
        format!("{{\"deep\":{deep}}}"),
        good.replace("\"exp\":", "\"exp\":0,\"exp\":"),
        good.replace("\"iss\":", "\"iss\":\"x\",\"iss\":"),
        good.replace("alice", "\\ud800"),
        good.replace("\"exp\":", "\"app\":{\"a\":1,\"b\":2,\"a\":1},\"exp\":"),
    ] {
        assert_eq!(setup.verify(&text(&claims)).await, Err("malformed_token"), "{claims}");
    }
}

#[test]
fn no_text_causes_a_panic_or_is_accepted() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let setup = runtime.block_on(Setup::new());
    let part = prop_oneof![
        any::<String>(),
        any::<String>().prop_map(base64),
        "\\{\"alg\":\"(RS256|PS512|ES256|ES384|EdDSA|HS256|none)\",\"kid\":\"(rsa|p256|p384|ed|x)\"\\}"
            .prop_map(base64),
        Just(base64(setup.claims().to_string())),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(base64),
    ];
    let token =
        prop_oneof![any::<String>(), prop::collection::vec(part, 1..5).prop_map(|parts| parts.join(".")),];
    let config = ProptestConfig { failure_persistence: None, cases: 1000, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&token, |token| {
            prop_assert!(runtime.block_on(setup.verify(&token)).is_err());
            Ok(())
        })
        .unwrap();
}
