//! The request and the answer of deliver: a chunk of a session's recipients, and what became of them.

use std::{borrow::Cow, collections::HashSet, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    failure::Failure,
    protocol::{Counts, SessionId},
    registry::Recipient,
    report::{ErrorSummary, Report},
};

/// The version of both formats: it changes whenever either does. A function refuses a version that its release does not
/// know.
const VERSION: u32 = 1;

/// Recipients of a session that another function posts to.
#[derive(Debug, Serialize, Deserialize)]
pub struct Chunk<'a> {
    v: u32,
    session: Cow<'a, str>,
    kind: Kind,
    /// The delivery frame.
    pub frame: Cow<'a, str>,
    /// The sender's own connection. Its row is never pruned.
    pub sender: Option<Cow<'a, str>>,
    /// Each with its `connected_at` in milliseconds and its `expires_at` in seconds since 1970.
    connections: Vec<(Cow<'a, str>, Option<i64>, Option<i64>)>,
    /// How long to post, in milliseconds from the chunk's arrival. It is a duration, since the clocks of two functions
    /// may differ.
    budget_ms: u64,
    /// The most posts per second; 0 is no limit.
    pub rate: u32,
}

/// How the recipients belong to the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// It is their own session.
    Connection,
    /// They are subscribed to it.
    Subscription,
}

impl<'a> Chunk<'a> {
    /// A chunk of recipients, which are either all connections of the session or all subscribed to it.
    #[must_use]
    pub fn new(
        session: &'a SessionId,
        frame: String,
        sender: Option<&'a str>,
        recipients: &'a [Recipient],
        budget: Duration,
        rate: u32,
    ) -> Self {
        let is_subscribed = recipients.first().is_some_and(|first| first.is_subscribed);
        let connection =
            |one: &'a Recipient| (one.connection_id.as_str().into(), one.connected_at, one.expires_at);
        Self {
            v: VERSION,
            session: session.as_str().into(),
            kind: if is_subscribed { Kind::Subscription } else { Kind::Connection },
            frame: frame.into(),
            sender: sender.map(Into::into),
            connections: recipients.iter().map(connection).collect(),
            budget_ms: budget.as_millis().try_into().unwrap_or(u64::MAX),
            rate,
        }
    }

    /// Reads a chunk.
    ///
    /// # Errors
    ///
    /// The payload is no chunk, or one of another version. The text does not quote the payload.
    pub fn parse(payload: &str) -> Result<Chunk<'static>, Failure> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        // Serde's own texts quote what they cannot parse.
        let no_chunk = |what: &str, error: serde_json::Error| {
            Failure::Event(format!(
                "{what} at column {}; only send-message and publish may invoke deliver",
                error.column()
            ))
        };
        let Version { v } = serde_json::from_str(payload)
            .map_err(|error| no_chunk("the version `v` is missing or malformed", error))?;
        if v != VERSION {
            let hint = "the function that sent it has another release, and posts the chunk itself";
            return Err(Failure::Event(format!(
                "the chunk has version {v}, and this release knows only {VERSION}: {hint}"
            )));
        }
        serde_json::from_str(payload).map_err(|error| no_chunk("the chunk is malformed", error))
    }

    /// The session.
    ///
    /// # Errors
    ///
    /// The name is not a valid session id.
    pub fn session(&self) -> Result<SessionId, Failure> {
        SessionId::parse(&self.session)
            .ok_or_else(|| Failure::Event("`session` is not a valid session id".into()))
    }

    /// The recipients.
    #[must_use]
    pub fn recipients(&self) -> Vec<Recipient> {
        let recipient = |(id, connected_at, expires_at): &(Cow<str>, _, _)| Recipient {
            connection_id: id.to_string(),
            connected_at: *connected_at,
            expires_at: *expires_at,
            is_subscribed: self.kind == Kind::Subscription,
        };
        self.connections.iter().map(recipient).collect()
    }

    /// How long the function may post, from the chunk's arrival.
    #[must_use]
    pub fn budget(&self) -> Duration {
        Duration::from_millis(self.budget_ms)
    }
}

/// What became of a chunk's recipients. Each is either in exactly one count or left to the planner.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkReport {
    /// Those that are settled.
    #[serde(flatten)]
    pub counts: Counts,
    /// The indices, in the chunk, of the recipients that are left to the planner: those whose row has expired by this
    /// function's clock, and those not reached within a short time.
    pub left: Vec<usize>,
    /// As in a [`Report`].
    pub retries: u64,
    /// As in a [`Report`].
    pub throttled: u64,
    /// As in a [`Report`].
    pub pruned: u64,
    /// As in a [`Report`].
    pub delivery_failures: ErrorSummary,
    /// As in a [`Report`].
    pub prune_failures: ErrorSummary,
}

impl ChunkReport {
    /// The report of a fan-out to `recipients` of one session, of which some are `left`.
    #[must_use]
    pub fn new(report: Report, recipients: &[Recipient], left: &[Recipient]) -> Self {
        let left: HashSet<&str> = left.iter().map(|one| one.connection_id.as_str()).collect();
        let is_left = |(_, one): &(usize, &Recipient)| left.contains(one.connection_id.as_str());
        Self {
            counts: report.sessions.first().map(|session| session.counts).unwrap_or_default(),
            left: recipients.iter().enumerate().filter(is_left).map(|(index, _)| index).collect(),
            retries: report.retries,
            throttled: report.throttled,
            pruned: report.pruned,
            delivery_failures: report.delivery_failures,
            prune_failures: report.prune_failures,
        }
    }

    /// Whether it accounts for exactly so many recipients, each once.
    #[must_use]
    pub fn accounts_for(&self, recipients: usize) -> bool {
        let Counts { delivered, gone, failed } = self.counts;
        let counted = [delivered, gone, failed, self.left.len() as u64];
        let sum = counted.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
        sum == Some(recipients as u64)
            && self.left.is_sorted_by(|one, next| one < next)
            && self.left.last().is_none_or(|last| *last < recipients)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::SessionCounts;

    fn recipient(id: &str, is_subscribed: bool) -> Recipient {
        Recipient {
            connection_id: id.into(),
            connected_at: Some(1_764_432_000_000),
            expires_at: None,
            is_subscribed,
        }
    }

    #[test]
    fn a_chunk_is_read_as_it_was_written() {
        let session = SessionId::parse("stadium").unwrap();
        for (is_subscribed, kind) in [(false, "connection"), (true, "subscription")] {
            let recipients = [recipient("a=", is_subscribed), recipient("b=", is_subscribed)];
            let budget = Duration::from_millis(24_000);
            let chunk =
                Chunk::new(&session, r#"{"message":"\"ü"}"#.into(), Some("b="), &recipients, budget, 1_600);
            let text = serde_json::to_string(&chunk).unwrap();
            let expected = json!({
                "v": 1, "session": "stadium", "kind": kind, "frame": r#"{"message":"\"ü"}"#, "sender": "b=",
                "connections": [["a=", 1_764_432_000_000_i64, null], ["b=", 1_764_432_000_000_i64, null]],
                "budget_ms": 24_000, "rate": 1_600,
            });
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
            let read = Chunk::parse(&text).unwrap();
            assert_eq!(read.recipients(), recipients);
            assert_eq!((read.session().unwrap(), read.budget()), (session.clone(), budget));
            assert_eq!((read.frame, read.sender), (chunk.frame.clone(), chunk.sender.clone()));
        }
    }

    #[test]
    fn a_payload_that_is_no_chunk_of_this_version_is_refused_and_not_quoted() {
        for payload in [
            "[]",
            "null",
            r#"{"v":"secret"}"#,
            r#"{"v":2,"session":"secret"}"#,
            r#"{"v":1,"session":"secret"}"#,
            r#"{"v":1,"session":"s","kind":"secret","frame":"","connections":[],"budget_ms":1,"rate":0}"#,
            r#"{"v":1,"session":"s","kind":"connection","frame":"secret","connections":[["a"]],"budget_ms":1,"rate":0}"#,
            r#"{"v":1,"session":"s","kind":"connection","frame":"","connections":[],"budget_ms":-1,"rate":"secret"}"#,
        ] {
            let failure = Chunk::parse(payload).unwrap_err();
            assert_eq!(failure.cause(), "event", "{payload}");
            assert!(!failure.to_string().contains("secret"), "{failure}");
        }
        let text =
            r#"{"v":1,"session":"","kind":"connection","frame":"","connections":[],"budget_ms":1,"rate":0}"#;
        assert!(Chunk::parse(text).unwrap().session().is_err());
    }

    #[test]
    fn a_report_has_the_index_of_each_recipient_that_is_in_no_count() {
        let recipients = ["a", "b", "c", "d"].map(|id| recipient(id, false));
        let counts = Counts { delivered: 2, gone: 0, failed: 1 };
        let session = SessionCounts { counts, ..SessionCounts::new(SessionId::parse("s").unwrap()) };
        let report = Report { sessions: vec![session], retries: 3, ..Report::default() };
        let report = ChunkReport::new(report, &recipients, &recipients[2..3]);
        assert_eq!((&report.left[..], report.retries), (&[2][..], 3));
        assert!(report.accounts_for(4));
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<ChunkReport>(&text).unwrap(), report);
    }

    #[test]
    fn a_report_that_does_not_add_up_is_not_accepted() {
        let of = |left: &[usize]| {
            let counts = Counts { delivered: 3, gone: 1, failed: 2 };
            ChunkReport { counts, left: left.to_vec(), ..ChunkReport::default() }
        };
        assert!(of(&[]).accounts_for(6) && !of(&[]).accounts_for(5) && !of(&[]).accounts_for(7));
        assert!(of(&[0, 7]).accounts_for(8));
        for left in [[7, 0], [7, 7], [0, 8]] {
            assert!(!of(&left).accounts_for(8), "{left:?}");
        }
        let huge = ChunkReport {
            counts: Counts { delivered: u64::MAX, gone: 1, failed: 0 },
            ..ChunkReport::default()
        };
        assert!(!huge.accounts_for(0));
    }
}
