//! Tokens of the shapes that providers issue, with the settings that docs/identity-providers.md gives for each.

use std::collections::BTreeMap;

use harness::issuer::{Issuer, P256, P384, RSA, STRANGER, SigningKey};
use serde_json::{Value, json};

use super::{admitted, authorizer, explained, now};

/// The blocks of the document, by their headings: HCL whose values are JSON.
fn documented() -> BTreeMap<&'static str, Value> {
    let document = include_str!("../../../../docs/identity-providers.md");
    let mut blocks = BTreeMap::new();
    for section in document.split("\n## ").skip(1) {
        let (heading, text) = section.split_once('\n').expect("a heading ends");
        let Some((_, block)) = text.split_once("```hcl\n{\n") else { continue };
        let (block, _) = block.split_once("\n}\n```").expect("a block ends");
        let settings = block.lines().map(|line| {
            let (name, value) = line.split_once('=').expect("a setting is name = value");
            let value: Value = serde_json::from_str(value.trim()).expect("a value is JSON");
            (name.trim().to_owned(), value)
        });
        blocks.insert(heading, Value::Object(settings.collect()));
    }
    blocks
}

/// What a provider issues.
struct Shape {
    key: &'static SigningKey,
    header: Value,
    claims: Value,
    /// The key set around the key.
    jwks: Value,
    /// Whom its bearer connects as.
    session: &'static str,
    /// Claims each of which makes it a token that is not for this hub.
    foreign: Vec<(&'static str, Value)>,
}

#[allow(clippy::needless_pass_by_value, reason = "the table below is easier to read without")]
fn jwk(key: &SigningKey, id: &str, more: Value) -> Value {
    key.jwk_with(id, &more)
}

/// A key for something else than signatures.
pub(super) fn encryption(id: &str) -> Value {
    jwk(&STRANGER, id, json!({ "use": "enc", "alg": "RSA-OAEP" }))
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn shape(provider: &str) -> Shape {
    let rs256 = |kid: &str| json!({ "alg": "RS256", "typ": "JWT", "kid": kid });
    let usual = |key: &SigningKey, id: &str| json!({ "keys": [jwk(&STRANGER, "older", json!({ "use": "sig" })), jwk(key, id, json!({ "use": "sig", "alg": key.algorithm() }))] });
    let cognito = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_aBcDeFgHi";
    let user = "7f3d9c1e-5b2a-4e8f-9a6d-0c1b2e3f4a5d";
    match provider {
        "Amazon Cognito, id tokens" => Shape {
            key: &RSA,
            header: json!({ "kid": "q8Hn+abc/2=", "alg": "RS256" }),
            claims: json!({
                "iss": cognito, "aud": "3n4b5urk1ft4fl3mg5e62d9ado", "sub": user, "token_use": "id",
                "cognito:username": "*", "cognito:groups": ["staff"], "email": "ann+test@example.com", "email_verified": true,
                "auth_time": now(), "event_id": "e", "origin_jti": "o", "jti": "j",
            }),
            jwks: usual(&RSA, "q8Hn+abc/2="),
            session: user,
            foreign: vec![("aud", json!("another")), ("iss", json!(format!("{cognito}X")))],
        },
        "Amazon Cognito, access tokens" => Shape {
            key: &RSA,
            header: json!({ "kid": "q8Hn+abc/2=", "alg": "RS256" }),
            claims: json!({
                "iss": cognito, "client_id": "3n4b5urk1ft4fl3mg5e62d9ado", "sub": user, "token_use": "access", "username": "*",
                "scope": "openid email", "version": 2, "auth_time": now(), "event_id": "e", "origin_jti": "o", "jti": "j",
            }),
            jwks: usual(&RSA, "q8Hn+abc/2="),
            session: user,
            foreign: vec![("client_id", json!("another")), ("client_id", Value::Null)],
        },
        "Auth0" => Shape {
            key: &RSA,
            header: rs256("N0QzRkE"),
            claims: json!({
                "iss": "https://example.eu.auth0.com/", "sub": "auth0|64af0c9d2b1e",
                "aud": ["https://chat.example.com/api", "https://example.eu.auth0.com/userinfo"],
                "azp": "client", "scope": "openid profile", "https://chat.example.com/send_to": ["google-oauth2|1", "auth0|2"],
            }),
            jwks: json!({ "keys": [jwk(&RSA, "N0QzRkE", json!({ "use": "sig", "alg": "RS256", "x5c": ["MIIC"], "x5t": "N0QzRkE" }))] }),
            session: "auth0|64af0c9d2b1e",
            foreign: vec![
                ("aud", json!(["https://example.eu.auth0.com/userinfo"])),
                ("iss", json!("https://example.eu.auth0.com")),
            ],
        },
        "Okta" => Shape {
            key: &RSA,
            header: json!({ "kid": "aBc_-1", "alg": "RS256" }),
            claims: json!({
                "iss": "https://example.okta.com/oauth2/default", "aud": "api://default", "ver": 1, "jti": "AT.x", "cid": "0oa1",
                "uid": "00u1a2b3c4D5e6F7g8h9", "scp": ["openid"], "sub": "ann@example.com", "auth_time": now(),
            }),
            jwks: usual(&RSA, "aBc_-1"),
            session: "00u1a2b3c4D5e6F7g8h9",
            foreign: vec![("aud", json!("https://example.okta.com")), ("uid", Value::Null)],
        },
        "Entra ID" => Shape {
            key: &RSA,
            header: json!({ "typ": "JWT", "alg": "RS256", "kid": "kWbkxQ", "x5t": "kWbkxQ" }),
            claims: json!({
                "iss": "https://login.microsoftonline.com/8d5f3c1e-0c9a-4f0e-9d1b-2f6a7c3b4e5d/v2.0",
                "aud": "c4a1b2d3-5e6f-4a7b-8c9d-0e1f2a3b4c5d", "azp": "app", "azpacr": "0", "oid": user, "sub": "pairwise_-",
                "preferred_username": "ann@example.com", "roles": ["chat.read"], "scp": "access", "ver": "2.0",
                "tid": "8d5f3c1e-0c9a-4f0e-9d1b-2f6a7c3b4e5d", "groups": vec![user; 60], "nbf": now() - 5,
            }),
            // No `alg`, and an issuer in each key.
            jwks: json!({ "keys": [
                jwk(&STRANGER, "other", json!({ "use": "sig", "issuer": "https://login.microsoftonline.com/{tenantid}/v2.0" })),
                jwk(&RSA, "kWbkxQ", json!({ "use": "sig", "x5t": "kWbkxQ", "x5c": ["MIIC"], "issuer": "https://login.microsoftonline.com/x/v2.0" })),
            ] }),
            session: user,
            foreign: vec![
                ("iss", json!("https://login.microsoftonline.com/11111111-0c9a-4f0e-9d1b-2f6a7c3b4e5d/v2.0")),
                ("iss", json!("https://sts.windows.net/8d5f3c1e-0c9a-4f0e-9d1b-2f6a7c3b4e5d/")),
                ("aud", json!("00000003-0000-0000-c000-000000000000")),
            ],
        },
        "Keycloak" => Shape {
            key: &RSA,
            header: rs256("hX_-9"),
            claims: json!({
                "iss": "https://id.example.com/realms/chat", "aud": "account", "sub": user, "typ": "Bearer", "azp": "chat-web",
                "sid": user, "acr": "1", "allowed-origins": ["*"], "realm_access": { "roles": ["offline_access"] },
                "resource_access": { "account": { "roles": ["view-profile"] } }, "preferred_username": "*", "scope": "openid",
                "hub": { "session_id": "ann", "send_to": ["bob", "carol"] },
            }),
            jwks: json!({ "keys": [encryption("enc"), jwk(&RSA, "hX_-9", json!({ "use": "sig", "alg": "RS256", "x5c": ["MIIC"] }))] }),
            session: "ann",
            foreign: vec![
                ("azp", json!("another-client")),
                ("hub", json!({})),
                ("hub", json!({ "session_id": "*" })),
            ],
        },
        "Firebase" => Shape {
            key: &RSA,
            header: rs256("d94c1f"),
            claims: json!({
                "iss": "https://securetoken.google.com/chat-4f2a1", "aud": "chat-4f2a1", "auth_time": now(), "user_id": "u1X",
                "sub": "u1X", "phone_number": "+15550100", "firebase": { "identities": { "phone": ["+15550100"] }, "sign_in_provider": "phone" },
                "send_to": ["support"],
            }),
            jwks: usual(&RSA, "d94c1f"),
            session: "u1X",
            foreign: vec![
                ("aud", json!("another-project")),
                ("iss", json!("https://securetoken.google.com/another")),
            ],
        },
        "Clerk" => Shape {
            key: &RSA,
            header: json!({ "alg": "RS256", "cat": "cl_B7d4PD111AAA", "kid": "ins_2abc", "typ": "JWT" }),
            claims: json!({
                "iss": "https://clerk.example.com", "azp": "https://app.example.com", "sub": "user_2abcDEF", "sid": "sess_2",
                "nbf": now() - 10, "exp": now() + 60, "fva": [0, -1], "sts": "active", "v": 2,
            }),
            jwks: json!({ "keys": [jwk(&RSA, "ins_2abc", json!({ "use": "sig", "alg": "RS256" }))] }),
            session: "user_2abcDEF",
            foreign: vec![("azp", json!("https://evil.example")), ("azp", Value::Null)],
        },
        "Google" => Shape {
            key: &RSA,
            header: rs256("c7e1141059a19b218209bc5af7a81a720e39b500"),
            claims: json!({
                "iss": "https://accounts.google.com", "azp": "407408718192-ios.apps.googleusercontent.com",
                "aud": "407408718192-ios.apps.googleusercontent.com", "sub": "110169484474386276334", "email": "ann@gmail.com",
                "email_verified": true, "at_hash": "x", "name": "Ann *", "picture": "https://lh3.googleusercontent.com/a",
            }),
            jwks: usual(&RSA, "c7e1141059a19b218209bc5af7a81a720e39b500"),
            session: "110169484474386276334",
            foreign: vec![
                ("aud", json!("407408718192-tv.apps.googleusercontent.com")),
                ("iss", json!("accounts.google.com")),
            ],
        },
        "Supabase" => Shape {
            key: &P256,
            header: json!({ "alg": "ES256", "kid": user, "typ": "JWT" }),
            claims: json!({
                "iss": "https://abcdefghijklmnopqrst.supabase.co/auth/v1", "aud": "authenticated", "sub": user,
                "role": "authenticated", "aal": "aal1", "amr": [{ "method": "password", "timestamp": now() }],
                "session_id": "0b1c2d3e-login", "email": "ann@example.com", "is_anonymous": false,
                "app_metadata": { "provider": "email", "send_to": ["bob"] }, "user_metadata": { "session_id": "*" },
            }),
            jwks: json!({ "keys": [jwk(&P256, user, json!({ "alg": "ES256", "use": "sig", "key_ops": ["verify"], "ext": true }))] }),
            session: user,
            foreign: vec![("aud", json!("anon")), ("app_metadata", json!({ "send_to": "*" }))],
        },
        "Logto" => Shape {
            key: &P384,
            header: json!({ "alg": "ES384", "typ": "at+jwt", "kid": "LrA1" }),
            claims: json!({
                "iss": "https://example.logto.app/oidc", "aud": "https://chat.example.com/api", "sub": "foo123bar456",
                "client_id": "app", "scope": "read", "jti": "j",
            }),
            jwks: json!({ "keys": [jwk(&P384, "LrA1", json!({ "use": "sig" }))] }),
            session: "foo123bar456",
            foreign: vec![("aud", json!("https://other.example.com/api"))],
        },
        other => panic!("the document has settings for {other}, and there is no token of that shape here"),
    }
}

#[tokio::test]
async fn a_token_of_each_provider_is_admitted_with_the_settings_of_the_document() {
    let settings = documented();
    assert_eq!(settings.len(), 11);
    let server = Issuer::start(&[]).await;
    for (provider, settings) in settings {
        let Shape { key, header, mut claims, jwks, session, foreign } = shape(provider);
        let path = format!("/{}", provider.replace(' ', "-"));
        server.set(&path, jwks);
        let mut issuer = settings;
        issuer["jwks_url"] = json!(format!("{}{path}", server.url));
        let authorizer = authorizer(&json!([issuer])).await;

        claims["iat"] = json!(now());
        if claims.get("exp").is_none() {
            claims["exp"] = json!(now() + 3600);
        }
        let good = key.token(&header, &claims);
        assert_eq!(admitted(&authorizer, &good, None).await.as_deref(), Some(session), "{provider}");
        assert_eq!(admitted(&authorizer, &good, Some(session)).await.as_deref(), Some(session), "{provider}");
        assert_eq!(admitted(&authorizer, &good, Some("another")).await, None, "{provider}");
        let explanation = explained(&authorizer, &good).await;
        assert_eq!(explanation["session"], session, "{provider}");
        if let Some(send_claim) = issuer["send_claim"].as_str() {
            let expected =
                if send_claim.starts_with('/') { claims.pointer(send_claim) } else { claims.get(send_claim) };
            assert_eq!(Some(&explanation["send_to"]), expected.filter(|list| list.is_array()), "{provider}");
        }
        for (name, value) in foreign {
            let mut claims = claims.clone();
            claims[name] = value.clone();
            if value.is_null() {
                claims.as_object_mut().expect("claims are an object").remove(name);
            }
            assert_eq!(
                admitted(&authorizer, &key.token(&header, &claims), None).await,
                None,
                "{provider} {name}={value}"
            );
        }
        let mut signature = good.clone().into_bytes();
        let last = signature.len() - 20;
        signature[last] = if signature[last] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(signature).expect("still text");
        assert_eq!(admitted(&authorizer, &forged, None).await, None, "{provider}");
    }
}

/// Each provider's token where all of them are known: no provider's keys or settings stand in for another's.
#[tokio::test]
async fn all_providers_at_once() {
    let server = Issuer::start(&[]).await;
    let mut issuers: Vec<Value> = Vec::new();
    let mut tokens = Vec::new();
    for (provider, mut issuer) in documented() {
        // One pool is one issuer.
        if provider == "Amazon Cognito, id tokens" {
            continue;
        }
        let Shape { key, header, mut claims, jwks, session, .. } = shape(provider);
        let path = format!("/{}", issuers.len());
        server.set(&path, jwks);
        issuer["jwks_url"] = json!(format!("{}{path}", server.url));
        claims["exp"] = json!(now() + 60);
        tokens.push((provider, path, key.token(&header, &claims), session));
        issuers.push(issuer);
    }
    assert!(json!(issuers).to_string().len() < 3_000, "they fit into the function's environment");
    let authorizer = authorizer(&json!(issuers)).await;
    for (index, (provider, _, token, session)) in tokens.iter().enumerate() {
        let asked = |(_, path, ..): &(&str, String, String, &str)| server.asked(path);
        assert!(
            tokens[index..].iter().all(|token| asked(token) == 0),
            "only the issuer of the token at hand is asked"
        );
        assert_eq!(admitted(&authorizer, token, None).await.as_deref(), Some(*session), "{provider}");
        assert_eq!(asked(&tokens[index]), 1, "{provider}");
    }
}
