//! An issuer of tokens on loopback: its key set has a script, and it signs whatever it is given. With aws-lc, which is not
//! what the functions check signatures with.

use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
        KeyPair, RsaKeyPair,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hyper::header::{LOCATION, RETRY_AFTER};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::http::{self, Cut, Server};

/// A private key.
pub enum SigningKey {
    /// 2048 bits or more.
    Rsa(RsaKeyPair),
    /// On P-256 or P-384.
    Ec(EcdsaKeyPair, &'static str),
    /// Ed25519.
    Ed(Ed25519KeyPair),
}

fn rsa() -> SigningKey {
    SigningKey::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("aws-lc makes keys"))
}

/// Keys to sign with: to make them anew in each test takes time and proves nothing.
pub static RSA: LazyLock<SigningKey> = LazyLock::new(rsa);
/// On P-256.
pub static P256: LazyLock<SigningKey> = LazyLock::new(|| {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
    SigningKey::Ec(pair.expect("aws-lc makes keys"), "P-256")
});
/// On P-384.
pub static P384: LazyLock<SigningKey> = LazyLock::new(|| {
    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING);
    SigningKey::Ec(pair.expect("aws-lc makes keys"), "P-384")
});
/// On the curve Ed25519.
pub static ED25519: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::Ed(Ed25519KeyPair::generate().expect("aws-lc makes keys")));
/// One that no issuer has.
pub static STRANGER: LazyLock<SigningKey> = LazyLock::new(rsa);

/// Base64url, without padding.
pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl SigningKey {
    /// The algorithm that most issuers would sign with.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_, "P-256") => "ES256",
            Self::Ec(..) => "ES384",
            Self::Ed(_) => "EdDSA",
        }
    }

    /// The public half as a JWK, with this `kid`.
    #[must_use]
    pub fn jwk(&self, id: &str) -> Value {
        let mut jwk = match self {
            Self::Rsa(pair) => {
                let key = pair.public_key();
                json!({
                    "kty": "RSA",
                    "n": base64(key.modulus().big_endian_without_leading_zero()),
                    "e": base64(key.exponent().big_endian_without_leading_zero()),
                })
            }
            Self::Ec(pair, curve) => {
                // After a byte for the form.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
                json!({ "kty": "EC", "crv": curve, "x": base64(x), "y": base64(y) })
            }
            Self::Ed(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key()) }),
        };
        jwk["kid"] = json!(id);
        jwk
    }

    /// The same with other members; `null` takes one out.
    ///
    /// # Panics
    ///
    /// If `changes` is no object.
    #[must_use]
    pub fn jwk_with(&self, id: &str, changes: &Value) -> Value {
        let mut jwk = self.jwk(id);
        let members = jwk.as_object_mut().expect("a key is an object");
        members.extend(changes.as_object().expect("changes are an object").clone());
        members.retain(|_, value| !value.is_null());
        jwk
    }

    /// A signature by `algorithm`, of those that an RSA key has; others have one.
    #[must_use]
    pub fn sign(&self, algorithm: &str, message: &str) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let padding: &'static dyn signature::RsaEncoding = match algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message.as_bytes(), &mut signature).expect("aws-lc signs");
                signature
            }
            Self::Ec(pair, _) => {
                pair.sign(&random, message.as_bytes()).expect("aws-lc signs").as_ref().to_vec()
            }
            Self::Ed(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
        }
    }

    /// A token with this header and these claims, whatever they are, signed by the header's `alg`.
    #[must_use]
    pub fn token(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        let signature = self.sign(header["alg"].as_str().unwrap_or_default(), &message);
        format!("{message}.{}", base64(signature))
    }
}

/// What an issuer answers at a path.
#[derive(Debug, Clone)]
pub enum Document {
    /// A status and a text.
    Text(u16, String),
    /// 302 to elsewhere.
    Redirect(&'static str),
    /// 429 with a `Retry-After`.
    Throttled(String),
    /// The same as another, after a pause.
    After(Duration, Box<Document>),
    /// Nothing ever.
    Silence,
}

impl From<Value> for Document {
    fn from(json: Value) -> Self {
        Self::Text(200, json.to_string())
    }
}

#[derive(Default)]
struct State {
    documents: HashMap<String, Document>,
    asked: Vec<String>,
}

/// An issuer's web server, whose answers a test can change; until it is dropped.
pub struct Issuer {
    /// Its name and address.
    pub url: String,
    state: Arc<Mutex<State>>,
    _server: Server,
}

impl Issuer {
    /// Where clients look for the rest.
    pub const DISCOVERY: &'static str = "/.well-known/openid-configuration";
    /// Where its keys are.
    pub const KEYS: &'static str = "/keys";

    /// An issuer with these keys, by their ids.
    pub async fn start(keys: &[(&str, &SigningKey)]) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let server = Server::start(None, move |request| {
            let path = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
            let document = {
                let mut state = shared.lock().expect("nothing panics with the lock");
                state.asked.push(path.clone());
                state.documents.get(&path).cloned()
            };
            answer(document)
        })
        .await;
        let issuer = Self { url: format!("http://{}", server.address), state, _server: server };
        issuer.point_to(Self::KEYS);
        issuer.set_keys(keys);
        issuer
    }

    /// Changes what it answers at a path, query string and all.
    pub fn set(&self, path: &str, document: impl Into<Document>) {
        let mut state = self.state.lock().expect("nothing panics with the lock");
        state.documents.insert(path.to_owned(), document.into());
    }

    /// Has its discovery document name a path of its own for the keys.
    pub fn point_to(&self, path: &str) {
        let jwks_uri = format!("{}{path}", self.url);
        self.set(Self::DISCOVERY, json!({ "issuer": self.url, "jwks_uri": jwks_uri }));
    }

    /// Changes its keys.
    pub fn set_keys(&self, keys: &[(&str, &SigningKey)]) {
        let keys: Vec<_> = keys.iter().map(|(id, key)| key.jwk(id)).collect();
        self.set(Self::KEYS, json!({ "keys": keys }));
    }

    /// How often it has been asked for a path.
    #[must_use]
    pub fn asked(&self, path: &str) -> usize {
        let state = self.state.lock().expect("nothing panics with the lock");
        state.asked.iter().filter(|asked| *asked == path).count()
    }
}

async fn answer(mut document: Option<Document>) -> Result<http::Reply, Cut> {
    if let Some(Document::After(pause, then)) = document {
        sleep(pause).await;
        document = Some(*then);
    }
    Ok(match document {
        None | Some(Document::After(..)) => http::reply(404, ""),
        Some(Document::Text(status, text)) => http::reply(status, text),
        Some(Document::Silence) => pending().await,
        Some(Document::Redirect(to)) => {
            let mut reply = http::reply(302, "");
            reply.headers_mut().insert(LOCATION, to.parse().expect("a path is plain text"));
            reply
        }
        Some(Document::Throttled(pause)) => {
            let mut reply = http::reply(429, "");
            reply.headers_mut().insert(RETRY_AFTER, pause.parse().expect("a pause is plain text"));
            reply
        }
    })
}
