//! Whose tokens count, and which of their claims: read once from the environment at start-up.

use http::Uri;
use hub::config::{ConfigError, Variables};

/// Everything that the environment decides. A missing or malformed variable stops the function at start-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// `AUTH_ISSUER`: what the claim `iss` says, to the letter, and where discovery begins.
    pub(crate) issuer: String,
    /// `AUTH_AUDIENCE`: what the claim `aud` says or holds.
    pub(crate) audience: String,
    /// `AUTH_JWKS_URL`: the issuer's keys; where unset, the issuer's discovery document says where they are.
    pub(crate) jwks_url: Option<Uri>,
    /// `AUTH_SESSION_CLAIM`: the claim that holds the sessions to join.
    pub(crate) session_claim: String,
    /// `AUTH_SEND_CLAIM`: the claim that holds the sessions to send to.
    pub(crate) send_claim: String,
}

impl Config {
    pub(crate) fn read(variables: &Variables) -> Result<Self, ConfigError> {
        let get = |name| variables.get(name);
        let issuer =
            variables.required("AUTH_ISSUER", "set it to the `iss` of the tokens, an https:// URL")?;
        url("AUTH_ISSUER", &issuer)?;
        if issuer.contains('?') {
            return Err(ConfigError::new(
                "AUTH_ISSUER",
                format!("is {issuer:?}: an issuer has no query string"),
            ));
        }
        let hint = "set it to the `aud` of the tokens that are meant for this hub";
        Ok(Self {
            issuer,
            audience: variables.required("AUTH_AUDIENCE", hint)?,
            jwks_url: get("AUTH_JWKS_URL").map(|text| url("AUTH_JWKS_URL", &text)).transpose()?,
            session_claim: get("AUTH_SESSION_CLAIM").unwrap_or_else(|| "session_id".into()),
            send_claim: get("AUTH_SEND_CLAIM").unwrap_or_else(|| "send_to".into()),
        })
    }
}

impl Config {
    /// What is called. Keys that are looked up are at the issuer's own address, or with the same authority.
    pub(crate) fn addresses(&self) -> Vec<Option<String>> {
        let jwks_url = self.jwks_url.iter().map(|url| Some(url.to_string()));
        std::iter::once(Some(self.issuer.clone())).chain(jwks_url).collect()
    }
}

fn url(name: &'static str, text: &str) -> Result<Uri, ConfigError> {
    key_url(text).map_err(|problem| ConfigError::new(name, format!("is {text:?}: {problem}")))
}

/// An address from which keys may be read: by HTTPS, or from this very machine.
pub(crate) fn key_url(text: &str) -> Result<Uri, &'static str> {
    let uri: Uri = text.parse().map_err(|_| "it must be a URL such as https://login.example.com")?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or("it must be a URL that names a host")?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) || text.contains('#') {
        return Err("it must be a plain URL, without a user and without a #");
    }
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if ["127.0.0.1", "[::1]", "localhost"].contains(&host) => Ok(uri),
        _ => Err("it must begin with https:// (http:// only for 127.0.0.1 or localhost)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::read(&Variables::of(variables))
    }

    const ISSUER: (&str, &str) = ("AUTH_ISSUER", "https://login.example.com/");
    const AUDIENCE: (&str, &str) = ("AUTH_AUDIENCE", "hub");

    #[test]
    fn defaults_are_the_documented_ones() {
        let expected = Config {
            issuer: "https://login.example.com/".into(),
            audience: "hub".into(),
            jwks_url: None,
            session_claim: "session_id".into(),
            send_claim: "send_to".into(),
        };
        assert_eq!(read(&[ISSUER, AUDIENCE, ("AUTH_JWKS_URL", "")]).unwrap(), expected);
    }

    #[test]
    fn what_is_set_is_used() {
        let config = read(&[
            ("AUTH_ISSUER", "http://127.0.0.1:8081"),
            AUDIENCE,
            ("AUTH_JWKS_URL", "https://keys.example.com/jwks?tenant=1"),
            ("AUTH_SESSION_CLAIM", "sub"),
            ("AUTH_SEND_CLAIM", "https://example.com/send_to"),
        ])
        .unwrap();
        assert_eq!(config.issuer, "http://127.0.0.1:8081");
        assert_eq!(config.jwks_url.unwrap().to_string(), "https://keys.example.com/jwks?tenant=1");
        assert_eq!((&*config.session_claim, &*config.send_claim), ("sub", "https://example.com/send_to"));
    }

    #[test]
    fn what_is_called_are_the_issuer_and_its_keys() {
        let called = |variables: &[_]| read(&[&[ISSUER, AUDIENCE], variables].concat()).unwrap().addresses();
        let (issuer, keys) = (Some(ISSUER.1.to_owned()), "https://keys.example.com/jwks");
        assert_eq!(called(&[]), std::slice::from_ref(&issuer));
        assert_eq!(called(&[("AUTH_JWKS_URL", keys)]), [issuer, Some(keys.into())]);
    }

    #[test]
    fn each_bad_value_is_refused_by_name() {
        let issuer = |url| vec![("AUTH_ISSUER", url), AUDIENCE];
        let jwks = |url| vec![ISSUER, AUDIENCE, ("AUTH_JWKS_URL", url)];
        for (variables, name) in [
            (vec![AUDIENCE], "AUTH_ISSUER"),
            (vec![ISSUER], "AUTH_AUDIENCE"),
            (issuer("login.example.com"), "AUTH_ISSUER"),
            (issuer("http://login.example.com"), "AUTH_ISSUER"),
            (issuer("http://127.0.0.1.example.com"), "AUTH_ISSUER"),
            (issuer("http://localhost@login.example.com"), "AUTH_ISSUER"),
            (issuer("https://login.example.com?tenant=1"), "AUTH_ISSUER"),
            (issuer("https://"), "AUTH_ISSUER"),
            (issuer("https:///keys"), "AUTH_ISSUER"),
            (issuer("https://login.example.com "), "AUTH_ISSUER"),
            (jwks("http://169.254.169.254/latest"), "AUTH_JWKS_URL"),
            (jwks("file:///etc/passwd"), "AUTH_JWKS_URL"),
            (jwks("https://user@keys.example.com/"), "AUTH_JWKS_URL"),
            (jwks("https://keys.example.com/#one"), "AUTH_JWKS_URL"),
        ] {
            let error = read(&variables).expect_err(&format!("{variables:?}")).to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
