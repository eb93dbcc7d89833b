"""How an alias's description notes which releases were rolled back: releases.py writes it, plan_summary.py reads it in plans."""

import re

# Five of these fit the 256 characters of a description.
RELEASE = r"[A-Za-z0-9._/+-]{1,45}"
NOTED = 5
PREFIX = "rolled back: "


def note(releases: list[str]) -> str:
    return PREFIX + ", ".join(releases[:NOTED])


def noted(description: str) -> list[str]:
    """The releases that a description names, if it is a note."""
    names = description.removeprefix(PREFIX).split(", ") if description.startswith(PREFIX) else []
    return [name for name in names if re.fullmatch(RELEASE, name)]
