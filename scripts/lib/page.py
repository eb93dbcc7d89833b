"""Serves the folder web/ on loopback. The page is at /page/, and / redirects there.

    page.py FOLDER      (on any free port; the address is printed)
"""

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HEADERS = {
    # No other page may show this one in a frame, where it could capture clicks. HTML cannot forbid that.
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # The browser loads an edited file again.
    "Cache-Control": "no-cache",
}


class Handler(SimpleHTTPRequestHandler):
    # The types that this machine has for them may differ.
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".js": "text/javascript", ".svg": "image/svg+xml"}

    def send_head(self):
        path, query = urlsplit(self.path)[2:4]
        if path == "/":
            self.send_response(302)
            self.send_header("Location", "/page/" + (f"?{query}" if query else ""))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        return super().send_head()

    def list_directory(self, path):
        self.send_error(404)

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()


def server(folder: str, port: int) -> ThreadingHTTPServer:
    return ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, directory=folder))


if __name__ == "__main__":
    page = server(sys.argv[1], 0)
    print(f"http://127.0.0.1:{page.server_port}/page/", flush=True)
    page.serve_forever()
