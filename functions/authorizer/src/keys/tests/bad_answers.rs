//! Answers of issuers that hold no usable key, or none that may be fetched.

use super::*;

#[tokio::test]
async fn a_set_without_a_usable_key_is_a_failure_with_a_reason_and_withdraws_the_earlier_keys() {
    let server = Server::start(&[("one", &RSA)]).await;
    let keys = keys_of(&server);
    assert!(has(&keys, "one").await.unwrap());
    let mut encryption = RSA.jwk("one");
    encryption["use"] = json!("enc");
    for (set, why) in [
        (json!([]), "is empty"),
        (
            json!([encryption, { "kty": "EC", "crv": "P-521" }]),
            r#"its use is "enc" and not "sig"; its kty is "EC""#,
        ),
    ] {
        server.set(Server::KEYS, json!({ "keys": set }));
        later(MAX_AGE).await;
        let failure = has(&keys, "one").await.unwrap_err().to_string();
        assert!(failure.contains(why), "{failure}");
    }
    server.set_keys(&[("one", &RSA)]);
    later(jittered(2)).await;
    assert!(has(&keys, "one").await.unwrap(), "and it is asked again soon");
}

#[tokio::test]
async fn each_unusable_answer_is_a_failure_with_its_reason() {
    let answer = |body: &str| Document::Text(200, body.to_owned());
    let other = answer(r#"{"issuer":"https://other.example","jwks_uri":"x"}"#);
    for (path, document, says) in [
        (Server::DISCOVERY, other, "https://other.example"),
        (Server::DISCOVERY, answer("{}"), "not the expected JSON"),
        (Server::DISCOVERY, answer("<html>"), "not the expected JSON"),
        (Server::DISCOVERY, Document::Redirect("/keys"), "302"),
        (Server::KEYS, Document::Text(404, String::new()), "404"),
        (Server::KEYS, Document::Redirect("/moved"), "302"),
        (Server::KEYS, answer("{\"keys\":{}}"), "not the expected JSON"),
        (
            Server::KEYS,
            answer(&format!("{{\"keys\":[]}}{}", " ".repeat(MAX_ANSWER_BYTES))),
            "is incomplete or too long",
        ),
    ] {
        let server = Server::start(&[("one", &RSA)]).await;
        server.set("/moved", json!({ "keys": [RSA.jwk("one")] }));
        server.set(path, document);
        let failure = has(&keys_of(&server), "one").await.unwrap_err().to_string();
        assert!(failure.contains(says), "{path} {says}: {failure}");
        assert_eq!(server.asked("/moved"), 0, "a redirect could lead anywhere");
    }
}

#[tokio::test]
async fn keys_are_fetched_over_https_or_from_this_machine_wherever_the_issuer_points() {
    for jwks_uri in ["http://keys.example.com/", "http://169.254.169.254/", "file:///etc/passwd", "keys"] {
        let server = Server::start(&[]).await;
        server.set(Server::DISCOVERY, json!({ "issuer": server.url, "jwks_uri": jwks_uri }));
        let failure = has(&keys_of(&server), "one").await.unwrap_err().to_string();
        assert!(failure.contains(&format!("jwks_uri is {jwks_uri}")), "{failure}");
    }
}

#[test]
fn only_an_issuer_on_this_machine_may_point_to_this_machine() {
    for (issuer, jwks_uri, taken) in [
        ("https://login.example.com", "https://keys.example.com/", true),
        ("https://login.example.com", "http://127.0.0.1:9001/2018-06-01/", false),
        ("https://login.example.com", "http://localhost/keys", false),
        ("http://127.0.0.1:8081", "http://127.0.0.1:8081/keys", true),
        ("http://127.0.0.1:8081", "https://keys.example.com/", false),
    ] {
        assert_eq!(pointed_to(issuer, jwks_uri).is_ok(), taken, "{issuer} {jwks_uri}");
    }
}

#[tokio::test]
async fn a_failure_quotes_an_issuers_text_only_in_part() {
    let server = Server::start(&[]).await;
    let long = "ü".repeat(MAX_ANSWER_BYTES / 4);
    for document in [
        json!({ "issuer": long, "jwks_uri": "x" }),
        json!({ "issuer": server.url, "jwks_uri": long }),
        json!({ "issuer": server.url, "jwks_uri": format!("{}/{}", server.url, "x".repeat(9000)) }),
    ] {
        server.set(Server::DISCOVERY, document);
        let failure = has(&keys_of(&server), "one").await.unwrap_err().to_string();
        assert!((200..400).contains(&failure.chars().count()), "{failure}");
    }
    server.point_to("/keys");
    server.set(Server::KEYS, json!({ "keys": [{ "kty": long }] }));
    let failure = has(&keys_of(&server), "one").await.unwrap_err().to_string();
    assert!((200..400).contains(&failure.chars().count()), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_does_not_answer_is_a_failure_in_time() {
    let server = Server::start(&[]).await;
    server.set(Server::DISCOVERY, Document::Silence);
    let started = Instant::now();
    assert!(matches!(has(&keys_of(&server), "one").await, Err(Failure::Other { cause: "keys", .. })));
    assert!(started.elapsed() <= REQUEST_TIMEOUT + Duration::from_millis(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_address_without_a_server_is_a_failure() {
    let server = Server::start(&[]).await;
    let keys = keys_of(&server);
    drop(server);
    assert!(matches!(has(&keys, "one").await, Err(Failure::Other { cause: "keys", .. })));
}
