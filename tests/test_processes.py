"""Tests of scripts/lib/processes.py: what an interrupt ends, and which processes count as a stack's.

    cd tests && python3 -m unittest test_processes
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
import warnings
from pathlib import Path

LIB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../scripts/lib")
sys.path.insert(0, LIB)
from processes import Process  # noqa: E402


def gone(pid: int) -> bool:
    for _ in range(50):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


class Stack(unittest.TestCase):
    def setUp(self) -> None:
        # Servers outlive the object that has started them.
        warnings.simplefilter("ignore", ResourceWarning)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.process = Process(self.folder, "server", 0)
        self.addCleanup(self.process.stop)

    def start(self, script: str) -> None:
        self.process.start("/bin/sh", "-c", script, environment=dict(os.environ), ready=(self.folder / "ready").exists)

    def test_a_process_is_stopped_with_what_it_has_started(self) -> None:
        self.start("sleep 60 & echo $! >child; touch ready; wait")
        self.assertTrue(self.process.alive())
        child = int((self.folder / "child").read_text())
        os.kill(int(self.process.pid_file.read_text()), signal.SIGKILL)
        self.assertTrue(gone(int(self.process.pid_file.read_text())))
        self.assertEqual((self.process.started(), self.process.alive()), (True, False))
        self.process.stop()
        self.assertTrue(gone(child))
        self.assertFalse(self.process.started())

    def test_a_pid_that_another_program_has_now_is_left_alone(self) -> None:
        other = subprocess.Popen(["sleep", "60"])
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        self.process.pid_file.write_text(str(other.pid))
        self.assertFalse(self.process.alive())
        self.process.stop()
        self.assertIsNone(other.poll())

    def test_a_process_that_does_not_start_shows_its_log(self) -> None:
        with self.assertRaises(SystemExit) as end:
            self.start("echo the reason; exit 1")
        self.assertIn("the reason\nserver did not start", str(end.exception))

    def test_a_port_stays_unless_it_is_taken(self) -> None:
        port = self.process.choose_port()
        self.assertEqual(self.process.choose_port(), port)
        with socket.create_server(("127.0.0.1", int(port))):
            self.assertTrue(self.process.listens())
            self.assertNotEqual(self.process.choose_port(), port)

    def test_an_interrupt_waits_for_the_command_and_is_not_repeated(self) -> None:
        """The command gets INT, whatever the signal was. Processes that it leaves behind are ended."""
        program = textwrap.dedent("""
            import processes
            processes.end_at_interrupts()
            try:
                processes.run("/bin/sh", "-c", "trap 'sleep 0.5; echo finished >>log; exit' INT; sleep 60 & echo $! >child; wait")
            finally:
                print("tidied up", file=open("log", "a"))
        """)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            (self.folder / "log").unlink(missing_ok=True)
            (self.folder / "child").unlink(missing_ok=True)
            command = subprocess.Popen([sys.executable, "-c", program], cwd=self.folder, env={**os.environ, "PYTHONPATH": LIB})
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
