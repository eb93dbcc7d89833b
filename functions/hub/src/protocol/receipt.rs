//! The receipt of a message.

use serde::{Deserialize, Serialize};

use super::{Position, SessionId};

/// How many connections were delivered to, gone or failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// The gateway accepted the frame.
    pub delivered: u64,
    /// The connection no longer exists.
    pub gone: u64,
    /// Neither, within the time limit.
    pub failed: u64,
}

impl Counts {
    /// Adds the counts of other connections.
    pub fn add(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.gone += other.gone;
        self.failed += other.failed;
    }
}

/// One session's part of a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionCounts {
    /// The session.
    pub session: SessionId,
    /// The counts of its connections.
    #[serde(flatten)]
    pub counts: Counts,
    /// The position of the message, if it is in the session's history.
    #[serde(flatten)]
    pub position: Option<Position>,
    /// Whether every recipient is counted. Left out of the frame if true.
    #[serde(skip_serializing_if = "is_true")]
    pub complete: bool,
}

impl SessionCounts {
    /// A session without any counted connection.
    #[must_use]
    pub fn new(session: SessionId) -> Self {
        Self { session, counts: Counts::default(), position: None, complete: true }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_true(value: &bool) -> bool {
    *value
}

/// `{"type":"receipt",…}`: the result of a message, in total and for each session, in the order of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "receipt")]
pub struct Receipt {
    /// The message's id.
    pub id: String,
    /// The sum over all sessions.
    #[serde(flatten)]
    pub total: Counts,
    /// Whether all sessions are complete. Left out of the frame if true.
    #[serde(skip_serializing_if = "is_true")]
    pub complete: bool,
    /// The part of each session.
    pub sessions: Vec<SessionCounts>,
}

impl Receipt {
    /// Adds up the sessions.
    #[must_use]
    pub fn new(id: String, sessions: Vec<SessionCounts>) -> Self {
        let mut total = Counts::default();
        sessions.iter().for_each(|session| total.add(session.counts));
        let complete = sessions.iter().all(|session| session.complete);
        Self { id, total, complete, sessions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_have_the_documented_shape() {
        let of = |name: &str, delivered, gone, failed| SessionCounts {
            session: SessionId::parse(name).unwrap(),
            counts: Counts { delivered, gone, failed },
            position: None,
            complete: true,
        };
        let mut receipt = Receipt::new("1".into(), vec![of("a", 3, 1, 0), of("b", 0, 0, 2)]);
        assert_eq!(
            serde_json::to_string(&receipt).unwrap(),
            r#"{"type":"receipt","id":"1","delivered":3,"gone":1,"failed":2,"sessions":[{"session":"a","delivered":3,"gone":1,"failed":0},{"session":"b","delivered":0,"gone":0,"failed":2}]}"#
        );
        receipt.sessions[0].position = Some(Position { epoch: "k3f9q2xa".into(), offset: 7 });
        receipt.sessions[1].complete = false;
        assert_eq!(
            serde_json::to_string(&Receipt::new("1".into(), receipt.sessions)).unwrap(),
            r#"{"type":"receipt","id":"1","delivered":3,"gone":1,"failed":2,"complete":false,"sessions":[{"session":"a","delivered":3,"gone":1,"failed":0,"epoch":"k3f9q2xa","offset":7},{"session":"b","delivered":0,"gone":0,"failed":2,"complete":false}]}"#
        );
    }
}
