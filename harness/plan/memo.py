"""What the cells of a sweep have in common is worked out once."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from pydantic import BaseModel

P = ParamSpec("P")
T = TypeVar("T")


class Memo:
    """Calls a function once for arguments that many cells share; files are read and models pinned by then.

    Settings are compared as objects, since most cannot be hashed: cells that share a section of the recipe share its
    object. All else is compared as a dictionary compares keys.
    """

    def __init__(self) -> None:
        self._made: dict[object, tuple[Any, object]] = {}

    def __call__(self, make: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """What `make` makes of the arguments, or made of them before."""
        key = (make, *map(_key, given), *named, *map(_key, named.values()))
        if key not in self._made:
            self._made[key] = make(*given, **named), (given, named)  # kept too: no other object gets its address
        made: T = self._made[key][0]
        return made


def _key(given: object) -> object:
    return id(given) if isinstance(given, BaseModel) else given
