//! Gaps in a history: numbers without a message, which are left to their sender, sealed as void, or counted as missing.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    failed, refused_by_item,
    walk::{Slot, Walk},
};
use crate::{
    clock::{now_seconds, since_epoch},
    failure::Failure,
    protocol::Position,
};

/// A number is sealed only if the item before it expires later than this, in seconds. Otherwise a message may have been
/// there and have expired, by a clock that differs by up to so much.
const PROOF_SECONDS: i64 = 60;
/// How long a number without a message is left to its sender, in milliseconds.
const PATIENCE_MS: i64 = 1000;

impl Walk<'_> {
    /// Advances to `number`. There is no item before it, and it was taken by `numbered_by` at the latest (in
    /// milliseconds since 1970). Returns whether the walk got there: it stops at a number whose message may still be
    /// written.
    pub(super) async fn reach(&mut self, number: u64, numbered_by: i64) -> Result<bool, Failure> {
        while self.next < number {
            let Some(expires_at) = self.before.filter(|at| *at > now_seconds() + PROOF_SECONDS) else {
                // A message may have been there and have expired.
                self.complete = false;
                self.next = number;
                break;
            };
            let now = i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX);
            if now.saturating_sub(numbered_by.min(self.taken_at)) < PATIENCE_MS {
                return Ok(self.stop());
            }
            match self.seal(expires_at).await? {
                Some(slot) => {
                    if !self.step(self.next, slot) {
                        return Ok(false);
                    }
                }
                None => self.before = None,
            }
        }
        Ok(true)
    }

    /// Seals the next number as void, unless its sender writes first. Returns the item that is there afterwards; `None`
    /// if the hub did not write it.
    async fn seal(&mut self, expires_at: i64) -> Result<Option<Slot>, Failure> {
        let position = Position { offset: self.next, ..self.last.clone() };
        let put = self.history.put(self.session, &position, expires_at);
        let put = put.item("void", AttributeValue::Bool(true));
        match Box::pin(put.send()).await {
            Ok(_) => {
                self.sealed += 1;
                Ok(Some(Slot::Void { expires_at }))
            }
            Err(error) => match refused_by_item(&error) {
                Some(item) => Ok(Slot::read(&item, &self.last.epoch)),
                None => Err(failed("write to", error)),
            },
        }
    }
}
