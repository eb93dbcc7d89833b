//! What a token's claims allow, and where the settings find them.

use super::*;

#[tokio::test]
async fn an_audience_may_be_one_of_several_and_in_another_claim() {
    let settings = json!({ "audiences": ["chat", "chat-mobile"], "audience_claim": "client_id" });
    let setup = Setup::with_settings(&settings).await;
    for (client, aud, result) in [
        (json!("chat"), "hub", Ok(())),
        (json!("chat-mobile"), "hub", Ok(())),
        (json!(["chat-mobile"]), "hub", Ok(())),
        (json!("chat-mob"), "chat", Err("wrong_audience")),
    ] {
        let mut claims = setup.with("client_id", client.clone());
        claims["aud"] = json!(aud);
        assert_eq!(setup.read(&claims).await.map(|_| ()), result, "{client}");
    }
    assert_eq!(setup.read(&setup.with("aud", json!("chat"))).await, Err("no_audience"));
}

#[tokio::test]
async fn the_sessions_are_those_of_the_claim() {
    let setup = Setup::new().await;
    for claim in
        [json!(null), json!(""), json!("a b"), json!("a*b"), json!(["a", null]), json!(7.5), json!(true)]
    {
        assert_eq!(
            setup.read(&setup.with("session_id", claim.clone())).await,
            Err("bad_session_claim"),
            "{claim}"
        );
    }
    assert_eq!(setup.read(&setup.without("session_id")).await, Err("no_session_claim"));
    let sessions = async |claim| setup.read(&setup.with("session_id", claim)).await.unwrap().sessions;
    let some = sessions(json!(["a", "room-*"])).await;
    assert!(some.covers(&id("a")) && some.covers(&id("room-1")) && !some.covers(&id("A")));
    assert!(!sessions(json!([])).await.covers(&id("a")));
    assert!(sessions(json!("*")).await.covers(&id("anything")));
    for (claim, name) in [
        (json!("auth0|64af"), "auth0|64af"),
        (json!("ann+test@example.com"), "ann+test@example.com"),
        (json!("o'brien@example.com"), "o'brien@example.com"),
        (json!("spiffe://a/b"), "spiffe://a/b"),
        (json!(42), "42"),
        (json!(-7), "-7"),
        (json!(u64::MAX), "18446744073709551615"),
        (json!(i64::MIN), "-9223372036854775808"),
    ] {
        assert_eq!(sessions(claim.clone()).await.only(), Some(&id(name)), "{claim}");
    }
}

/// `42.0`, `1e3` and numbers beyond 64 bits have several spellings, so they are not names.
#[tokio::test]
async fn a_number_with_several_spellings_is_not_a_name() {
    let setup = Setup::new().await;
    for number in ["42.0", "1e3", "18446744073709551616", "-9223372036854775809", "-0", "1E400"] {
        let claims = setup.claims().to_string().replace("\"alice\"", number);
        let message = format!("{}.{}", base64(header().to_string()), base64(claims));
        let token = format!("{message}.{}", base64(RSA.sign("RS256", &message)));
        let why = setup.verify(&token).await.unwrap_err();
        assert!(
            why == "bad_session_claim" || (number == "1E400" && why == "malformed_token"),
            "{number}: {why}"
        );
    }
}

#[tokio::test]
async fn send_to_and_subscribe_to_have_their_own_claims() {
    let setup = Setup::new().await;
    for (name, word) in [("send_to", "bad_send_claim"), ("subscribe_to", "bad_subscribe_claim")] {
        for claim in [json!(null), json!(7.5), json!(["a", "b c"])] {
            assert_eq!(setup.read(&setup.with(name, claim.clone())).await, Err(word), "{claim}");
        }
    }
    let read = setup.read(&setup.claims()).await.unwrap();
    assert_eq!((read.send_to, read.subscribe_to), (None, None));
    let read = setup.read(&setup.with("send_to", json!(["b*"]))).await.unwrap();
    let others = read.send_to.unwrap();
    assert!(others.covers(&id("bob")) && !others.covers(&id("alice")) && read.subscribe_to.is_none());
    let read = setup.read(&setup.with("subscribe_to", json!(["room-*", 7]))).await.unwrap();
    let rooms = read.subscribe_to.unwrap();
    assert!(rooms.covers(&id("room-1")) && rooms.covers(&id("7")) && read.send_to.is_none());
    let nobody = setup.read(&setup.with("send_to", json!([]))).await.unwrap().send_to.unwrap();
    assert!(!nobody.covers(&id("alice")));
}

/// A user who signs up as `*` must not get every session.
#[tokio::test]
async fn without_patterns_a_star_in_any_claim_denies_the_token() {
    let setup = Setup::with_settings(&json!({ "patterns": null, "session_claim": "sub" })).await;
    let with = |name: &str, claim: Value| {
        let mut claims = setup.with("sub", json!("alice"));
        claims[name] = claim;
        claims
    };
    for (name, word) in [
        ("sub", "pattern_in_session_claim"),
        ("send_to", "pattern_in_send_claim"),
        ("subscribe_to", "pattern_in_subscribe_claim"),
    ] {
        for claim in [json!("*"), json!("bo*"), json!("*bob"), json!("b*b"), json!("**"), json!(["bob", "*"])]
        {
            assert_eq!(setup.read(&with(name, claim.clone())).await, Err(word), "{name} {claim}");
        }
    }
    let refusal = RSA.token(&header(), &with("sub", json!("*")));
    let refusal = Token::parse(&refusal).unwrap().read(&setup.issuer).unwrap_err();
    assert_eq!(refusal.claim.as_deref(), Some("sub"));
    assert!(setup.read(&with("send_to", json!(["bob", "carol"]))).await.is_ok());
}

#[tokio::test]
async fn claims_may_be_anywhere_in_a_token() {
    let settings = json!({
        "session_claim": "/app_metadata/sessions/0",
        "send_claim": "https://example.com/to",
        "subscribe_claim": "/resource_access/hub~1chat/rooms",
        "audience_claim": "/client/id",
    });
    let setup = Setup::with_settings(&settings).await;
    let mut claims = setup.without("session_id");
    claims["app_metadata"] = json!({ "sessions": ["carol", "dave"] });
    claims["https://example.com/to"] = json!(["erin"]);
    claims["resource_access"] = json!({ "hub/chat": { "rooms": ["room-1"] } });
    claims["client"] = json!({ "id": "hub" });
    let read = setup.read(&claims).await.unwrap();
    assert_eq!(read.sessions.only(), Some(&id("carol")));
    assert!(read.send_to.unwrap().covers(&id("erin")) && read.subscribe_to.unwrap().covers(&id("room-1")));

    claims["app_metadata"] = json!({ "sessions": "carol" });
    let token = RSA.token(&header(), &claims);
    let refusal = Token::parse(&token).unwrap().read(&setup.issuer).unwrap_err();
    assert_eq!(
        (refusal.why, refusal.claim.as_deref()),
        ("no_session_claim", Some("/app_metadata/sessions/0"))
    );
}
