"""Tests of packing a release.

    cd tests && python3 -m unittest test_release
"""

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
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
        tarball(self.folder / "hub-client-1.2.3.tgz", name="hub-client", version="1.2.3")

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
        tarball(self.folder / "hub-client-2.0.0-rc.1.tgz", name="hub-client", version="2.0.0-rc.1")
        self.assertEqual(self.pack("v2.0.0-rc.1", client="hub-client-2.0.0-rc.1.tgz").returncode, 0)

    def test_refused_releases(self) -> None:
        for tag in ("1.2.3", "v1.2.4"):
            self.refused(f"the tag is {tag}, and by the version in Cargo.toml it must be v1.2.3", tag)
        self.refused("is a build of architecture arm64, not x86_64", "v1.2.3", "arm64", "arm64")
        self.refused("is not a whole build", "v1.2.3", "x86_64", "nowhere")
        tarball(self.folder / "old-1.2.3.tgz", name="hub-client", version="1.2.2")
        self.refused("old-1.2.3.tgz has the version 1.2.2, and the tag is v1.2.3", "v1.2.3", client="old-1.2.3.tgz")
        (self.folder / "cut-1.2.3.tgz").write_bytes((self.folder / "hub-client-1.2.3.tgz").read_bytes()[:40])
        for client in ("cut-1.2.3.tgz", "Cargo.toml", "nowhere-1.2.3.tgz"):
            self.refused(f"{client} is not the client's package: ", "v1.2.3", client=client)
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


if __name__ == "__main__":
    unittest.main()
