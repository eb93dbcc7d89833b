"""Packs built functions for Lambda: checks each executable, and writes the same zip for the same bytes.

    package.py ARCH NEWEST_GLIBC RELEASE BUILT_DIR OUT_DIR FUNCTION...    (a * in RELEASE stands for a digest of the zips)

Moves BUILT_DIR/<function>/bootstrap into OUT_DIR/<function>/, makes bootstrap.zip beside it, and lists the zips in
OUT_DIR/release.json. A file is replaced whole, so that one which is running or being read stays as it was.
"""

import base64
import hashlib
import json
import os
import re
import struct
import sys
import zipfile
import zlib

MACHINES = {"x86_64": 62, "arm64": 183}  # e_machine of the ELF header
VERSION_NEEDS = 0x6FFFFFFE  # the section in which an executable names the library versions it asks for
OPTIONAL = 2  # the flag of a version that may be absent


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def newest_glibc(elf: bytes) -> str:
    (sections,) = struct.unpack_from("<Q", elf, 40)
    size, count = struct.unpack_from("<HH", elf, 58)
    table = [struct.unpack_from("<IIQQQQII", elf, sections + size * i) for i in range(count)]
    found = ["0"]
    for _, kind, _, _, need, _, link, libraries in table:
        if kind != VERSION_NEEDS:
            continue
        strings = table[link][4]
        for _ in range(libraries):
            _, names, _, first, following = struct.unpack_from("<HHIII", elf, need)
            name = need + first
            for _ in range(names):
                _, flags, _, text, step = struct.unpack_from("<IHHII", elf, name)
                match = re.compile(rb"GLIBC_([0-9.]+)\0").match(elf, strings + text)
                if match and not flags & OPTIONAL:
                    found.append(match[1].decode())
                name += step
            need += following
    return max(found, key=version)


def check(path: str, elf: bytes, arch: str, limit: str) -> None:
    if elf[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", elf, 18)[0] != MACHINES[arch]:
        sys.exit(f"{path} is no Linux executable for {arch}: remove it and build again")
    wanted = newest_glibc(elf)
    if version(wanted) > version(limit):
        sys.exit(f"{path} needs glibc {wanted}, and Lambda has {limit}: it would not start there; link it with zig, as scripts/build.sh does")


def packed(path: str, elf: bytes) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.getinfo("bootstrap").CRC == zlib.crc32(elf)
    except (OSError, KeyError, zipfile.BadZipFile):
        return False


def pack(path: str, elf: bytes) -> None:
    entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3  # Unix, without which the mode below means nothing
    entry.external_attr = 0o100755 << 16
    with zipfile.ZipFile(path + ".new", "w") as archive:
        archive.writestr(entry, elf, compresslevel=9)
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


def main(arch: str, limit: str, release: str, built: str, out: str, *functions: str) -> None:
    elves = {}
    for function in functions:
        executable = f"{built}/{function}/bootstrap"
        with open(executable, "rb") as file:
            elves[function] = file.read()
        check(executable, elves[function], arch, limit)
    archives = {function: f"{out}/{function}/bootstrap.zip" for function in functions}
    for function, archive in archives.items():
        folder = f"{out}/{function}"
        os.makedirs(folder, exist_ok=True)
        os.replace(f"{built}/{function}/bootstrap", f"{folder}/bootstrap")
        if not packed(archive, elves[function]):
            pack(archive, elves[function])
        print(f"{os.path.getsize(archive):>10,} bytes  {function}", file=sys.stderr)
        print(archive)
    describe(out, release, arch, archives)


if __name__ == "__main__":
    main(*sys.argv[1:])
