"""Reads the tests from a runner's report: JUnit XML (cargo-nextest, Terraform, Node.js) or TAP (our own runners)."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from typing import NamedTuple


class Test(NamedTuple):
    name: str
    outcome: str  # passed, failed or skipped
    text: str = ""  # why it failed or was skipped


def junit(path: str) -> Iterator[Test]:
    for case in ElementTree.parse(path).iter("testcase"):
        parts = {part.tag: f"{part.get('message') or ''}\n{part.text or ''}".strip() for part in case}
        failed = parts.keys() & {"failure", "error"}
        yield Test(case.get("name", ""), "failed" if failed else "skipped" if "skipped" in parts else "passed", "\n".join(parts.values()))


def tap(path: str) -> Iterator[Test]:
    with open(path, encoding="utf-8", errors="replace") as file:
        # What follows a failure belongs to it, up to the next result.
        for found in re.finditer(r"^(not )?ok\b(?: \d+)? - (.*?)(?: # SKIP (.*))?$((?:\n(?!(?:not )?ok\b).*)*)", file.read(), re.M):
            failed, name, skip, text = found.groups()
            yield Test(name, "failed" if failed else "passed" if skip is None else "skipped", text if failed else skip or "")
