//! What one function hands another of a fan-out: some recipients of a session, and what became of them.

use std::{borrow::Cow, collections::HashSet, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    failure::Failure,
    fanout::{Report, Trouble},
    protocol::{Counts, SessionId},
    registry::Recipient,
};

/// What a chunk and its answer look like: another number for another form of either. A function of another release refuses
/// what it does not know.
const VERSION: u32 = 1;

/// Recipients of a session that another function posts to.
#[derive(Debug, Serialize, Deserialize)]
pub struct Chunk<'a> {
    v: u32,
    session: Cow<'a, str>,
    kind: Kind,
    /// The delivery frame.
    pub frame: Cow<'a, str>,
    /// The sender's own connection, whose row is never pruned.
    pub sender: Option<Cow<'a, str>>,
    /// With `connected_at` in milliseconds and `expires_at` in seconds since 1970.
    connections: Vec<(Cow<'a, str>, Option<i64>, Option<i64>)>,
    /// How long to post, in milliseconds from the chunk's arrival: the clocks of two functions may differ.
    budget_ms: u64,
    /// The most posts per second; 0 is any number.
    pub rate: u32,
}

/// How a session's recipients were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// It is their own.
    Connection,
    /// They are subscribed to it.
    Subscription,
}

impl<'a> Chunk<'a> {
    /// A chunk of recipients that were all found in the same way.
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
    /// The payload is no chunk, or one of another version. The text quotes nothing of it.
    pub fn parse(payload: &str) -> Result<Chunk<'static>, Failure> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        // Serde's own texts quote what they do not understand.
        let no_chunk = |what: &str, error: serde_json::Error| {
            Failure::Event(format!(
                "{what} at column {}; send-message and publish invoke deliver, and nothing else should",
                error.column()
            ))
        };
        let Version { v } =
            serde_json::from_str(payload).map_err(|error| no_chunk("there is no version `v`", error))?;
        if v != VERSION {
            let hint = "the function that sent it is of another release, and posts the chunk itself";
            return Err(Failure::Event(format!(
                "the chunk is of version {v}, and this release knows {VERSION}: {hint}"
            )));
        }
        serde_json::from_str(payload).map_err(|error| no_chunk("the chunk is malformed", error))
    }

    /// The session.
    ///
    /// # Errors
    ///
    /// The name is no session id.
    pub fn session(&self) -> Result<SessionId, Failure> {
        SessionId::parse(&self.session).ok_or_else(|| Failure::Event("`session` is no session id".into()))
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

    /// How long the function may post, from when the chunk arrives.
    #[must_use]
    pub fn budget(&self) -> Duration {
        Duration::from_millis(self.budget_ms)
    }
}

/// What became of a chunk's recipients. Each is in exactly one count, or left.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Their ends.
    #[serde(flatten)]
    pub counts: Counts,
    /// The places in the chunk of those that the function which sent it is to look after itself: that have expired, by another
    /// clock, or were not reached within a short time.
    pub left: Vec<usize>,
    /// As in a [`Report`].
    pub retries: u64,
    /// As in a [`Report`].
    pub throttled: u64,
    /// As in a [`Report`].
    pub pruned: u64,
    /// As in a [`Report`].
    pub delivery_failures: Trouble,
    /// As in a [`Report`].
    pub prune_failures: Trouble,
}

impl Outcome {
    /// The outcome of a fan-out to these recipients of one session, some of whom are `left`.
    #[must_use]
    pub fn new(report: Report, recipients: &[Recipient], left: &[Recipient]) -> Self {
        let left: HashSet<&str> = left.iter().map(|one| one.connection_id.as_str()).collect();
        let is_left = |(_, one): &(usize, &Recipient)| left.contains(one.connection_id.as_str());
        Self {
            counts: report.sessions.first().map(|session| session.counts).unwrap_or_default(),
            left: recipients.iter().enumerate().filter(is_left).map(|(place, _)| place).collect(),
            retries: report.retries,
            throttled: report.throttled,
            pruned: report.pruned,
            delivery_failures: report.delivery_failures,
            prune_failures: report.prune_failures,
        }
    }

    /// Whether it accounts for each of so many recipients, once.
    #[must_use]
    pub fn is_of(&self, recipients: usize) -> bool {
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
    fn what_is_no_chunk_of_this_version_is_refused_without_a_word_of_it() {
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
    fn an_outcome_has_a_place_for_each_that_is_in_no_count() {
        let recipients = ["a", "b", "c", "d"].map(|id| recipient(id, false));
        let counts = Counts { delivered: 2, gone: 0, failed: 1 };
        let session = SessionCounts { counts, ..SessionCounts::new(SessionId::parse("s").unwrap()) };
        let report = Report { sessions: vec![session], retries: 3, ..Report::default() };
        let outcome = Outcome::new(report, &recipients, &recipients[2..3]);
        assert_eq!((&outcome.left[..], outcome.retries), (&[2][..], 3));
        assert!(outcome.is_of(4));
        let text = serde_json::to_string(&outcome).unwrap();
        assert_eq!(serde_json::from_str::<Outcome>(&text).unwrap(), outcome);
    }

    #[test]
    fn an_outcome_that_does_not_add_up_is_none() {
        let of = |left: &[usize]| {
            let counts = Counts { delivered: 3, gone: 1, failed: 2 };
            Outcome { counts, left: left.to_vec(), ..Outcome::default() }
        };
        assert!(of(&[]).is_of(6) && !of(&[]).is_of(5) && !of(&[]).is_of(7));
        assert!(of(&[0, 7]).is_of(8));
        for left in [[7, 0], [7, 7], [0, 8]] {
            assert!(!of(&left).is_of(8), "{left:?}");
        }
        let huge =
            Outcome { counts: Counts { delivered: u64::MAX, gone: 1, failed: 0 }, ..Outcome::default() };
        assert!(!huge.is_of(0));
    }
}
