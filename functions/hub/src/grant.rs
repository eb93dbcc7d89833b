//! What a verified token allows, on its way from the authorizer to the functions that hold it to that.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::{failure::Failure, protocol::SessionId};

/// Session ids by name (`alice`) or by how they begin (`room-*`); `*` alone is all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patterns(Vec<Pattern>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Exactly(SessionId),
    /// Well formed as a session id is, or empty.
    Beginning(String),
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('*') {
            Some("") => Some(Self::Beginning(String::new())),
            Some(beginning) => Some(Self::Beginning(SessionId::parse(beginning)?.as_str().to_owned())),
            None => SessionId::parse(text).map(Self::Exactly),
        }
    }

    fn covers(&self, session: &SessionId) -> bool {
        match self {
            Self::Exactly(name) => name == session,
            Self::Beginning(beginning) => session.as_str().starts_with(beginning),
        }
    }
}

impl Patterns {
    /// Reads a claim: one pattern or a list of them. Anything else in it makes the whole unreadable: to leave
    /// out what is not understood would be to guess at what its issuer meant.
    #[must_use]
    pub fn from_json(claim: &Value) -> Option<Self> {
        let one = |value: &Value| Pattern::parse(value.as_str()?);
        match claim {
            Value::Array(values) => values.iter().map(one).collect::<Option<_>>().map(Self),
            value => one(value).map(|pattern| Self(vec![pattern])),
        }
    }

    /// That session and no other.
    #[must_use]
    pub fn exactly(session: SessionId) -> Self {
        Self(vec![Pattern::Exactly(session)])
    }

    fn to_json(&self) -> Value {
        self.0
            .iter()
            .map(|pattern| match pattern {
                Pattern::Exactly(name) => name.to_string(),
                Pattern::Beginning(beginning) => format!("{beginning}*"),
            })
            .collect()
    }

    /// Whether one of them is, or begins, this session's id.
    #[must_use]
    pub fn covers(&self, session: &SessionId) -> bool {
        self.0.iter().any(|pattern| pattern.covers(session))
    }

    /// The one session that they can mean, if they are a single name.
    #[must_use]
    pub fn only(&self) -> Option<&SessionId> {
        match self.0.as_slice() {
            [Pattern::Exactly(name)] => Some(name),
            _ => None,
        }
    }
}

/// What the bearer of a token may do over one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The session that the connection belongs to.
    pub session: SessionId,
    /// The sessions that it may send to.
    pub send_to: Patterns,
    /// When it ends, in seconds since 1970.
    pub expires_at: i64,
}

const SESSION: &str = "session_id";
const SEND_TO: &str = "send_to";
const EXPIRES_AT: &str = "exp";

impl Grant {
    /// Whether its time is over at `now`, in seconds since 1970.
    #[must_use]
    pub fn has_ended(&self, now: i64) -> bool {
        self.expires_at <= now
    }

    /// The authorizer's context, in which API Gateway carries nothing but strings.
    #[must_use]
    pub fn to_context(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            (SESSION, self.session.to_string()),
            (SEND_TO, self.send_to.to_json().to_string()),
            (EXPIRES_AT, self.expires_at.to_string()),
        ])
    }

    /// What [`Self::to_context`] wrote, from an event's `requestContext.authorizer`. `None` where there is no
    /// authorizer, or one that is not the hub's; half a grant is a failure, never a connection without one.
    pub fn from_context(context: &HashMap<String, Value>) -> Result<Option<Self>, Failure> {
        let text = |name: &str| context.get(name).and_then(Value::as_str);
        if [SESSION, SEND_TO, EXPIRES_AT].iter().all(|name| !context.contains_key(*name)) {
            return Ok(None);
        }
        let read = || {
            Some(Self {
                session: SessionId::parse(text(SESSION)?)?,
                send_to: Patterns::from_json(&serde_json::from_str(text(SEND_TO)?).ok()?)?,
                expires_at: text(EXPIRES_AT)?.parse().ok()?,
            })
        };
        read().map(Some).ok_or_else(|| {
            Failure::Event(
                "requestContext.authorizer does not hold what the hub's authorizer puts there".into(),
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
    fn patterns_match_names_and_beginnings_and_nothing_else() {
        for (patterns, covered, not_covered) in [
            (json!("a"), &["a"][..], &["A", "ab", "b"][..]),
            (json!("a*"), &["a", "ab", "a.b"], &["A", "Ab", "xa"]),
            (json!("*"), &["a", "Z", "~"], &[]),
            (json!(["a", "room-*"]), &["a", "room-", "room-1"], &["room", "ab"]),
            (json!([]), &[], &["a"]),
        ] {
            let parsed = Patterns::from_json(&patterns).unwrap();
            for session in covered {
                assert!(parsed.covers(&id(session)), "{patterns} should cover {session}");
            }
            for session in not_covered {
                assert!(!parsed.covers(&id(session)), "{patterns} should not cover {session}");
            }
        }
    }

    #[test]
    fn a_claim_that_is_not_patterns_through_and_through_is_not_read_at_all() {
        let too_long = format!("{}*", "x".repeat(129));
        for claim in [
            json!(null),
            json!(1),
            json!(true),
            json!({ "a": 1 }),
            json!(""),
            json!("**"),
            json!("a*b"),
            json!("*a"),
            json!("a b"),
            json!(["a", 1]),
            json!(["a", null]),
            json!([["a"]]),
            json!(["a", "b/c"]),
            json!(too_long),
        ] {
            assert_eq!(Patterns::from_json(&claim), None, "{claim}");
        }
    }

    #[test]
    fn only_a_single_name_means_a_session_by_itself() {
        let only = |claim: Value| Patterns::from_json(&claim).unwrap().only().cloned();
        assert_eq!(only(json!("a")), Some(id("a")));
        assert_eq!(only(json!(["a"])), Some(id("a")));
        for claim in [json!(["a", "b"]), json!("a*"), json!("*"), json!([])] {
            assert_eq!(only(claim.clone()), None, "{claim}");
        }
    }

    fn context(grant: &Grant) -> HashMap<String, Value> {
        grant.to_context().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
    }

    #[test]
    fn a_grant_survives_its_way_through_the_gateway() {
        for send_to in [json!([]), json!("*"), json!(["a", "room-*"])] {
            let send_to = Patterns::from_json(&send_to).unwrap();
            let grant = Grant { session: id("a"), send_to, expires_at: 4_102_444_800 };
            assert_eq!(Grant::from_context(&context(&grant)).unwrap(), Some(grant));
        }
    }

    #[test]
    fn a_grant_ends_with_the_second_that_it_names() {
        let send_to = Patterns::from_json(&json!("*")).unwrap();
        let grant = Grant { session: id("a"), send_to, expires_at: 100 };
        assert!(!grant.has_ended(99) && grant.has_ended(100));
    }

    #[test]
    fn no_authorizer_is_no_grant_and_half_a_grant_is_a_failure() {
        let foreign = HashMap::from([("principalId".to_owned(), json!("admin"))]);
        for context in [HashMap::new(), foreign] {
            assert_eq!(Grant::from_context(&context).unwrap(), None);
        }
        let send_to = Patterns::from_json(&json!("*")).unwrap();
        let whole = context(&Grant { session: id("a"), send_to, expires_at: 1 });
        for name in [SESSION, SEND_TO, EXPIRES_AT] {
            for damage in [None, Some(json!("\"")), Some(json!(null)), Some(json!(["a"]))] {
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
}
