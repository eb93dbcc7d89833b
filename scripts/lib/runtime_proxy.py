"""Stands between a function and cargo-lambda's Runtime API, to correct the deadline of an invocation.

cargo-lambda gives every invocation until ten minutes after 1970; a function that minds its time would do nothing at all.

    runtime_proxy.py PORT URL-OF-THE-RUNTIME-API
"""

import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MILLISECONDS = 30_000
DEADLINE = "lambda-runtime-deadline-ms"


class Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.forward(None)

    def do_POST(self) -> None:
        self.forward(self.rfile.read(int(self.headers["content-length"])))

    def forward(self, body: "bytes | None") -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower().startswith(("lambda-", "content-type"))}
        request = urllib.request.Request(sys.argv[2] + self.path, body, headers)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower().startswith("lambda-") and name.lower() != DEADLINE:
                    self.send_header(name, value)
        self.send_header(DEADLINE, str(int(time.time() * 1000) + MILLISECONDS))
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Proxy).serve_forever()
