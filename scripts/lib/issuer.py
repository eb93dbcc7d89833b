"""The local stack's issuer of tokens: makes its keys when it starts, serves their public halves on loopback, and signs.

    issuer.py serve KEY-FILE PORT
    issuer.py token KEY-FILE ISSUER --session NAME... [--send-to NAME...] [--subscribe-to NAME...] [--expires-in SECONDS] [--mobile]

It is two issuers, as infra/environments/local has them: at its address one whose tokens are as the hub's defaults have them,
and below /mobile one that signs with ES384, has `client_id` for `aud`, and keeps its claims in `app_metadata`.
"""

import argparse
import base64
import hashlib
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, load_pem_private_key

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
MOBILE = "/mobile"
P384_BYTES = 48


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def key_id(key: Key) -> str:
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()[:16]


def jwk(key: Key) -> dict:
    public = key.public_key().public_numbers()
    if isinstance(public, rsa.RSAPublicNumbers):
        numbers = {name: base64url(value.to_bytes((value.bit_length() + 7) // 8, "big")) for name, value in (("n", public.n), ("e", public.e))}
        return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": key_id(key), **numbers}
    numbers = {name: base64url(value.to_bytes(P384_BYTES, "big")) for name, value in (("x", public.x), ("y", public.y))}
    return {"kty": "EC", "crv": "P-384", "use": "sig", "alg": "ES384", "kid": key_id(key), **numbers}


def serve(key_file: str, port: str) -> None:
    documents: dict[str, dict] = {}
    for path, key in (("", rsa.generate_private_key(public_exponent=65537, key_size=2048)), (MOBILE, ec.generate_private_key(ec.SECP384R1()))):
        with open(os.open(file_of(key_file, path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        issuer = f"http://127.0.0.1:{port}{path}"
        documents[f"{path}/.well-known/openid-configuration"] = {"issuer": issuer, "jwks_uri": f"{issuer}/keys"}
        documents[f"{path}/keys"] = {"keys": [jwk(key)]}

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


def file_of(key_file: str, path: str) -> str:
    return key_file + path.replace("/", ".")


def signature(key: Key, message: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), SHA256())
    return b"".join(number.to_bytes(P384_BYTES, "big") for number in decode_dss_signature(key.sign(message, ec.ECDSA(SHA384()))))


def token(key_file: str, issuer: str, *arguments: str) -> None:
    parser = argparse.ArgumentParser(prog="local.sh token", description="Prints a token for the local stack.", allow_abbrev=False)
    parser.add_argument("--session", action="append", required=True, metavar="NAME", help="a session that its bearer may join; room-* stands for all that begin with room-")
    parser.add_argument("--send-to", action="append", metavar="NAME", help="a session that its bearer may send to (default: its own)")
    parser.add_argument("--subscribe-to", action="append", metavar="NAME", help="a session that its bearer may subscribe to (default: its own)")
    parser.add_argument("--expires-in", type=int, default=3600, metavar="SECONDS", help="how long it is good for (default: an hour)")
    parser.add_argument("--mobile", action="store_true", help="of the other issuer, whose tokens have another form and no patterns such as room-*")
    options = parser.parse_args(arguments)

    now = int(time.time())
    allowed = {"session_id": options.session[0] if len(options.session) == 1 else options.session}
    allowed |= {name: names for name in ("send_to", "subscribe_to") if (names := getattr(options, name)) is not None}
    path = MOBILE if options.mobile else ""
    claims = {"iss": issuer + path, "iat": now, "exp": now + options.expires_in}
    claims |= {"client_id": "hub-mobile", "app_metadata": allowed} if options.mobile else {"aud": "hub", **allowed}
    with open(file_of(key_file, path), "rb") as file:
        key = load_pem_private_key(file.read(), None)
    header = {"alg": jwk(key)["alg"], "typ": "JWT", "kid": key_id(key)}
    message = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
    print(f"{message}.{base64url(signature(key, message.encode()))}")


if __name__ == "__main__":
    {"serve": serve, "token": token}[sys.argv[1]](*sys.argv[2:])
