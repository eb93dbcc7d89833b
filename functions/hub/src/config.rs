//! Reads environment variables. Each function reads those that it uses once, at its start.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr, sync::Arc};

type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Environment variables. An empty value counts as missing.
#[derive(Clone)]
pub struct Variables(Arc<Lookup>);

/// A variable that is missing or malformed. The text names it and says what it should hold. The function does not
/// start.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("environment variable {name} {problem}")]
pub struct ConfigError {
    name: &'static str,
    problem: String,
}

impl ConfigError {
    /// The error "environment variable {name} {problem}".
    #[must_use]
    pub fn new(name: &'static str, problem: impl Into<String>) -> Self {
        Self { name, problem: problem.into() }
    }
}

impl Variables {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self(Arc::new(|name| std::env::var(name).ok()))
    }

    /// These and no others: tests need not change the process's own.
    #[must_use]
    pub fn of<V: AsRef<str>>(variables: &[(&str, V)]) -> Self {
        let owned = |(name, value): &(&str, V)| ((*name).to_owned(), value.as_ref().to_owned());
        let variables: Vec<_> = variables.iter().map(owned).collect();
        Self(Arc::new(move |wanted| {
            variables.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())
        }))
    }

    /// The value, if there is one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// The value, or an error that ends with `hint`.
    pub fn required(&self, name: &'static str, hint: &str) -> Result<String, ConfigError> {
        self.get(name).ok_or_else(|| ConfigError::new(name, format!("is missing: {hint}")))
    }

    /// A number within `range`, or `default` if the variable is missing.
    pub fn number<T>(
        &self,
        name: &'static str,
        default: T,
        range: &RangeInclusive<T>,
    ) -> Result<T, ConfigError>
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(text) = self.get(name) else { return Ok(default) };
        text.parse().ok().filter(|value| range.contains(value)).ok_or_else(|| {
            let (from, to) = (range.start(), range.end());
            ConfigError::new(name, format!("is {text:?}: it must be a whole number from {from} to {to}"))
        })
    }

    /// `true` or `false`; `false` if the variable is missing.
    pub fn flag(&self, name: &'static str) -> Result<bool, ConfigError> {
        match self.get(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(text) => Err(ConfigError::new(name, format!("is {text:?}: it must be true or false"))),
        }
    }

    /// The URL of a server, without a trailing slash.
    pub fn url(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        let Some(url) = self.get(name) else { return Ok(None) };
        let problem = |hint: &str| Err(ConfigError::new(name, format!("is {url:?}: {hint}")));
        match url.split_once("://") {
            None => problem(
                "it must be a URL such as https://{api-id}.execute-api.{region}.amazonaws.com/{stage}",
            ),
            Some(("wss" | "ws", _)) => {
                problem("that is the address for clients; for posts, write https:// in place of wss://")
            }
            Some(("https" | "http", rest))
                if !rest.is_empty() && !rest.starts_with('/') && !url.contains(char::is_whitespace) =>
            {
                Ok(Some(url.trim_end_matches('/').to_owned()))
            }
            _ => problem("it must begin with https:// (or http:// for a local stack) and name a host"),
        }
    }

    /// `AWS_REGION`, or else `AWS_DEFAULT_REGION`.
    pub fn region(&self) -> Result<String, ConfigError> {
        self.get("AWS_REGION").or_else(|| self.get("AWS_DEFAULT_REGION")).ok_or_else(|| {
            ConfigError::new("AWS_REGION", "is missing: Lambda sets it; elsewhere set it to the hub's region")
        })
    }

    /// `REQUIRE_GRANT`: whether the hub has an authorizer. If so, frames from connections without a grant are refused,
    /// and connections whose token has expired are closed.
    pub fn require_grant(&self) -> Result<bool, ConfigError> {
        self.flag("REQUIRE_GRANT")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_counts_as_missing() {
        let variables = Variables::of(&[("A", ""), ("B", "1"), ("C", "false")]);
        assert_eq!((variables.get("A"), variables.get("B")), (None, Some("1".into())));
        assert_eq!(variables.number("A", 7, &(1..=9)), Ok(7));
        assert_eq!(variables.number("B", 7, &(1..=9)), Ok(1));
        assert_eq!((variables.flag("A"), variables.flag("C")), (Ok(false), Ok(false)));
        assert_eq!(variables.url("A"), Ok(None));
    }

    #[test]
    fn each_bad_value_is_refused_by_name() {
        let of = |value| Variables::of(&[("NAME", value)]);
        for value in ["2h", "0", "-1", "11", "1.5", " 1"] {
            let error = of(value).number("NAME", 5, &(1..=10)).unwrap_err().to_string();
            assert!(error.contains("NAME") && error.contains("from 1 to 10"), "{error}");
        }
        for value in ["yes", "True", "1"] {
            assert!(of(value).flag("NAME").unwrap_err().to_string().contains("NAME"), "{value}");
        }
        for value in
            ["wss://example.com/live", "example.com/live", "https:///live", "localhost:4566", "https://a b"]
        {
            assert!(of(value).url("NAME").unwrap_err().to_string().contains("NAME"), "{value}");
        }
        assert!(
            of("x")
                .required("OTHER", "set it")
                .unwrap_err()
                .to_string()
                .ends_with("OTHER is missing: set it")
        );
        assert!(of("x").region().unwrap_err().to_string().contains("AWS_REGION"));
    }
}
