"""The local stack's issuer of tokens: makes a key when it starts, serves its public half on loopback, and signs.

    issuer.py serve KEY-FILE PORT
    issuer.py token KEY-FILE ISSUER --session NAME... [--send-to NAME...] [--expires-in SECONDS]
"""

import argparse
import base64
import hashlib
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, load_pem_private_key

ALGORITHM = "RS256"
AUDIENCE = "hub"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def key_id(key: rsa.RSAPrivateKey) -> str:
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()[:16]


def serve(key_file: str, port: str) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with open(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def number(value: int) -> str:
        return base64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))

    public = key.public_key().public_numbers()
    jwk = {"kty": "RSA", "use": "sig", "alg": ALGORITHM, "kid": key_id(key), "n": number(public.n), "e": number(public.e)}
    issuer = f"http://127.0.0.1:{port}"
    documents = {
        "/.well-known/openid-configuration": {"issuer": issuer, "jwks_uri": f"{issuer}/keys"},
        "/keys": {"keys": [jwk]},
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            document = documents.get(self.path)
            body = json.dumps(document or {"error": "not found"}).encode()
            self.send_response(200 if document else 404)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


def token(key_file: str, issuer: str, *arguments: str) -> None:
    parser = argparse.ArgumentParser(prog="local.sh token", description="Prints a token for the local stack.", allow_abbrev=False)
    parser.add_argument("--session", action="append", required=True, metavar="NAME", help="a session that its bearer may join; room-* is all that begin so")
    parser.add_argument("--send-to", action="append", metavar="NAME", help="a session that its bearer may send to (default: its own)")
    parser.add_argument("--expires-in", type=int, default=3600, metavar="SECONDS", help="how long it is good for (default: an hour)")
    options = parser.parse_args(arguments)

    now = int(time.time())
    claims = {"iss": issuer, "aud": AUDIENCE, "iat": now, "exp": now + options.expires_in}
    claims["session_id"] = options.session[0] if len(options.session) == 1 else options.session
    if options.send_to is not None:
        claims["send_to"] = options.send_to
    with open(key_file, "rb") as file:
        key = load_pem_private_key(file.read(), None)
    header = {"alg": ALGORITHM, "typ": "JWT", "kid": key_id(key)}
    message = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
    print(f"{message}.{base64url(key.sign(message.encode(), padding.PKCS1v15(), SHA256()))}")


if __name__ == "__main__":
    {"serve": serve, "token": token}[sys.argv[1]](*sys.argv[2:])
