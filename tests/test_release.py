"""Tests of packing a release, and of publishing the client to a fake npm.

    cd tests && python3 -m unittest test_release
"""

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def tarball(path: Path, **package: object) -> None:
    data = json.dumps(package).encode()
    with tarfile.open(path, "w:gz") as tar:
        entry = tarfile.TarInfo("package/package.json")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))


class Release(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        for name in ("scripts/lib/common.sh", "scripts/lib/release.py", "scripts/release.sh"):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.folder / name)
        self.versions("1.2.3")
        for architecture in ("x86_64", "arm64"):
            self.build(architecture, "v1.2.3")
        (self.folder / "hub-client-1.2.3.tgz").write_text("client")

    def versions(self, version: str) -> None:
        (self.folder / "Cargo.toml").write_text(f'[workspace]\n\n[workspace.package]\nversion = "{version}"\n')
        (self.folder / "CHANGELOG.md").write_text(f"# Changelog\n\n## Unreleased\n\n- later\n\n## {version} - 2026-01-02\n\n- **New**: this\n\n## 1.2.2 - 2026-01-01\n\n- before\n")

    def build(self, architecture: str, release: str) -> None:
        zips = {"connect": b"zip of connect", "send-message": architecture.encode()}
        for function, data in zips.items():
            (self.folder / architecture / function).mkdir(parents=True, exist_ok=True)
            (self.folder / architecture / function / "bootstrap.zip").write_bytes(data)
            (self.folder / architecture / function / "sbom.cdx.json").write_text("{}")
        sums = {function: base64.b64encode(hashlib.sha256(data).digest()).decode() for function, data in zips.items()}
        (self.folder / architecture / "release.json").write_text(json.dumps({"release": release, "architecture": architecture, "sha256": sums}))

    def pack(self, tag: str, *builds: str, out: str = "out", client: str = "hub-client-1.2.3.tgz") -> subprocess.CompletedProcess:
        folders = [str(self.folder / name) for name in (*(builds or ("x86_64", "arm64")), client)]
        return subprocess.run([self.folder / "scripts/release.sh", tag, *folders, str(self.folder / out)], capture_output=True, text=True)

    def refused(self, why: str, *arguments: str, **more: str) -> None:
        done = self.pack(*arguments, **more)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(why, done.stderr)
        self.assertTrue(done.stderr.startswith("release.sh: "), done.stderr)
        self.assertFalse((self.folder / "out").exists())

    def test_a_release(self) -> None:
        done = self.pack("v1.2.3")
        self.assertEqual(done.returncode, 0, done.stderr)
        out = self.folder / "out"
        self.assertEqual(sorted(path.name for path in out.iterdir()), ["SHA256SUMS", "hub-client-1.2.3.tgz", "notes.md", "websocket-hub-v1.2.3-arm64.tar.gz", "websocket-hub-v1.2.3-x86_64.tar.gz"])
        self.assertEqual((out / "notes.md").read_text(), "- **New**: this\n")
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=out, check=True)
        self.assertIn("  hub-client-1.2.3.tgz\n", (out / "SHA256SUMS").read_text())
        for architecture in ("x86_64", "arm64"):
            unpacked = self.folder / f"unpacked-{architecture}"
            unpacked.mkdir()
            subprocess.run(["tar", "-xzf", out / f"websocket-hub-v1.2.3-{architecture}.tar.gz", "-C", unpacked], check=True)
            subprocess.run(["diff", "-r", self.folder / architecture, unpacked], check=True)

    def test_the_same_bytes_again(self) -> None:
        self.pack("v1.2.3")
        for path in self.folder.glob("*/*/*.zip"):
            path.touch()
        self.pack("v1.2.3", out="again")
        subprocess.run(["diff", "-r", self.folder / "out", self.folder / "again"], check=True)

    def test_a_prerelease(self) -> None:
        self.versions("2.0.0-rc.1")
        for architecture in ("x86_64", "arm64"):
            self.build(architecture, "v2.0.0-rc.1")
        (self.folder / "hub-client-2.0.0-rc.1.tgz").write_text("client")
        self.assertEqual(self.pack("v2.0.0-rc.1", client="hub-client-2.0.0-rc.1.tgz").returncode, 0)

    def test_refused_releases(self) -> None:
        for tag in ("1.2.3", "v1.2.4"):
            self.refused(f"the tag is {tag}, and by the version in Cargo.toml it must be v1.2.3", tag)
        self.refused("is a build of architecture arm64, not x86_64", "v1.2.3", "arm64", "arm64")
        self.refused("is not a whole build", "v1.2.3", "x86_64", "nowhere")
        (self.folder / "hub-client-11.2.3.tgz").write_text("client")
        for client in ("hub-client-11.2.3.tgz", "Cargo.toml", "nowhere-1.2.3.tgz"):
            self.refused("is not the client's package of this version", "v1.2.3", client=client)
        (self.folder / "x86_64/connect/sbom.cdx.json").unlink()
        self.refused("is not a whole build", "v1.2.3")
        self.build("x86_64", "v1.2.2")
        self.refused("is a build of release v1.2.2, not v1.2.3", "v1.2.3")
        self.build("x86_64", "v1.2.3")
        (self.folder / "x86_64/connect/bootstrap.zip").write_bytes(b"another")
        self.refused("is not the zip that release.json lists", "v1.2.3")
        self.build("x86_64", "v1.2.3")
        for section in ("## 1.2.3 - 2026-01-02\n", "## 1.2.3 - unreleased\n\n- new\n", "## 1.2.30 - 2026-01-02\n\n- new\n"):
            (self.folder / "CHANGELOG.md").write_text(f"# Changelog\n\n{section}\n## 1.2.2 - 2026-01-01\n\n- before\n")
            self.refused("CHANGELOG.md has no section '## 1.2.3 - 20", "v1.2.3")

    def test_an_existing_folder(self) -> None:
        (self.folder / "out").mkdir()
        done = self.pack("v1.2.3")
        self.assertIn("is there already", done.stderr)
        self.assertEqual(list((self.folder / "out").iterdir()), [])

    def test_the_changelog_of_this_version(self) -> None:
        version = next(line.split('"')[1] for line in (ROOT / "Cargo.toml").read_text().splitlines() if line.startswith("version = "))
        self.assertRegex((ROOT / "CHANGELOG.md").read_text(), rf"(?m)^## {version} - (unreleased|\d{{4}}-\d\d-\d\d)$")
        self.assertEqual(json.loads((ROOT / "web/client/package.json").read_text())["version"], version)


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
NODE = f"""#!{sys.executable}
import json, os
print(json.load(open(os.path.dirname(os.path.abspath(__file__)) + "/state.json"))["node"])
"""
NOT_FOUND = ["view", 1, "npm error code E404"]


class Client(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.environment = {
            "NPM_PACKAGE": "@octo/hub-client", "GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "octo/hub",
            "ACTIONS_ID_TOKEN_REQUEST_URL": "https://token.invalid", "RUNNER_TOOL_CACHE": str(self.folder / "cache"), "PRIVATE": "false",
        }  # fmt: skip
        self.npm("bin", npm="11.5.1", node="v22.14.0")
        self.package = {"name": "@octo/hub-client", "version": "1.2.3", "repository": {"type": "git", "url": "git+https://github.com/octo/hub.git"}}
        self.tarball = self.folder / "octo-hub-client-1.2.3.tgz"
        tarball(self.tarball, **self.package)

    def npm(self, folder: str, **state: str) -> None:
        (self.folder / folder).mkdir(parents=True, exist_ok=True)
        for name, text in (("npm", NPM), ("node", NODE)):
            (self.folder / folder / name).write_text(text)
            (self.folder / folder / name).chmod(0o755)
        (self.folder / folder / "state.json").write_text(json.dumps({"asked": [], "answers": [], **state}))

    def run_it(self, *arguments: str, answers: tuple = (), npm: str = "bin", **more: str) -> subprocess.CompletedProcess:
        path = self.folder / npm / "state.json"
        state = {**json.loads(path.read_text()), "answers": answers, "asked": []}
        path.write_text(json.dumps(state))
        environment = {**os.environ, **self.environment, "PATH": f"{self.folder}/bin:{os.environ['PATH']}", **more}
        done = subprocess.run([sys.executable, ROOT / "scripts/lib/client_package.py", *arguments], capture_output=True, text=True, env=environment)
        self.asked = json.loads(path.read_text())["asked"]
        self.assertNotIn("Traceback", done.stderr)
        return done

    def publish(self, tag: str = "v1.2.3", **more) -> str:
        done = self.run_it("publish", tag, str(self.tarball), **more)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stderr

    def fails(self, why: str, tag: str = "v1.2.3", **more) -> None:
        done = self.run_it("publish", tag, str(self.tarball), **more)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(why, done.stderr)
        self.assertIn("::error::", done.stderr)

    def integrity(self) -> str:
        return f"sha512-{base64.b64encode(hashlib.sha512(self.tarball.read_bytes()).digest()).decode()}"

    def test_published(self) -> None:
        for unknown in (NOT_FOUND, ["view", 0, ""]):
            self.assertIn("::notice title=Published to npm::@octo/hub-client 1.2.3", self.publish(answers=(unknown, ["publish", 0, "+ @octo/hub-client@1.2.3"])))
            self.assertEqual(self.asked[0][:3], ["view", "@octo/hub-client@1.2.3", "dist.integrity"])
            self.assertEqual(self.asked[1], ["publish", str(self.tarball.resolve()), "--access", "public", "--ignore-scripts", "--provenance"])

    def test_a_prerelease_is_not_the_latest(self) -> None:
        tarball(self.tarball, **{**self.package, "version": "2.0.0-rc.1"})
        self.publish("v2.0.0-rc.1", answers=(NOT_FOUND, ["publish", 0, ""]))
        self.assertEqual(self.asked[1][-2:], ["--tag", "next"])

    def test_a_private_repository_has_no_provenance(self) -> None:
        self.assertIn("::notice title=No provenance::", self.publish(answers=(NOT_FOUND, ["publish", 0, ""]), PRIVATE="true"))
        self.assertNotIn("--provenance", self.asked[1])

    def test_without_a_name_nothing_is_published(self) -> None:
        for nothing in ("", None):
            if nothing is None:
                del self.environment["NPM_PACKAGE"]
            self.assertIn("::notice title=Not published to npm::", self.publish(**({} if nothing is None else {"NPM_PACKAGE": nothing})))
            self.assertEqual(self.asked, [])

    def test_a_version_that_was_published_before(self) -> None:
        self.assertIn("::notice title=Published already::", self.publish(answers=(["view", 0, self.integrity()],)))
        self.fails("already, with other contents (sha512-abc, not sha512-", answers=(["view", 0, "sha512-abc"],))
        # Another run published it after this one had asked.
        conflict = ["publish", 1, "npm error code E403\nnpm error You cannot publish over the previously published versions"]
        self.publish(answers=(NOT_FOUND, conflict, ["view", 0, self.integrity()]))
        self.fails("with other contents", answers=(NOT_FOUND, conflict, ["view", 0, "sha512-abc"]))

    def test_failures(self) -> None:
        self.fails("npm does not say whether @octo/hub-client 1.2.3 is published already: npm error code E500", answers=(["view", 1, "npm error code E500"],))
        self.fails("npm publish failed: see above. Does npm trust this workflow", answers=(NOT_FOUND, ["publish", 1, "npm error code E404"], NOT_FOUND))
        self.fails("npm publish failed: see above.", answers=(NOT_FOUND, ["publish", 1, "npm error network"], NOT_FOUND))
        self.fails("has the version 1.2.3, not 1.2.4", "v1.2.4")
        self.fails("1.2.3 is not a version like v1.2.3", "1.2.3")
        self.fails("has the name @octo/hub-client, not @other/name", NPM_PACKAGE="@other/name")
        self.fails("is no name of a package", NPM_PACKAGE="@Octo/Hub Client")
        self.fails("was packed for git+https://github.com/octo/hub.git", GITHUB_REPOSITORY="octo/other")
        self.fails("There is no OIDC token", ACTIONS_ID_TOKEN_REQUEST_URL="")
        self.assertEqual(self.asked, [])

    def test_versions_of_npm_that_need_no_token(self) -> None:
        self.npm("bin", npm="10.9.8", node="v22.23.1")
        self.fails("Here is npm 10.9.8 with Node.js 22.23.1.")
        self.npm("bin", npm="11.6.0", node="v20.20.2")
        self.fails("takes npm 11.5.1 with Node.js 22.14, or newer (Node.js 24 has both). Here is npm 11.6.0 with Node.js 20.20.2.")
        # The tool cache of GitHub's machines has newer versions.
        for version, npm in (("22.23.1", "10.9.8"), ("24.9.0", "11.6.0"), ("24.18.0", "11.16.0")):
            self.npm(f"cache/node/{version}/x64/bin", npm=npm, node=f"v{version}")
        self.publish(npm="cache/node/24.18.0/x64/bin", answers=(NOT_FOUND, ["publish", 0, ""]))
        self.assertEqual([ask[0] for ask in self.asked], ["view", "publish"])

    @unittest.skipUnless(shutil.which("npm"), "there is no npm")
    def test_packed_by_npm_itself(self) -> None:
        (self.folder / "bin/npm").unlink()
        (self.folder / "bin/node").unlink()
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
        # Without NPM_PACKAGE it is packed under its own name, for the release on GitHub.
        done = self.run_it("pack", "v1.2.3", str(self.folder / "default"), NPM_PACKAGE="")
        self.assertEqual(done.stdout, "websocket-hub-client-1.2.3.tgz\n")
        self.assertIn("is there already", self.run_it("pack", "v1.2.3", str(self.folder / "default")).stderr)


if __name__ == "__main__":
    unittest.main()
