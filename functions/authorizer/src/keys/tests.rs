//! An issuer on loopback that rotates, fails and misbehaves.

use std::sync::LazyLock;

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hub::config::Variables;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{self, Instant},
};

use super::*;

/// For addresses on loopback, which need none.
pub(crate) fn tls() -> Tls {
    hub::tls::config(&[], &Variables::of::<&str>(&[])).unwrap()
}

/// A private key of the issuer's, or of somebody else.
pub(crate) enum SigningKey {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// The keys that the tests sign with: to make them anew in each test takes time and proves nothing.
pub(crate) static RSA: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));
pub(crate) static EC: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()));
pub(crate) static ED: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::Ed(Ed25519KeyPair::generate().unwrap()));
/// One that no issuer has.
pub(crate) static STRANGER: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl SigningKey {
    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
        }
    }

    pub(crate) fn jwk(&self, id: &str) -> Value {
        let mut jwk = match self {
            Self::Rsa(pair) => {
                let key = pair.public_key();
                json!({
                    "kty": "RSA",
                    "n": base64(key.modulus().big_endian_without_leading_zero()),
                    "e": base64(key.exponent().big_endian_without_leading_zero()),
                })
            }
            Self::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": base64(x), "y": base64(y) })
            }
            Self::Ed(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key()) }),
        };
        jwk["kid"] = json!(id);
        jwk
    }

    pub(crate) fn sign(&self, message: &str) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
            Self::Ec(pair) => pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
        }
    }

    /// A token with this header and these claims, whatever they are.
    pub(crate) fn token(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        format!("{message}.{}", base64(self.sign(&message)))
    }
}

/// What the issuer answers at a path: a status and a body, or a long silence.
#[derive(Clone)]
pub(crate) enum Reply {
    Answer(u16, String),
    Redirect(&'static str),
    Silence,
}

#[derive(Default)]
struct State {
    replies: HashMap<&'static str, Reply>,
    asked: Vec<String>,
}

/// A web server whose answers a test can change.
pub(crate) struct Issuer {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

const DISCOVERY: &str = "/.well-known/openid-configuration";

impl Issuer {
    /// An issuer with these keys, by their ids.
    pub(crate) async fn start(keys: &[(&str, &SigningKey)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let issuer = Self { url, state: state.clone() };
        issuer.discovery(&json!({ "issuer": issuer.url, "jwks_uri": format!("{}/keys", issuer.url) }));
        issuer.keys(keys);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, state.clone()));
            }
        });
        issuer
    }

    pub(crate) fn set(&self, path: &'static str, reply: Reply) {
        self.state.lock().unwrap().replies.insert(path, reply);
    }

    fn discovery(&self, document: &Value) {
        self.set(DISCOVERY, Reply::Answer(200, document.to_string()));
    }

    pub(crate) fn keys(&self, keys: &[(&str, &SigningKey)]) {
        let keys: Vec<_> = keys.iter().map(|(id, key)| key.jwk(id)).collect();
        self.set("/keys", Reply::Answer(200, json!({ "keys": keys }).to_string()));
    }

    /// How often it has been asked for its keys.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.state.lock().unwrap().asked.iter().filter(|asked| *asked == path).count()
    }

    pub(crate) fn config(&self) -> Config {
        let variables = [("AUTH_ISSUER", &*self.url), ("AUTH_AUDIENCE", "hub")];
        Config::read(&Variables::of(&variables)).unwrap()
    }
}

async fn serve(mut socket: TcpStream, state: Arc<Mutex<State>>) -> Option<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(socket.read_u8().await.ok()?);
    }
    let path = String::from_utf8(request).ok()?.split(' ').nth(1)?.to_owned();
    let reply = {
        let mut state = state.lock().unwrap();
        state.asked.push(path.clone());
        state.replies.get(path.as_str()).cloned()
    };
    let (head, body) = match reply.unwrap_or(Reply::Answer(404, String::new())) {
        Reply::Answer(status, body) => (format!("{status} Some Reason"), body),
        Reply::Redirect(to) => (format!("302 Found\r\nlocation: {to}"), String::new()),
        Reply::Silence => {
            time::sleep(Duration::from_secs(3600)).await;
            return None;
        }
    };
    let answer =
        format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    socket.write_all(answer.as_bytes()).await.ok()
}

/// Lets the time pass without waiting for it, and without hurrying what waits for a socket.
pub(crate) async fn later(duration: Duration) {
    time::pause();
    time::advance(duration).await;
    time::resume();
}

async fn has(keys: &Keys, id: &str) -> Result<bool, Failure> {
    keys.find(id, Algorithm::RS256).await.map(|key| key.is_some())
}

#[tokio::test]
async fn a_key_is_fetched_once_and_then_known() {
    let issuer = Issuer::start(&[("one", &RSA)]).await;
    let keys = Keys::new(&issuer.config(), tls());
    for _ in 0..3 {
        assert!(has(&keys, "one").await.unwrap());
    }
    assert_eq!((issuer.asked(DISCOVERY), issuer.asked("/keys")), (1, 1));
}

#[tokio::test]
async fn a_given_address_is_used_without_discovery() {
    let issuer = Issuer::start(&[("one", &RSA)]).await;
    issuer.set("/elsewhere?tenant=1", Reply::Answer(200, json!({ "keys": [RSA.jwk("two")] }).to_string()));
    let jwks_url = Some(format!("{}/elsewhere?tenant=1", issuer.url).parse().unwrap());
    let keys = Keys::new(&Config { jwks_url, ..issuer.config() }, tls());
    assert!(has(&keys, "two").await.unwrap());
    assert_eq!(issuer.asked(DISCOVERY), 0);
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_at_most_every_thirty_seconds() {
    let issuer = Issuer::start(&[("old", &RSA)]).await;
    let keys = Keys::new(&issuer.config(), tls());
    assert!(has(&keys, "old").await.unwrap());
    issuer.keys(&[("new", &RSA)]);
    for _ in 0..3 {
        assert!(!has(&keys, "new").await.unwrap());
    }
    later(REFRESH_EVERY - Duration::from_secs(1)).await;
    assert!(!has(&keys, "new").await.unwrap());
    assert_eq!(issuer.asked("/keys"), 1);
    later(Duration::from_secs(1)).await;
    assert!(has(&keys, "new").await.unwrap());
    assert!(!has(&keys, "old").await.unwrap(), "a withdrawn key goes with the next set");
    assert_eq!(issuer.asked("/keys"), 2);
}

#[tokio::test]
async fn a_withdrawn_key_serves_for_ten_minutes_at_most() {
    let issuer = Issuer::start(&[("old", &RSA)]).await;
    let keys = Keys::new(&issuer.config(), tls());
    assert!(has(&keys, "old").await.unwrap());
    issuer.keys(&[]);
    later(MAX_AGE - Duration::from_secs(1)).await;
    assert!(has(&keys, "old").await.unwrap());
    later(Duration::from_secs(1)).await;
    assert!(!has(&keys, "old").await.unwrap());
}

#[tokio::test]
async fn a_known_key_outlives_its_issuer_and_an_unknown_one_is_then_a_failure() {
    let issuer = Issuer::start(&[("one", &RSA)]).await;
    let keys = Keys::new(&issuer.config(), tls());
    assert!(has(&keys, "one").await.unwrap());
    issuer.set(DISCOVERY, Reply::Answer(503, "down".into()));
    for _ in 0..3 {
        later(MAX_AGE).await;
        assert!(has(&keys, "one").await.unwrap());
        assert!(matches!(has(&keys, "two").await, Err(Failure::Other { cause: "keys", .. })));
    }
    assert_eq!(issuer.asked(DISCOVERY), 4, "once in each round: the second question had its answer");
}

/// A freeze between two invocations: an hour that only the wall clock has counted.
#[tokio::test]
async fn the_time_that_lambda_has_the_function_frozen_counts_too() {
    let issuer = Issuer::start(&[("old", &RSA)]).await;
    let keys = Keys::new(&issuer.config(), tls());
    assert!(has(&keys, "old").await.unwrap());
    issuer.keys(&[("new", &RSA)]);
    assert!(!has(&keys, "new").await.unwrap(), "it is too early to ask again");
    let hour = Duration::from_secs(3600);
    keys.attempt.lock().await.as_mut().unwrap().at.wall -= hour;
    keys.known.lock().unwrap().as_mut().unwrap().1.wall -= hour;
    assert!(!has(&keys, "old").await.unwrap(), "it has been withdrawn meanwhile");
    assert!(has(&keys, "new").await.unwrap());

    keys.attempt.lock().await.as_mut().unwrap().at.wall += hour;
    keys.known.lock().unwrap().as_mut().unwrap().1.wall += hour;
    assert!(has(&keys, "new").await.unwrap(), "a wall clock that was set back does no harm");
    later(MAX_AGE).await;
    issuer.keys(&[]);
    assert!(!has(&keys, "new").await.unwrap(), "nor does it make the keys fresh for ever");
}

#[tokio::test]
async fn a_question_that_is_cut_short_counts_as_one() {
    let issuer = Issuer::start(&[("one", &RSA)]).await;
    let keys = Keys::new(&issuer.config(), tls());
    assert!(has(&keys, "one").await.unwrap());
    issuer.set(DISCOVERY, Reply::Silence);
    later(REFRESH_EVERY).await;
    assert!(timeout(Duration::from_millis(100), has(&keys, "two")).await.is_err(), "it waits for the issuer");
    let failure = has(&keys, "two").await.unwrap_err().to_string();
    assert!(failure.contains("cut short"), "{failure}");
    assert!(has(&keys, "one").await.unwrap());
    assert_eq!(issuer.asked(DISCOVERY), 2);
}

#[tokio::test]
async fn who_has_a_known_key_does_not_wait_for_a_slow_issuer() {
    let issuer = Issuer::start(&[("one", &RSA)]).await;
    let keys = Keys::new(&issuer.config(), tls());
    assert!(has(&keys, "one").await.unwrap());
    issuer.set(DISCOVERY, Reply::Silence);
    later(MAX_AGE).await;
    time::pause();
    let started = Instant::now();
    assert!(has(&keys, "one").await.unwrap());
    let first = started.elapsed();
    assert!((STALE_PATIENCE..STALE_PATIENCE + Duration::from_millis(10)).contains(&first), "{first:?}");
    assert!(has(&keys, "one").await.unwrap());
    assert_eq!(started.elapsed(), first, "not a second time");
}

#[tokio::test]
async fn an_issuer_that_has_never_answered_is_asked_again_soon() {
    let issuer = Issuer::start(&[("one", &RSA)]).await;
    issuer.set(DISCOVERY, Reply::Answer(500, String::new()));
    let keys = Keys::new(&issuer.config(), tls());
    for _ in 0..3 {
        assert!(matches!(has(&keys, "one").await, Err(Failure::Other { cause: "keys", .. })));
    }
    assert_eq!(issuer.asked(DISCOVERY), 1);
    issuer.discovery(&json!({ "issuer": issuer.url, "jwks_uri": format!("{}/keys", issuer.url) }));
    later(FIRST_RETRY).await;
    assert!(has(&keys, "one").await.unwrap());
}

#[tokio::test]
async fn all_who_need_the_keys_at_once_wait_for_one_answer() {
    let issuer = Issuer::start(&[("one", &RSA)]).await;
    let keys = Keys::new(&issuer.config(), tls());
    let (a, b, c) = tokio::join!(has(&keys, "one"), has(&keys, "one"), has(&keys, "none"));
    assert!(a.unwrap() && b.unwrap() && !c.unwrap());
    assert_eq!(issuer.asked("/keys"), 1);
}

#[tokio::test]
async fn an_answer_that_is_not_what_it_should_be_is_a_failure_and_says_which() {
    let answer = |body: &str| Reply::Answer(200, body.to_owned());
    for (path, reply, says) in [
        (DISCOVERY, answer(r#"{"issuer":"https://other.example","jwks_uri":"x"}"#), "https://other.example"),
        (DISCOVERY, answer("{}"), "not such a document"),
        (DISCOVERY, answer("<html>"), "not such a document"),
        (DISCOVERY, Reply::Redirect("/keys"), "302"),
        ("/keys", Reply::Answer(404, String::new()), "404"),
        ("/keys", Reply::Redirect("/moved"), "302"),
        ("/keys", answer("{\"keys\":{}}"), "not such a document"),
        ("/keys", answer(&format!("{{\"keys\":[]}}{}", " ".repeat(MAX_ANSWER_BYTES))), "did not come whole"),
    ] {
        let issuer = Issuer::start(&[("one", &RSA)]).await;
        issuer.set("/moved", answer(&json!({ "keys": [RSA.jwk("one")] }).to_string()));
        issuer.set(path, reply);
        let failure = has(&Keys::new(&issuer.config(), tls()), "one").await.unwrap_err().to_string();
        assert!(failure.contains(says), "{path} {says}: {failure}");
        assert_eq!(issuer.asked("/moved"), 0, "a redirect could lead anywhere");
    }
}

#[tokio::test]
async fn keys_are_fetched_over_https_or_from_this_machine_wherever_the_issuer_points() {
    for jwks_uri in ["http://keys.example.com/", "http://169.254.169.254/", "file:///etc/passwd", "keys"] {
        let issuer = Issuer::start(&[]).await;
        issuer.discovery(&json!({ "issuer": issuer.url, "jwks_uri": jwks_uri }));
        let failure = has(&Keys::new(&issuer.config(), tls()), "one").await.unwrap_err().to_string();
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
async fn of_an_issuers_own_text_a_failure_holds_no_more_than_a_little() {
    let issuer = Issuer::start(&[]).await;
    let long = "ü".repeat(MAX_ANSWER_BYTES / 4);
    for document in [
        json!({ "issuer": long, "jwks_uri": "x" }),
        json!({ "issuer": issuer.url, "jwks_uri": long }),
        json!({ "issuer": issuer.url, "jwks_uri": format!("{}/{}", issuer.url, "x".repeat(9000)) }),
    ] {
        issuer.discovery(&document);
        let failure = has(&Keys::new(&issuer.config(), tls()), "one").await.unwrap_err().to_string();
        assert!((200..400).contains(&failure.chars().count()), "{failure}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_keeps_silent_is_not_waited_for() {
    let issuer = Issuer::start(&[]).await;
    issuer.set(DISCOVERY, Reply::Silence);
    let started = Instant::now();
    let keys = Keys::new(&issuer.config(), tls());
    assert!(matches!(has(&keys, "one").await, Err(Failure::Other { cause: "keys", .. })));
    assert!(started.elapsed() <= REQUEST_TIMEOUT + Duration::from_millis(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn nobody_at_the_issuers_address_is_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let jwks_url = Some(format!("http://{}/keys", listener.local_addr().unwrap()).parse().unwrap());
    drop(listener);
    let issuer = Issuer::start(&[]).await;
    let keys = Keys::new(&Config { jwks_url, ..issuer.config() }, tls());
    assert!(matches!(has(&keys, "one").await, Err(Failure::Other { cause: "keys", .. })));
}

#[test]
fn keys_that_cannot_verify_are_left_out_and_hide_no_other() {
    let rsa = |change: &dyn Fn(&mut Value)| {
        let mut jwk = RSA.jwk("rsa");
        change(&mut jwk);
        jwk
    };
    for good in [
        rsa(&|_| ()),
        rsa(&|jwk| jwk["use"] = json!("sig")),
        rsa(&|jwk| jwk["alg"] = json!("RS256")),
        rsa(&|jwk| jwk["key_ops"] = json!(["verify"])),
        rsa(&|jwk| jwk["x5c"] = json!(["…"])),
        EC.jwk("ec"),
        ED.jwk("ed"),
    ] {
        assert!(usable(good.clone()).is_some(), "{good}");
    }
    for bad in [
        json!(null),
        json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "hmac" }),
        json!({ "kty": "new", "kid": "one" }),
        rsa(&|jwk| jwk["use"] = json!("enc")),
        rsa(&|jwk| jwk["alg"] = json!("RS512")),
        rsa(&|jwk| jwk["alg"] = json!("HS256")),
        rsa(&|jwk| jwk["key_ops"] = json!(["encrypt"])),
        rsa(&|jwk| jwk["n"] = json!("not base64!")),
        rsa(&|jwk| jwk["kid"] = Value::Null),
        json!({ "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA", "kid": "ec" }),
    ] {
        assert!(usable(bad.clone()).is_none(), "{bad}");
    }
}
