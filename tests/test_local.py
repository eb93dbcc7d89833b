"""Tests of scripts/local.sh without its hub: what it starts, stops and removes, and what an interrupt ends.

    cd tests && python3 -m unittest test_local
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts/lib"))
from stack import free  # noqa: E402


def gone(pid: int) -> bool:
    for _ in range(50):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


class Local(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.state = self.folder / "a stack"
        self.root = ROOT

    def local(self, command: str, **variables: str) -> subprocess.CompletedProcess:
        environment = {**os.environ, "HUB_STATE_DIR": str(self.state), **variables}
        return subprocess.run([self.root / "scripts/local.sh", command], capture_output=True, text=True, env=environment)

    def started(self, process: subprocess.Popen) -> None:
        """As if `up` had started this process."""
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.state.mkdir()
        (self.state / "hub.lock").touch()
        (self.state / "ports").write_text("1 2 3\n")
        (self.state / "pid").write_text(f"{process.pid}\n")

    def stub(self) -> None:
        """A checkout whose functions are built, with another stack.py."""
        self.root = self.folder / "checkout"
        for path in (".venv", "infra", "rust-toolchain.toml", "scripts/local.sh", "scripts/lib/common.sh", "scripts/lib/requirements"):
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).symlink_to(ROOT / path)
        shutil.copy("/bin/true", self.root / "scripts/build.sh")
        (self.root / "scripts/lib/stack.py").write_text("import sys\nsys.exit('the reason')\n")

    def test_a_process_is_stopped_with_what_it_has_started(self) -> None:
        environment = {**os.environ, "HUB_STACK": str(self.state)}
        server = subprocess.Popen(["/bin/sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True, env=environment)
        self.addCleanup(server.stdout.close)
        self.started(server)
        child = int(server.stdout.readline())
        status = self.local("status")
        self.assertEqual((status.returncode, status.stderr), (1, ""))
        self.assertIn("does not answer", status.stdout)
        server.kill()
        self.assertTrue(gone(server.pid))
        self.assertIn("crashed", self.local("status").stdout)
        self.assertIn("MiniStack has died", self.local("url").stderr)
        # The same folder by another path.
        (self.folder / "link").symlink_to(self.folder)
        self.state = self.folder / "link/./a stack//"
        self.assertEqual(self.local("down").returncode, 0)
        self.assertTrue(gone(child))
        self.assertFalse(self.state.exists())
        self.assertEqual(self.local("status").returncode, 3)

    def test_a_pid_that_another_program_has_now_is_left_alone(self) -> None:
        other = subprocess.Popen(["sleep", "60"])
        self.started(other)
        self.assertIn("crashed", self.local("status").stdout)
        self.assertEqual(self.local("down").returncode, 0)
        self.assertIsNone(other.poll())

    def test_a_stack_that_does_not_start_shows_its_log_and_leaves_nothing(self) -> None:
        self.stub()
        up = self.local("up")
        self.assertEqual(up.returncode, 1, up.stderr)
        self.assertIn("the reason\nlocal.sh: MiniStack did not start", up.stderr)
        self.assertFalse(self.state.exists())

    def test_too_little_disk_space_is_noticed_before_anything_is_built(self) -> None:
        self.stub()
        (self.root / "scripts/build.sh").unlink()
        (self.folder / "df").write_text("#!/bin/sh\nprintf 'Filesystem\n/dev/x 9 9 %s 9%% /\n' $FREE\n")
        (self.folder / "df").chmod(0o755)
        for free_kb, there, text in (
            (2_900_000, 0, "needs 3 GB for builds and tools, with 0 GB there and 2 GB free"),
            (999_999, 5_000_000, "with 5 GB there and 0 GB free"),
            (3_000_000, 0, ""),
            (1_000_000, 2_000_000, ""),
        ):
            (self.folder / "du").write_text(f"#!/bin/sh\necho '{there} total'\nexit 1\n")
            (self.folder / "du").chmod(0o755)
            up = self.local("up", FREE=str(free_kb), PATH=f"{self.folder}:{os.environ['PATH']}")
            self.assertIn(text or "build.sh: No such file", up.stderr)
            self.assertEqual("too little disk space" in up.stderr, bool(text), up.stderr)

    def test_a_folder_of_something_else_is_neither_used_nor_removed(self) -> None:
        self.stub()
        self.state.mkdir()
        (self.state / "file").touch()
        (self.state / "lock").touch()
        self.assertIn("is in use for something else", self.local("up").stderr)
        self.assertIn("not running", self.local("down").stderr)
        self.assertTrue((self.state / "file").exists())

    def test_a_port_stays_unless_it_is_taken(self) -> None:
        port = free(0)
        self.assertEqual(free(port), port)
        with socket.create_server(("127.0.0.1", port)):
            self.assertNotEqual(free(port), port)

    def test_an_interrupt_waits_for_the_command_and_is_not_repeated(self) -> None:
        """The command gets INT, whatever the signal was."""
        script = textwrap.dedent("""
            . "$0"
            on_exit 'echo tidied up >>log'
            run /bin/sh -c 'trap "sleep 0.5; echo finished >>log; exit" INT; echo $$ >child; while :; do sleep 0.1; done'
        """)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            (self.folder / "log").unlink(missing_ok=True)
            (self.folder / "child").unlink(missing_ok=True)
            command = subprocess.Popen(["bash", "-c", script, ROOT / "scripts/lib/common.sh"], cwd=self.folder)
            while not (self.folder / "child").exists() or not (self.folder / "child").read_text():
                time.sleep(0.01)
            command.send_signal(number)
            time.sleep(0.1)
            command.send_signal(number)
            self.assertEqual(command.wait(10), 128 + number)
            self.assertEqual((self.folder / "log").read_text(), "finished\ntidied up\n")
            self.assertTrue(gone(int((self.folder / "child").read_text())))


if __name__ == "__main__":
    unittest.main()
