"""The client as an npm package, for the workflow Release: client_package.py COMMAND ARGUMENTS...

    pack TAG FOLDER       packs web/client into the new folder, with the version of the tag
    publish TAG TARBALL   publishes that package to npm, unless npm has it already

NPM_PACKAGE, a variable of the repository, is the name to publish under; without it nothing is published. npm identifies the
workflow by GitHub's OIDC token (trusted publishing), so no npm token is stored.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NoReturn

CLIENT = Path(__file__).resolve().parents[2] / "web/client"
# The first versions that exchange GitHub's token for one of npm.
NPM, NODE = (11, 5, 1), (22, 14, 0)


def die(why: str) -> NoReturn:
    print(f"::error::{why}", file=sys.stderr)
    sys.exit(1)


def notice(title: str, text: str) -> None:
    print(f"::notice title={title}::{text}", file=sys.stderr)


def version_of(tag: str) -> str:
    if not re.fullmatch(r"v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", tag):
        die(f"{tag} is not a version like v1.2.3 or v1.2.3-rc.1.")
    return tag[1:]


def package_name() -> "str | None":
    name = os.environ.get("NPM_PACKAGE") or None
    if name and not re.fullmatch(r"(@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*", name):
        die(f"The variable NPM_PACKAGE is {name}, which is no name of a package: it looks like @scope/name.")
    return name


def repository() -> str:
    return f"git+{os.environ['GITHUB_SERVER_URL']}/{os.environ['GITHUB_REPOSITORY']}.git"


def run(npm: str, *arguments: str, program: "str | None" = None) -> subprocess.CompletedProcess:
    # npm starts the first Node on PATH, which must be the one beside it. An empty folder has no project's settings.
    environment = {**os.environ, "PATH": f"{Path(npm).parent}:{os.environ['PATH']}"}
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run([program or npm, *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def pack(tag: str, out: str) -> None:
    npm = shutil.which("npm") or die("npm is missing: install Node.js 20 or newer.")
    version, name = version_of(tag), package_name()
    try:
        Path(out).mkdir(parents=True)
    except FileExistsError:
        die(f"{out} is there already: name a new folder.")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(CLIENT, Path(folder) / "client"))
        package = json.loads((copy / "package.json").read_text(encoding="utf-8"))
        package["version"] = version
        if name:
            # Otherwise its readers would install another package, of the old name.
            readme = (copy / "README.md").read_text(encoding="utf-8").replace(package["name"], name)
            (copy / "README.md").write_text(readme, encoding="utf-8")
            package["name"] = name
        # npm compares this with the repository that the workflow runs in.
        if "GITHUB_REPOSITORY" in os.environ:
            package["repository"] = {"type": "git", "url": repository(), "directory": "web/client"}
        (copy / "package.json").write_text(json.dumps(package, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        done = run(npm, "pack", str(copy), "--ignore-scripts", "--pack-destination", str(Path(out).resolve()))
    if done.returncode:
        die(f"npm pack failed: {done.stderr.strip()}")
    print(done.stdout.strip())


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def find_npm() -> str:
    """The npm on PATH if it is new enough, or that of the newest Node.js in the tool cache of GitHub's machines."""
    cached = Path(os.environ.get("RUNNER_TOOL_CACHE") or "/nonexistent").glob("node/*/*/bin/npm")
    candidates = [found] if (found := shutil.which("npm")) else []
    candidates += map(str, sorted(cached, key=lambda path: numbers(path.parts[-4]), reverse=True))
    seen = []
    for npm in candidates:
        own, node = (run(npm, "--version", program=program).stdout.strip().removeprefix("v") for program in (npm, "node"))
        if numbers(own) >= NPM and numbers(node) >= NODE:
            return npm
        seen.append(f"npm {own} with Node.js {node}")
    die(f"Publishing without a stored token takes npm 11.5.1 with Node.js 22.14, or newer (Node.js 24 has both). Here is {', '.join(seen) or 'neither'}.")


def published(npm: str, name: str, version: str) -> "str | None":
    """The integrity of the version that npm has, or None if it has none."""
    done = run(npm, "view", f"{name}@{version}", "dist.integrity", "--prefer-online")
    if done.returncode and "E404" not in done.stderr:
        die(f"npm does not say whether {name} {version} is published already: {done.stderr.strip()}")
    return (done.returncode == 0 and done.stdout.strip()) or None


def publish(tag: str, path: str) -> None:
    version, name = version_of(tag), package_name()
    if not name:
        notice("Not published to npm", "The repository has no variable NPM_PACKAGE: docs/deploying.md says how to publish the client.")
        return
    data = Path(path).read_bytes()
    integrity = f"sha512-{base64.b64encode(hashlib.sha512(data).digest()).decode()}"
    with tarfile.open(path) as tar:
        packed = json.load(tar.extractfile("package/package.json"))
    for key, wanted in (("name", name), ("version", version)):
        if packed[key] != wanted:
            die(f"{path} has the {key} {packed[key]}, not {wanted}: run all jobs again.")
    if packed["repository"]["url"] != repository():
        die(f"{path} was packed for {packed['repository']['url']}, and this is {repository()}.")
    if not os.environ.get("ACTIONS_ID_TOKEN_REQUEST_URL"):
        die("There is no OIDC token to publish with: this is for the workflow Release, whose job has id-token: write.")
    npm = find_npm()

    def is_there() -> bool:
        found = published(npm, name, version)
        if found and found != integrity:
            die(f"npm has {name} {version} already, with other contents ({found}, not {integrity}). A version is never replaced: release another.")
        return bool(found)

    if is_there():
        notice("Published already", f"npm has {name} {version}, with these very contents.")
        return
    options = ["--access", "public", "--ignore-scripts"]
    if os.environ.get("PRIVATE") == "true":
        notice("No provenance", "npm shows where a package was built for public repositories only: it is published without.")
    else:
        options.append("--provenance")
    # Installs without a version get the tag `latest`, which a pre-release must not take.
    if "-" in version:
        options += ["--tag", "next"]
    done = run(npm, "publish", str(Path(path).resolve()), *options)
    print(done.stdout, done.stderr, sep="", file=sys.stderr)
    # The answer may have been lost, or another run may have published it.
    if done.returncode and not is_there():
        hint = " Does npm trust this workflow for the package? docs/deploying.md says how." if re.search("E40[134]|ENEEDAUTH", done.stderr) else ""
        die(f"npm publish failed: see above.{hint}")
    notice("Published to npm", f"{name} {version}")


if __name__ == "__main__":
    {"pack": pack, "publish": publish}[sys.argv[1]](*sys.argv[2:])
