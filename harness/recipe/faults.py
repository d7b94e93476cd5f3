"""What is wrong with a recipe, said in one line per fault: place, key path, what, remedy."""

import difflib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from harness.core.errors import HarnessError, printable

Key = tuple[str | int, ...]
"""A path into the recipe: names of mappings, indices of lists."""


class Place(NamedTuple):
    """Where a value was written; sorts by line, overrides first."""

    line: int
    """1-based; 0 for a `--set`."""
    text: str
    """`recipes/x.yaml:12` or `--set seed=1`."""


class Fault(NamedTuple):
    """One fault; sorts by place."""

    place: Place
    key: str
    what: str

    def __str__(self) -> str:
        """`place: key: what`, in one line."""
        return printable(": ".join(part for part in (self.place.text, self.key, self.what) if part))


class RecipeError(HarnessError):
    """A recipe that cannot be used; `faults` has every fault found, sorted by line, each once."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = sorted(set(faults))
        super().__init__("\n".join(str(fault) for fault in self.faults))

    def __reduce__(self) -> tuple[object, ...]:
        """The faults survive the trip between processes."""
        return type(self), (self.faults,)


def dotted(key: Key) -> str:
    """A key path as people write it: `train[0].sft.epochs`."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'epochs'?`, or what there is to choose from."""
    words = list(known)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; there {'is' if len(words) == 1 else 'are'} {', '.join(words)}" if words else "; there are none"


def one_of(words: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
