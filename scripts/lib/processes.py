"""Commands that an interrupt ends whole, and processes that outlive the command which started them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def die(why: str) -> NoReturn:
    sys.exit(f"local.sh: {why}")


def ignore_interrupts() -> None:
    for number in INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)


def end_at_interrupts() -> None:
    """What a command tidies up at its end is not interrupted again."""

    def end(number: int, _frame: object) -> NoReturn:
        ignore_interrupts()
        sys.exit(128 + number)

    for number in INTERRUPTS:
        signal.signal(number, end)


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)


def launch(*command: object, **options) -> subprocess.Popen:
    """Starts a command in a new session, where Ctrl-C does not reach it. Call it with interrupts held."""

    def release() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)

    return subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=release, **options)


def run(*command: object, **options) -> int:
    """Runs a command to its end. An interrupt is handed on as INT and waited for, so that Terraform finishes what is under way."""
    child = None
    try:
        with interrupts_held():
            # The command inherits the stack's lock: if this process is killed, the lock is held until the command has ended.
            child = launch(*command, close_fds=False, **options)
        return child.wait()
    except SystemExit:
        if child:
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(child.pid, signal.SIGINT)
                child.wait(60)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        raise


class Process:
    """A process of a stack, together with the processes that it starts.

    Its environment holds a mark, which those inherit. A pid that the system has since given to another program lacks it.
    """

    def __init__(self, folder: Path, name: str, port: int) -> None:
        self.name, self.folder, self.preferred_port = name, folder, port
        file = name.lower()
        self.mark = f"HUB_PROCESS={folder}/{file}"
        self.log, self.pid_file, self.port_file = (folder / f"{file}.{suffix}" for suffix in ("log", "pid", "port"))

    def started(self) -> bool:
        return self.pid_file.exists()

    def alive(self) -> bool:
        try:
            return self.owns(self.pid_file.read_text())
        except OSError:
            return False

    def owns(self, pid: str) -> bool:
        try:
            return self.mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False

    def address(self) -> str:
        return f"http://127.0.0.1:{self.port_file.read_text()}"

    def choose_port(self) -> str:
        """The port of the last start, or the preferred one. If that is taken, any other."""
        for port in (int(self.port_file.read_text()) if self.port_file.exists() else self.preferred_port, 0):
            with socket.socket() as probe, contextlib.suppress(OSError):
                # As servers do: a closed connection does not keep the port taken.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
                self.port_file.write_text(str(probe.getsockname()[1]))
                return self.port_file.read_text()
        die("there is no free port on 127.0.0.1")

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(self.port_file.read_text()))) == 0

    def start(self, *command: object, environment: dict, ready: Callable[[], bool]) -> None:
        """Starts it and waits until it is ready."""
        variable, _, value = self.mark.partition("=")
        with open(self.log, "ab") as log, interrupts_held():
            child = launch(*command, cwd=self.folder, env={**environment, variable: value}, stdout=log, stderr=log)
            self.pid_file.write_text(str(child.pid))
        deadline = time.monotonic() + 30
        while child.poll() is None and time.monotonic() < deadline:
            if ready():
                return
            time.sleep(0.1)
        die(f"{self.end_of_log(30)}\n{self.name} did not start: see the end of its log above")

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for attempt in range(50):
                pids = [pid for pid in os.listdir("/proc") if pid.isdigit() and self.owns(pid)]
                if not pids:
                    return self.pid_file.unlink(missing_ok=True)
                for pid in pids if attempt == 0 else ():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), number)
                time.sleep(0.1)
        die(f"process {' '.join(pids)} does not end: end it by hand, and run this again")

    def end_of_log(self, lines: int) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
