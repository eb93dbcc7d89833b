"""Frames: how requests are written, and what the hub's answers become for a program."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import Any

from ._timers import date_in
from ._types import Count, Frame, History, Message, Position, Receipt, position_of


def new_id() -> str:
    return str(uuid.uuid4())


def to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def read_message(frame: Frame, missed: bool = False) -> Message:
    return Message(
        id=frame["id"],
        sender=frame.get("from"),
        session=frame.get("session"),
        data=frame.get("message"),
        position=position_of(frame),
        missed=missed,
        sent_at=read_time(frame.get("sent_at")),
        received_at=date_in(),
    )


def read_time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None


def read_history(frame: Frame) -> History:
    position = Position(frame["epoch"], frame["offset"])
    messages = tuple(read_message(message) for message in frame["messages"])
    return History(frame["session"], position, messages, frame["more"], frame.get("complete"))


def read_receipt(frame: Frame) -> Receipt:
    def count(given: Frame) -> Count:
        numbers = (given["delivered"], given["gone"], given["failed"])
        return Count(given["session"], *numbers, given.get("complete", True), position_of(given))

    sessions = tuple(count(given) for given in frame["sessions"])
    return Receipt(frame["id"], frame["delivered"], frame["gone"], frame["failed"], frame.get("complete", True), sessions)
