"""The process of a local stack: MiniStack, an issuer of tokens, and the page. scripts/local.sh starts it.

It keeps the ports of the last start unless they are taken, and writes them into the file `ports` of the stack's folder.
"""

import contextlib
import os
import socket
import sys
import threading
from pathlib import Path

PREFERRED = (4566, 8080, 8081)


def free(preferred: int) -> int:
    """That port of 127.0.0.1, or any other if it is taken."""
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            # As servers do: a closed connection does not keep the port taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return probe.getsockname()[1]
    sys.exit("there is no free port on 127.0.0.1")


def main() -> None:
    import issuer
    import page

    folder = os.environ["HUB_STACK"]
    os.chdir(folder)
    file = Path("ports")
    ports = gateway_port, page_port, issuer_port = [free(int(port)) for port in file.read_text().split() or PREFERRED]
    for server in page.server(str(Path(__file__).parents[2] / "web"), page_port), issuer.server("issuer.key", issuer_port):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    file.write_text(" ".join(map(str, ports)) + "\n")
    os.environ |= dict.fromkeys(("HOME", "TMPDIR", "STATE_DIR", "S3_DATA_DIR"), f"{folder}/tmp") | {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{gateway_port}", "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(gateway_port), "AUTH": "true",
        "MINISTACK_REGION": os.environ["AWS_REGION"],
        # Shown in answers about its health: local.sh knows by it that the answer is this process's.
        "MINISTACK_EDITION": str(os.getpid()),
        # Otherwise MiniStack opens more ports, and removes the user's containers.
        "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0", "DOCKER_HOST": f"unix://{folder}/none",
        # Each concurrent invocation is a process, and above this number it is refused, as AWS does above 1000. A cold start takes
        # some 50 ms of a processor: with more at once, a small machine would start them all and finish none in time.
        "LAMBDA_ACCOUNT_CONCURRENCY": str(50 * (os.cpu_count() or 1)),
    }  # fmt: skip
    # MiniStack reads its settings when it is imported.
    import emulator  # noqa: F401  (corrects MiniStack as it is imported)
    import ministack.app

    ministack.app.main()


if __name__ == "__main__":
    main()
