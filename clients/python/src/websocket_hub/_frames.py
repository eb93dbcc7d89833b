"""What the client's frames are made of."""

from __future__ import annotations

import json
import uuid
from typing import Any


def new_id() -> str:
    return str(uuid.uuid4())


def to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
