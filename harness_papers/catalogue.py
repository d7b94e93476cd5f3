"""Every table and figure of the papers, by name."""

import difflib

from harness.core.errors import HarnessError
from harness_papers import checks, million, rsr, stronger
from harness_papers.item import Item

ITEMS: dict[str, Item] = {item.name: item for item in (*million.ITEMS, *stronger.ITEMS, *rsr.ITEMS, checks.ITEM)}
"""In the order of the page."""


def find(name: str) -> Item:
    """An item by name.

    Raises:
        HarnessError: there is none.
    """
    if name not in ITEMS:
        near = difflib.get_close_matches(name, ITEMS, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise HarnessError(f"no table or figure '{name}'", fix=f"{hint}`harness paper list` has them all.")
    return ITEMS[name]
