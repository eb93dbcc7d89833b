//! The settings of the authorizer: the issuers whose tokens are accepted, and the claims to read. Read once, at start.

use std::collections::HashSet;

use http::Uri;
use hub::config::{ConfigError, Variables};
use serde::Deserialize;
use serde_json::Value;

const ISSUERS: &str = "AUTH_ISSUERS";

/// One issuer of tokens in `AUTH_ISSUERS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issuer {
    /// The exact value of the claim `iss`.
    pub(crate) name: String,
    /// Where its keys are.
    pub(crate) keys_at: KeysAt,
    /// One of these must be in the audience claim.
    pub(crate) audiences: Vec<String>,
    pub(crate) audience_claim: Claim,
    /// Holds the sessions that the bearer may join.
    pub(crate) session_claim: Claim,
    /// Holds the sessions that the bearer may send to.
    pub(crate) send_claim: Claim,
    /// Holds the sessions that the bearer may subscribe to.
    pub(crate) subscribe_claim: Claim,
    /// Whether these three may hold patterns, such as `room-*`. Off by default: in claims that were not made for the
    /// hub, users can often choose the value.
    pub(crate) patterns: bool,
}

/// Where an issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeysAt {
    /// At this address.
    Url(Uri),
    /// At the address in the OpenID discovery document at this address.
    Discovery(Uri),
}

/// The place of a value in a token: the name of a claim, or a JSON pointer (RFC 6901) into one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim(pub(crate) String);

impl Claim {
    /// The value in `claims`, which is an object.
    pub(crate) fn of<'a>(&self, claims: &'a Value) -> Option<&'a Value> {
        if self.0.starts_with('/') { claims.pointer(&self.0) } else { claims.get(&self.0) }
    }
}

/// One issuer in the form that Terraform writes. A `null` counts as missing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuerJson {
    issuer: Option<String>,
    audiences: Option<Vec<String>>,
    audience_claim: Option<String>,
    jwks_url: Option<String>,
    session_claim: Option<String>,
    send_claim: Option<String>,
    subscribe_claim: Option<String>,
    patterns: Option<bool>,
}

/// Reads `AUTH_ISSUERS`, a JSON list of at least one.
///
/// # Errors
///
/// It is missing or malformed. The text names the issuer and the problem.
pub(crate) fn read(variables: &Variables) -> Result<Vec<Issuer>, ConfigError> {
    let bad = |problem: String| ConfigError::new(ISSUERS, problem);
    let text = variables.required(ISSUERS, r#"set it to [{"issuer":"https://…","audiences":["…"]}]"#)?;
    let written: Vec<IssuerJson> = serde_json::from_str(&text)
        .map_err(|error| bad(format!("is not a JSON list of issuers: {error}")))?;
    if written.is_empty() {
        return Err(bad("is an empty list: name at least one issuer".into()));
    }
    let mut names = HashSet::new();
    let mut issuers = Vec::new();
    for (index, written) in written.into_iter().enumerate() {
        let issuer = written.validate().map_err(|problem| bad(format!("[{index}]: {problem}")))?;
        if !names.insert(issuer.name.clone()) {
            return Err(bad(format!(
                "[{index}]: issuer {:?} is listed twice: give one entry all its audiences",
                issuer.name
            )));
        }
        issuers.push(issuer);
    }
    Ok(issuers)
}

impl IssuerJson {
    fn validate(self) -> Result<Issuer, String> {
        let name = self.issuer.filter(|name| !name.trim().is_empty());
        let name = name.ok_or("issuer is missing: set it to the exact `iss` of the tokens")?;
        let keys_at = match self.jwks_url {
            Some(url) => {
                KeysAt::Url(key_url(&url).map_err(|problem| format!("jwks_url is {url:?}: {problem}"))?)
            }
            None => KeysAt::Discovery(discovery_url(&name).map_err(|problem| {
                format!("issuer is {name:?}, and jwks_url is not set: {problem}; or set jwks_url")
            })?),
        };
        let audiences = self.audiences.unwrap_or_default();
        if audiences.is_empty() || audiences.iter().any(|audience| audience.trim().is_empty()) {
            return Err(
                "audiences is missing: list the values that tokens for this hub have as their audience, such as their `aud`"
                    .into(),
            );
        }
        let claim = |setting: &str, name: Option<String>, default: &str| {
            let name = name.unwrap_or_else(|| default.to_owned());
            let escapes = name.split('~').skip(1);
            if name.trim().is_empty() {
                Err(format!("{setting} is empty: name a claim"))
            } else if name.starts_with('/') && escapes.into_iter().any(|rest| !rest.starts_with(['0', '1'])) {
                Err(format!("{setting} is {name:?}: in a JSON pointer, write ~0 for ~ and ~1 for /"))
            } else {
                Ok(Claim(name))
            }
        };
        Ok(Issuer {
            keys_at,
            audiences,
            audience_claim: claim("audience_claim", self.audience_claim, "aud")?,
            session_claim: claim("session_claim", self.session_claim, "session_id")?,
            send_claim: claim("send_claim", self.send_claim, "send_to")?,
            subscribe_claim: claim("subscribe_claim", self.subscribe_claim, "subscribe_to")?,
            patterns: self.patterns.unwrap_or_default(),
            name,
        })
    }
}

impl Issuer {
    /// The address that is called first. A key set found by discovery is at the same kind of address.
    pub(crate) fn address(&self) -> String {
        match &self.keys_at {
            KeysAt::Url(url) | KeysAt::Discovery(url) => url.to_string(),
        }
    }
}

fn discovery_url(issuer: &str) -> Result<Uri, &'static str> {
    key_url(issuer)?;
    if issuer.contains('?') {
        return Err("an issuer whose keys are discovered has no query string");
    }
    key_url(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')))
}

/// Checks an address from which keys are read: it must use HTTPS, unless it is on this machine.
pub(crate) fn key_url(text: &str) -> Result<Uri, &'static str> {
    let uri: Uri = text.parse().map_err(|_| "it must be a URL such as https://login.example.com")?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or("it must be a URL that names a host")?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) || text.contains('#') {
        return Err("it must be a plain URL, without a user and without a #");
    }
    if uri.authority().is_some_and(|authority| authority.as_str() != host && authority.port_u16().is_none()) {
        return Err("its port must be a number up to 65535");
    }
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if ["127.0.0.1", "[::1]", "localhost"].contains(&host) => Ok(uri),
        _ => Err("it must begin with https:// (http:// only for 127.0.0.1 or localhost)"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> Result<Vec<Issuer>, ConfigError> {
        read(&Variables::of(&[(ISSUERS, text)]))
    }

    /// An issuer with these settings changed.
    fn with(changes: &Value) -> Value {
        let mut issuer = json!({ "issuer": "https://login.example.com/", "audiences": ["chat"] });
        issuer.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        issuer
    }

    fn one(changes: &Value) -> Issuer {
        parse(&json!([with(changes)]).to_string()).unwrap().remove(0)
    }

    #[test]
    fn defaults_are_the_documented_ones_and_null_counts_as_missing() {
        let claim = |name: &str| Claim(name.to_owned());
        let expected = Issuer {
            name: "https://login.example.com/".into(),
            keys_at: KeysAt::Discovery(
                "https://login.example.com/.well-known/openid-configuration".parse().unwrap(),
            ),
            audiences: vec!["chat".into()],
            audience_claim: claim("aud"),
            session_claim: claim("session_id"),
            send_claim: claim("send_to"),
            subscribe_claim: claim("subscribe_to"),
            patterns: false,
        };
        let null = json!({
            "jwks_url": null, "audience_claim": null, "session_claim": null, "send_claim": null,
            "subscribe_claim": null, "patterns": null,
        });
        assert_eq!(one(&json!({})), expected);
        assert_eq!(one(&null), expected);
    }

    #[test]
    fn each_setting_is_read() {
        let issuer = one(&json!({
            "issuer": "accounts.google.com",
            "audiences": ["a", "b"],
            "audience_claim": "azp",
            "jwks_url": "https://keys.example.com/jwk/securetoken@system.example?tenant=1",
            "session_claim": "/a~1b/c~0d/0",
            "send_claim": "https://example.com/send_to",
            "subscribe_claim": "rooms",
            "patterns": true,
        }));
        let url = "https://keys.example.com/jwk/securetoken@system.example?tenant=1";
        assert_eq!((&*issuer.name, &*issuer.address()), ("accounts.google.com", url));
        assert_eq!(issuer.audiences, ["a", "b"]);
        assert!(issuer.patterns && issuer.subscribe_claim.0 == "rooms");
        let claims = json!({ "azp": 1, "a/b": { "c~d": ["x"] }, "https://example.com/send_to": 2 });
        assert_eq!(issuer.audience_claim.of(&claims), Some(&json!(1)));
        assert_eq!(issuer.session_claim.of(&claims), Some(&json!("x")));
        assert_eq!(issuer.send_claim.of(&claims), Some(&json!(2)));
        assert_eq!(issuer.subscribe_claim.of(&claims), None);
    }

    #[test]
    fn only_a_claim_that_begins_with_a_slash_is_a_pointer() {
        let claims = json!({ "a.b": 1, "a": { "b": 2 }, "a/b": 3, "": 4 });
        for (claim, value) in [("a.b", 1), ("/a/b", 2), ("a/b", 3), ("/a~1b", 3), ("/", 4)] {
            assert_eq!(Claim(claim.into()).of(&claims), Some(&json!(value)), "{claim}");
        }
    }

    #[test]
    fn an_issuer_may_be_listed_only_once() {
        let another = with(&json!({ "issuer": "https://login.example.com" }));
        let issuers = parse(&json!([with(&json!({})), another]).to_string()).unwrap();
        assert_eq!(issuers.len(), 2, "a slash makes another issuer");
        let error = parse(&json!([with(&json!({})), with(&json!({ "audiences": ["b"] }))]).to_string());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("[1]") && error.contains("twice"), "{error}");
    }

    #[test]
    fn each_bad_value_is_refused_by_name() {
        let issuer = |issuer: &str| json!({ "issuer": issuer });
        let jwks = |url: &str| json!({ "issuer": "my-app", "jwks_url": url });
        for (changes, says) in [
            (json!({ "issuer": null }), "issuer is missing"),
            (issuer(" "), "issuer is missing"),
            (json!({ "audiences": null }), "audiences"),
            (json!({ "audiences": [] }), "audiences"),
            (json!({ "audiences": ["a", ""] }), "audiences"),
            (json!({ "audiences": "chat" }), "expected a sequence"),
            (json!({ "audience": "chat" }), "unknown field `audience`"),
            (json!({ "patterns": "yes" }), "expected a boolean"),
            (json!({ "session_claim": "" }), "session_claim"),
            (json!({ "audience_claim": "/a~" }), "audience_claim"),
            (json!({ "send_claim": "/a~2b" }), "send_claim"),
            (json!({ "subscribe_claim": " " }), "subscribe_claim"),
            (issuer("login.example.com"), "set jwks_url"),
            (issuer("http://login.example.com"), "https://"),
            (issuer("http://127.0.0.1.example.com"), "https://"),
            (issuer("http://localhost@login.example.com"), "user"),
            (issuer("https://login.example.com?tenant=1"), "query string"),
            (issuer("https://"), "URL"),
            (issuer("https:///keys"), "URL"),
            (issuer("https://login.example.com "), "URL"),
            (jwks(""), "jwks_url"),
            (jwks("http://169.254.169.254/latest"), "jwks_url"),
            (jwks("file:///etc/passwd"), "jwks_url"),
            (jwks("https://user@keys.example.com/"), "jwks_url"),
            (jwks("https://keys.example.com/#one"), "jwks_url"),
            (jwks("https://keys.example.com:99999/"), "port"),
        ] {
            let error = parse(&json!([with(&changes)]).to_string()).expect_err(&changes.to_string());
            let error = error.to_string();
            assert!(error.contains(ISSUERS) && error.contains(says), "{changes}: {error}");
        }
        for text in ["", "[]", "{}", "null", "https://login.example.com", "[{}", "[null]"] {
            assert!(parse(text).unwrap_err().to_string().contains(ISSUERS), "{text}");
        }
    }
}
