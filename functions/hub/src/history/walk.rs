//! A walk along a session's numbers, which collects messages and decides whether any may be missing.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::query::QueryOutput;
use serde_json::value::RawValue;

use super::{History, Reading, damaged, position};
use crate::{
    clock::now_seconds,
    failure::Failure,
    protocol::{Position, SessionId},
    table::{Item, number, text},
};

/// The most bytes of frames in one answer, unless a single frame is larger.
const ANSWER_BYTES: usize = 30 * 1024;
/// How many items the first page has, before their size is known.
const FIRST_ITEMS: usize = 8;
/// The most items per page when reading backwards.
const MOST_ITEMS: usize = 25;
/// The size of an item's attributes besides the frame, in bytes.
const ITEM_OVERHEAD: usize = 100;

/// The item at a number.
pub(super) enum Slot {
    Message { frame: Box<RawValue>, expires_at: i64, written_at: i64 },
    Void { expires_at: i64 },
}

impl Slot {
    /// `None` for an item of another epoch, and for one that the hub did not write: both count as missing.
    pub(super) fn read(item: &Item, epoch: &str) -> Option<Self> {
        let expires_at = number(item, "expires_at").filter(|_| text(item, "epoch") == Some(epoch))?;
        if item.contains_key("void") {
            return Some(Self::Void { expires_at });
        }
        let frame = RawValue::from_string(text(item, "frame")?.to_owned()).ok()?;
        Some(Self::Message { frame, expires_at, written_at: number(item, "written_at")? })
    }

    pub(super) fn expires_at(&self) -> i64 {
        match self {
            Self::Message { expires_at, .. } | Self::Void { expires_at } => *expires_at,
        }
    }

    /// Whether it is a message that has expired, and so is left out of answers.
    fn has_expired(&self) -> bool {
        matches!(self, Self::Message { expires_at, .. } if *expires_at <= now_seconds())
    }

    /// By when its number was taken at the latest, in milliseconds since 1970. A void's number was old when it was
    /// sealed.
    fn numbered_by(&self) -> i64 {
        match self {
            Self::Message { written_at, .. } => *written_at,
            Self::Void { .. } => i64::MIN,
        }
    }
}

/// A walk along the numbers. Each is a message, a void, missing for ever, or still to be written.
pub(super) struct Walk<'a> {
    pub(super) history: &'a History,
    pub(super) session: &'a SessionId,
    /// The head's position.
    pub(super) last: Position,
    /// When the head's number was taken, in milliseconds since 1970.
    pub(super) taken_at: i64,
    /// The next number.
    pub(super) next: u64,
    /// When the item before that expires; `None` if there is none.
    pub(super) before: Option<i64>,
    limit: usize,
    messages: Vec<Box<RawValue>>,
    bytes: usize,
    more: bool,
    pub(super) complete: bool,
    /// The same, up to the last message collected.
    pub(super) complete_so_far: bool,
    pub(super) sealed: u64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(history: &'a History, session: &'a SessionId, head: &Item) -> Result<Self, Failure> {
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

    pub(super) fn reading(self) -> Reading {
        Reading {
            position: self.last,
            messages: self.messages,
            more: self.more,
            complete: None,
            sealed: self.sealed,
        }
    }

    /// Walks from the number after `offset`, and collects up to `limit` messages.
    pub(super) async fn after(&mut self, offset: u64, limit: usize) -> Result<(), Failure> {
        self.next = offset + 1;
        self.limit = limit;
        // Reads the item before, too: its expiry tells whether the next one can have expired.
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
                if number >= self.next && slot.has_expired() {
                    from = self.first_unexpired(number).await?;
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
            // Not many more than fit into the answer, since every item read is paid for.
            let fit = ANSWER_BYTES.saturating_sub(self.bytes) * items / bytes.max(1);
            most = fit.clamp(FIRST_ITEMS, limit.max(FIRST_ITEMS));
        }
        self.reach(end + 1, i64::MAX).await?;
        Ok(())
    }

    /// The first number after `expired` beyond which no item has expired. DynamoDB may remove expired items days late,
    /// so there may be many. It is found by bisection, since expiry never decreases along the numbers.
    async fn first_unexpired(&self, mut expired: u64) -> Result<u64, Failure> {
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

    /// The first item between two numbers, both included.
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

    /// Walks along the newest messages, and collects up to `count` of them.
    pub(super) async fn newest(&mut self, count: usize) -> Result<(), Failure> {
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
                    if found == count || !fits || slot.has_expired() {
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

    /// Takes the item at `number`, which is the next number or the one before it. Returns whether the answer has room
    /// for more.
    pub(super) fn step(&mut self, number: u64, slot: Slot) -> bool {
        let expires_at = slot.expires_at();
        if number >= self.next {
            if slot.has_expired() {
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

    /// Ends the answer with the last message collected, though there are more numbers: the next request continues
    /// there.
    pub(super) fn stop(&mut self) -> bool {
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
