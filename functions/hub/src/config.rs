//! The functions' settings, read once from the environment at start-up.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

/// Everything that the environment decides. A missing or malformed variable stops the function at start-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `TABLE_NAME`: the table of connections, by name or ARN.
    pub table_name: String,
    /// `SESSION_INDEX`: the table's index on `session_id`.
    pub session_index: String,
    /// `CONNECTION_TTL_SECONDS`: how long after its connect a row counts as there.
    pub connection_ttl: Duration,
    /// `FANOUT_CONCURRENCY`: how many calls to `@connections` are under way at once.
    pub fanout_concurrency: usize,
    /// `MAX_MESSAGE_BYTES`: the largest delivery frame, in bytes of UTF-8.
    pub max_message_bytes: usize,
    /// `REQUIRE_GRANT`: whether an authorizer stands at the door. Then nothing that comes over a socket without what
    /// that granted is taken, and a connection that is met after its token's end is closed.
    pub require_grant: bool,
    /// `AWS_REGION`, or else `AWS_DEFAULT_REGION`.
    pub region: Option<String>,
    /// `AWS_ENDPOINT_URL_DYNAMODB`, or else `AWS_ENDPOINT_URL`: where the table is, if not where the SDK knows it to be.
    pub table_endpoint: Option<String>,
    /// Where posts go.
    pub endpoint: EndpointSource,
    /// Whom TLS trusts.
    pub trust: Trust,
}

/// The certificate authorities that the functions' calls are checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Every address begins with `http://`: there is nothing to check.
    Nobody,
    /// Amazon's own five roots, which all addresses of AWS itself chain to.
    Amazon,
    /// The machine's store, for addresses of one's own and for the China regions.
    Machine,
    /// `AWS_CA_BUNDLE`: a PEM file, in place of all others.
    Bundle(String),
}

/// How the base address of `@connections` is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointSource {
    /// `WEBSOCKET_ENDPOINT`, whole: `https://{host}/{stage}`.
    Fixed(String),
    /// `AWS_ENDPOINT_URL`, to which the event's stage is added.
    Redirected(String),
    /// Built from the event's API id and stage and this region.
    FromEvent {
        /// `AWS_REGION`.
        region: String,
    },
}

/// A variable that is missing or cannot be used; the text names it and says what it should hold.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("environment variable {name} {problem}")]
pub struct ConfigError {
    name: &'static str,
    problem: String,
}

impl ConfigError {
    /// `problem` goes on where "environment variable {name}" ends.
    #[must_use]
    pub fn new(name: &'static str, problem: String) -> Self {
        Self { name, problem }
    }
}

/// The largest frame that API Gateway passes on, in bytes.
const GATEWAY_MESSAGE_BYTES: usize = 128 * 1024;

impl Config {
    /// Reads the process's environment.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads through `lookup`, so that tests set no variables. An empty value counts as missing.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let get = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let table_name = get("TABLE_NAME").ok_or_else(|| ConfigError {
            name: "TABLE_NAME",
            problem: "is missing: set it to the name of the table of connections".into(),
        })?;
        let session_index = get("SESSION_INDEX").unwrap_or_else(|| "session_id-index".into());
        check_name("TABLE_NAME", &table_name)?;
        check_name("SESSION_INDEX", &session_index)?;
        let region = get("AWS_REGION").or_else(|| get("AWS_DEFAULT_REGION"));
        let table_endpoint = get("AWS_ENDPOINT_URL_DYNAMODB").or_else(|| get("AWS_ENDPOINT_URL"));
        let posts = get("WEBSOCKET_ENDPOINT")
            .or_else(|| get("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI"))
            .or_else(|| get("AWS_ENDPOINT_URL"));
        Ok(Self {
            table_name,
            session_index,
            connection_ttl: Duration::from_secs(number(&get, "CONNECTION_TTL_SECONDS", 9000, &(1..=86_400))?),
            fanout_concurrency: number(&get, "FANOUT_CONCURRENCY", 64, &(1..=1024))?,
            max_message_bytes: number(&get, "MAX_MESSAGE_BYTES", 32 * 1024, &(1..=GATEWAY_MESSAGE_BYTES))?,
            require_grant: flag(&get, "REQUIRE_GRANT")?,
            endpoint: endpoint(&get, region.as_deref())?,
            trust: Trust::of(&[table_endpoint.clone(), posts], get),
            region,
            table_endpoint,
        })
    }
}

fn check_name(name: &'static str, value: &str) -> Result<(), ConfigError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-:/".contains(c);
    if value.len() >= 3 && value.chars().all(allowed) {
        return Ok(());
    }
    Err(ConfigError {
        name,
        problem: format!("is {value:?}: DynamoDB's names are 3 or more of the characters A-Z a-z 0-9 _ . -"),
    })
}

fn number<T>(
    get: &impl Fn(&str) -> Option<String>,
    name: &'static str,
    default: T,
    range: &RangeInclusive<T>,
) -> Result<T, ConfigError>
where
    T: FromStr + PartialOrd + Display,
{
    let Some(text) = get(name) else { return Ok(default) };
    match text.parse() {
        Ok(value) if range.contains(&value) => Ok(value),
        _ => Err(ConfigError {
            name,
            problem: format!(
                "is {text:?}: it must be a whole number from {} to {}",
                range.start(),
                range.end()
            ),
        }),
    }
}

fn flag(get: &impl Fn(&str) -> Option<String>, name: &'static str) -> Result<bool, ConfigError> {
    match get(name).as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(text) => Err(ConfigError::new(name, format!("is {text:?}: it must be true or false"))),
    }
}

fn endpoint(
    get: &impl Fn(&str) -> Option<String>,
    region: Option<&str>,
) -> Result<EndpointSource, ConfigError> {
    if let Some(url) = get("WEBSOCKET_ENDPOINT") {
        return http_url("WEBSOCKET_ENDPOINT", &url).map(EndpointSource::Fixed);
    }
    for name in ["AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI", "AWS_ENDPOINT_URL"] {
        if let Some(url) = get(name) {
            return http_url(name, &url).map(EndpointSource::Redirected);
        }
    }
    match region {
        Some(region) => Ok(EndpointSource::FromEvent { region: region.to_owned() }),
        None => Err(ConfigError {
            name: "AWS_REGION",
            problem: "is missing: Lambda sets it; elsewhere set it, or WEBSOCKET_ENDPOINT".into(),
        }),
    }
}

impl Trust {
    /// What calls to these addresses take; `None` is an address that the SDK chooses. Reads through `get`.
    pub fn of(addresses: &[Option<String>], get: impl Fn(&str) -> Option<String>) -> Self {
        let plain = |url: &Option<String>| url.as_ref().is_some_and(|url| url.starts_with("http://"));
        // A custom domain's certificate may come from anyone; AWS's own addresses say what they are.
        let of_aws = |url: &Option<String>| url.as_ref().is_none_or(|url| url.contains(".amazonaws.com/"));
        let china = get("AWS_REGION").is_some_and(|region| region.starts_with("cn-"));
        if addresses.iter().all(plain) {
            Self::Nobody
        } else if let Some(file) = get("AWS_CA_BUNDLE") {
            Self::Bundle(file)
        } else if addresses.iter().all(of_aws) && !china {
            Self::Amazon
        } else {
            Self::Machine
        }
    }
}

fn http_url(name: &'static str, url: &str) -> Result<String, ConfigError> {
    let problem = |hint: &str| ConfigError { name, problem: format!("is {url:?}: {hint}") };
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(problem(
            "it must be a URL such as https://{api-id}.execute-api.{region}.amazonaws.com/{stage}",
        ));
    };
    match scheme {
        "https" | "http"
            if !rest.is_empty() && !rest.starts_with('/') && !url.contains(char::is_whitespace) =>
        {
            Ok(url.trim_end_matches('/').to_owned())
        }
        "wss" | "ws" => Err(problem("that is the clients' address; posts go to the same one with https://")),
        _ => Err(problem("it must begin with https:// (or http:// for a local stack) and name a host")),
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

    const TABLE: (&str, &str) = ("TABLE_NAME", "connections");
    const REGION: (&str, &str) = ("AWS_REGION", "eu-west-1");

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = read(&[TABLE, REGION]).unwrap();
        assert_eq!(
            config,
            Config {
                table_name: "connections".into(),
                session_index: "session_id-index".into(),
                connection_ttl: Duration::from_secs(9000),
                fanout_concurrency: 64,
                max_message_bytes: 32_768,
                require_grant: false,
                region: Some("eu-west-1".into()),
                table_endpoint: None,
                endpoint: EndpointSource::FromEvent { region: "eu-west-1".into() },
                trust: Trust::Amazon,
            }
        );
    }

    #[test]
    fn each_bad_value_is_refused_by_name() {
        let cases = [
            (vec![REGION], "TABLE_NAME"),
            (vec![REGION, ("TABLE_NAME", "")], "TABLE_NAME"),
            (vec![REGION, ("TABLE_NAME", "a table")], "TABLE_NAME"),
            (vec![TABLE], "AWS_REGION"),
            (vec![TABLE, REGION, ("SESSION_INDEX", "?")], "SESSION_INDEX"),
            (vec![TABLE, REGION, ("CONNECTION_TTL_SECONDS", "2h")], "CONNECTION_TTL_SECONDS"),
            (vec![TABLE, REGION, ("FANOUT_CONCURRENCY", "0")], "FANOUT_CONCURRENCY"),
            (vec![TABLE, REGION, ("FANOUT_CONCURRENCY", "-1")], "FANOUT_CONCURRENCY"),
            (vec![TABLE, REGION, ("MAX_MESSAGE_BYTES", "131073")], "MAX_MESSAGE_BYTES"),
            (vec![TABLE, REGION, ("REQUIRE_GRANT", "yes")], "REQUIRE_GRANT"),
            (vec![TABLE, ("WEBSOCKET_ENDPOINT", "wss://example.com/live")], "WEBSOCKET_ENDPOINT"),
            (vec![TABLE, ("WEBSOCKET_ENDPOINT", "example.com/live")], "WEBSOCKET_ENDPOINT"),
            (vec![TABLE, ("WEBSOCKET_ENDPOINT", "https:///live")], "WEBSOCKET_ENDPOINT"),
            (vec![TABLE, ("AWS_ENDPOINT_URL", "localhost:4566")], "AWS_ENDPOINT_URL"),
        ];
        for (variables, name) in cases {
            let error = read(&variables).expect_err(name);
            assert_eq!(error.name, name, "{variables:?}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn trust_follows_the_addresses_that_are_called() {
        let local = ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566");
        let bundle = ("AWS_CA_BUNDLE", "/ca.pem");
        let trust = |more: &[(&str, &str)]| read(&[&[TABLE], more, &[REGION]].concat()).unwrap().trust;
        assert_eq!(trust(&[local, bundle]), Trust::Nobody);
        assert_eq!(trust(&[bundle]), Trust::Bundle("/ca.pem".into()));
        assert_eq!(
            trust(&[("WEBSOCKET_ENDPOINT", "https://a.execute-api.eu-west-1.amazonaws.com/live")]),
            Trust::Amazon
        );
        assert_eq!(trust(&[("WEBSOCKET_ENDPOINT", "https://chat.example.com/live")]), Trust::Machine);
        assert_eq!(trust(&[("AWS_ENDPOINT_URL", "https://stack.example.com")]), Trust::Machine);
        assert_eq!(trust(&[local, ("WEBSOCKET_ENDPOINT", "https://chat.example.com/live")]), Trust::Machine);
        assert_eq!(trust(&[("AWS_REGION", "cn-north-1")]), Trust::Machine);
    }

    #[test]
    fn an_endpoint_of_ones_own_comes_before_a_redirection_and_the_event() {
        let all = [
            TABLE,
            REGION,
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566/"),
            ("WEBSOCKET_ENDPOINT", "https://x.example/live/"),
        ];
        assert_eq!(read(&all).unwrap().endpoint, EndpointSource::Fixed("https://x.example/live".into()));
        assert_eq!(
            read(&all[..3]).unwrap().endpoint,
            EndpointSource::Redirected("http://127.0.0.1:4566".into())
        );
    }
}
