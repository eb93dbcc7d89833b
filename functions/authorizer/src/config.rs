//! Whose tokens count, and which of their claims: read once from the environment at start-up.

use http::Uri;
use hub::{config::ConfigError, tls::Trust};

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
    /// Whom TLS trusts on the way to the issuer.
    pub(crate) trust: Trust,
}

impl Config {
    pub(crate) fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads through `lookup`, so that tests set no variables. An empty value counts as missing.
    pub(crate) fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let get = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let required =
            |name, hint| get(name).ok_or_else(|| ConfigError::new(name, format!("is missing: {hint}")));
        let issuer = required("AUTH_ISSUER", "set it to the `iss` of the tokens, an https:// URL")?;
        url("AUTH_ISSUER", &issuer)?;
        if issuer.contains('?') {
            return Err(ConfigError::new(
                "AUTH_ISSUER",
                format!("is {issuer:?}: an issuer has no query string"),
            ));
        }
        // Keys that are looked up are at the issuer's own address, or with the same authority.
        let mut addresses = vec![Some(issuer.clone())];
        addresses.extend(get("AUTH_JWKS_URL").map(Some));
        Ok(Self {
            trust: Trust::of(&addresses, get),
            issuer,
            audience: required(
                "AUTH_AUDIENCE",
                "set it to the `aud` of the tokens that are meant for this hub",
            )?,
            jwks_url: get("AUTH_JWKS_URL").map(|text| url("AUTH_JWKS_URL", &text)).transpose()?,
            session_claim: get("AUTH_SESSION_CLAIM").unwrap_or_else(|| "session_id".into()),
            send_claim: get("AUTH_SEND_CLAIM").unwrap_or_else(|| "send_to".into()),
        })
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
        Config::from_lookup(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
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
            trust: Trust::Machine,
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
        assert_eq!(config.trust, Trust::Machine);
        assert_eq!((&*config.session_claim, &*config.send_claim), ("sub", "https://example.com/send_to"));
    }

    #[test]
    fn no_certificates_are_read_for_an_issuer_on_this_machine_and_only_amazons_for_amazons() {
        let trust =
            |issuer, more: &[_]| read(&[&[("AUTH_ISSUER", issuer), AUDIENCE], more].concat()).unwrap().trust;
        assert_eq!(trust("http://127.0.0.1:8081", &[]), Trust::Nobody);
        let cognito = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_aBcDeFgHi";
        assert_eq!(trust(cognito, &[]), Trust::Amazon);
        assert_eq!(trust(cognito, &[("AUTH_JWKS_URL", "https://keys.example.com/")]), Trust::Machine);
        assert_eq!(trust("https://login.example.com/", &[]), Trust::Machine);
        let bundle = ("AWS_CA_BUNDLE", "/ca.pem");
        assert_eq!(trust("https://login.example.com/", &[bundle]), Trust::Bundle("/ca.pem".into()));
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
