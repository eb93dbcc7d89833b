"""The client as an npm package, for the workflow Release: client_package.py COMMAND ARGUMENTS...

    pack TAG FOLDER    packs web/client into the new folder, with the version of the tag
    publish TARBALL    publishes that package to npm, unless npm has it already

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


def die(why: str) -> NoReturn:
    print(f"::error::{why}", file=sys.stderr)
    sys.exit(1)


def notice(title: str, text: str) -> None:
    print(f"::notice title={title}::{text}", file=sys.stderr)


def package_name() -> "str | None":
    name = os.environ.get("NPM_PACKAGE") or None
    if name and not re.fullmatch(r"(@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*", name):
        die(f"The variable NPM_PACKAGE is {name}, which is no name of a package: it looks like @scope/name.")
    return name


def npm(*arguments: str, folder: "Path | None" = None) -> subprocess.CompletedProcess:
    if not shutil.which("npm"):
        die("npm is missing: install Node.js 20 or newer.")
    return subprocess.run(["npm", *arguments], cwd=folder, capture_output=True, text=True)


def pack(tag: str, out: str) -> None:
    if not re.fullmatch(r"v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", tag):
        die(f"{tag} is not a version like v1.2.3 or v1.2.3-rc.1.")
    name = package_name()
    try:
        Path(out).mkdir(parents=True)
    except FileExistsError:
        die(f"{out} is there already: name a new folder.")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(CLIENT, Path(folder) / "client"))
        package = json.loads((copy / "package.json").read_text(encoding="utf-8"))
        package["version"] = tag[1:]
        if name:
            # Otherwise its readers would install another package, of the old name.
            readme = (copy / "README.md").read_text(encoding="utf-8").replace(package["name"], name)
            (copy / "README.md").write_text(readme, encoding="utf-8")
            package["name"] = name
        # npm compares this with the repository that the workflow runs in.
        if "GITHUB_REPOSITORY" in os.environ:
            url = f"git+{os.environ['GITHUB_SERVER_URL']}/{os.environ['GITHUB_REPOSITORY']}.git"
            package["repository"] = {"type": "git", "url": url, "directory": "web/client"}
        (copy / "package.json").write_text(json.dumps(package, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        done = npm("pack", "--ignore-scripts", "--pack-destination", str(Path(out).resolve()), folder=copy)
    if done.returncode:
        die(f"npm pack failed: {done.stderr.strip()}")
    print(done.stdout.strip())


def publish(path: str) -> None:
    wanted = package_name()
    if not wanted:
        notice("Not published to npm", "The repository has no variable NPM_PACKAGE: docs/deploying.md says how to publish the client.")
        return
    with tarfile.open(path) as tar:
        package = json.load(tar.extractfile("package/package.json"))
    name, version = package["name"], package["version"]
    if name != wanted:
        die(f"{path} has the name {name}, not {wanted}: run all jobs again.")
    if not os.environ.get("ACTIONS_ID_TOKEN_REQUEST_URL"):
        die("There is no GitHub token to publish with: the workflow Release publishes, in a job that has the permission id-token: write.")
    # Of the versions of Node.js on GitHub's machines, the newest has an npm that exchanges GitHub's token for one of npm.
    cached = Path(os.environ.get("RUNNER_TOOL_CACHE", "/nonexistent")).glob("node/*/*/bin")
    newest = sorted(cached, key=lambda folder: int(folder.parts[-3].split(".")[0]))[-1:]
    os.environ["PATH"] = ":".join([*map(str, newest), os.environ["PATH"]])
    # Installs without a version get the tag `latest`, which a pre-release must not take.
    done = npm("publish", str(Path(path).resolve()), "--ignore-scripts", *(("--tag", "next") if "-" in version else ()))
    print(done.stdout, done.stderr, sep="", file=sys.stderr)
    if done.returncode == 0:
        notice("Published to npm", f"{name} {version}")
        return
    # The answer may have been lost, or another run may have published it.
    integrity = f"sha512-{base64.b64encode(hashlib.sha512(Path(path).read_bytes()).digest()).decode()}"
    found = npm("view", f"{name}@{version}", "dist.integrity", "--prefer-online").stdout.strip()
    if found == integrity:
        notice("Published already", f"npm has {name} {version}, with these very contents.")
    elif found:
        die(f"npm has {name} {version} already, with other contents ({found}, not {integrity}). A version is never replaced: release another.")
    else:
        own = npm("--version").stdout.strip()
        die(f"npm publish failed: see above. It takes npm 11.5.1 (this is {own}), and a package for which npm trusts this workflow: docs/deploying.md says how.")


if __name__ == "__main__":
    {"pack": pack, "publish": publish}[sys.argv[1]](*sys.argv[2:])
