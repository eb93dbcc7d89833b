"""Packs built functions for Lambda, the same zip for the same bytes.

    package.py ARCH GLIBC RELEASE BUILT_DIR OUT_DIR FUNCTION...    (a * in RELEASE stands for a digest of the zips)

Moves BUILT_DIR/<function>/bootstrap into OUT_DIR/<function>/, makes bootstrap.zip beside it, and lists the zips in
OUT_DIR/release.json. A file is replaced whole, so that one which is running or being read stays as it was.
"""

import base64
import hashlib
import json
import os
import re
import sys
import zipfile
import zlib
from pathlib import Path


def packed(path: str, executable: bytes) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.getinfo("bootstrap").CRC == zlib.crc32(executable)
    except (OSError, KeyError, zipfile.BadZipFile):
        return False


def pack(path: str, executable: bytes) -> None:
    entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3  # Unix, without which the mode below means nothing
    entry.external_attr = 0o100755 << 16
    with zipfile.ZipFile(path + ".new", "w") as archive:
        archive.writestr(entry, executable, compresslevel=9)
    os.replace(path + ".new", path)


def describe(out: str, release: str, arch: str, archives: dict[str, str]) -> None:
    """Writes release.json, with hashes as Terraform's filebase64sha256 has them."""
    sha256 = {}
    for function, archive in archives.items():
        with open(archive, "rb") as file:
            sha256[function] = base64.b64encode(hashlib.sha256(file.read()).digest()).decode()
    digest = hashlib.sha256(json.dumps(sha256, sort_keys=True).encode()).hexdigest()[:8]
    build = {"release": release.replace("*", digest), "architecture": arch, "sha256": sha256}
    with open(f"{out}/release.json.new", "w", encoding="utf-8") as file:
        json.dump(build, file, indent=2, sort_keys=True)
        file.write("\n")
    os.replace(f"{out}/release.json.new", f"{out}/release.json")


def main(arch: str, glibc: str, release: str, built: str, out: str, *functions: str) -> None:
    executables = {function: Path(built, function, "bootstrap").read_bytes() for function in functions}
    for function, executable in executables.items():
        minor = max(map(int, re.findall(rb"GLIBC_2\.(\d+)", executable)))
        if minor > int(glibc.removeprefix("2.")):
            sys.exit(f"{function} needs glibc 2.{minor}, and Lambda has {glibc}: it would not start there")
    archives = {function: f"{out}/{function}/bootstrap.zip" for function in functions}
    for function, archive in archives.items():
        os.makedirs(f"{out}/{function}", exist_ok=True)
        os.replace(f"{built}/{function}/bootstrap", f"{out}/{function}/bootstrap")
        if not packed(archive, executables[function]):
            pack(archive, executables[function])
        print(f"{os.path.getsize(archive):>10,} bytes  {function}", file=sys.stderr)
        print(archive)
    describe(out, release, arch, archives)


if __name__ == "__main__":
    main(*sys.argv[1:])
