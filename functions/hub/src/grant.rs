//! What a verified token allows. The authorizer grants it, and the other functions enforce it.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::{failure::Failure, protocol::SessionId};

/// A set of session ids: names (`alice`), prefixes (`room-*`), or all (`*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patterns(Vec<Pattern>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Exact(SessionId),
    /// A well-formed session id, or empty.
    Prefix(String),
}

/// Why a claim cannot be read as patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternError {
    /// A member of it is not a session id.
    Malformed,
    /// It has a `*`, though the settings allow only names.
    Pattern,
}

impl Pattern {
    fn parse(text: &str, patterns: bool) -> Result<Self, PatternError> {
        if !patterns && text.contains('*') {
            return Err(PatternError::Pattern);
        }
        match text.strip_suffix('*') {
            Some("") => Some(Self::Prefix(String::new())),
            Some(beginning) => {
                SessionId::parse(beginning).map(|beginning| Self::Prefix(beginning.to_string()))
            }
            None => SessionId::parse(text).map(Self::Exact),
        }
        .ok_or(PatternError::Malformed)
    }

    fn covers(&self, session: &SessionId) -> bool {
        match self {
            Self::Exact(name) => name == session,
            Self::Prefix(beginning) => session.as_str().starts_with(beginning),
        }
    }
}

impl Patterns {
    /// Reads a claim: one pattern or a list of patterns. A whole number stands for its digits. Any other member makes
    /// the whole claim unreadable, since leaving it out would be a guess at what the issuer meant. Without `patterns`
    /// the claim may hold only names, and a `*` is refused.
    ///
    /// # Errors
    ///
    /// The error of the first member that cannot be read.
    pub fn from_json(claim: &Value, patterns: bool) -> Result<Self, PatternError> {
        let one = |value: &Value| match value {
            Value::String(text) => Pattern::parse(text, patterns),
            Value::Number(number) if number.is_i64() || number.is_u64() => {
                Pattern::parse(&number.to_string(), patterns)
            }
            _ => Err(PatternError::Malformed),
        };
        match claim {
            Value::Array(values) => values.iter().map(one).collect::<Result<_, _>>().map(Self),
            value => one(value).map(|pattern| Self(vec![pattern])),
        }
    }

    /// This session and no other.
    #[must_use]
    pub fn exactly(session: SessionId) -> Self {
        Self(vec![Pattern::Exact(session)])
    }

    /// The list, as [`Self::from_json`] reads it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.0
            .iter()
            .map(|pattern| match pattern {
                Pattern::Exact(name) => name.to_string(),
                Pattern::Prefix(beginning) => format!("{beginning}*"),
            })
            .collect()
    }

    /// Whether the set contains this session.
    #[must_use]
    pub fn covers(&self, session: &SessionId) -> bool {
        self.0.iter().any(|pattern| pattern.covers(session))
    }

    /// The session, if the set is a single name.
    #[must_use]
    pub fn only(&self) -> Option<&SessionId> {
        match self.0.as_slice() {
            [Pattern::Exact(name)] => Some(name),
            _ => None,
        }
    }
}

/// The permissions of one connection, from its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The session that the connection belongs to.
    pub session: SessionId,
    /// The sessions that it may send to.
    pub send_to: Patterns,
    /// The sessions that it may subscribe to.
    pub subscribe_to: Patterns,
    /// When the grant expires, in seconds since 1970.
    pub expires_at: i64,
}

const SESSION: &str = "session_id";
const SEND_TO: &str = "send_to";
const SUBSCRIBE_TO: &str = "subscribe_to";
const EXPIRES_AT: &str = "exp";

impl Grant {
    /// Whether it has expired by `now`, in seconds since 1970.
    #[must_use]
    pub fn has_expired(&self, now: i64) -> bool {
        self.expires_at <= now
    }

    /// The authorizer's context, in which API Gateway passes on strings only.
    #[must_use]
    pub fn to_context(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            (SESSION, self.session.to_string()),
            (SEND_TO, self.send_to.to_json().to_string()),
            (SUBSCRIBE_TO, self.subscribe_to.to_json().to_string()),
            (EXPIRES_AT, self.expires_at.to_string()),
        ])
    }

    /// Reads the context of [`Self::to_context`] from an event's `requestContext.authorizer`. `None` if there is no
    /// authorizer, or another than the hub's.
    ///
    /// # Errors
    ///
    /// A part of the grant is missing or malformed: the connection must not pass for one without a grant.
    pub fn from_context(context: &HashMap<String, Value>) -> Result<Option<Self>, Failure> {
        let text = |name: &str| context.get(name).and_then(Value::as_str);
        if [SESSION, SEND_TO, SUBSCRIBE_TO, EXPIRES_AT].iter().all(|name| !context.contains_key(*name)) {
            return Ok(None);
        }
        let patterns = |name| Patterns::from_json(&serde_json::from_str(text(name)?).ok()?, true).ok();
        let read = || {
            let session = SessionId::parse(text(SESSION)?)?;
            Some(Self {
                send_to: patterns(SEND_TO)?,
                // By default, a connection may subscribe to its own session only.
                subscribe_to: match context.get(SUBSCRIBE_TO) {
                    Some(_) => patterns(SUBSCRIBE_TO)?,
                    None => Patterns::exactly(session.clone()),
                },
                expires_at: text(EXPIRES_AT)?.parse().ok()?,
                session,
            })
        };
        read().map(Some).ok_or_else(|| {
            Failure::Event(
                "requestContext.authorizer does not hold a complete grant of the hub's authorizer".into(),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id(text: &str) -> SessionId {
        SessionId::parse(text).unwrap()
    }

    #[test]
    fn patterns_match_names_and_prefixes_and_nothing_else() {
        for (patterns, covered, not_covered) in [
            (json!("a"), &["a"][..], &["A", "ab", "b"][..]),
            (json!("a*"), &["a", "ab", "a.b"], &["A", "Ab", "xa"]),
            (json!("*"), &["a", "Z", "~"], &[]),
            (json!(["a", "room-*"]), &["a", "room-", "room-1"], &["room", "ab"]),
            (json!([]), &[], &["a"]),
        ] {
            let parsed = Patterns::from_json(&patterns, true).unwrap();
            for session in covered {
                assert!(parsed.covers(&id(session)), "{patterns} should cover {session}");
            }
            for session in not_covered {
                assert!(!parsed.covers(&id(session)), "{patterns} should not cover {session}");
            }
        }
    }

    #[test]
    fn a_claim_with_a_member_that_is_no_pattern_is_not_read() {
        let too_long = format!("{}*", "x".repeat(129));
        for claim in [
            json!(null),
            json!(1.5),
            json!(true),
            json!({ "a": 1 }),
            json!(""),
            json!("**"),
            json!("a*b"),
            json!("*a"),
            json!("a b"),
            json!(["a", 1.5]),
            json!(["a", null]),
            json!([["a"]]),
            json!(["a", "b\\c"]),
            json!(too_long),
        ] {
            assert_eq!(Patterns::from_json(&claim, true), Err(PatternError::Malformed), "{claim}");
        }
    }

    #[test]
    fn only_a_single_name_determines_the_session() {
        let only = |claim: Value| Patterns::from_json(&claim, true).unwrap().only().cloned();
        assert_eq!(only(json!("a")), Some(id("a")));
        assert_eq!(only(json!(["a"])), Some(id("a")));
        for claim in [json!(["a", "b"]), json!("a*"), json!("*"), json!([])] {
            assert_eq!(only(claim.clone()), None, "{claim}");
        }
    }

    fn names(names: &[&str]) -> Patterns {
        Patterns::from_json(&json!(names), false).unwrap()
    }

    fn grant(expires_at: i64) -> Grant {
        let all = Patterns::from_json(&json!("*"), true).unwrap();
        Grant { session: id("a"), send_to: all, subscribe_to: names(&["b"]), expires_at }
    }

    fn context(grant: &Grant) -> HashMap<String, Value> {
        grant.to_context().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
    }

    #[test]
    fn a_grant_is_read_as_it_was_written_to_the_context() {
        for send_to in [json!([]), json!("*"), json!(["a", "room-*"])] {
            let send_to = Patterns::from_json(&send_to, true).unwrap();
            let grant = Grant { send_to, subscribe_to: names(&["b", "c|+d"]), ..grant(4_102_444_800) };
            assert_eq!(Grant::from_context(&context(&grant)).unwrap(), Some(grant));
        }
    }

    #[test]
    fn a_grant_expires_in_the_second_that_it_names() {
        let grant = grant(100);
        assert!(!grant.has_expired(99) && grant.has_expired(100));
    }

    #[test]
    fn without_an_authorizer_there_is_no_grant_and_an_incomplete_grant_is_a_failure() {
        let foreign = HashMap::from([("principalId".to_owned(), json!("admin"))]);
        for context in [HashMap::new(), foreign] {
            assert_eq!(Grant::from_context(&context).unwrap(), None);
        }
        let whole = context(&grant(1));
        for name in [SESSION, SEND_TO, SUBSCRIBE_TO, EXPIRES_AT] {
            for damage in [None, Some(json!("\"")), Some(json!(null)), Some(json!(["a"]))] {
                if (name, &damage) == (SUBSCRIBE_TO, &None) {
                    continue;
                }
                let mut context = whole.clone();
                context.remove(name);
                if let Some(value) = &damage {
                    context.insert(name.to_owned(), value.clone());
                }
                let result = Grant::from_context(&context);
                assert!(matches!(result, Err(Failure::Event(_))), "{name} {damage:?}: {result:?}");
            }
        }
    }

    #[test]
    fn a_grant_without_subscribe_to_allows_its_own_session() {
        let mut context = context(&grant(1));
        context.remove(SUBSCRIBE_TO);
        let read = Grant::from_context(&context).unwrap().unwrap();
        assert_eq!(read.subscribe_to, names(&["a"]));
    }

    #[test]
    fn where_patterns_are_not_allowed_a_star_is_refused_and_names_are_read() {
        for claim in [json!("*"), json!("a*"), json!("*a"), json!("a*b"), json!(["a", "b*"])] {
            assert_eq!(Patterns::from_json(&claim, false), Err(PatternError::Pattern), "{claim}");
        }
        assert_eq!(names(&["a", "42"]), Patterns::from_json(&json!(["a", 42]), false).unwrap());
    }
}
