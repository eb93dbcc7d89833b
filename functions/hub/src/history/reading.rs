//! What a history holds, as far as it can be proven.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    operation::query::QueryOutput,
    types::{AttributeValue, ReturnValue},
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{HEAD_LIFE, History, damaged, failed, position, random, refused_by_item};
use crate::{
    clock::{now_seconds, since_epoch},
    failure::Failure,
    protocol::{EPOCH_CHARS, Position, SessionId},
    table::{self, Item, n, number, s, text},
};

/// Frames in one answer, in bytes, unless a single one is larger.
const ANSWER_BYTES: usize = 30 * 1024;
/// A number is sealed only while the item before it has more than this to live, in seconds: so much may the clocks differ
/// without what is missing there having expired.
const PROOF_SECONDS: i64 = 60;
/// A number without a message is left to its sender for so long, in milliseconds.
const PATIENCE_MS: i64 = 1000;
/// Items that are read at first, while their size is not known.
const FIRST_ITEMS: usize = 8;
/// Items that are read at once, backwards.
const MOST_ITEMS: usize = 25;
/// An item's attributes besides the frame, in bytes.
const ITEM_OVERHEAD: usize = 100;

/// Which messages are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Range {
    /// None: only where the session stands.
    Nothing,
    /// The first `limit` after a position.
    After(Position, usize),
    /// The newest, so many.
    Last(usize),
}

/// What is there, as the answer has it.
#[derive(Debug, Serialize)]
pub struct Reading {
    /// Where the session stands: its last number.
    #[serde(flatten)]
    pub position: Position,
    /// Whether there are more after these, or one is being written.
    pub more: bool,
    /// Whether it is proven that nothing is missing between the position asked for and the end of the answer. `None`
    /// unless a position was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete: Option<bool>,
    /// The frames in the order of their numbers, as they were posted.
    pub messages: Vec<Box<RawValue>>,
    /// Numbers that were sealed as void on the way.
    #[serde(skip)]
    pub sealed: u64,
}

impl History {
    /// Reads a session's history consistently. A session that has none begins one, so that a position always has an epoch.
    ///
    /// # Errors
    ///
    /// DynamoDB did not do what was asked.
    pub async fn read(&self, session: &SessionId, range: &Range) -> Result<Reading, Failure> {
        let head = self.head(session).await?;
        let mut walk = Walk::new(self, session, &head)?;
        match range {
            Range::Nothing => {}
            Range::After(from, limit) => {
                let known = from.epoch == walk.last.epoch && from.offset <= walk.last.offset;
                (walk.complete, walk.complete_so_far) = (known, known);
                walk.after(if known { from.offset } else { 0 }, *limit).await?;
                return Ok(Reading { complete: Some(walk.complete), ..walk.reading() });
            }
            Range::Last(count) => walk.newest(*count).await?,
        }
        Ok(walk.reading())
    }

    /// Where a session stands, read consistently; one that has no history begins it.
    ///
    /// # Errors
    ///
    /// DynamoDB did not do what was asked.
    pub async fn position(&self, session: &SessionId) -> Result<Position, Failure> {
        position(&self.head(session).await?).ok_or_else(|| damaged(session))
    }

    async fn head(&self, session: &SessionId) -> Result<Item, Failure> {
        let get = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("session_id", s(session.as_str()))
            .key("offset", n(0))
            .consistent_read(true);
        let read = table::repeated(|| get.clone().customize().config_override(table::once()).send()).await;
        match read.map_err(|error| failed("read from", error))?.item {
            Some(head) => Ok(head),
            None => self.begin(session).await,
        }
    }

    async fn begin(&self, session: &SessionId) -> Result<Item, Failure> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("session_id", s(session.as_str()))
            .key("offset", n(0))
            .update_expression(
                "SET epoch = if_not_exists(epoch, :new), #last = if_not_exists(#last, :none), \
                 expires_at = if_not_exists(expires_at, :expiry)",
            )
            .expression_attribute_names("#last", "last")
            .expression_attribute_values(":new", s(random(EPOCH_CHARS)?))
            .expression_attribute_values(":none", n(0))
            .expression_attribute_values(":expiry", n((since_epoch() + HEAD_LIFE).as_secs()))
            .return_values(ReturnValue::AllNew);
        let begun =
            table::repeated(|| update.clone().customize().config_override(table::once()).send()).await;
        Ok(begun.map_err(|error| failed("write to", error))?.attributes.unwrap_or_default())
    }

    /// One page of the items from one number to another, both included, forwards or backwards.
    async fn items(
        &self,
        session: &SessionId,
        [first, last]: [u64; 2],
        forwards: bool,
        most: usize,
    ) -> Result<QueryOutput, Failure> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("session_id = :session AND #offset BETWEEN :first AND :last")
            .expression_attribute_names("#offset", "offset")
            .expression_attribute_values(":session", s(session.as_str()))
            .expression_attribute_values(":first", n(first))
            .expression_attribute_values(":last", n(last))
            .scan_index_forward(forwards)
            .limit(most.try_into().unwrap_or(i32::MAX))
            .consistent_read(true);
        Box::pin(query.send()).await.map_err(|error| failed("read from", error))
    }
}

/// What stands at a number.
enum Slot {
    Message { frame: Box<RawValue>, expires_at: i64, written_at: i64 },
    Void { expires_at: i64 },
}

impl Slot {
    /// `None` for what counts as missing: an item of another epoch, or one that the hub did not write.
    fn read(item: &Item, epoch: &str) -> Option<Self> {
        let expires_at = number(item, "expires_at").filter(|_| text(item, "epoch") == Some(epoch))?;
        if item.contains_key("void") {
            return Some(Self::Void { expires_at });
        }
        let frame = RawValue::from_string(text(item, "frame")?.to_owned()).ok()?;
        Some(Self::Message { frame, expires_at, written_at: number(item, "written_at")? })
    }

    fn expires_at(&self) -> i64 {
        match self {
            Self::Message { expires_at, .. } | Self::Void { expires_at } => *expires_at,
        }
    }

    /// Whether it is a message whose time is over, and which is answered no more.
    fn is_lost(&self) -> bool {
        matches!(self, Self::Message { expires_at, .. } if *expires_at <= now_seconds())
    }

    /// By when its number was taken at the latest, in milliseconds since 1970. A void's was old when that was made.
    fn numbered_by(&self) -> i64 {
        match self {
            Self::Message { written_at, .. } => *written_at,
            Self::Void { .. } => i64::MIN,
        }
    }
}

/// A way along the numbers, each of which is a message, a void, missing for ever, or still to be written.
struct Walk<'a> {
    history: &'a History,
    session: &'a SessionId,
    /// The head's number.
    last: Position,
    /// When the head's number was taken, in milliseconds since 1970.
    taken_at: i64,
    /// The number that comes next.
    next: u64,
    /// When what stands before that expires; `None` where nothing does.
    before: Option<i64>,
    limit: usize,
    messages: Vec<Box<RawValue>>,
    bytes: usize,
    more: bool,
    complete: bool,
    /// The same up to the last message.
    complete_so_far: bool,
    sealed: u64,
}

impl<'a> Walk<'a> {
    fn new(history: &'a History, session: &'a SessionId, head: &Item) -> Result<Self, Failure> {
        let last = position(head).ok_or_else(|| damaged(session))?;
        Ok(Self {
            history,
            session,
            last,
            taken_at: number(head, "taken_at").unwrap_or_default(),
            next: 1,
            before: None,
            limit: 0,
            messages: Vec::new(),
            bytes: 0,
            more: false,
            complete: true,
            complete_so_far: true,
            sealed: 0,
        })
    }

    fn reading(self) -> Reading {
        Reading {
            position: self.last,
            messages: self.messages,
            more: self.more,
            complete: None,
            sealed: self.sealed,
        }
    }

    /// Walks from the number after `offset` as far as `limit` messages reach.
    async fn after(&mut self, offset: u64, limit: usize) -> Result<(), Failure> {
        self.next = offset + 1;
        self.limit = limit;
        // With the item before, whose time says what became of the next one.
        let mut from = offset.max(1);
        let mut most = FIRST_ITEMS.min(limit + 1);
        let (mut items, mut bytes) = (0, 0);
        let end = self.last.offset;
        'reading: while self.next <= end && from <= end {
            let page = self.history.items(self.session, [from, end], true, most).await?;
            for item in page.items() {
                let Some(number) = offset_of(item) else { continue };
                from = number + 1;
                items += 1;
                bytes += text(item, "frame").map_or(0, str::len) + ITEM_OVERHEAD;
                let Some(slot) = Slot::read(item, &self.last.epoch) else { continue };
                if number >= self.next && slot.is_lost() {
                    from = self.first_with_time_left(number).await?;
                    (self.complete, self.before, self.next) = (false, None, from);
                    continue 'reading;
                }
                if !self.reach(number, slot.numbered_by()).await? || !self.step(number, slot) {
                    return Ok(());
                }
            }
            if is_last(&page) {
                break;
            }
            // Not many more than fit: what is read is paid for.
            let fit = ANSWER_BYTES.saturating_sub(self.bytes) * items / bytes.max(1);
            most = fit.clamp(FIRST_ITEMS, limit.max(FIRST_ITEMS));
        }
        self.reach(end + 1, i64::MAX).await?;
        Ok(())
    }

    /// The first number after `expired` that is not followed by one that has expired. DynamoDB removes those days late, so
    /// there may be many: found by halves, since expiry never goes down along the numbers.
    async fn first_with_time_left(&self, mut expired: u64) -> Result<u64, Failure> {
        let mut live = self.last.offset + 1;
        while expired + 1 < live {
            let middle = expired.midpoint(live);
            match self.first([middle, live - 1]).await? {
                Some((number, slot)) if slot.expires_at() <= now_seconds() => expired = number,
                _ => live = middle,
            }
        }
        Ok(live)
    }

    /// What stands first between two numbers, both included.
    async fn first(&self, [mut from, to]: [u64; 2]) -> Result<Option<(u64, Slot)>, Failure> {
        while from <= to {
            let page = self.history.items(self.session, [from, to], true, 1).await?;
            let Some((item, number)) = page.items().first().and_then(|item| Some((item, offset_of(item)?)))
            else {
                break;
            };
            if let Some(slot) = Slot::read(item, &self.last.epoch) {
                return Ok(Some((number, slot)));
            }
            from = number + 1;
        }
        Ok(None)
    }

    /// Walks along the newest messages, `count` of them at most.
    async fn newest(&mut self, count: usize) -> Result<(), Failure> {
        self.limit = count;
        self.next = self.last.offset + 1;
        let mut slots = Vec::new();
        let (mut found, mut bytes, mut until) = (0, 0, self.last.offset);
        'reading: while until > 0 && found < count {
            let page = self.history.items(self.session, [1, until], false, count.min(MOST_ITEMS)).await?;
            for item in page.items() {
                let Some(number) = offset_of(item) else { continue };
                until = number - 1;
                let Some(slot) = Slot::read(item, &self.last.epoch) else { continue };
                if let Slot::Message { frame, .. } = &slot {
                    bytes += frame.get().len();
                    let fits = found == 0 || bytes <= ANSWER_BYTES;
                    if found == count || !fits || slot.is_lost() {
                        break 'reading;
                    }
                    found += 1;
                    self.next = number;
                }
                slots.push((number, slot));
            }
            if is_last(&page) {
                break;
            }
        }
        let first = self.next;
        for (number, slot) in slots.into_iter().rev().filter(|(number, _)| *number >= first) {
            if !self.reach(number, slot.numbered_by()).await? || !self.step(number, slot) {
                return Ok(());
            }
        }
        self.reach(self.last.offset + 1, i64::MAX).await?;
        Ok(())
    }

    /// Goes as far as `number`, before which nothing stands, and which was taken by `numbered_by` at the latest (in
    /// milliseconds since 1970). Returns whether it has come there: not past a number that may still be written.
    async fn reach(&mut self, number: u64, numbered_by: i64) -> Result<bool, Failure> {
        while self.next < number {
            let Some(expires_at) = self.before.filter(|at| *at > now_seconds() + PROOF_SECONDS) else {
                // It may have been there and expired.
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
                None => {
                    self.complete = false;
                    self.before = None;
                    self.next += 1;
                }
            }
        }
        Ok(true)
    }

    /// Makes the next number a void, unless its sender comes first. Returns what stands there then; `None` if that is
    /// nothing that the hub wrote.
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

    /// Takes what stands at `number`, which is the next one or the one before it. Returns whether there is room for more.
    fn step(&mut self, number: u64, slot: Slot) -> bool {
        let expires_at = slot.expires_at();
        if number >= self.next {
            if slot.is_lost() {
                self.complete = false;
            } else if let Slot::Message { frame, .. } = slot {
                let bytes = self.bytes + frame.get().len();
                let is_full = self.messages.len() == self.limit;
                if is_full || (!self.messages.is_empty() && bytes > ANSWER_BYTES) {
                    return self.stop();
                }
                self.bytes = bytes;
                self.messages.push(frame);
                self.complete_so_far = self.complete;
            }
        }
        self.before = Some(expires_at);
        self.next = self.next.max(number + 1);
        true
    }

    /// Ends the answer with its last message, though there is more: what is past that is for the next question to find.
    fn stop(&mut self) -> bool {
        self.more = true;
        self.complete = self.complete_so_far;
        false
    }
}

fn is_last(page: &QueryOutput) -> bool {
    page.last_evaluated_key().is_none_or(HashMap::is_empty)
}

fn offset_of(item: &Item) -> Option<u64> {
    number(item, "offset")?.try_into().ok()
}
