"""Issues tokens for the local stack: makes its keys when it starts, serves the public ones on loopback, and signs.

    issuer.py serve KEY-FILE PORT
    issuer.py token KEY-FILE ISSUER --session NAME... [--send-to NAME...] [--subscribe-to NAME...] [--expires-in SECONDS] [--mobile]

It is two issuers, the two of infra/environments/local. Tokens of the one at its address have the form that a hub expects by
default. The one below /mobile signs with ES384, has `client_id` in place of `aud`, and keeps its claims in `app_metadata`.
"""

import argparse
import json
import os
import secrets
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

MOBILE = "/mobile"
PUBLIC = ("kty", "use", "alg", "kid", "n", "e", "crv", "x", "y")


def make_keys() -> dict[str, dict]:
    """A private key for each issuer, by its path, as JWKs."""
    made = {
        "": RSAAlgorithm.to_jwk(rsa.generate_private_key(public_exponent=65537, key_size=2048), as_dict=True) | {"alg": "RS256"},
        MOBILE: ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()), as_dict=True) | {"alg": "ES384"},
    }
    return {path: key | {"use": "sig", "kid": secrets.token_hex(8)} for path, key in made.items()}


def server(key_file: str, port: int) -> ThreadingHTTPServer:
    keys = make_keys()
    with open(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(keys, file)
    documents: dict[str, dict] = {}
    for path, key in keys.items():
        issuer = f"http://127.0.0.1:{port}{path}"
        documents[f"{path}/.well-known/openid-configuration"] = {"issuer": issuer, "jwks_uri": f"{issuer}/keys"}
        documents[f"{path}/keys"] = {"keys": [{name: key[name] for name in PUBLIC if name in key}]}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            document = documents.get(self.path)
            body = json.dumps(document or {"error": "not found"}).encode()
            self.send_response(200 if document else 404)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def token(key_file: str, issuer: str, *arguments: str) -> None:
    parser = argparse.ArgumentParser(prog="local.sh token", description="Prints a token for the local stack.", allow_abbrev=False)
    parser.add_argument("--session", action="append", required=True, metavar="NAME", help="a session that its bearer may join; room-* stands for all that begin with room-")
    parser.add_argument("--send-to", action="append", metavar="NAME", help="a session that its bearer may send to (default: its own)")
    parser.add_argument("--subscribe-to", action="append", metavar="NAME", help="a session that its bearer may subscribe to (default: its own)")
    parser.add_argument("--expires-in", type=int, default=3600, metavar="SECONDS", help="how long it is valid (default: an hour)")
    parser.add_argument("--mobile", action="store_true", help="of the other issuer, whose tokens have another form and no patterns such as room-*")
    options = parser.parse_args(arguments)

    now = int(time.time())
    allowed = {"session_id": options.session[0] if len(options.session) == 1 else options.session}
    allowed |= {name: names for name in ("send_to", "subscribe_to") if (names := getattr(options, name)) is not None}
    path = MOBILE if options.mobile else ""
    claims = {"iss": issuer + path, "iat": now, "exp": now + options.expires_in}
    claims |= {"client_id": "hub-mobile", "app_metadata": allowed} if options.mobile else {"aud": "hub", **allowed}
    with open(key_file, encoding="utf-8") as file:
        key = json.load(file)[path]
    print(jwt.encode(claims, jwt.PyJWK(key), algorithm=key["alg"], headers={"kid": key["kid"]}))


if __name__ == "__main__":
    command, key_file, *rest = sys.argv[1:]
    if command == "serve":
        server(key_file, int(rest[0])).serve_forever()
    token(key_file, *rest)
