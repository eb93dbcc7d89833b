//! Tokens that the issuer has not signed.

use super::*;

#[tokio::test]
async fn only_the_issuers_signature_counts() {
    let setup = Setup::new().await;
    let claims = setup.claims();
    let token = RSA.token(&header(), &claims);
    let [head, body, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let other_body = base64(setup.with("session_id", json!("*")).to_string());
    let mut broken = RSA.sign("RS256", "something else");
    broken.truncate(100);
    for (token, why) in [
        (STRANGER.token(&header(), &claims), "bad_signature"),
        (format!("{head}.{other_body}.{signature}"), "bad_signature"),
        (format!("{head}.{body}."), "bad_signature"),
        (format!("{head}.{body}.{}", base64(broken)), "bad_signature"),
        (format!("{head}.{body}.{signature}A"), "bad_signature"),
        (format!("{head}.{body}.{signature}="), "malformed_token"),
        (format!("{head}.{body}"), "malformed_token"),
        (format!("{head}.{body}.{signature}.{signature}"), "malformed_token"),
        (format!(" {token}"), "malformed_token"),
    ] {
        assert_eq!(setup.verify(&token).await, Err(why), "{token}");
    }
}

#[tokio::test]
async fn the_header_cannot_choose_another_algorithm_or_another_key() {
    let setup = Setup::new().await;
    let claims = setup.claims();
    let signed = |header: Value| RSA.token(&header, &claims);
    // The public key as the secret of an HMAC, in each form that a careless library might use.
    let public = RSA.jwk("rsa");
    let hmac = |secret: &[u8], alg: &str| {
        let message = format!(
            "{}.{}",
            base64(json!({ "alg": alg, "kid": "rsa" }).to_string()),
            base64(claims.to_string())
        );
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        format!("{message}.{}", base64(aws_lc_rs::hmac::sign(&key, message.as_bytes())))
    };
    let unsigned = |alg: &str| {
        format!("{}.{}.", base64(json!({ "alg": alg, "kid": "rsa" }).to_string()), base64(claims.to_string()))
    };
    let strangers = STRANGER.jwk("rsa");
    for (token, why) in [
        (unsigned("none"), "unsupported_algorithm"),
        (unsigned("None"), "unsupported_algorithm"),
        (unsigned("RS256"), "bad_signature"),
        (hmac(public["n"].as_str().unwrap().as_bytes(), "HS256"), "unsupported_algorithm"),
        (hmac(public.to_string().as_bytes(), "HS256"), "unsupported_algorithm"),
        (hmac(b"", "RS256"), "bad_signature"),
        (signed(json!({ "alg": "ES512", "kid": "rsa" })), "unsupported_algorithm"),
        (signed(json!({ "alg": "ES256", "kid": "rsa" })), "unknown_key"),
        (signed(json!({ "alg": "ES384", "kid": "p256" })), "unknown_key"),
        (signed(json!({ "alg": "RS256", "kid": "p256" })), "unknown_key"),
        (signed(json!({ "alg": "RS256", "kid": "RSA" })), "unknown_key"),
        (signed(json!({ "alg": "RS256", "kid": 7 })), "malformed_token"),
        (signed(json!({ "alg": ["RS256"], "kid": "rsa" })), "malformed_token"),
        (signed(json!({ "kid": "rsa" })), "malformed_token"),
        (signed(json!({ "alg": "RS256", "kid": "rsa", "crit": ["b64"], "b64": false })), "critical_header"),
        (signed(json!({ "alg": "RS256", "kid": "rsa", "crit": null })), "critical_header"),
        // A key in the token itself, and the address of a key.
        (
            STRANGER.token(&json!({ "alg": "RS256", "kid": "rsa", "jwk": strangers }), &claims),
            "bad_signature",
        ),
        (STRANGER.token(&json!({ "alg": "RS256", "kid": "own", "jwk": strangers }), &claims), "unknown_key"),
        (
            STRANGER.token(
                &json!({ "alg": "RS256", "kid": "rsa", "jku": format!("{}/own", setup.server.url) }),
                &claims,
            ),
            "bad_signature",
        ),
    ] {
        assert_eq!(setup.verify(&token).await, Err(why), "{token}");
    }
    assert_eq!(setup.server.asked("/own"), 0);
}

#[tokio::test]
async fn a_key_for_another_use_does_not_hide_one_with_the_same_id() {
    for encryption_first in [true, false] {
        let setup = Setup::new().await;
        let mut encryption = STRANGER.jwk("rsa");
        encryption["use"] = json!("enc");
        let mut keys = vec![RSA.jwk("rsa"), encryption];
        if encryption_first {
            keys.reverse();
        }
        setup.server.set(Server::KEYS, json!({ "keys": keys }));
        setup.read(&setup.claims()).await.unwrap();
        let strangers = STRANGER.token(&header(), &setup.claims());
        assert_eq!(setup.verify(&strangers).await, Err("bad_signature"));
    }
}

/// Changes one byte of a valid token at a time.
#[tokio::test]
async fn every_change_to_a_valid_token_is_detected() {
    let setup = Setup::new().await;
    for (key, kid) in [(&*RSA as &SigningKey, "rsa"), (&P256, "p256"), (&P384, "p384"), (&ED25519, "ed")] {
        let token = key.token(&json!({ "alg": key.algorithm(), "kid": kid }), &setup.claims());
        setup.verify(&token).await.unwrap();
        for position in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[position] = if changed[position] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(setup.verify(&changed).await.is_err(), "{position} of {token}");
        }
    }
}
