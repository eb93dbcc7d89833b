"""Which options and addresses a client accepts."""

from __future__ import annotations

import json
import unittest

from websocket_hub import HubClient, Position, connect

from .virtual import URL


class Options(unittest.TestCase):
    def test_options_that_can_never_work_are_refused_at_once(self) -> None:
        for options in (
            {"session": "a b"},
            {"session": None},
            {"session": "a", "ttl": 0},
            {"session": "a", "pong_timeout": None},
            {"session": "a", "ping_interval": "4"},
            {"session": "a", "token": 5},
            {"session": "a", "token_in": "header"},
            {"session": "a", "ordered": 1},
            {"session": "a", "positions": {"a": ["e"]}},
            {"session": "a", "positions": {"a": {"epoch": "e", "offset": -1}}},
            {"session": "a", "positions": {"a b": ["e", 1]}},
            {"session": "a", "unheard_of": 1},
        ):
            with self.subTest(options), self.assertRaises((TypeError, ValueError)):
                connect(URL, **options)
        for url in ("https://hub.invalid/", "wss://", 5):
            with self.subTest(url), self.assertRaises((TypeError, ValueError)):
                connect(url, session="a")  # type: ignore[arg-type]

    def test_a_position_is_json(self) -> None:
        stored = json.dumps(Position("e", 3))
        for given in (json.loads(stored), {"epoch": "e", "offset": 3}, Position("e", 3)):
            self.assertEqual(connect(URL, session="a", positions={"a": given})._options.known, {"a": Position("e", 3)})

    def test_a_client_can_be_made_without_a_loop(self) -> None:
        hub = connect(URL, session="bob")
        self.assertIsInstance(hub, HubClient)
        self.assertEqual((hub.name, hub.state.name, hub.position()), ("bob", "connecting", None))
