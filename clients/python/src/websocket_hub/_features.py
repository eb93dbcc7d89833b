"""Which features the hub lacks. The gateway refuses a request about history or subscriptions that it does not know, and does not
repeat its id."""

from __future__ import annotations

from ._link import Link


def unanswered(link: Link, served: set[str]) -> list[str]:
    """The features with an unanswered request; if possible, only those that the hub has never answered."""
    every = [about for about, count in link.asked.items() if count > 0]
    return [about for about in every if about not in served] or every


def find_missing(link: Link, served: set[str]) -> list[str]:
    """If requests about both are unanswered, the next answer tells which feature is missing."""
    missing = unanswered(link, served)
    if len(missing) > 1 and link.unknown < sum(link.asked.values()):
        return []
    for about in missing:
        link.asked[about] -= min(link.asked[about], link.unknown)
    link.unknown = 0
    return missing
