//! The protocol's limits.

use std::ops::RangeInclusive;

use crate::config::{ConfigError, Variables};

/// The largest frame that API Gateway forwards, in bytes.
const GATEWAY_MESSAGE_BYTES: usize = 128 * 1024;
/// The largest delivery frame that fits into an answer of `history`, in bytes.
const HISTORY_MESSAGE_BYTES: usize = 126 * 1024;

/// The most sessions that one message may name.
pub const MAX_SESSIONS: usize = 100;
/// The most sessions that one connection may be subscribed to, besides its own.
pub const MAX_SUBSCRIPTIONS: usize = 100;
/// The longest session id, and the longest id of a frame, in characters.
pub(super) const MAX_ID_CHARS: usize = 128;
/// How many messages one answer of `history` may have.
pub const HISTORY_MESSAGES: RangeInclusive<usize> = 1..=100;
/// The length of an epoch.
pub const EPOCH_CHARS: usize = 8;
/// The largest offset: JavaScript's numbers are exact up to here.
pub const MAX_OFFSET: u64 = (1 << 53) - 1;
/// The most digits of an offset.
pub(super) const OFFSET_DIGITS: usize = 16;

/// Reads `MAX_MESSAGE_BYTES`, the size of the largest delivery frame.
///
/// # Errors
///
/// It is malformed, or API Gateway could not forward such a frame or, on a hub with history, return it in an answer.
pub(crate) fn max_message_bytes(variables: &Variables, has_history: bool) -> Result<usize, ConfigError> {
    let most = if has_history { HISTORY_MESSAGE_BYTES } else { GATEWAY_MESSAGE_BYTES };
    variables.number("MAX_MESSAGE_BYTES", 32 * 1024, &(1..=most))
}
