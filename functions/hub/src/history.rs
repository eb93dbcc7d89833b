//! The table of messages: the history of each session, numbered from 1.
//!
//! A session's head (number 0) counts its messages. A message is written under its number before it is posted to any
//! connection. If a sender dies before it has written its number, a reader seals the number as void. Each number is
//! written once. Items expire in the order of the numbers, so if an item has not expired, no message after it can have
//! expired either: a missing one was never written.

mod gaps;
mod reading;
mod walk;

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client,
    config::Builder,
    error::SdkError,
    operation::{
        put_item::{PutItemError, builders::PutItemFluentBuilder},
        update_item::{UpdateItemError, UpdateItemOutput},
    },
    types::{ReturnValue, ReturnValuesOnConditionCheckFailure::AllOld},
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use ring::rand::{SecureRandom, SystemRandom};

pub use self::reading::{Range, Reading};
use crate::{
    clock::{now_seconds, since_epoch},
    config::{ConfigError, Variables},
    failure::Failure,
    protocol::{EPOCH_CHARS, Position, SessionId},
    table::{self, Item, n, number, refused_update, s, text},
};

/// The shortest and the longest time that messages may be kept, in seconds.
pub const SECONDS: std::ops::RangeInclusive<i64> = 300..=604_800;
/// How long a head outlives the last message, so that a reader's position stays valid during a long absence.
const HEAD_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How many numbers a message may take, if readers seal them before it is written.
const NUMBERS: u32 = 3;
/// The most attempts to take one number. Each uses the condition that the head, as last seen, meets.
const CONDITIONS: u32 = 4;
const NOT_WRITTEN: &str = "attribute_not_exists(session_id) OR epoch <> :epoch";

/// The table, through a client of its own.
#[derive(Debug, Clone)]
pub struct History {
    client: Client,
    table: String,
    /// How long messages are kept, in seconds.
    seconds: i64,
}

impl History {
    /// The history in the table that `MESSAGES_TABLE` names, whose messages are kept for `HISTORY_SECONDS`. `None` if
    /// the first variable is missing.
    ///
    /// # Errors
    ///
    /// A variable is missing or malformed.
    pub fn new(variables: &Variables, sdk: &SdkConfig) -> Result<Option<Self>, ConfigError> {
        let Some(history) = Self::read_only(variables, sdk)? else { return Ok(None) };
        let seconds = variables.number("HISTORY_SECONDS", 0, &SECONDS)?;
        if seconds == 0 {
            let problem = "is missing: say for how many seconds the messages in MESSAGES_TABLE are kept";
            return Err(ConfigError::new("HISTORY_SECONDS", problem));
        }
        Ok(Some(Self { seconds, ..history }))
    }

    /// The same for functions that only read.
    ///
    /// # Errors
    ///
    /// `MESSAGES_TABLE` is malformed.
    pub fn read_only(variables: &Variables, sdk: &SdkConfig) -> Result<Option<Self>, ConfigError> {
        let table = table::name(variables, "MESSAGES_TABLE")?;
        Ok(table.map(|table| Self { client: table::client(Builder::from(sdk)), table, seconds: 0 }))
    }

    /// Writes the frame that `frame` builds under the session's next number, and returns the position. Calls `taken`
    /// each time it has taken a number, before it writes.
    ///
    /// # Errors
    ///
    /// A DynamoDB call failed. The message must not be posted, though it may be in the history.
    pub async fn append(
        &self,
        session: &SessionId,
        frame: impl Fn(&Position) -> String,
        taken: impl Fn(),
    ) -> Result<Position, Failure> {
        for _ in 0..NUMBERS {
            let (position, keep_until) = self.take_number(session).await?;
            taken();
            if self.write(session, &position, keep_until, frame(&position)).await? {
                return Ok(position);
            }
        }
        Err(Failure::other(
            "sealed",
            format!(
                "readers of \"{session}\" sealed {NUMBERS} numbers in a row before its message was written; check whether DynamoDB is slow"
            ),
        ))
    }

    /// Takes the session's next number. Returns it with the time at which its item expires: never before the item ahead
    /// of it.
    async fn take_number(&self, session: &SessionId) -> Result<(Position, i64), Failure> {
        // If an answer was lost, this shows whether the number was taken by this call.
        let nonce = random(16)?;
        let epoch = random(EPOCH_CHARS)?;
        let keep_until = now_seconds() + self.seconds;
        let mut extends = true;
        for _ in 0..CONDITIONS {
            let attempt = || self.count_up(session, [&nonce, &epoch], keep_until, extends);
            let head = match table::with_retries(attempt).await {
                Ok(output) => output.attributes,
                Err(error) => match refused_update(&error) {
                    Some(head) if text(&head, "taken_by") == Some(&nonce) => Some(head),
                    Some(head) => {
                        extends = number(&head, "keep_until").is_none_or(|kept| kept <= keep_until);
                        continue;
                    }
                    None => return Err(failed("write to", error)),
                },
            };
            let head = head.unwrap_or_default();
            return position(&head).zip(number(&head, "keep_until")).ok_or_else(|| damaged(session));
        }
        let text = "its HISTORY_SECONDS changes back and forth; check that send-message and publish have the same value";
        Err(Failure::other("history", format!("session \"{session}\": {text}")))
    }

    async fn count_up(
        &self,
        session: &SessionId,
        [nonce, epoch]: [&str; 2],
        keep_until: i64,
        extends: bool,
    ) -> Result<UpdateItemOutput, SdkError<UpdateItemError, HttpResponse>> {
        let (set, condition) = match extends {
            true => (", keep_until = :keep", "(attribute_not_exists(keep_until) OR keep_until <= :keep)"),
            // Earlier messages are kept for longer: this one must not expire before them.
            false => ("", "keep_until > :keep"),
        };
        let now = since_epoch();
        self.client
            .update_item()
            .table_name(&self.table)
            .key("session_id", s(session.as_str()))
            .key("offset", n(0))
            .update_expression(format!(
                "SET epoch = if_not_exists(epoch, :new), taken_at = :now, taken_by = :nonce, expires_at = :expiry{set} ADD #last :one"
            ))
            .condition_expression(format!("{condition} AND (attribute_not_exists(taken_by) OR taken_by <> :nonce)"))
            .expression_attribute_names("#last", "last")
            .expression_attribute_values(":new", s(epoch))
            .expression_attribute_values(":now", n(now.as_millis()))
            .expression_attribute_values(":nonce", s(nonce))
            .expression_attribute_values(":expiry", n((now + HEAD_LIFE).as_secs()))
            .expression_attribute_values(":keep", n(keep_until))
            .expression_attribute_values(":one", n(1))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(AllOld)
            .customize()
            .config_override(table::single_attempt())
            .send()
            .await
    }

    /// Writes the message. Returns whether it is at its number, which may have been sealed.
    async fn write(
        &self,
        session: &SessionId,
        position: &Position,
        keep_until: i64,
        frame: String,
    ) -> Result<bool, Failure> {
        let put = self
            .put(session, position, keep_until)
            .item("frame", s(frame))
            .item("written_at", n(since_epoch().as_millis()));
        match table::with_retries(|| put.clone().customize().config_override(table::single_attempt()).send())
            .await
        {
            Ok(_) => Ok(true),
            // An item that is no void is this message, from an attempt whose answer was lost.
            Err(error) => match refused_by_item(&error) {
                Some(item) => Ok(!item.contains_key("void")),
                None => Err(failed("write to", error)),
            },
        }
    }

    /// A write to a number that has not been written in this epoch.
    fn put(&self, session: &SessionId, position: &Position, expires_at: i64) -> PutItemFluentBuilder {
        self.client
            .put_item()
            .table_name(&self.table)
            .item("session_id", s(session.as_str()))
            .item("offset", n(position.offset))
            .item("epoch", s(&position.epoch))
            .item("expires_at", n(expires_at))
            .condition_expression(NOT_WRITTEN)
            .expression_attribute_values(":epoch", s(&position.epoch))
            .return_values_on_condition_check_failure(AllOld)
    }
}

/// The item that made a conditional write fail; `None` for any other error.
fn refused_by_item(error: &SdkError<PutItemError, HttpResponse>) -> Option<Item> {
    match error.as_service_error()? {
        PutItemError::ConditionalCheckFailedException(refusal) => refusal.item.clone(),
        _ => None,
    }
}

/// The position in a head.
fn position(head: &Item) -> Option<Position> {
    let offset = number(head, "last")?.try_into().ok()?;
    Some(Position { epoch: text(head, "epoch")?.to_owned(), offset })
}

fn damaged(session: &SessionId) -> Failure {
    let text = "its item at offset 0 in the table of messages is damaged: delete the item while no message is sent to the session";
    Failure::other("history", format!("session \"{session}\": {text}"))
}

/// A random text of letters and digits.
fn random(characters: usize) -> Result<String, Failure> {
    let mut bytes = vec![0; characters];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Failure::other("history", "the system provides no random numbers"))?;
    Ok(bytes.iter().filter_map(|byte| char::from_digit(u32::from(byte % 36), 36)).collect())
}

fn failed<E>(action: &'static str, source: E) -> Failure
where
    E: std::error::Error + Send + Sync + 'static,
{
    table::failed(action, "messages", source)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn random_texts_are_of_all_letters_and_digits() {
        let text = random(2_000).unwrap();
        let characters: BTreeSet<_> = text.chars().collect();
        assert_eq!(text.len(), 2_000);
        assert_eq!(characters, ('0'..='9').chain('a'..='z').collect());
        assert_ne!(random(16).unwrap(), random(16).unwrap());
    }
}
