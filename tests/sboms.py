"""Holds the SBOMs of the built functions to what the executables name in their panics: each crate is listed.

    sboms.py      (after scripts/build.sh --arch host --profile local --sbom)
"""

import json
import re
from pathlib import Path

BUILT = Path(__file__).resolve().parents[1] / "target/lambda-local"

zips = list(BUILT.glob("*/bootstrap.zip"))
assert zips, f"{BUILT} holds no functions"
for folder in (path.parent for path in zips):
    listed = {(part["name"], part["version"]) for part in json.loads((folder / "sbom.cdx.json").read_text())["components"]}
    found = re.findall(rb"/index\.crates\.io-[0-9a-f]+/([a-z0-9_-]+)-(\d[\w.+-]*)/", (folder / "bootstrap").read_bytes())
    named = {(name.decode(), version.decode()) for name, version in found}
    assert named, f"{folder.name} names no crate"
    assert named <= listed, f"the SBOM of {folder.name} lacks {named - listed}"
    print(f"{folder.name}: {len(listed)} listed, {len(named)} named")
