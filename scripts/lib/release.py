"""Checks the parts of a release and packs them: release.py TAG X86_64 ARM64 CLIENT OUT. scripts/release.sh explains the arguments."""

import base64
import gzip
import hashlib
import io
import json
import re
import sys
import tarfile
import zlib
from datetime import date
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]


def die(why: str) -> NoReturn:
    sys.exit(f"release.sh: {why}")


def notes(tag: str) -> str:
    """The changelog's section of this version."""
    version = re.search(r'^\[workspace\.package\]\nversion = "(.*)"', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.M)[1]
    if tag != f"v{version}":
        die(f"the tag is {tag}, and by the version in Cargo.toml it must be v{version}: change one of them")
    section = re.search(rf"^## {re.escape(version)} - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M | re.S)
    if not section or not section[1].strip():
        die(f"CHANGELOG.md has no section '## {version} - {date.today()}' with what is new: write it, or give it its date")
    return section[1].strip() + "\n"


def build(tag: str, architecture: str, folder: Path) -> dict[str, bytes]:
    """The files of a build, by their path in the archive."""
    try:
        files = {"release.json": (folder / "release.json").read_bytes()}
        built = json.loads(files["release.json"])
        for function, digest in built["sha256"].items():
            for name in ("bootstrap.zip", "sbom.cdx.json"):
                files[f"{function}/{name}"] = (folder / function / name).read_bytes()
            if digest != base64.b64encode(hashlib.sha256(files[f"{function}/bootstrap.zip"]).digest()).decode():
                die(f"{folder}/{function}/bootstrap.zip is not the zip that release.json lists: build again")
    except OSError as error:
        die(f"{folder} is not a whole build: {error}. scripts/build.sh --arch {architecture} --release {tag} --sbom makes one")
    for key, wanted in (("release", tag), ("architecture", architecture)):
        if built[key] != wanted:
            die(f"{folder} is a build of {key} {built[key]}, not {wanted}: scripts/build.sh --arch {architecture} --release {tag} --sbom makes one")
    return files


def archive(files: dict[str, bytes]) -> bytes:
    """The same bytes for the same files: no time, no owner."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(files):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(files[path]), 0o644
            tar.addfile(entry, io.BytesIO(files[path]))
    return packed.getvalue()


def main(tag: str, x86_64: str, arm64: str, package: str, out: str) -> None:
    text = notes(tag)
    found = {"x86_64": build(tag, "x86_64", Path(x86_64)), "arm64": build(tag, "arm64", Path(arm64))}
    if found["x86_64"].keys() != found["arm64"].keys():
        die("the two builds are not of the same functions")
    archives = {f"websocket-hub-{tag}-{architecture}.tar.gz": archive(files) for architecture, files in found.items()}
    client = Path(package)
    try:
        with tarfile.open(client, "r:gz") as tar:
            version = json.load(tar.extractfile("package/package.json"))["version"]
    except (OSError, EOFError, zlib.error, KeyError, ValueError, tarfile.TarError) as error:
        die(f"{client} is not the client's package: {error}. scripts/lib/client_package.py pack {tag} FOLDER makes it")
    if tag != f"v{version}":
        die(f"{client} has the version {version}, and the tag is {tag}: scripts/lib/client_package.py pack {tag} FOLDER makes it")
    archives[client.name] = client.read_bytes()
    try:
        Path(out).mkdir(parents=True)
    except FileExistsError:
        die(f"{out} is there already: name a new folder")
    for name, data in archives.items():
        (Path(out) / name).write_bytes(data)
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(archives.items()))
    (Path(out) / "SHA256SUMS").write_text(sums, encoding="utf-8")
    (Path(out) / "notes.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
