"""Tests of publishing the client to a fake npm, and of packing it with the real one.

    cd tests && python3 -m unittest test_client_package
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
from pathlib import Path

from test_release import ROOT, tarball


# A fake npm: it records each call, and uses each of `answers`, a list of [the command, exit code, output], once.
NPM = f"""#!{sys.executable}
import json, os, sys
folder = os.path.dirname(os.path.abspath(__file__))
state = json.load(open(folder + "/state.json"))
if sys.argv[1] == "--version":
    print(state["npm"])
    sys.exit()
state["asked"].append(sys.argv[1:])
answer = next((one for one in state["answers"] if one[0] == sys.argv[1]), [None, 99, "unexpected: " + " ".join(sys.argv)])
state["answers"] = [one for one in state["answers"] if one is not answer]
json.dump(state, open(folder + "/state.json", "w"))
print(answer[2], file=sys.stderr if answer[1] else sys.stdout)
sys.exit(answer[1])
"""


class Client(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.environment = {"NPM_PACKAGE": "@octo/hub-client", "ACTIONS_ID_TOKEN_REQUEST_URL": "https://token", "RUNNER_TOOL_CACHE": str(self.folder / "cache")}
        self.npm("bin", "11.5.1")
        self.package = {"name": "@octo/hub-client", "version": "1.2.3"}
        self.tarball = self.folder / "octo-hub-client-1.2.3.tgz"
        tarball(self.tarball, **self.package)

    def npm(self, folder: str, version: str) -> None:
        (self.folder / folder).mkdir(parents=True)
        (self.folder / folder / "npm").write_text(NPM)
        (self.folder / folder / "npm").chmod(0o755)
        (self.folder / folder / "state.json").write_text(json.dumps({"asked": [], "answers": [], "npm": version}))

    def run_it(self, *arguments: str, answers: tuple = (), npm: str = "bin", **more: str) -> subprocess.CompletedProcess:
        path = self.folder / npm / "state.json"
        state = {**json.loads(path.read_text()), "answers": answers, "asked": []}
        path.write_text(json.dumps(state))
        environment = {**os.environ, **self.environment, "PATH": f"{self.folder}/bin:{os.environ['PATH']}", **more}
        done = subprocess.run([sys.executable, ROOT / "scripts/lib/client_package.py", *arguments], capture_output=True, text=True, env=environment)
        self.asked = json.loads(path.read_text())["asked"]
        self.assertNotIn("Traceback", done.stderr)
        return done

    def publish(self, **more) -> str:
        done = self.run_it("publish", str(self.tarball), **more)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stderr

    def fails(self, why: str, **more) -> None:
        done = self.run_it("publish", str(self.tarball), **more)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(why, done.stderr)
        self.assertIn("::error::", done.stderr)

    def test_published(self) -> None:
        self.assertIn("::notice title=Published to npm::@octo/hub-client 1.2.3", self.publish(answers=(["publish", 0, "+ @octo/hub-client@1.2.3"],)))
        self.assertEqual(self.asked, [["publish", str(self.tarball.resolve()), "--ignore-scripts"]])

    def test_a_prerelease_is_not_the_latest(self) -> None:
        tarball(self.tarball, **{**self.package, "version": "2.0.0-rc.1"})
        self.publish(answers=(["publish", 0, ""],))
        self.assertEqual(self.asked[0][-2:], ["--tag", "next"])

    def test_without_a_name_nothing_is_published(self) -> None:
        self.assertIn("::notice title=Not published to npm::", self.publish(NPM_PACKAGE=""))
        del self.environment["NPM_PACKAGE"]
        self.assertIn("::notice title=Not published to npm::", self.publish())
        self.assertEqual(self.asked, [])

    def test_a_version_that_was_published_before(self) -> None:
        conflict = ["publish", 1, "npm error code E403\nnpm error You cannot publish over the previously published versions"]
        integrity = f"sha512-{base64.b64encode(hashlib.sha512(self.tarball.read_bytes()).digest()).decode()}"
        self.assertIn("::notice title=Published already::", self.publish(answers=(conflict, ["view", 0, integrity])))
        self.assertEqual(self.asked[1][:3], ["view", "@octo/hub-client@1.2.3", "dist.integrity"])
        self.fails("already, with other contents (sha512-abc, not sha512-", answers=(conflict, ["view", 0, "sha512-abc"]))

    def test_failures(self) -> None:
        for unknown in (["view", 1, "npm error code E404"], ["view", 0, ""]):
            self.fails("npm publish failed: see above. It takes npm 11.5.1 (this is 11.5.1)", answers=(["publish", 1, "npm error network"], unknown))
        self.fails("has the name @octo/hub-client, not @other/name", NPM_PACKAGE="@other/name")
        self.fails("is no name of a package", NPM_PACKAGE="@Octo/Hub Client")
        self.fails("There is no GitHub token to publish with", ACTIONS_ID_TOKEN_REQUEST_URL="")
        self.assertEqual(self.asked, [])

    def test_the_newest_npm_of_the_machine_publishes(self) -> None:
        for version, npm in (("9.9.9", "9.9"), ("22.23.1", "10.9.8"), ("24.9.0", "11.6.0")):
            self.npm(f"cache/node/{version}/x64/bin", npm)
        self.publish(npm="cache/node/24.9.0/x64/bin", answers=(["publish", 0, ""],))
        self.assertEqual([ask[0] for ask in self.asked], ["publish"])

    @unittest.skipUnless(shutil.which("npm"), "there is no npm")
    def test_packed_by_npm_itself(self) -> None:
        (self.folder / "bin/npm").unlink()
        self.environment |= {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "octo/hub"}
        for folder in ("out", "again"):
            done = self.run_it("pack", "v1.2.3-rc.1", str(self.folder / folder))
            self.assertEqual((done.returncode, done.stdout), (0, "octo-hub-client-1.2.3-rc.1.tgz\n"), done.stderr)
        name = "octo-hub-client-1.2.3-rc.1.tgz"
        self.assertEqual((self.folder / "out" / name).read_bytes(), (self.folder / "again" / name).read_bytes())
        with tarfile.open(self.folder / "out" / name) as tar:
            package = json.load(tar.extractfile("package/package.json"))
            self.assertIn("package/hub.js", tar.getnames())
            readme = tar.extractfile("package/README.md").read().decode()
        self.assertIn("npm install @octo/hub-client\n", readme)
        self.assertNotIn("@websocket-hub", readme)
        own = json.loads((ROOT / "web/client/package.json").read_text())
        repository = {"type": "git", "url": "git+https://github.com/octo/hub.git", "directory": "web/client"}
        self.assertEqual(package, {**own, "name": "@octo/hub-client", "version": "1.2.3-rc.1", "repository": repository})
        self.assertIn("1.2.3 is not a version like v1.2.3", self.run_it("pack", "1.2.3", str(self.folder / "new")).stderr)
        # Without NPM_PACKAGE it is packed under its own name, for the release on GitHub.
        done = self.run_it("pack", "v1.2.3", str(self.folder / "default"), NPM_PACKAGE="")
        self.assertEqual(done.stdout, "websocket-hub-client-1.2.3.tgz\n")
        self.assertIn("is there already", self.run_it("pack", "v1.2.3", str(self.folder / "default")).stderr)


if __name__ == "__main__":
    unittest.main()
