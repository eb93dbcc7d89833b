"""Checks of scripts/local.sh client: its input, its output and its exit codes.

invoke.py runs them on a stack without --auth, explain.py the last one on a stack with it.
"""

import http
import json
import os
import pty
import select
import subprocess
import sys
import threading
import time
import uuid

from websockets.sync.server import serve

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../scripts")
TOKEN = "header.claims.signature"
REFUSED = '{"type":"error","code":"forbidden","message":"no","id":"rooms"}'
CLIENT = [sys.executable, "-X", "utf8", "-m", "websocket_hub"]
ENVIRONMENT = {**os.environ, "HUB_TOKEN": TOKEN, "PYTHONPATH": f"{SCRIPTS}/../clients/python/src"}


class Hub:
    """A hub that answers each frame with one of two lines and an empty one, a subscription after a while, and `close` with the
    connection's end."""

    def __init__(self) -> None:
        self.frames: list = []
        self.handshakes: list = []
        self.server = serve(self.serve, "127.0.0.1", 0, process_request=self.request, subprotocols=["hub.v1"])
        self.address = f"ws://127.0.0.1:{self.server.socket.getsockname()[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def request(self, connection, request):
        self.handshakes.append((request.path, request.headers.get("Sec-WebSocket-Protocol")))
        return connection.respond(http.HTTPStatus.FORBIDDEN, "no") if request.path == "/refused" else None

    def serve(self, socket) -> None:
        for frame in socket:
            self.frames.append(frame)
            if frame == "close":
                return
            if "subscribe" in frame:
                time.sleep(0.2)
                socket.send(REFUSED if "refused" in frame else '{"type":"subscribed","id":"rooms","sessions":[]}')
                continue
            socket.send('{"got":\n"☃\x9b\u202e"}')
            socket.send("")


def piped(url: str, text: str, *arguments: str) -> tuple:
    done = subprocess.run([*CLIENT, url, *arguments], env=ENVIRONMENT, input=text, capture_output=True, encoding="utf-8", timeout=30, check=False)
    return done.returncode, done.stdout, done.stderr


def in_a_terminal(url: str, last: bytes) -> tuple:
    ours, terminal = pty.openpty()
    # The terminal has to control the client's session, or Ctrl-C would not reach it. A script's background jobs ignore SIGINT,
    # and so would the client.
    attach = (
        "import fcntl, os, signal, sys, termios; signal.signal(signal.SIGINT, signal.SIG_DFL);"
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    )
    client = subprocess.Popen(
        [sys.executable, "-c", attach, *CLIENT, url],
        env=ENVIRONMENT, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
    )
    os.close(terminal)
    shown = b""

    def read() -> bytes:
        assert select.select([ours], [], [], 30)[0], f"the terminal shows nothing more: {shown!r}"
        return os.read(ours, 1024)

    for awaited, keys in ((b"> ", b"hello\n"), ('< {"got": "☃\\u009b\\u202e"}\r\n> '.encode(), last)):
        while awaited not in shown:
            shown += read()
        os.write(ours, keys)
    try:
        while more := read():
            shown += more
    except OSError:  # The terminal has no process left.
        pass
    return client.wait(timeout=30), shown.decode()


def check_against_a_scripted_hub() -> None:
    hub = Hub()
    assert piped(f"{hub.address}/?session_id=a", "one\n\n  two") == (0, '{"got": "☃\x9b\u202e"}\n' * 2, "")
    assert hub.frames == ["one", "two"], hub.frames
    assert hub.handshakes == [("/?session_id=a", f"hub.v1, bearer.{TOKEN}")], hub.handshakes
    assert piped(hub.address, "one", "--room", "r-1", "--room", "r-2")[0] == 0
    code, out, err = piped(hub.address, "two", "--room", "refused")
    assert (code, out, err) == (1, f"{REFUSED}\n", "cannot subscribe to refused: no\n"), (code, out, err)
    assert hub.frames.pop() != "two", "input is sent before the subscription is answered"
    assert hub.frames[2:] == ['{"action":"subscribe","sessions":["r-1","r-2"],"id":"rooms"}', "one"], hub.frames
    for address, text, said in (
        (hub.address, "close\n", "the connection has ended: "),
        (f"{hub.address}/refused", "", f"cannot connect to {hub.address}/refused: "),
        ("ws://127.0.0.1:1", "", "cannot connect to ws://127.0.0.1:1: "),
    ):
        code, out, err = piped(address, text)
        assert (code, out, err.count("\n")) == (1, "", 1) and err.startswith(said), (code, out, err)
    for keys, code in ((b"\x04", 0), (b"\x03", 130)):
        ended, shown = in_a_terminal(hub.address, keys)
        assert ended == code and "Traceback" not in shown and "has ended" not in shown, (ended, shown)
    hub.server.shutdown()


def check_on_the_stack() -> None:
    session, room = f"auth0|{uuid.uuid4().hex}+a", f"room-{uuid.uuid4().hex}"
    client = subprocess.Popen(
        [f"{SCRIPTS}/local.sh", "client", session, "--room", room], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    )
    # The answer comes while the input is still open.
    subscribed = json.loads(client.stdout.readline())
    assert [subscribed["type"], *(place["session"] for place in subscribed["sessions"])] == ["subscribed", room], subscribed
    client.stdin.write('{"action":"ping"}\n')
    client.stdin.flush()
    assert client.stdout.readline() == '{"type":"pong"}\n'
    frame = {"action": "sendMessage", "sessions": [room], "message": "é ☃", "id": "m-1"}
    out, err = client.communicate(json.dumps(frame, ensure_ascii=False) + "\n", timeout=30)
    frames = sorted((json.loads(line) for line in out.splitlines()), key=lambda frame: frame["type"])
    assert (client.returncode, err) == (0, "") and [frame["type"] for frame in frames] == ["message", "receipt"], (client.returncode, out, err)
    assert (frames[0]["from"], frames[0]["message"], frames[1]["delivered"]) == (session, "é ☃", 1), frames
