"""Writes an SBOM of each built function with cargo-cyclonedx, the same for the same source.

    sbom.py TARGET OUT_DIR FUNCTION...    (in the workspace; writes OUT_DIR/<function>/sbom.cdx.json)

Listed are the crates whose code can be in the executable, and those whose macros wrote some of it.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def workspace_of(function: str, work: Path) -> Path:
    """Makes a workspace of this function and the shared crate, without the crates and features that only tests need."""
    for name in ("Cargo.toml", "Cargo.lock"):
        shutil.copy(name, work)
    for member in ("hub", function):
        shutil.copytree(f"functions/{member}", work / "functions" / member)
    root = work / "Cargo.toml"
    root.write_text(re.sub(r"^members = .*", f'members = ["functions/hub", "functions/{function}"]', root.read_text(), flags=re.M))
    for manifest in work.glob("functions/*/Cargo.toml"):
        manifest.write_text(re.sub(r"^\[dev-dependencies\]\n(?:[^\[].*\n|\n)*", "", manifest.read_text(), flags=re.M))
    return work / "functions" / function


def main(target: str, out: str, *functions: str) -> None:
    for function in functions:
        with tempfile.TemporaryDirectory() as work:
            folder = workspace_of(function, Path(work).resolve())
            command = ["cargo", "cyclonedx", "--quiet", "--format", "json", "--spec-version", "1.5", "--describe", "binaries", "--no-build-deps", "--target", target]
            subprocess.run([*command, "--manifest-path", str(folder / "Cargo.toml")], check=True, env={**os.environ, "SOURCE_DATE_EPOCH": "0"})
            text = (folder / f"{function}_bin.cdx.json").read_text(encoding="utf-8")
            bill = json.loads(text.replace(f"file://{folder.parents[1]}", "file://"))
        with open(f"{out}/{function}/bootstrap.zip", "rb") as file:
            bill["metadata"]["component"]["hashes"] = [{"alg": "SHA-256", "content": hashlib.sha256(file.read()).hexdigest()}]
        # The time would make each run differ.
        del bill["metadata"]["timestamp"]
        path = f"{out}/{function}/sbom.cdx.json"
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(bill, file, indent=1)
            file.write("\n")
        os.replace(path + ".new", path)


if __name__ == "__main__":
    main(*sys.argv[1:])
