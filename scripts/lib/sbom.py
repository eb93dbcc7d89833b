"""Writes what a built function is made of: a software bill of materials in CycloneDX, the same for the same source.

    sbom.py TARGET OUT_DIR FUNCTION...    (in the workspace; writes OUT_DIR/<function>/sbom.cdx.json)

Listed are the crates whose code can be in the executable; build scripts, macros and tests are not shipped.
"""

import hashlib
import json
import os
import re
import subprocess
import sys

REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


def locked() -> dict[tuple[str, str], str]:
    """The checksum of each crate, from Cargo.lock."""
    with open("Cargo.lock", encoding="utf-8") as file:
        packages = file.read().split("[[package]]")
    field = lambda name, text: (re.search(rf'^{name} = "(.*)"$', text, re.M) or ["", ""])[1]
    return {(field("name", p), field("version", p)): field("checksum", p) for p in packages[1:] if field("source", p) == REGISTRY}


def crates(function: str, target: str) -> list[tuple[str, str, str]]:
    """Name, version and licence of each crate that the function is linked from, itself first."""
    command = ["cargo", "tree", "--package", function, "--target", target, "--edges", "normal,no-proc-macro"]
    command += ["--prefix", "none", "--no-dedupe", "--format", "{p}\t{l}"]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    found = {}
    for line in lines:
        crate, licence = line.split("\t")
        name, version = crate.split()[:2]
        found[name, version.removeprefix("v")] = re.sub(r" */ *", " OR ", licence)
    first, *rest = ((name, version, licence) for (name, version), licence in found.items())
    return [first, *sorted(rest)]


def component(name: str, version: str, licence: str, kind: str, checksum: str | None) -> dict:
    entry = {"type": kind, "bom-ref": f"{name}@{version}", "name": name, "version": version}
    if licence:
        entry["licenses"] = [{"expression": licence}]
    if checksum:
        entry |= {"purl": f"pkg:cargo/{name}@{version}", "hashes": [{"alg": "SHA-256", "content": checksum}]}
    return entry


def main(target: str, out: str, *functions: str) -> None:
    checksums = locked()
    for function in functions:
        itself, *parts = crates(function, target)
        with open(f"{out}/{function}/bootstrap.zip", "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        bill = {
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "metadata": {"component": component(*itself, "application", None) | {"hashes": [{"alg": "SHA-256", "content": digest}]}},
            "components": [component(*part, "library", checksums.get(part[:2])) for part in parts],
        }
        path = f"{out}/{function}/sbom.cdx.json"
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(bill, file, indent=1)
            file.write("\n")
        os.replace(path + ".new", path)


if __name__ == "__main__":
    main(*sys.argv[1:])
