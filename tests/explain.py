"""Checks of scripts/explain-token.sh on the local stack: answers, texts, exit codes, and that no output contains the token. Then
of scripts/local.sh client with a token of its own.

    explain.py      (in the environment of scripts/local.sh env, of a stack that is up with --auth)
"""

import json
import os
import subprocess
import time

import client

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../scripts")


def run(script: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess:
    return subprocess.run([f"{SCRIPTS}/{script}", *arguments], input=stdin, capture_output=True, text=True, check=False)


def token(*arguments: str) -> str:
    made = run("local.sh", "token", *arguments)
    assert made.returncode == 0, made
    return made.stdout


def explained(text: str, *arguments: str) -> tuple:
    done = run("explain-token.sh", "local", *arguments, stdin=text)
    parts = [part for part in text.strip().split(".") if len(part) > 20]
    assert not any(part in done.stdout + done.stderr for part in parts), done
    return done.returncode, json.loads(done.stdout), " ".join(done.stderr.split())


def main() -> None:
    code, answer, words = explained(token("--session", "auth0|64af", "--send-to", "bob", "--subscribe-to", "room-7", "--mobile"))
    left = answer.pop("expires_at") - time.time()
    assert 3500 < left <= 3600, left
    issuer = answer.pop("issuer")
    assert issuer.endswith("/mobile") and code == 0 and "admitted as auth0|64af" in words, (issuer, code, words)
    assert answer == {"admitted": True, "why": None, "session": "auth0|64af", "send_to": ["bob"], "subscribe_to": ["room-7"]}, answer
    room = token("--session", "room-*")
    assert explained(f"Bearer {room}\n\n", "--session", "room-1")[1]["session"] == "room-1"
    for text, arguments, why, said in (
        (room, ["--session", "bob"], "session_not_allowed", "does not cover"),
        (room, ["--session", "a b"], "malformed_session", "%2B"),
        (room, [], "no_session", "Name one"),
        (token("--session", "*", "--mobile"), [], "pattern_in_session_claim", '(/app_metadata/session_id: "*")'),
        (token("--session", "a", "--expires-in", "-1"), [], "expired", "(exp: \"20"),
        (room.strip()[:-20] + "A" * 20, [], "bad_signature", "not signed by"),
        ("an-opaque-token", [], "malformed_token", "opaque"),
        ("x" * 9000, [], "token_too_large", "8,192"),
    ):
        code, answer, words = explained(text, *arguments)
        assert (code, answer["admitted"], answer["why"]) == (1, False, why) and why in words and said in words, (code, answer, words)
    for arguments, stdin, said in (
        (["local"], "", "no token on standard input"),
        ([], "x", "which environment"),
        (["local", "--session"], "x", "takes a value"),
        (["local", "a.b.c"], "x", "an argument too many"),
        (["a.b.c"], "x", "that is no environment"),
        (["staging"], "x", "AWS_ENDPOINT_URL"),
        (["nowhere", "--allow-endpoint"], "x", "there is no environment nowhere"),
    ):
        done = run("explain-token.sh", *arguments, stdin=stdin)
        assert done.returncode == 1 and done.stdout == "" and said in done.stderr and "a.b.c" not in done.stderr, done
    client.check_on_the_stack()


if __name__ == "__main__":
    main()
